"""Puts the bot together, once, from settings: the only module that knows every other one.

`running` is the whole bot with its engine; `offline` is what can be used without one (checking plans, verifying the
record, issuing a token on the host). Everything that was opened is closed again, in reverse order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

import actions
import checks
from bot.adapters.plots import PillowPlots
from bot.adapters.registry import RegistryClient
from bot.audit.history import StoredHistory
from bot.catalogue import NO_CATALOGUE, Catalogue, load_catalogue
from bot.engine.foresight import Foresight
from bot.engine.notices import StoredNotices, topic_of
from bot.engine.reconciler import Engine
from bot.engine.staff import NoChannels, Staff
from bot.handlers.registry import Registry
from bot.located.yamltree import content
from bot.node import journal
from bot.node.faults import NodeFaults, cramped, folders
from bot.node.lookout import Lookout
from bot.node.metrics import BotMetrics
from bot.node.outside import ByHand, Outside, RecordCut
from bot.node.paging import Pager, Paging
from bot.node.reloading import InForce, Reloading
from bot.node.status_pages import StatusPages
from bot.node.traces import NoTraces, Traces
from bot.opening.rollbacks import Rollbacks
from bot.people import CatalogueDirectory, Directory
from bot.plan.named import Plans
from bot.policy import Actor
from bot.ports import Blobs, ChannelAccess, Evidence, Http, ImageRegistry, Notices, People, Plots, Record, Secrets
from bot.ports.backups import Backups
from bot.ports.caches import Caches
from bot.ports.databases import Databases
from bot.ports.edges import Edges
from bot.ports.history import History
from bot.ports.journeys import Journeys
from bot.ports.kubernetes import Kubernetes
from bot.ports.maintenance import Maintenance
from bot.ports.metrics import Metrics
from bot.ports.partners import Partners
from bot.ports.sites import Sites
from bot.redaction import held
from bot.redaction.redactor import Redactor
from bot.releases.published import Published
from bot.releases.register import ReleaseRegister
from bot.releases.serving import Serving
from bot.releases.spells import Spells
from bot.run.state import Run
from bot.settings import Settings, SettingsError
from bot.steady.clock import Steady
from bot.store.begun import Begun
from bot.store.blobs import BlobsUnavailable, FileBlobs
from bot.store.database import told
from bot.store.evidence import KeptEvidence
from bot.store.lease import Lease, take
from bot.store.log import Keys, Store
from bot.store.remembered import Remembered
from bot.store.shared import Shared
from bot.store.tokens import Tokens
from bot.store.vouching import KEYLESS, unfit
from bot.targets.reach import Reach
from bot.telling.by_hand import Typist
from bot.telling.eta import Estimates, Eta
from bot.tls import trust

if TYPE_CHECKING:
    from bot.engine.executor import Executor
    from bot.slack.connected import Slack

log = logging.getLogger(__name__)

VERSION = metadata.version("rollback-bot")


@dataclass(frozen=True, slots=True)
class Wired:
    """bot.ports.Ports: the adapters of one service, writing through one attempt's record."""

    blobs: Blobs
    http: Http
    kubernetes: Kubernetes
    databases: Databases
    caches: Caches
    registry: ImageRegistry
    channels: ChannelAccess
    people: People
    notices: Notices
    secrets: Secrets
    sites: Sites = field(kw_only=True)
    edges: Edges = field(kw_only=True)
    journeys: Journeys = field(kw_only=True)
    partners: Partners = field(kw_only=True)
    history: History = field(kw_only=True)
    maintenance: Maintenance = field(kw_only=True)
    backups: Backups
    metrics: Metrics
    releases: Spells
    evidence: Evidence
    plots: Plots


