"""One node: store, lease, executor and engine, and commands over a Unix socket.

    python -m tests.torture.node '<json of Settings>'

It is put together like the real one (`bot/wiring.py`), from the same pieces and the real HTTP adapter; what differs
is said in `Settings`: a short lease, short waits, a mine, a sabotage.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp import web

from bot.adapters.http import HttpClient, HttpEndpoint
from bot.engine import attempt as attempts
from bot.engine.attempt_id import AttemptId
from bot.engine.executor import Executor
from bot.engine.ground import Anywhere
from bot.engine.reconciler import Engine
from bot.node.reloading import InForce
from bot.policy import Refusal
from bot.ports import Blob, Ports, Record
from bot.redaction.redactor import Redactor
from bot.run import events as ev
from bot.run.answering import COMMANDS
from bot.run.state import Run
from bot.store.lease import Lease, take
from bot.store.log import AlreadyOpen, Duplicate, Store, StoreUnavailable
from bot.targets.reach import Reach
from bot.testing import ports
from bot.web.answers import Answering
from tests.torture import edges, handlers, machine
from tests.torture.crew import PEOPLE, People
from tests.torture.edges import Mine, MinedStore
from tests.torture.handlers import WORLD
from tests.torture.machine import Machine
from tests.torture.sabotage import SABOTAGE, Pieces
from tests.torture.world import TIMEOUT

IN_STEP = 0.3
"""Seconds that a pass may wait here; the product's minute would be dull."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a node is told. socket: where it takes commands; ttl: seconds of its lease; catalogue: the
    file; port: of its door; ahead, timed: of its clock, and whether that one is meddled with."""

    name: str
    database: str
    socket: str
    world: str
    ttl: float = 3.0
    tick: float = 0.25
    mine: str = ""
    sabotage: str = ""
    catalogue: str = ""
    port: int = 0
    ahead: float = 0.0
    timed: bool = False

    @property
    def text(self) -> str:
        """As the program takes it."""
        return json.dumps(asdict(self))


class NoBlobs:
    """Nothing here is large."""

    async def put(self, data: bytes, type: str) -> Blob:
        """Is never called."""
        raise KeyError("no blobs here")

    async def get(self, blob: Blob) -> bytes:
        """Has nothing."""
        raise KeyError(blob.digest)


@dataclass(slots=True)
class Pass:
    """What belongs to one pass: its adapter tells the world whose requests these are."""

    attempt: AttemptId
    adapters: list[HttpClient] = field(default_factory=list)


_here: contextvars.ContextVar[Pass] = contextvars.ContextVar("here")


@dataclass
class Node:
    """A running node."""

    settings: Settings
    engine: Engine | None = None
    reach: Reach | None = None
    held: InForce | None = None
    machine: Machine = field(default_factory=Machine)

    @property
    def at_work(self) -> Engine:
        """Its engine."""
        assert self.engine is not None
        return self.engine

    def ports_of(self, run: Run, record: Record) -> Ports:
        """Like wiring's, with the attempt and this process named in every request."""
        here = _here.get()
        headers = {"X-Attempt": str(here.attempt), "X-Pid": str(os.getpid())}
        there = self.settings.world if self.reach is None else self.reach.of(run).http.where()[run.id].at
        adapter = HttpClient({WORLD: HttpEndpoint(there, TIMEOUT, headers)})
        here.adapters.append(adapter)
        return ports(blobs=NoBlobs(), http=adapter.bind(record))

    async def run_pass(self, attempt: AttemptId) -> None:
        """One pass, under its name."""
        here = Pass(attempt)
        _here.set(here)
        try:
            await self.at_work.run_pass(attempt)
        finally:
            for adapter in here.adapters:
                await adapter.close()

    def inside(self, what: str) -> None:
        """Tells the world that a handler was entered or left."""
        edges.tell(f"{self.settings.world}/{what}", {"attempt": str(_here.get().attempt), "pid": os.getpid()})

    async def create(self, request: web.Request) -> web.Response:
        """Opens a run."""
        said = await request.json()
        created = ev.decode("created", said["created"])
        assert isinstance(created, ev.Created)
        if self.reach is not None and self.held is not None:
            try:
                places, _ = await self.reach.pins(created.service)
            except KeyError:
                return web.json_response({"no": "not in this catalogue"}, status=503)
            created = replace(created, places=places, digests={"catalogue": self.held.digest})
        try:
            await self.at_work.create(said["run"], created, key=said["key"])
        except (ValueError, Duplicate, AlreadyOpen) as e:
            return web.json_response({"no": str(e)})
        return web.json_response({"text": "opened"})

    async def command(self, request: web.Request) -> web.Response:
        """Carries out what a person asks."""
        said: dict[str, Any] = await request.json()
        person, key = PEOPLE[said["person"]], said["key"]
        command = COMMANDS.validate_python(said["command"])
        found = await self.at_work.command(said["run"], command, person, key, key, key=key)
        if isinstance(found, Refusal):
            return web.json_response({"no": found.text, "why": found.why})
        return web.json_response({"text": found.text})


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Node]:
    """Everything from the store to the loop, as in `bot.wiring`."""
    attempts.IN_STEP, attempts.LOOK_AFTER = IN_STEP, 0.2
    machine.small()
    store = await MinedStore.open(settings.database)
    node = Node(settings, machine=Machine(settings.ahead, None if store.db.lite else store.clock))
    await node.machine.clock.refer()
    handlers.inside = node.inside
    lease = await asyncio.to_thread(take, settings.database, version=settings.name, ttl=settings.ttl)
    store.mine, store.timed = Mine(settings.mine, settings.world), settings.timed
    async with _at_work(node, store, lease):
        yield node
    lease.close()
    await store.close()


