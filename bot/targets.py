"""What reaches the targets: the adapters of every service, and whether they lead where a run was approved for.

Invariants:
- a run that has pinned its places is worked on there or nowhere: adapters that lead elsewhere are not handed out, and
  of a catalogue that was edited since neither are those of which nobody can tell (a context that does not exist);
- this node's catalogue is told to the others by the digests of its places, so that a run whose place nobody knows any
  more can be told from one that only this node does not know;
- what is said of a place holds no secret.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from pydantic import TypeAdapter

from bot.adapters.absent import NoDatabases, NoMaintenance
from bot.adapters.aws.account import Access
from bot.adapters.aws.buckets import Folder
from bot.adapters.aws.sites import S3Sites
from bot.adapters.aws.sites import SiteTarget as StoredSite
from bot.adapters.backups import FolderShelf, ServiceBackups, Shelved
from bot.adapters.edges import EdgesClient
from bot.adapters.edges import EdgeTarget as Front
from bot.adapters.http import HttpClient
from bot.adapters.http import HttpTarget as Endpoint
from bot.adapters.journeys import Walks
from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.adapters.prometheus import Prometheus
from bot.adapters.prometheus import PrometheusTarget as Watcher
from bot.adapters.redis import Behind, Pacing, RedisCaches, Server
from bot.adapters.redis import RedisTarget as CacheTarget
from bot.adapters.session import Session
from bot.catalogue import (
    BackupsTarget,
    Catalogue,
    HttpTarget,
    KubernetesTarget,
    PostgresTarget,
    Service,
)
from bot.catalogued.frontend import EdgeTarget, SiteTarget
from bot.catalogued.prometheus import PrometheusTarget
from bot.catalogued.redis import RedisTarget
from bot.contract import Edit
from bot.engine.ground import Ground
from bot.node.reloading import InForce
from bot.ports import Blob, Page, Record, Unreachable, Where
from bot.ports.backups import Memory, Rules
from bot.ports.databases import Database, NotAllowed
from bot.ports.kubernetes import Cluster, Kubernetes
from bot.ports.maintenance import Maintenance as Upkeep
from bot.ports.metrics import Monitor, Watched
from bot.ports.partners import Listed
from bot.redaction import held
from bot.redaction.redactor import Redactor
from bot.run.state import Run
from bot.run.where import otherwise, untold
from bot.settings import Settings
from bot.store.lease import Lease
from bot.store.log import Store
from bot.store.rows import Known
from bot.telling.by_hand import in_words
from bot.tls import trust

if TYPE_CHECKING:
    from bot.adapters.postgres import Databases
    from bot.adapters.postgres.maintenance import Maintenance as PostgresMaintenance

PATIENCE = 3.0
"""Seconds that finding out where a target is may take: a kubeconfig may run a program for its token."""
HEARD = 2.0
"""Seconds for which what other nodes say is not asked again."""
TOLD = "places/"
"""What the database keeps a node's places under, with its id."""
KEEP = 3600.0
"""Seconds for which what a node said is kept behind its end."""

Places = Mapping[str, Mapping[str, Where]]
"""Service -> target -> which place it is."""
_SAID: TypeAdapter[Places] = TypeAdapter(dict[str, dict[str, Where]])


_DOCUMENTS = {"release.switch": "release", "service.quiesce": ""}
"""Handlers whose edits are a field of a JSON document: the field, or "" where the edit's target ends with it."""


_PUBLISHING = frozenset({"frontend.publish", "edge.invalidate"})
"""Handlers whose edits are objects of a site."""