@dataclass(frozen=True, slots=True)
class Offline:
    """What needs no engine. ports: the names that this wiring provides."""

    settings: Settings
    catalogue: InForce
    registry: Registry
    plans: Plans
    store: Store
    redactor: Redactor
    files: FileBlobs
    people: Directory
    tokens: Tokens
    releases: ReleaseRegister
    ports: frozenset[str]
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Bot(Offline):
    """The whole bot, at work."""

    engine: Engine
    executor: Executor
    lease: Lease
    rollbacks: Rollbacks
    reach: Reach
    reloading: Reloading
    pages: StatusPages
    estimates: Estimates
    outside: Outside
    shared: Shared
    metrics: BotMetrics
    slack: Slack | None = None
    paging: Paging | None = None

    @property
    def url(self) -> str:
        """Where the command line finds it."""
        return self.settings.url

    @property
    def posts(self) -> Mapping[str, Callable[[web.Request], Awaitable[web.Response]]]:
        """Path -> who answers there and knows by himself who asks, for `bot.web.app`."""
        return self.slack.posts if self.slack is not None else {}

    async def eta(self, run: Run) -> Eta | None:
        """How long a run will still take; None for one that has ended."""
        return await self.estimates.of(run, self.clock()) if run.open else None

    async def ready(self) -> Mapping[str, str]:
        """Name -> what is wrong with it, empty where all is well: database, lease, and every target's ping."""
        found = {"lease": "" if self.lease.live() else "lost: this node may not act"}
        found[f"catalogue {self.catalogue.digest[7:19]}"] = self.reloading.fault
        found["database"] = await _fault(check_schema(self.store))
        found |= await own(self.files, self.shared, self.store, self.clock)
        found["record"] = "" if found["database"] else await _fault(self.outside.whole())
        found["record copy"] = "" if found["database"] else await _fault(self.outside.fault())
        found["triggers"] = "" if found["database"] else await _fault(self.store.unguarded())
        found["signatures"] = "; ".join(f"run {run}: {why}" for run, why in self.engine.doubted.items())
        for service, adapters in self.reach.now.items():
            found |= {f"{service}/{target}": fault for target, fault in (await adapters.ping()).items()}
        found |= {f"places of {run}": f"takes no part: {why}" for run, why in self.engine.elsewhere.items()}
        found |= {"status pages": self.pages.fault} if self.pages.fault else {}
        found |= {"pager": self.paging.fault} if self.paging is not None else {}
        return {**found, **(self.slack.faults if self.slack is not None else {})}


async def own(files: FileBlobs, shared: Shared, store: Store, clock: Callable[[], float]) -> dict[str, str]:
    """What is wrong with what this node itself writes to, and goes by."""
    found = {"files": await _fault(files.ping()) or await _fault(shared.fault())}
    found["disk"] = await _fault(asyncio.to_thread(cramped, *folders(store, files.folder)))
    return {**found, "clock": clock.fault} if isinstance(clock, Steady) else found


@asynccontextmanager
async def offline(settings: Settings, clock: Callable[[], float] = time.time) -> AsyncIterator[Offline]:
    """The bot without its engine. SettingsError, Faults (catalogue) or StoreUnavailable say what is wrong."""
    plans = Plans(settings.plans)
    catalogue = InForce(read_catalogue(settings.catalogue, plans))
    registry = Registry.discover(actions, checks)
    redactor = redactor_of(settings)
    files = files_of(settings)
    store = await Store.open(settings.database_url, keys=keys_of(settings))
    try:
        if clock is time.time:
            clock = steady = Steady(common=None if store.db.lite else store.clock)
            await steady.refer()
        yield Offline(
            settings, catalogue, registry, plans, store, redactor, files,
            _last_known(settings, catalogue, store, clock), Tokens(store, clock), ReleaseRegister(store, clock),
            frozenset(f.name for f in fields(Wired)), clock,
        )  # fmt: skip
    finally:
        await store.close()


def _typed(reach: Reach, registry: Registry) -> Callable[[Run], Typist]:
    """What a person types in place of the handlers of a run, where it is worked on."""
    documents = registry.documents

    def of(run: Run) -> Typist:
        there = reach.of(run)
        return lambda uses, edits: there.by_hand(uses, edits, documents.get(uses))

    return of


