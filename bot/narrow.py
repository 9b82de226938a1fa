"""Hands a handler the ports that it declares in `needs`, and no other.

The engine and the test kit use the same function, so what a handler's test allows is what production allows.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from bot.ports import Ports

PORT_NAMES = frozenset(name for name, member in vars(Ports).items() if isinstance(member, property))
"""Every port there is, by the name that `needs` uses."""


class UndeclaredPort(Exception):
    """A handler reached for a port that is not in its `needs`."""

    def __init__(self, port: str, needs: Collection[str]) -> None:
        super().__init__(f"port {port!r} was used, but needs declares {_listed(needs)}; add {port!r} to needs")
        self.port = port


def narrow(ports: Ports, needs: Collection[str]) -> Ports:
    """The ports named in `needs`; UndeclaredPort for any other. ValueError where `needs` names none of ours."""
    if unknown := sorted(set(needs) - PORT_NAMES):
        raise ValueError(f"needs names what is no port: {', '.join(unknown)}; ports are {_listed(PORT_NAMES)}")
    return cast(Ports, _Narrow(ports, frozenset(needs)))


class _Narrow:
    __slots__ = ("_needs", "_ports")

    def __init__(self, ports: Ports, needs: frozenset[str]) -> None:
        self._ports, self._needs = ports, needs

    def __getattr__(self, name: str) -> Any:
        if name in self._needs:
            return getattr(self._ports, name)
        if name in PORT_NAMES:
            raise UndeclaredPort(name, self._needs)
        raise AttributeError(f"there is no port {name!r}; ports are {_listed(PORT_NAMES)}")


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