@dataclass(frozen=True, slots=True, eq=False)
class Adapters:
    """What reaches the targets of one service."""

    http: HttpClient
    kubernetes: Clusters
    journeys: Walks = field(kw_only=True)
    sites: S3Sites = field(default_factory=lambda: S3Sites({}), kw_only=True)
    edges: EdgesClient = field(default_factory=lambda: EdgesClient({}), kw_only=True)
    partners: Listed = field(kw_only=True)
    databases: Databases | NoDatabases = field(default_factory=NoDatabases)
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

    def maintenance(self, record: Record, memory: Memory | None = None) -> Upkeep:
        """What is done to whole databases, changing something only after `record`. memory: where proofs are kept."""
        upkeep = self._upkeep
        return NoMaintenance().bind(record) if upkeep is None else upkeep.bind(record, memory)

    @property
    def _upkeep(self) -> PostgresMaintenance | None:
        if isinstance(self.databases, NoDatabases):
            return None
        from bot.adapters.postgres.maintenance import Maintenance

        return Maintenance(self.databases, self.backups)

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

    def by_hand(self, uses: str, edits: Sequence[Edit]) -> Sequence[str]:
        """What a person types to make a handler's edits so; in words where no command is known."""
        found: list[str] = []
        upkeep = self._upkeep
        these = (self.databases, self.caches, *([upkeep] if upkeep is not None else []))
        sites = {s.name for s in self.sites.sites}
        if uses in _PUBLISHING and all(e.target.partition("/")[0] in sites for e in edits):
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
                document, _, field = path.rpartition("/")
                if uses not in _DOCUMENTS or isinstance(e.after, Blob):
                    found += in_words(uses, [e])
                    continue
                if _DOCUMENTS[uses]:
                    document, field = path, _DOCUMENTS[uses]
                found.append(self.http.by_hand(target, f"/{document}", field, e.after))
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


def adapters_of(settings: Settings, catalogue: Catalogue, redactor: Redactor | None = None) -> dict[str, Adapters]:
    """Service -> what reaches its targets; nothing is opened before the first call, all are to be closed. redactor:
    learns what the targets' variables hold, and knows which bodies are recorded by their digest."""
    knows = redactor or Redactor()
    knows.learn(held.by_catalogue(catalogue))
    trusted = trust(settings.ca_file)
    return {
        name: _adapters(settings, service, knows, trusted, catalogue) for name, service in catalogue.services.items()
    }


def _adapters(
    settings: Settings, service: Service, redactor: Redactor, trusted: ssl.SSLContext, catalogue: Catalogue
) -> Adapters:
    http, clusters, databases, shelves, watchers, caches = {}, [], {}, {}, [], {}
    sites: dict[str, StoredSite] = {}
    edges: dict[str, Front] = {}
    for name, target in service.targets.items():
        match target:
            case HttpTarget():
                http[name] = _endpoint(target)
            case KubernetesTarget():
                cluster = Cluster(
                    name, target.namespace, target.wave, target.workers, target.settings, target.applications,
                    target.selector, target.break_glass, target.flux, target.noise,
                )  # fmt: skip
                clusters.append(ClusterTarget(cluster, target.kubernetes, target.timeout))
            case PrometheusTarget():
                watchers.append(_watcher(name, target))
            case SiteTarget():
                sites[name] = _site(target)
            case EdgeTarget():
                edges[name] = _edge(target)
            case PostgresTarget():
                databases[name] = target
            case RedisTarget():
                caches[name] = target
            case BackupsTarget():
                shelves[name] = _shelved(target)
    bases = _databases(settings, databases, service, catalogue)
    client = HttpClient(http, trust=trusted, secret=lambda body: redactor.alters(body) is not None)
    return Adapters(
        client,
        Clusters(clusters, settings.kubeconfig),
        bases,
        RedisCaches([_cache(n, t, trusted, bases) for n, t in caches.items()]),
        ServiceBackups(shelves),
        Prometheus(watchers, trust=trusted),
        sites=S3Sites(sites, ca_file=settings.ca_file),
        edges=EdgesClient(edges, trust=trusted, ca_file=settings.ca_file),
        journeys=_walks(service, http, redactor, trusted),
        partners=Listed(service.partners),
    )


def _site(target: SiteTarget) -> StoredSite:
    """Builds lie in the bucket of the site, where nothing else is said."""
    at = Folder.of(target.site)
    builds = Folder.of(target.builds) if target.builds else Folder(at.bucket)
    access = Access(
        target.region, target.endpoint, target.role, target.key or "", target.secret or "", target.timeout
    )  # fmt: skip
    return StoredSite(at, builds, access, target.acl, target.switch)


def _edge(target: EdgeTarget) -> Front:
    """With the values that the environment has for its headers."""
    values = {header: os.environ.get(variable, "") for header, variable in target.headers.items()}
    lacking = tuple(sorted(name for name in target.variables if not os.environ.get(name)))
    access = Access(target.region, target.endpoint, target.role, timeout=target.timeout)
    return Front(
        target.edge, target.timeout, target.cloudfront, target.origin, access, target.purge, target.method, values,
        target.headers, lacking, target.probes, target.backend, target.reports,
    )  # fmt: skip