@asynccontextmanager
async def running(settings: Settings, clock: Callable[[], float] = time.time) -> AsyncIterator[Bot]:
    """The bot at work, until the block ends. AlreadyRunning where another process has the database (SQLite)."""
    from bot.engine.executor import Executor  # DBOS takes half a second to import, and only a bot at work needs it

    async with contextlib.AsyncExitStack() as stack:
        base = await stack.enter_async_context(offline(settings, clock))
        clock = base.clock
        await check_schema(base.store)
        reach = Reach(settings, base.store, base.catalogue, base.redactor)
        stack.push_async_callback(reach.close)
        foresight = Foresight(base.registry, lambda run, record: ports_of(run, record), base.redactor, clock)
        estimates = Estimates(base.store, foresight.of)
        words = base.registry.words
        by_hand = ByHand(base.files, clock, _typed(reach, base.registry), foresight.of, words)
        outside = Outside(base.files, base.store, base.releases, clock, by_hand.of)
        await outside.begin()
        await keyed(base.store)
        slack: Slack | None = None
        if settings.slack != "off":
            from bot.slack.connected import Slack  # takes a while to import, and only this needs it

            slack = Slack(settings, base.catalogue, base.store, base.files, clock, by_hand.of, estimates)
            base = replace(base, people=slack.people)
            await slack.people.start()
        lease = await asyncio.to_thread(take, settings.database_url, version=VERSION, ttl=settings.lease)
        stack.callback(lease.close)
        await reach.join(lease)
        shared = Shared(base.files, lease)
        await shared.join()
        stack.push_async_callback(shared.leave)

        metrics = BotMetrics(base.store, clock)
        kept = KeptEvidence(base.files, base.redactor.text)
        pruning = asyncio.create_task(_pruned(kept, clock))
        stack.push_async_callback(_end, pruning)
        images = RegistryClient(trust=trust(settings.ca_file))
        stack.push_async_callback(images.close)

        def ports_of(run: Run, record: Record) -> Wired:
            staff = Staff(run, base.people, base.catalogue.roles)
            channels = NoChannels() if slack is None else slack.channels.of(run)
            named = str if slack is None else slack.channels.named
            notices = StoredNotices(base.store, base.redactor, run, record, clock, named)
            there = reach.of(run)
            http, kubernetes = there.http.bind(record), there.kubernetes.bind(record)
            databases = there.databases.bind(record)
            remembered = Remembered(base.store, clock)
            return Wired(
                base.files, metrics.counted("http", http), metrics.counted("kubernetes", kubernetes),
                metrics.counted("databases", databases), metrics.counted("caches", there.caches.bind(record)),
                metrics.counted("registry", images), channels, staff, notices,
                base.redactor, metrics.counted("backups", there.backups.bind(record, remembered)),
                metrics.counted("metrics", there.metrics), Spells(base.releases, run.service),
                sites=metrics.counted("sites", there.sites.bind(record, remembered)),
                edges=metrics.counted("edges", there.edges.bind(record)),
                journeys=metrics.counted("journeys", there.journeys.bind(Begun(base.store, clock))),
                partners=there.partners,
                history=StoredHistory(base.store, run, base.catalogue, lambda about: topic_of(about, named)),
                maintenance=metrics.counted("maintenance", there.maintenance(record, remembered)),
                evidence=kept, plots=PillowPlots(),
            )  # fmt: skip

        serving = Serving(
            reach.clusters, base.releases, base.files, images, clock, secrets=base.redactor
        )  # fmt: skip
        published = Published(lambda: reach.sites(Remembered(base.store, clock)), base.releases)

        def heard() -> None:
            serving.soon()
            published.soon()

        base.releases.heard = heard
        watching = asyncio.create_task(serving.run())
        stack.push_async_callback(_end, watching)
        pager = pager_of(settings)
        paging = Paging(base.store, lease, pager, clock) if pager is not None else None
        pages = StatusPages(base.store, lease, lambda: base.catalogue, reach.http, clock)
        traces = traces_of(settings, base.store)
        if traces is not None:
            stack.push_async_callback(traces.close)
        foresight.then = [lambda run: _again(base.store, run, outside, slack)]
        stack.push_async_callback(foresight.close)
        engine = Engine(
            base.store, base.registry, ports_of, base.people, redactor=base.redactor, node=lease.id,
            glass=lambda: base.catalogue.glass, ping=lambda run: reach.of(run).ping(), grounds=reach,
            clock=clock, tick=settings.tick,
            watchers=(journal.watch, metrics.watch, outside.files_behind, outside.anchor, outside.ledger,
                      *(w.watch for w in (slack, paging, traces, pages) if w is not None)),
        )  # fmt: skip
        executor = Executor(
            settings.database_url,
            lease=lease,
            run_pass=engine.run_pass,
            on_cancelled=engine.on_cancelled,
            clock=clock.old if isinstance(clock, Steady) else clock,
        )
        engine.use(executor)
        await executor.launch()
        stack.push_async_callback(executor.close)
        loop = asyncio.create_task(engine.loop())
        stack.push_async_callback(_end, loop)
        rollbacks = Rollbacks(
            engine, base.store, base.catalogue, base.plans, base.registry, base.releases, base.people,
            {"bot": VERSION}, clock, serving.to_remove, lambda: reach.clusters, reach.pins,
        )  # fmt: skip
        engine.watchers = (*engine.watchers, rollbacks.debts.watch, rollbacks.following.watch)

        async def changed(old: Catalogue) -> None:
            await keep_catalogue(base.files, base.catalogue)
            await reach.renew()
            serving.over(reach.clusters)
            published.soon()
            if slack is not None:
                slack.people.changed()
            await engine.people_changed()
            await engine.places_changed()
            tell_unfit(rollbacks)

        def read(text: str) -> Catalogue:
            return load_catalogue(text, str(settings.catalogue), base.plans.names())

        await keep_catalogue(base.files, base.catalogue)
        reloading = Reloading(settings.catalogue, base.catalogue, read, changed)
        known = {f: getattr(base, f) for f in Offline.__dataclass_fields__}
        bot = Bot(**known, engine=engine, executor=executor, lease=lease, rollbacks=rollbacks, reach=reach,
                  estimates=estimates, outside=outside, shared=shared, metrics=metrics, slack=slack,
                  reloading=reloading, paging=paging, pages=pages)  # fmt: skip
        await engine.people_changed()
        await engine.places_changed()
        await base.releases.catch_up()
        await rollbacks.debts.catch_up()
        await rollbacks.following.catch_up()
        for service in base.catalogue.services:
            await rollbacks.end_bans(service, Actor("bot", "the bot", (), "start"))
        faults = NodeFaults(lambda: own(base.files, shared, base.store, clock), base.store, clock)
        rollbacks.careful = lambda: faults.text
        for part in ("files", "disk"):
            metrics.gauge(f"rollback_{part}_at_fault", f"1 while something is wrong with the bot's {part}.",
                          lambda part=part: bool(faults.now.get(part)))  # type: ignore[misc]  # fmt: skip
        stack.push_async_callback(_end, asyncio.create_task(faults.run()))
        _gauges(bot)
        stack.push_async_callback(_end, asyncio.create_task(metrics.run()))
        stack.push_async_callback(_end, asyncio.create_task(outside.run()))
        stack.push_async_callback(_end, asyncio.create_task(reloading.run()))
        lookout = Lookout(lambda: reach.clusters, base.store, rollbacks.is_banned, engine.submit)
        stack.push_async_callback(_end, asyncio.create_task(lookout.run()))
        stack.push_async_callback(_end, asyncio.create_task(published.run()))
        stack.push_async_callback(_end, asyncio.create_task(pages.run()))
        if paging is not None:
            stack.push_async_callback(_end, asyncio.create_task(paging.run()))
        if slack is not None:
            stack.push_async_callback(slack.close)
            await slack.start(bot, lease, engine.people_changed)
            base.tokens.told = slack.token_issued
        stack.push_async_callback(_end, asyncio.create_task(base.tokens.run()))
        yield bot