@contextlib.asynccontextmanager
async def _at_work(node: Node, store: Store, lease: Lease) -> AsyncIterator[None]:
    settings, file = node.settings, Path(node.settings.catalogue)
    async with contextlib.AsyncExitStack() as stack:
        if settings.catalogue:
            reaching = machine.reaching(settings.database, file, store, lease)
            node.reach, node.held = await stack.enter_async_context(reaching)
        node.engine = engine = Engine(
            store, handlers.registry(), node.ports_of, People(), redactor=Redactor([]), node=lease.id,
            tick=settings.tick, clock=node.machine.clock, grounds=node.reach or Anywhere(),
        )  # fmt: skip
        executor = Executor(
            settings.database, lease=lease, run_pass=node.run_pass, on_cancelled=engine.on_cancelled, drain=0.5,
            clock=node.machine.past,
        )  # fmt: skip
        engine.use(executor)
        if settings.sabotage:
            SABOTAGE[settings.sabotage](Pieces(executor, lease, node))
        await executor.launch()
        tasks = [asyncio.create_task(engine.loop())]
        if node.reach is not None and node.held is not None:
            tasks += [asyncio.create_task(machine.follow(file, node.held, node.reach, engine))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await executor.close()


@web.middleware
async def _away(request: web.Request, handler: Answering) -> web.StreamResponse:
    """What the store cannot do now is an answer, as in `bot/web/answers.py`."""
    try:
        return await handler(request)
    except StoreUnavailable as e:
        return web.json_response({"no": str(e)}, status=503)


async def _alive(_: web.Request) -> web.Response:
    return web.Response(text="alive\n")


async def serve(settings: Settings) -> None:
    """A node, until it is killed."""
    async with running(settings) as node:
        app = web.Application(middlewares=[_away])
        app.router.add_post("/create", node.create)
        app.router.add_post("/command", node.command)
        app.router.add_post("/machine", node.machine.meddle)
        app.router.add_get("/healthz", _alive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await asyncio.to_thread(Path(settings.socket).unlink, missing_ok=True)
        await web.UnixSite(runner, settings.socket).start()
        if settings.port:
            await machine.listen(runner, settings.port)
        edges.tell(f"{settings.world}/ready", {"pid": os.getpid()})
        await asyncio.Event().wait()


def main() -> None:
    """The program."""
    settings = Settings(**json.loads(sys.argv[1]))
    logging.basicConfig(
        level="INFO",
        stream=sys.stderr,
        format=f"%(asctime)s {settings.name} {os.getpid()} %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("alembic").setLevel("WARNING")
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
