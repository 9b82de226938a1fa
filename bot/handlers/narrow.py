"""Hands a handler the ports that it declares in `needs`, and of these only the parts of the catalogue that its run does
not go on without.

A handler needs no code for a part that is left out: its clusters, objects and health pages are not there for it. The
engine and the test kit use the same function, so what a handler's test allows is what production allows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from bot.contract import Scope
from bot.ports import Http, Page, Ports, Unreachable
from bot.ports.backups import Backups, Rules
from bot.ports.caches import Cache, Caches
from bot.ports.databases import Database, Databases
from bot.ports.edges import Edge, Edges
from bot.ports.journeys import Journey, Journeys
from bot.ports.kubernetes import Cluster, Kind, Kubernetes, Place, Pod, Thing
from bot.ports.metrics import Metrics, Monitor
from bot.ports.sites import Site, Sites

PORT_NAMES = frozenset(name for name, member in vars(Ports).items() if isinstance(member, property))
"""Every port there is, by the name that `needs` uses."""


class UndeclaredPort(Exception):
    """A handler reached for a port that is not in its `needs`."""

    def __init__(self, port: str, needs: Collection[str]) -> None:
        super().__init__(f"port {port!r} was used, but needs declares {_listed(needs)}; add {port!r} to needs")
        self.port = port


EVERYTHING = Scope()


def narrow(ports: Ports, needs: Collection[str], scope: Scope = EVERYTHING) -> Ports:
    """The ports named in `needs`, of what is in the scope; UndeclaredPort for any other. ValueError where `needs` names
    none of ours."""
    if unknown := sorted(set(needs) - PORT_NAMES):
        raise ValueError(f"needs names what is no port: {', '.join(unknown)}; ports are {_listed(PORT_NAMES)}")
    return cast(Ports, _Narrow(ports, frozenset(needs), scope))


class _Narrow:
    __slots__ = ("_needs", "_ports", "_scope")

    def __init__(self, ports: Ports, needs: frozenset[str], scope: Scope) -> None:
        self._ports, self._needs, self._scope = ports, needs, scope

    def __getattr__(self, name: str) -> Any:
        if name in self._needs:
            port = getattr(self._ports, name)
            seen = _PARTED.get(name) if self._scope != EVERYTHING else None
            return seen(port, self._scope) if seen is not None else port
        if name in PORT_NAMES:
            raise UndeclaredPort(name, self._needs)
        raise AttributeError(f"there is no port {name!r}; ports are {_listed(PORT_NAMES)}")


class _Clusters:
    """`bot.ports.Kubernetes` without what is out of the scope: what is not listed here reads or writes one object, or
    one cluster, that somebody has found before."""

    def __init__(self, port: Kubernetes, scope: Scope) -> None:
        self._port, self._scope = port, scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    @property
    def clusters(self) -> Sequence[Cluster]:
        return [c for c in self._port.clusters if self._scope.sees(c.name)]

    async def list(self, cluster: str, kind: Kind, **how: bool) -> Sequence[Thing]:
        self._seen(cluster)
        return [t for t in await self._port.list(cluster, kind, **how) if self._scope.holds(str(t.place))]

    async def get(self, place: Place) -> Thing | None:
        self._seen(place.cluster)
        return await self._port.get(place) if self._scope.holds(str(place)) else None

    async def every_pod(self, cluster: str) -> Sequence[Pod]:
        self._seen(cluster)
        return await self._port.every_pod(cluster)

    async def replicasets(self, cluster: str) -> Mapping[str, str]:
        self._seen(cluster)
        return await self._port.replicasets(cluster)

    async def guard(self, cluster: str, name: str, rules: Any) -> None:
        self._seen(cluster)
        await self._port.guard(cluster, name, rules)

    def _seen(self, cluster: str) -> None:
        if not self._scope.sees(cluster):
            raise Unreachable.of({cluster: "the run goes on without it"})


class _Pages:
    """`bot.ports.Http` without the ways into clusters that are out of the scope."""

    def __init__(self, port: Http, scope: Scope) -> None:
        self._port, self._scope = port, scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    @property
    def pages(self) -> Mapping[str, Page]:
        return self._seen(self._port.pages)

    @property
    def entries(self) -> Mapping[str, Page]:
        return self._seen(self._port.entries)

    def _seen(self, pages: Mapping[str, Page]) -> Mapping[str, Page]:
        return {n: p for n, p in pages.items() if self._scope.sees(p.cluster or n)}


class _Databases:
    """`bot.ports.Databases` without those that are out of the scope."""

    def __init__(self, port: Databases, scope: Scope) -> None:
        self._port, self._scope = port, scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    @property
    def databases(self) -> Sequence[Database]:
        return [d for d in self._port.databases if self._scope.sees(d.name)]


class _Shelves:
    """`bot.ports.backups.Backups` without those that are out of the scope."""

    def __init__(self, port: Backups, scope: Scope) -> None:
        self._port, self._scope = port, scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    @property
    def rules(self) -> Mapping[str, Rules]:
        return {n: r for n, r in self._port.rules.items() if self._scope.sees(n)}


class _Monitors:
    """`bot.ports.metrics.Metrics` without monitors that are out of the scope, or whose cluster is."""

    def __init__(self, port: Metrics, scope: Scope) -> None:
        self._port, self._scope = port, scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    @property
    def monitors(self) -> Sequence[Monitor]:
        return [m for m in self._port.monitors if all(map(self._scope.sees, filter(None, (m.name, m.cluster))))]


class _Journeys:
    """`bot.ports.journeys.Journeys` without the ways into what is out of the scope."""

    def __init__(self, port: Journeys, scope: Scope) -> None:
        self._port, self._scope = port, scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    @property
    def catalogued(self) -> Mapping[str, Journey]:
        seen = {
            name: replace(j, targets=tuple(t for t in j.targets if self._scope.sees(j.ways.get(t, t))))
            for name, j in self._port.catalogued.items()
        }
        return {name: j for name, j in seen.items() if j.targets}


class _Caches:
    """`bot.ports.caches.Caches` without those that are out of the scope."""

    def __init__(self, port: Caches, scope: Scope) -> None:
        self._port, self._scope = port, scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    @property
    def caches(self) -> Sequence[Cache]:
        return [c for c in self._port.caches if self._scope.sees(c.name)]


class _Sites:
    """`bot.ports.Sites` without those that are out of the scope."""

    def __init__(self, port: Sites, scope: Scope) -> None:
        self._port, self._scope = port, scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    @property
    def sites(self) -> Sequence[Site]:
        return [s for s in self._port.sites if self._scope.sees(s.name)]


class _Edges:
    """`bot.ports.Edges` without those that are out of the scope."""

    def __init__(self, port: Edges, scope: Scope) -> None:
        self._port, self._scope = port, scope

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    @property
    def edges(self) -> Sequence[Edge]:
        return [e for e in self._port.edges if self._scope.sees(e.name)]


_PARTED: Mapping[str, Any] = {
    "sites": _Sites,
    "edges": _Edges,
    "kubernetes": _Clusters,
    "http": _Pages,
    "journeys": _Journeys,
    "databases": _Databases,
    "backups": _Shelves,
    "metrics": _Monitors,
    "caches": _Caches,
}
"""Ports behind which there are several places."""


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