def _walks(service: Service, targets: Mapping[str, Endpoint], redactor: Redactor, trusted: ssl.SSLContext) -> Walks:
    """With the values that the environment has for the journeys' variables."""
    named = {name: journey.variables for name, journey in service.journeys.items()}
    values = {n: {k: os.environ.get(variable, "") for k, variable in given.items()} for n, given in named.items()}
    lacking = {n: sorted(v for v in given.values() if not os.environ.get(v)) for n, given in named.items()}
    return Walks(
        service.name, service.journeys, targets, Session(trusted), values, lacking,
        lambda value: redactor.alters(value) is not None,
    )  # fmt: skip


def _shelved(target: BackupsTarget) -> Shelved:
    rules = Rules(target.of or "", target.max_age, target.least)
    return Shelved(FolderShelf(Path(target.backups), target.names), rules, target.programs or "")


def _databases(
    settings: Settings, targets: Mapping[str, PostgresTarget], service: Service, catalogue: Catalogue
) -> Databases | NoDatabases:
    """Imported where there are any: the driver and the grammar take a while."""
    if not targets:
        return NoDatabases()
    from bot.adapters.postgres import Databases, DatabaseTarget

    own = _own(settings.database_url)
    found = []
    for name, t in targets.items():
        host, port, database = t.parts
        others = [s.name for s in catalogue.services.values() if s.name != service.name and _shares(s, t)]
        at = Database(
            name, database, t.schema, t.migrations is not None, t.rows, t.integrity,
            {what: (u.since, u.query) for what, u in t.unreadable.items()}, tuple(others), t.parts == own,
        )  # fmt: skip
        target = DatabaseTarget(
            at, host, port, t.login, t.admin or "", t.tls, str(settings.ca_file or ""), t.timeout, t.statement_timeout,
            t.lock_timeout, t.migrations or "", t.python or "", t.url, t.driver, t.environment,
        )  # fmt: skip
        found.append(target)
    return Databases(found)