async def keep_catalogue(files: FileBlobs, catalogue: Catalogue) -> None:
    """Under the digest that runs name: an auditor asks for the catalogue of that time. A full disk stops nobody."""
    with contextlib.suppress(BlobsUnavailable):
        await files.put(catalogue.text, "application/json")


async def _again(store: Store, run: Run, outside: Outside, slack: Slack | None) -> None:
    """More is known of a run, although nothing has happened to it."""
    await outside.file_behind(await store.load(run.id))
    if slack is not None:
        await slack.watch(run, ())


def _gauges(bot: Bot) -> None:
    """Numbers of parts that know them at any time."""
    gauge = bot.metrics.gauge
    gauge("rollback_lease_live", "1 while this node may act.", lambda: bot.lease.live())
    gauge("rollback_database_away", "1 while the database does not answer, or takes nothing.",
          lambda: bot.store.db.outage.away or bot.store.db.writing.away)  # fmt: skip
    gauge("rollback_record_cut", "1 while the database lacks what the copy outside knows of.",
          lambda: bot.outside.outage.away)  # fmt: skip
    gauge("rollback_record_not_kept", "1 while the head of the record has no copy outside, or none can be written.",
          lambda: bot.outside.copying.away)  # fmt: skip
    gauge("rollback_runs_not_believed", "Runs in which nothing is done, as their record is not believed.",
          lambda: len(bot.engine.doubted))  # fmt: skip
    gauge("rollback_catalogue_refused", "1 while the catalogue's file is refused.", lambda: bool(bot.reloading.fault))
    gauge(
        "rollback_pager_away",
        "1 while the pager takes nothing.",
        lambda: bool(bot.paging and bot.paging.fault),
    )
    gauge("rollback_publisher_faults", "Places of Slack where something is wrong.",
          lambda: sum(bool(fault) for fault in bot.slack.faults.values()) if bot.slack else 0)  # fmt: skip


