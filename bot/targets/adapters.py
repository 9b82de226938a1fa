"""What reaches the targets of one service: an adapter of each kind, asked together.

Invariants: nothing is opened before the first call; whoever makes them closes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from bot.adapters.absent import NoDatabases, NoMaintenance
from bot.adapters.aws.sites import S3Sites
from bot.adapters.backups import ServiceBackups
from bot.adapters.edges import EdgesClient
from bot.adapters.http import HttpClient
from bot.adapters.journeys import Walks
from bot.adapters.kubernetes import Clusters
from bot.adapters.prometheus import Prometheus
from bot.adapters.redis import RedisCaches
from bot.contract import Edit
from bot.ports import Blob, Record, Where
from bot.ports.backups import Memory
from bot.ports.maintenance import Maintenance
from bot.ports.partners import CataloguedPartners
from bot.telling.by_hand import in_words

if TYPE_CHECKING:
    from bot.adapters.postgres import PostgresDatabases
    from bot.adapters.postgres.maintenance import PostgresMaintenance

PATIENCE = 3.0
"""Seconds that finding out where a target is may take: a kubeconfig may run a program for its token."""


@dataclass(frozen=True, slots=True, eq=False)
class Adapters:
    """What reaches the targets of one service."""

    http: HttpClient
    kubernetes: Clusters
    journeys: Walks = field(kw_only=True)
    sites: S3Sites = field(default_factory=lambda: S3Sites({}), kw_only=True)
    edges: EdgesClient = field(default_factory=lambda: EdgesClient({}), kw_only=True)
    partners: CataloguedPartners = field(kw_only=True)
    databases: PostgresDatabases | NoDatabases = field(default_factory=NoDatabases)
    caches: RedisCaches = field(default_factory=lambda: RedisCaches([]))
    backups: ServiceBackups = field(default_factory=lambda: ServiceBackups({}))
    metrics: Prometheus = field(default_factory=Prometheus)

    @property
    def named(self) -> Mapping[str, Where]:
        """Target -> which place it is, as far as the catalogue alone tells."""
        clusters = {c.name: Where("not known", "", "kubernetes") for c in self.kubernetes.clusters}
        every = (self.http, self.backups, self.metrics, self.caches, self.sites, self.edges)
        told = {name: place for each in every for name, place in each.where().items()}
        return {**clusters, **self.databases.named, **told}

    def maintenance(self, record: Record, memory: Memory | None = None) -> Maintenance:
        """What is done to whole databases, changing something only after `record`. memory: where proofs are kept."""
        upkeep = self._upkeep
        return NoMaintenance().bind(record) if upkeep is None else upkeep.bind(record, memory)

    @property
    def _upkeep(self) -> PostgresMaintenance | None:
        if isinstance(self.databases, NoDatabases):
            return None
        from bot.adapters.postgres.maintenance import PostgresMaintenance

        return PostgresMaintenance(self.databases, self.backups)

    async def ping(self) -> Mapping[str, str]:
        """Target -> what is wrong with it; empty where it answers and lets us in. Reads only."""
        every = (
            self.http,
            self.kubernetes,
            self.databases,
            self.backups,
            self.metrics,
            self.caches,
            self.sites,
            self.edges,
        )
        found = await asyncio.gather(*(each.ping() for each in every))
        faults = {name: fault for each in found for name, fault in each.items()}
        if (upkeep := self._upkeep) is not None:
            lacking = {name: fault for name, fault in (await upkeep.ping()).items() if not faults.get(name)}
            faults |= lacking
        return faults

    def by_hand(self, uses: str, edits: Sequence[Edit], document: str | None = None) -> Sequence[str]:
        """What a person types to make a handler's edits so; in words where no command is known. document: as the
        handler says it (`bot.contract.Action.document`)."""
        found: list[str] = []
        upkeep = self._upkeep
        these = (self.databases, self.caches, *([upkeep] if upkeep is not None else []))
        sites = {s.name for s in self.sites.sites}
        if edits and all(e.target.partition("/")[0] in sites for e in edits):
            return self.sites.by_hand(list(edits))
        clusters = {c.name for c in self.kubernetes.clusters}
        for there, same in groupby(edits, key=lambda e: e.target.partition("/")[0] in clusters):
            if there:
                found += self.kubernetes.by_hand(list(same))
                continue
            for e in same:
                if known := [line for each in these for line in each.by_hand([e])]:
                    found += known
                    continue
                target, _, path = e.target.partition("/")
                if document is None or isinstance(e.after, Blob):
                    found += in_words(uses, [e])
                    continue
                below, field = (path, document) if document else path.rpartition("/")[::2]
                found.append(self.http.by_hand(target, f"/{below}", field, e.after))
        return found

    async def where(self) -> Mapping[str, Where]:
        """Target -> which place it is. Of a database its server is asked, now and then; nothing is sent to others."""
        clusters = self.kubernetes.clusters
        try:
            async with asyncio.timeout(PATIENCE):
                known = await self.kubernetes.where()
        except TimeoutError:
            known = {c.name: Where("not known (its kubeconfig takes too long)", "", "kubernetes") for c in clusters}
        try:
            async with asyncio.timeout(PATIENCE):
                databases = await self.databases.where()
        except TimeoutError:
            databases = self.databases.named
        return {**self.named, **known, **databases}

    async def close(self) -> None:
        """End every connection."""
        await self.http.close()
        await self.kubernetes.close()
        await self.journeys.close()
        await self.sites.close()
        await self.edges.close()
        await self.databases.close()
        await self.backups.close()
        await self.metrics.close()
        await self.caches.close()
