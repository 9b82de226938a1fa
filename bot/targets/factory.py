"""From the catalogue to the adapters: which target is reached by what, and with which of the environment's values.

Invariants: what the environment lacks is named by its variable, never by its value; the redactor learns every value.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from bot.adapters.absent import NoDatabases
from bot.adapters.aws.account import Access, Account
from bot.adapters.aws.backups import BucketShelf
from bot.adapters.aws.buckets import Folder
from bot.adapters.aws.sites import S3Sites, StoredSite
from bot.adapters.backups import FolderShelf, ServiceBackups, Shelved
from bot.adapters.edges import EdgeEndpoint, EdgesClient
from bot.adapters.http import HttpClient, HttpEndpoint
from bot.adapters.journeys import Walks
from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.adapters.prometheus import Prometheus, PrometheusEndpoint
from bot.adapters.redis import Behind, Pacing, RedisCaches, RedisEndpoint, RedisServer
from bot.adapters.session import Session
from bot.catalogue import Catalogue, Service
from bot.catalogued.backups import BackupsTarget
from bot.catalogued.frontend import EdgeTarget, SiteTarget
from bot.catalogued.http import HttpTarget
from bot.catalogued.kubernetes import KubernetesTarget
from bot.catalogued.postgres import PostgresTarget
from bot.catalogued.prometheus import PrometheusTarget
from bot.catalogued.redis import RedisTarget
from bot.ports import Page, Unreachable
from bot.ports.backups import Rules, Shelf
from bot.ports.databases import Database, NotAllowed
from bot.ports.kubernetes import Cluster
from bot.ports.metrics import Monitor, Watched
from bot.ports.partners import CataloguedPartners
from bot.redaction import held
from bot.redaction.redactor import Redactor
from bot.settings import Settings
from bot.targets.adapters import Adapters
from bot.tls import trust

if TYPE_CHECKING:
    from bot.adapters.postgres import PostgresDatabases


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
    edges: dict[str, EdgeEndpoint] = {}
    for name, target in service.targets.items():
        match target:
            case HttpTarget():
                http[name] = _endpoint(target)
            case KubernetesTarget():
                clusters.append(ClusterTarget(cluster_of(name, target), target.kubernetes, target.timeout))
            case PrometheusTarget():
                watchers.append(_watcher(name, target))
            case SiteTarget():
                sites[name] = site_of(target)
            case EdgeTarget():
                edges[name] = _edge(target)
            case PostgresTarget():
                databases[name] = target
            case RedisTarget():
                caches[name] = target
            case BackupsTarget():
                shelves[name] = _shelved(target, settings.ca_file)
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
        partners=CataloguedPartners(service.partners),
    )


def cluster_of(name: str, target: KubernetesTarget) -> Cluster:
    """As handlers see it."""
    return Cluster(
        name, target.namespace, target.wave, target.workers, target.settings, target.applications, target.selector,
        target.break_glass, target.flux, target.noise, target.probe,
    )  # fmt: skip


def site_of(target: SiteTarget) -> StoredSite:
    """Builds lie in the bucket of the site, where nothing else is said."""
    at = Folder.of(target.site)
    builds = Folder.of(target.builds) if target.builds else Folder(at.bucket)
    return StoredSite(at, builds, access_of(target), target.acl, target.switch)


def _edge(target: EdgeTarget) -> EdgeEndpoint:
    """With the values that the environment has for its headers."""
    values, lacking = _environment(target)
    return EdgeEndpoint(
        target.edge, target.timeout, target.cloudfront, target.origin, access_of(target), target.purge, target.method,
        values, target.headers, lacking, target.probes, target.backend, target.reports,
    )  # fmt: skip


def _walks(service: Service, targets: Mapping[str, HttpEndpoint], redactor: Redactor, trusted: ssl.SSLContext) -> Walks:
    """With the values that the environment has for the journeys' variables."""
    named = {name: journey.variables for name, journey in service.journeys.items()}
    values = {n: {k: os.environ.get(variable, "") for k, variable in given.items()} for n, given in named.items()}
    lacking = {n: sorted(v for v in given.values() if not os.environ.get(v)) for n, given in named.items()}
    return Walks(
        service.name, service.journeys, targets, Session(trusted), values, lacking,
        lambda value: redactor.alters(value) is not None,
    )  # fmt: skip