def _last_known(settings: Settings, catalogue: Catalogue, store: Store, clock: Callable[[], float]) -> Directory:
    """Who there is, asked of nobody: the catalogue, or what Slack said last."""
    if settings.slack == "off":
        return CatalogueDirectory(catalogue)
    from bot.slack.workspace.directory import SlackDirectory

    return SlackDirectory(catalogue, None, store, clock, team=settings.slack_team)


def read_catalogue(path: Path, plans: Plans) -> Catalogue:
    """The catalogue from its file. Faults with every mistake, also where there is none."""
    return load_catalogue(content(path, NO_CATALOGUE), str(path), plans.names())


def tell_unfit(rollbacks: Rollbacks) -> None:
    """Logs which services could not be rolled back by their plans now."""
    for service, faults in rollbacks.unfit().items():
        for fault in faults.faults:
            log.error("%s cannot be rolled back by its plan: %s", service, fault)


def traces_of(settings: Settings, store: Store) -> Traces | None:
    """What sends runs to a collector; None where the settings name none. SettingsError where it cannot."""
    try:
        return Traces(store, settings.otlp_url, metadata.version("rollback-bot")) if settings.otlp_url else None
    except NoTraces as error:
        raise SettingsError(str(error)) from None


def pager_of(settings: Settings) -> Pager | None:
    """Whom to page at; None where no routing key is set."""
    key = settings.page_key
    return Pager(settings.page_url, key.get_secret_value(), trust=trust(settings.ca_file)) if key is not None else None


def keys_of(settings: Settings) -> Keys:
    """What this node signs with, and whom it believes."""
    return Keys(settings.own_key, settings.other_keys)


async def keyed(store: Store) -> None:
    """RecordCut where this node must not write to this record: it lacks a key, or knows none of those that signed."""
    if why := await unfit(store):
        raise RecordCut(why)
    if not store.keys.own:
        log.warning("%s", KEYLESS)


def files_of(settings: Settings) -> FileBlobs:
    """Where large values and by-hand files are kept. SettingsError."""
    scheme, _, rest = settings.blobs_url.partition(":")
    if scheme == "s3":
        from bot.store.bucket import BucketBlobs  # few need it

        try:
            return BucketBlobs(settings.blobs_url, settings.ca_file)
        except ValueError as error:
            raise SettingsError(f"ROLLBACK_BLOBS_URL: {error}") from error
    if scheme != "file" or not rest:
        raise SettingsError(
            f"ROLLBACK_BLOBS_URL: {settings.blobs_url!r} is neither file:<folder> nor s3://bucket/prefix"
        )
    return FileBlobs(Path(rest))


def redactor_of(settings: Settings) -> Redactor:
    """Knows every secret that the settings hold or name."""
    key = settings.digest_key
    return Redactor(held.by_settings(settings), key=key.get_secret_value() if key is not None else "")


async def check_schema(store: Store) -> None:
    """SchemaMismatch if the database is older or newer than this version; it says which and what to run."""
    import migrations  # Alembic takes a while to import, and only this needs it

    await migrations.check(store.db)


async def _fault(question: Awaitable[str | None]) -> str:
    """What a question raises, or answers in words; empty where neither."""
    try:
        return await question or ""
    except Exception as e:
        return str(e)


async def _pruned(kept: KeptEvidence, clock: Callable[[], float]) -> None:
    """Deletes evidence whose time is past, once an hour, until cancelled."""
    while True:
        with told(log, "evidence whose time is past cannot be deleted"):
            await asyncio.to_thread(kept.prune, datetime.fromtimestamp(clock(), UTC))
        await asyncio.sleep(3600)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def one_folder() -> None:
    """Refuses to start where the four packages come from different places (a half-installed upgrade)."""
    import bot
    import migrations

    homes = {Path(p.__file__ or "").resolve().parent.parent for p in (bot, actions, checks, migrations)}
    if len(homes) != 1:
        raise SettingsError(
            f"bot, actions, checks and migrations come from {len(homes)} folders: {sorted(map(str, homes))}"
        )