def _own(url: str) -> tuple[str, int, str] | None:
    """Where the bot's own database is; None for one in a file."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgresql"):
        return None
    host = parse_qs(parts.query).get("host", [parts.hostname or "localhost"])[0]
    return host, parts.port or 5432, parts.path.strip("/")


def _shares(service: Service, target: PostgresTarget) -> bool:
    return any(isinstance(t, PostgresTarget) and t.parts == target.parts for t in service.targets.values())


def _cache(name: str, target: RedisTarget, trusted: ssl.SSLContext, bases: Databases | NoDatabases) -> CacheTarget:
    """With the password that the environment has for it, and what asks the database behind it."""
    host, port, number = target.parts
    password = os.environ.get(target.password, "") if target.password else ""
    lacking = (target.password,) if target.password and not password else ()
    server = Server(
        host, port, number, target.username or "", password, target.password or "", lacking, target.cluster,
        target.timeout, trusted if target.tls else None,
    )  # fmt: skip
    behind = _behind(target.database, target.sessions, bases) if target.database else None
    return CacheTarget(target.cache(name), server, Pacing(target.latency, rate=target.rate, behind=behind))


def _behind(database: str, most: int, bases: Databases | NoDatabases) -> Callable[[], Awaitable[Behind]]:
    """Asks the database behind a cache. most: sessions at work above which it can bear no more misses."""

    async def ask() -> Behind:
        if isinstance(bases, NoDatabases):
            return Behind()
        try:
            at_work, hidden = await bases.at_work(database)
        except (Unreachable, NotAllowed) as error:
            return Behind(f"{database}, which answers what the cache does not, cannot be asked: {error}", hold=True)
        if at_work > most:
            return Behind(f"{database} has {at_work} sessions at work, above {most}", hold=True)
        return Behind(f"whether {hidden} sessions of {database} are at work is not shown to us" if hidden else "")

    return ask


def _endpoint(target: HttpTarget) -> Endpoint:
    page = Page(target.health, target.errors, target.cluster or "") if target.health else None
    entry = Page(target.entry, cluster=target.cluster or "") if target.entry else None
    return replace(_reached(target.http, target), page=page, entry=entry)


def _watcher(name: str, target: PrometheusTarget) -> Watcher:
    series = {key: Watched(key, **asdict(each)) for key, each in target.series.items()}
    monitor = Monitor(
        name, series, target.cluster or "", target.labels, target.groups, target.jobs, target.always,
        told=target.alertmanager is not None,
    )  # fmt: skip
    return Watcher(monitor, _reached(target.prometheus, target), target.alertmanager or "")


def _reached(url: str, target: HttpTarget | PrometheusTarget) -> Endpoint:
    """With the values that the environment has for its headers."""
    values = {header: os.environ.get(variable, "") for header, variable in target.headers.items()}
    lacking = tuple(sorted(name for name in target.variables if not os.environ.get(name)))
    if target.token:
        values["Authorization"] = f"Bearer {os.environ.get(target.token, '')}"
    return Endpoint(url, target.timeout, values, variables=target.headers, token=target.token or "", lacking=lacking)


class Nodes:
    """What nodes tell each other of their places. lease: this node's, once it has one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lease: Lease | None = None
        self._told = ""
        self._heard: tuple[float, Mapping[str, Places | None]] = (float("-inf"), {})

    async def tell(self, places: Places) -> None:
        """What this one's catalogue says: service -> target -> place."""
        body = _SAID.dump_json(dict(places)).decode()
        if self.lease is not None and body != self._told:
            await self._store.put_known(Known(TOLD + self.lease.id, body, time.time()))
            self._told = body

    async def others(self) -> Mapping[str, Places | None]:
        """Node -> what it says, of those that are alive; None where it has said nothing (yet)."""
        at, known = self._heard
        if self.lease is None or time.monotonic() - at < HEARD:
            return known
        if alive := await asyncio.to_thread(self.lease.alive_nodes) - {self.lease.id}:
            rows = {k.name.removeprefix(TOLD): k for k in await self._store.all_known(TOLD)}
            for node in rows.keys() - alive - {self.lease.id}:
                if rows[node].at < time.time() - KEEP:
                    await self._store.forget(TOLD + node)
            known = {node: _said(rows[node].body) if node in rows else None for node in sorted(alive)}
        else:
            known = {}
        self._heard = (time.monotonic(), known)
        return known


def _said(body: str) -> Places | None:
    try:
        return _SAID.validate_json(body)
    except ValueError:  # of another version
        return None


def _opened_with(run: Run) -> str:
    """The digest of the catalogue that the run was opened with; empty where nothing says."""
    return run.created.digests.get("catalogue", "") if run.created is not None else ""


