"""Ports of kinds that a service has no target of: there is nothing, and no library of a vendor is imported for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from bot.contract import Edit
from bot.ports import Record, Where
from bot.ports.databases import Database
from bot.ports.databases import Databases as Port
from bot.ports.maintenance import Maintenance as Upkeep


class NoMaintenance:
    """`bot.ports.maintenance.Maintenance` of a service without a database."""

    def bind(self, record: Record) -> Upkeep:
        """The same."""
        return cast(Upkeep, self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(Upkeep, name):
            raise AttributeError(name)
        raise LookupError("the catalogue has no database for this service")

    def by_hand(self, edits: Sequence[Edit]) -> list[str]:
        """Nothing to type."""
        return []


class NoDatabases:
    """`bot.ports.Databases` of a service without one."""

    databases: Sequence[Database] = ()
    named: Mapping[str, Where] = {}

    def bind(self, record: Record) -> Port:
        """The same."""
        return cast(Port, self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(Port, name):
            raise AttributeError(name)
        raise LookupError("the catalogue has no database for this service")

    async def where(self) -> Mapping[str, Where]:
        """Nowhere."""
        return {}

    def hold(self, places: Mapping[str, Where]) -> None:
        """There is nothing to hold."""

    async def ping(self) -> Mapping[str, str]:
        """Nothing is wrong."""
        return {}

    def by_hand(self, edits: Sequence[Edit]) -> list[str]:
        """Nothing to type."""
        return []

    async def close(self) -> None:
        """Nothing is open."""
