"""For a dead bot only: the same commands, judged by the same policy, written straight into the database.

Invariants:
- never beside a live bot: the bot's own lock (SQLite) or lease (PostgreSQL) is held meanwhile, and refused if taken;
- one person, whom the operating system names and the catalogue knows; nobody can be named on the command line;
- in a run that was opened with another catalogue than the one here nothing is said: whoever names the file would say
  who may decide;
- what is said is recorded with `direct:<OS user>: <reason>` as the way in; nothing is carried out here: the bot goes
  on from it when one runs again, so no step's time passes while nobody works.

It is the bot's own web application on a loopback port, behind a token that only this process knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from bot import wiring
from bot.catalogue import Catalogue
from bot.cli.alone import alone_meanwhile
from bot.cli.client import Client
from bot.cli.output import Code, End, note, os_user
from bot.engine.reconciler import Engine
from bot.node.outside import Outside
from bot.opening.rollbacks import Rollbacks
from bot.people import Directory
from bot.policy import Person, Refusal, Why
from bot.ports import Ports, Record, Unreachable
from bot.redaction.redactor import Redactor
from bot.releases.register import ReleaseRegister
from bot.run import events as ev
from bot.run.answering import Answer
from bot.run.commands import Command
from bot.run.declared import MIN_REASON
from bot.run.state import Run
from bot.settings import Settings, read_settings
from bot.store.blobs import FileBlobs
from bot.store.log import Store
from bot.store.tokens import PREFIX, Bearer
from bot.targets.reach import Reach
from bot.telling.eta import Estimates
from bot.web import app


class Recorder(Engine):
    """Appends what people say and begins nothing: what follows is the bot's to do. catalogue: the one here."""

    catalogue = ""

    async def command(
        self, run_id: str, command: Command, person: Person, via: str, ref: str, *, key: str | None = None
    ) -> Answer | Refusal:
        """As a bot does, in a run that was opened with this catalogue."""
        run = await self.store.load(run_id)
        opened = run.created.digests.get("catalogue", "") if run.created is not None else ""
        if opened not in ("", self.catalogue):
            text = f"{run_id} was opened with catalogue {opened[7:19]}, and here is {self.catalogue[7:19]}."
            return Refusal(Why.NOT_NOW, f"{text} Put that one back, or start a bot. Nothing was changed.")
        return await super().command(run_id, command, person, via, ref, key=key)

    async def _append(
        self, run: Run, events: Sequence[ev.Event], *, key: str | None = None, asked: float | None = None
    ) -> Run:
        clean = [self.redactor.event(e) for e in events]
        after = await self.store.append(run, clean, self.clock(), key=key, checkpoint=True)
        await self._tell(after, clean)
        return after


@dataclass(frozen=True, slots=True)
class OneToken:
    """The token of this process."""

    token: str
    person: str

    async def whose(self, token: str) -> Bearer | None:
        """The one person, for the one token."""
        return Bearer(self.person) if hmac.compare_digest(token, self.token) else None


@dataclass(frozen=True, slots=True)
class Dead:
    """What is left of a bot: everything but the engine's hands (bot.web.Serves)."""

    settings: Settings
    catalogue: Catalogue
    store: Store
    people: Directory
    tokens: OneToken
    releases: ReleaseRegister
    redactor: Redactor
    files: FileBlobs
    engine: Engine
    rollbacks: Rollbacks
    estimates: Estimates
    clock: Callable[[], float]

    async def ready(self) -> Mapping[str, str]:
        """It is not."""
        return {"lease": "worked on directly"}


@contextlib.contextmanager
def opened(reason: str) -> Iterator[Client]:
    """A client to the database of a dead bot. End where the bot lives, or nobody knows who asks."""
    if len(reason.strip()) < MIN_REASON:
        raise End(Code.USAGE, "--direct needs a reason that others can understand later.")
    settings, user = read_settings(), os_user()
    if no := wiring.redactor_of(settings).objection(reason):
        raise End(Code.USAGE, no)
    started: Future[tuple[int, str]] = Future()
    runner, stop = asyncio.Runner(), asyncio.Event()
    loop = runner.get_loop()
    work = _listen(settings, user, reason.strip(), started, stop)
    thread = threading.Thread(target=_run, args=(runner, work, started), name="direct")
    thread.start()
    try:
        port, token = started.result()
        yield Client(f"http://127.0.0.1:{port}", token, "It was to be there by itself: this is a fault.")
        note("Done on the database itself, and recorded so. A bot goes on from here when one runs again.")
    finally:
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            loop.call_soon_threadsafe(stop.set)
        thread.join()


def _run(runner: asyncio.Runner, work: Coroutine[None, None, None], started: Future[tuple[int, str]]) -> None:
    try:
        with runner:
            runner.run(work)
    except BaseException as e:
        if started.done():
            raise
        started.set_exception(e)


async def _listen(
    settings: Settings, user: str, reason: str, started: Future[tuple[int, str]], stop: asyncio.Event
) -> None:
    async with _dead(settings, user) as bot:
        via = f"direct:{user}: {reason[:200]}"
        runner = web.AppRunner(app(bot, via), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            started.set_result((runner.addresses[0][1], bot.tokens.token))
            await stop.wait()
        finally:
            await runner.cleanup()


@asynccontextmanager
async def _dead(settings: Settings, user: str) -> AsyncIterator[Dead]:
    async with wiring.offline(settings) as base, contextlib.AsyncExitStack() as stack:
        person = _person(base.catalogue, user)
        await wiring.check_schema(base.store)
        node = await stack.enter_async_context(
            alone_meanwhile(settings.database_url, "direct", settings.lease, then="Ask them: leave --direct away.")
        )
        outside = Outside(base.files, base.store, base.releases, base.clock)
        await outside.begin()
        await wiring.keyed(base.store)
        engine = Recorder(
            base.store, base.registry, _nothing_to_see, base.people, redactor=base.redactor, node=node,
            glass=lambda: base.catalogue.glass, watchers=(outside.files_behind, outside.anchor, outside.ledger),
            clock=base.clock,
        )  # fmt: skip
        engine.catalogue = base.catalogue.digest
        reach = Reach(settings, base.store, base.catalogue, base.redactor)
        stack.push_async_callback(reach.close)
        rollbacks = Rollbacks(
            engine, base.store, base.catalogue, base.plans, base.registry, base.releases, base.people,
            {"bot": wiring.VERSION}, base.clock, pins=reach.pins,
        )  # fmt: skip
        tokens = OneToken(PREFIX + secrets.token_urlsafe(32), person)
        yield Dead(
            settings, base.catalogue, base.store, base.people, tokens, base.releases, base.redactor, base.files,
            engine, rollbacks, Estimates(base.store), base.clock,
        )  # fmt: skip


def _person(catalogue: Catalogue, user: str) -> str:
    """The catalogued person of this OS user: by id, or by name."""
    same = [i for i, name in catalogue.people.items() if user in (i, name)]
    if len(same) != 1:
        text = f"You are {user!r} here, and nobody of that name is in the catalogue. Log in as yourself."
        raise End(Code.REFUSED, text)
    return same[0]


def _nothing_to_see(run: Run, record: Record) -> Ports:
    raise Unreachable("the bot does not run, so nothing is asked of its targets")