def _shelved(target: BackupsTarget, ca_file: Path | None) -> Shelved:
    rules = Rules(target.of or "", target.max_age, target.least)
    shelf: Shelf = FolderShelf(Path(target.backups), target.names)
    if target.backups.startswith("s3://"):
        shelf = BucketShelf(Account(access_of(target), ca_file), Folder.of(target.backups), target.names)
    return Shelved(shelf, rules, target.programs or "")


def access_of(target: SiteTarget | BackupsTarget | EdgeTarget) -> Access:
    """How its service is reached; an edge is reached by nobody's key."""
    key, secret = ("", "") if isinstance(target, EdgeTarget) else (target.key or "", target.secret or "")
    return Access(target.region, target.endpoint, target.role, key, secret, target.timeout)


def _databases(
    settings: Settings, targets: Mapping[str, PostgresTarget], service: Service, catalogue: Catalogue
) -> PostgresDatabases | NoDatabases:
    """Imported where there are any: the driver and the grammar take a while."""
    if not targets:
        return NoDatabases()
    from bot.adapters.postgres import DatabaseTarget, PostgresDatabases

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
    return PostgresDatabases(found)


def _own(url: str) -> tuple[str, int, str] | None:
    """Where the bot's own database is; None for one in a file."""
    parts = urlsplit(url)
    if not parts.scheme.startswith("postgresql"):
        return None
    host = parse_qs(parts.query).get("host", [parts.hostname or "localhost"])[0]
    return host, parts.port or 5432, parts.path.strip("/")


def _shares(service: Service, target: PostgresTarget) -> bool:
    return any(isinstance(t, PostgresTarget) and t.parts == target.parts for t in service.targets.values())


def _cache(
    name: str, target: RedisTarget, trusted: ssl.SSLContext, bases: PostgresDatabases | NoDatabases
) -> RedisEndpoint:
    """With the password that the environment has for it, and what asks the database behind it."""
    host, port, number = target.parts
    password = os.environ.get(target.password, "") if target.password else ""
    lacking = (target.password,) if target.password and not password else ()
    server = RedisServer(
        host, port, number, target.username or "", password, target.password or "", lacking, target.cluster,
        target.timeout, trusted if target.tls else None,
    )  # fmt: skip
    behind = _behind(target.database, target.sessions, bases) if target.database else None
    return RedisEndpoint(target.cache(name), server, Pacing(target.latency, rate=target.rate, behind=behind))


def _behind(database: str, most: int, bases: PostgresDatabases | NoDatabases) -> Callable[[], Awaitable[Behind]]:
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


def _endpoint(target: HttpTarget) -> HttpEndpoint:
    page = Page(target.health, target.errors, target.cluster or "") if target.health else None
    entry = Page(target.entry, cluster=target.cluster or "") if target.entry else None
    return replace(_reached(target.http, target), page=page, entry=entry)


def _watcher(name: str, target: PrometheusTarget) -> PrometheusEndpoint:
    series = {key: Watched(key, **asdict(each)) for key, each in target.series.items()}
    monitor = Monitor(
        name, series, target.cluster or "", target.labels, target.groups, target.jobs, target.always,
        told=target.alertmanager is not None,
    )  # fmt: skip
    return PrometheusEndpoint(monitor, _reached(target.prometheus, target), target.alertmanager or "")


def _reached(url: str, target: HttpTarget | PrometheusTarget) -> HttpEndpoint:
    """With the values that the environment has for its headers."""
    values, lacking = _environment(target)
    if target.token:
        values["Authorization"] = f"Bearer {os.environ.get(target.token, '')}"
    return HttpEndpoint(
        url, target.timeout, values, variables=target.headers, token=target.token or "", lacking=lacking
    )


def _environment(target: HttpTarget | PrometheusTarget | EdgeTarget) -> tuple[dict[str, str], tuple[str, ...]]:
    """Its headers with their values; and the variables of the target that are not set."""
    values = {header: os.environ.get(variable, "") for header, variable in target.headers.items()}
    return values, tuple(sorted(name for name in target.variables if not os.environ.get(name)))