class Reach:
    """The adapters of every service, by the catalogue in force; and, while runs that have changed something through
    them are under way, by an earlier one."""

    def __init__(self, settings: Settings, store: Store, held: InForce, redactor: Redactor) -> None:
        self._settings, self._store, self._held = settings, store, held
        self._redactor = redactor
        self.now = adapters_of(settings, held, redactor)
        self._earlier: dict[str, Mapping[str, Adapters]] = {}
        self._known: dict[Adapters, Mapping[str, Where]] = {}
        self._digest = held.digest
        self._nodes = Nodes(store)

    async def join(self, lease: Lease) -> None:
        """From here on the other nodes hear of this one's places, and it of theirs."""
        self._nodes.lease = lease
        await self.tell()

    @property
    def clusters(self) -> Mapping[str, Kubernetes]:
        """Service -> its clusters."""
        return {name: adapters.kubernetes for name, adapters in self.now.items()}

    def of(self, run: Run) -> Adapters:
        """Those that lead where the run is to be worked on, as far as this process knows them. Unreachable where there
        are none."""
        if not run.places:  # of an older version, which pinned nothing
            there = self._earlier.get(_opened_with(run), self.now).get(run.service)
            if there is None:
                raise Unreachable(f"the catalogue has no service {run.service!r} any more; put it back to go on")
            return there
        found = self._fitting(run)
        if found is None:
            here = self.now.get(run.service)
            why = "; ".join(untold(run.places, self._said(here))) if here is not None else ""
            leads = f"this node's catalogue does not lead where {run.id} was approved for"
            raise Unreachable(f"{leads}{f': {why}; correct the catalogue or the kubeconfig' if why else ''}")
        found.kubernetes.hold(run.places)
        found.databases.hold(run.places)
        return found

    def _fitting(self, run: Run) -> Adapters | None:
        """The adapters that lead where the run is pinned: those in force, or some of before. Where none is known to,
        those of the catalogue that the run was opened with: they are held to its places once somebody can."""
        opened = _opened_with(run)
        catalogues = ((self._digest, self.now), *reversed(self._earlier.items()))
        mine = [(digest, a) for digest, c in catalogues if (a := c.get(run.service)) and not self._otherwise(run, a)]
        known = (a for _, a in mine if not untold(run.places, self._said(a)))
        return next(chain(known, (a for digest, a in mine if digest == opened)), None)

    def _otherwise(self, run: Run, adapters: Adapters) -> tuple[str, ...]:
        return otherwise(run.places, self._said(adapters))

    def _said(self, adapters: Adapters) -> Mapping[str, Where]:
        """Target -> which place it is, as it was found last."""
        return self._known.get(adapters) or adapters.named

    async def places(self, service: str) -> Mapping[str, Where]:
        """Target -> which place it is, by the catalogue in force. LookupError for a service that it has not."""
        adapters = self.now[service]
        if adapters.kubernetes.led_elsewhere:
            await self._anew(service)
            adapters = self.now[service]
        found = await adapters.where()
        self._known[adapters] = found
        return found

    async def pins(self, service: str) -> tuple[Mapping[str, Where], tuple[str, ...]]:
        """What a new run of the service pins; and what other nodes' catalogues say otherwise, a line each."""
        here = await self.places(service)
        said = await self._nodes.others()
        known = {node: theirs[service] for node, theirs in said.items() if theirs is not None and service in theirs}
        told = ((node, otherwise(here, theirs)) for node, theirs in known.items())
        lines = (f"node {node} has another catalogue and takes no part: {'; '.join(how)}" for node, how in told if how)
        return here, tuple(lines)

    async def ground(self, run: Run) -> Ground:
        """How this node's catalogue, and the others', stand to where the run is pinned."""
        if not run.places:
            return Ground()
        others = await self._nodes.others()
        said = [(theirs or {}).get(run.service) for theirs in others.values()]
        stands = any(theirs is not None and not otherwise(run.places, theirs) for theirs in said)
        alone = not stands and None not in others.values()
        if run.service not in self.now:
            why: tuple[str, ...] = (f"the catalogue has no service {run.service}",)
            return Ground(why, self._fitting(run) is not None, alone)
        here = await self.places(run.service)
        if why := otherwise(run.places, here):
            return Ground(why, self._fitting(run) is not None, alone, here)
        if (why := untold(run.places, here)) and self._fitting(run) is None:
            return Ground(why, alone=alone)
        return Ground()

    async def tell(self) -> None:
        """Tells the other nodes what this one's catalogue says."""
        found = {service: await self.places(service) for service in self.now}
        await self._nodes.tell(found)

    async def renew(self) -> None:
        """Another catalogue is in force. What no open run needs any more is closed."""
        self._earlier[self._digest], self._digest = self.now, self._held.digest
        self.now = adapters_of(self._settings, self._held, self._redactor)
        runs = [await self._store.load(h.run) for h in await self._store.heads(open=True, limit=None)]
        opened = {_opened_with(r) for r in runs}
        pinned = [r for r in runs if r.places]
        for digest, there in [*self._earlier.items()]:
            fits = any((a := there.get(r.service)) and not self._otherwise(r, a) for r in pinned)
            if digest not in opened and not fits:
                await self._close(self._earlier.pop(digest))
        await self.tell()

    async def _anew(self, service: str) -> None:
        """Reads the kubeconfig from the beginning: it leads elsewhere by now."""
        before = self.now[service]
        fresh = adapters_of(self._settings, self._held, self._redactor)
        self.now = {**self.now, service: fresh.pop(service)}
        await self._close({**fresh, service: before})

    async def close(self) -> None:
        """End every connection."""
        for each in (self.now, *self._earlier.values()):
            await self._close(each)

    async def _close(self, adapters: Mapping[str, Adapters]) -> None:
        for each in adapters.values():
            self._known.pop(each, None)
            await each.close()
