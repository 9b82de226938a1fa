"""Puts the bot together, once, from settings: the only module that knows every other one.

`running` is the whole bot with its engine; `offline` is what can be used without one (checking plans, verifying the
record, issuing a token on the host). Everything that was opened is closed again, in reverse order.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import actions
import checks
from bot.adapters.http import HttpClient, HttpTarget
from bot.blobs import FileBlobs
from bot.catalogue import Catalogue, load_catalogue
from bot.engine.executor import Executor
from bot.engine.reconciler import Engine
from bot.lease import Lease, take
from bot.people import CatalogueDirectory, Directory, Tokens
from bot.ports import Blobs, Http, Record
from bot.redact import Redactor
from bot.registry import Registry
from bot.releases import Releases
from bot.rollbacks import Plans, Rollbacks
from bot.run import events as ev
from bot.run.state import Run
from bot.settings import Settings, SettingsError
from bot.store import Store
from bot.view import by_hand

VERSION = metadata.version("rollback-bot")


@dataclass(frozen=True, slots=True)
class Wired:
    """bot.ports.Ports: the adapters of one service, writing through one attempt's record."""

    blobs: Blobs
    http: Http


@dataclass(frozen=True, slots=True)
class Offline:
    """What needs no engine. ports: the names that this wiring provides."""

    settings: Settings
    catalogue: Catalogue
    registry: Registry
    plans: Plans
    store: Store
    redactor: Redactor
    files: FileBlobs
    people: Directory
    tokens: Tokens
    releases: Releases
    ports: frozenset[str]
    clock: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Bot(Offline):
    """The whole bot, at work."""

    engine: Engine
    executor: Executor
    lease: Lease
    rollbacks: Rollbacks
    adapters: Mapping[str, HttpClient]

    async def ready(self) -> Mapping[str, str]:
        """Name -> what is wrong with it, empty where all is well: database, lease, and every target's ping."""
        found = {"lease": "" if self.lease.live() else "lost: this node may not act"}
        found["database"] = await _fault(self.store.check_schema())
        for service, client in self.adapters.items():
            found |= {f"{service}/{target}": fault for target, fault in (await client.ping()).items()}
        return found


@asynccontextmanager
async def offline(settings: Settings, clock: Callable[[], float] = time.time) -> AsyncIterator[Offline]:
    """The bot without its engine. SettingsError, Faults (catalogue) or StoreUnavailable say what is wrong."""
    catalogue = read_catalogue(settings.catalogue)
    registry = Registry.discover(actions, checks)
    redactor = Redactor(_secrets(settings))
    files = FileBlobs(_folder(settings.blobs_url))
    store = await Store.open(settings.database_url)
    try:
        yield Offline(
            settings, catalogue, registry, Plans(settings.plans), store, redactor, files, CatalogueDirectory(catalogue),
            Tokens(store, clock), Releases(store, clock), frozenset({"blobs", "http"}), clock,
        )  # fmt: skip
    finally:
        await store.close()


@asynccontextmanager
async def running(settings: Settings, clock: Callable[[], float] = time.time) -> AsyncIterator[Bot]:
    """The bot at work, until the block ends. AlreadyRunning where another process has the database (SQLite)."""
    async with contextlib.AsyncExitStack() as stack:
        base = await stack.enter_async_context(offline(settings, clock))
        await base.store.check_schema()
        lease = await asyncio.to_thread(take, settings.database_url, version=VERSION, ttl=settings.lease)
        stack.callback(lease.close)
        adapters = {name: HttpClient(_http_targets(base.catalogue, name)) for name in base.catalogue.services}
        for client in adapters.values():
            stack.push_async_callback(client.close)

        def ports_of(service: str, record: Record) -> Wired:
            return Wired(base.files, adapters[service].bind(record))

        outside = Outside(base.files, base.store, base.releases, clock)
        engine = Engine(
            base.store, base.registry, ports_of, base.people, redactor=base.redactor, node=lease.id,
            watchers=(outside.files_behind, outside.anchor, outside.ledger), clock=clock, tick=settings.tick,
        )  # fmt: skip
        executor = Executor(
            settings.database_url, lease=lease, run_pass=engine.run_pass, on_cancelled=engine.on_cancelled, clock=clock
        )
        engine.use(executor)
        await executor.launch()
        stack.push_async_callback(executor.close)
        loop = asyncio.create_task(engine.loop())
        stack.push_async_callback(_end, loop)
        rollbacks = Rollbacks(
            engine, base.store, base.catalogue, base.plans, base.registry, base.releases, base.people,
            {"bot": VERSION, "catalogue": base.catalogue.digest}, clock,
        )  # fmt: skip
        known = {f: getattr(base, f) for f in Offline.__dataclass_fields__}
        bot = Bot(**known, engine=engine, executor=executor, lease=lease, rollbacks=rollbacks, adapters=adapters)
        await engine.people_changed()
        await base.releases.catch_up()
        yield bot


@dataclass(frozen=True, slots=True)
class Outside:
    """What is kept outside the database: by-hand files and the chain's head. And the ledger, told how runs end."""

    files: FileBlobs
    store: Store
    releases: Releases
    clock: Callable[[], float]

    async def files_behind(self, run: Run, events: Sequence[ev.Event]) -> None:
        """Writes the by-hand file before each step acts, and whenever people or failures changed something."""
        telling = (
            ev.Stopped,
            ev.Resumed,
            ev.Planned,
            ev.Created,
            ev.Started,
            ev.Applied,
            ev.Undone,
            ev.Failed,
            ev.Approved,
            ev.Aborted,
            ev.HandedOver,
            ev.Closed,
        )
        if any(isinstance(e, telling) for e in events):
            await asyncio.to_thread(self.files.put_anchor, f"by-hand/{run.id}.md", by_hand(run, self.clock()))

    async def anchor(self, run: Run, events: Sequence[ev.Event]) -> None:
        """Keeps the newest checkpoint beside the files, so that a cut tail of the database shows."""
        if any(isinstance(e, ev.Created | ev.Approved | ev.BrokeGlass | ev.Aborted | ev.Closed) for e in events):
            last = await self.store.last_checkpoint()
            if last is not None:
                await asyncio.to_thread(self.files.put_anchor, "checkpoint.json", last.text)

    async def ledger(self, run: Run, events: Sequence[ev.Event]) -> None:
        """Tells the release ledger what a run found out about releases."""
        if any(isinstance(e, ev.Closed | ev.Retargeted) for e in events):
            await self.releases.after_run(run)


def read_catalogue(path: Path) -> Catalogue:
    """The catalogue from its file. SettingsError if there is none, Faults with every mistake."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"there is no catalogue at {path}; ROLLBACK_CATALOGUE says where it is") from None
    except (OSError, UnicodeDecodeError) as e:
        raise SettingsError(f"the catalogue {path} cannot be read: {e}") from None
    return load_catalogue(text, str(path))


def _http_targets(catalogue: Catalogue, service: str) -> dict[str, HttpTarget]:
    return {n: HttpTarget(t.http, t.timeout) for n, t in catalogue.services[service].targets.items()}


def _folder(url: str) -> Path:
    scheme, _, rest = url.partition(":")
    if scheme != "file" or not rest:
        raise SettingsError(f"ROLLBACK_BLOBS_URL: {url!r} is not file:<folder>")
    return Path(rest)


def _secrets(settings: Settings) -> list[str]:
    own = [s.get_secret_value() for s in (settings.token, settings.webhook_secret) if s is not None]
    named = [os.environ.get(n.strip(), "") for n in settings.redact.split(",") if n.strip()]
    return [s for s in [*own, *named] if s]


async def _fault(question: object) -> str:
    try:
        await question  # type: ignore[misc]
    except Exception as e:
        return str(e)
    return ""


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


def digest_of(text: str) -> str:
    """ "sha256:<hex>" of a text."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
