"""A real engine on a real database: store, lease, DBOS, and the small world of documents.py."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from bot.catalogue import Release
from bot.engine.executor import Executor
from bot.engine.reconciler import Engine
from bot.plan.model import Plan
from bot.policy import Actor, Person, Refusal
from bot.redaction.redactor import Redactor
from bot.run import events as ev
from bot.run.answering import Answer
from bot.run.commands import Approve, Command
from bot.run.state import Run, Step
from bot.store.lease import FileLease, RowLease
from bot.store.log import Keys, Store
from tests.engine.documents import ANA, CREW, Crew, World, registry

SECRET = "correct-horse-battery-staple"


@dataclass
class Desk:
    """What a test drives: the engine, its world, and people who say things."""

    engine: Engine
    store: Store
    world: World
    executor: Executor
    crew: Crew
    refs: itertools.count[int] = field(default_factory=itertools.count)

    async def open(self, plan: Plan, by: Person = ANA, service: str = "shop") -> str:
        """A run of a plan."""
        run_id = f"{service}-{next(self.refs)}"
        faults = plan.impossible(CREW, frozenset({by.id}))
        created = ev.Created(
            service,
            plan,
            plan.digest,
            Release("2.4.1"),
            Release("2.4.0"),
            "checkout fails",
            Actor.of(by, "test"),
            impossible=faults,
        )
        await self.engine.create(run_id, created)
        return run_id

    async def say(self, run_id: str, person: Person, command: Command) -> Answer | Refusal:
        """One person, one command."""
        return await self.engine.command(run_id, command, person, "test", f"p{next(self.refs)}")

    async def approve(self, run_id: str, name: str, person: Person, phrase: str = "") -> Answer | Refusal:
        """A click on the card as it is now, once it is open."""
        run = await self.until(run_id, lambda r: r.asked[name].opened is not None)
        return await self.say(run_id, person, Approve(name, run.card(name), phrase))

    async def until(self, run_id: str, true: Callable[[Run], object], within: float = 60.0) -> Run:
        """The run, once something holds of it."""
        async with asyncio.timeout(within):
            while not true(run := await self.store.load(run_id)):  # noqa: ASYNC110 - it waits for another process's word
                await asyncio.sleep(0.01)
        return run

    async def step(self, run_id: str, step: str, true: Callable[[Step], object], within: float = 60.0) -> Step:
        """A step, once something holds of it."""
        return (await self.until(run_id, lambda r: true(r.steps[step]), within)).steps[step]

    async def kinds(self, run_id: str) -> list[str]:
        """The kinds of events, in order."""
        return [e.kind for e in await self.store.events(run_id)]


@asynccontextmanager
async def desk(url: str, world: World, *, looping: bool = True, keys: Keys | None = None) -> AsyncIterator[Desk]:
    """Everything from the lease to the loop, as long a lease as the product's. A node that finds itself dead ends its
    process; this one is the tests' own, so it ends its test, by that name."""
    store, dead = await Store.open(url, keys=keys), list[str]()
    lease = await asyncio.to_thread(lambda: FileLease(url) if url.startswith("sqlite") else
                                    RowLease(url, fence=dead.append))  # fmt: skip
    crew = Crew()
    engine = Engine(store, registry(world), world.ports, crew, redactor=Redactor([SECRET]), node=lease.id, tick=0.1)
    executor = Executor(url, lease=lease, run_pass=engine.run_pass, on_cancelled=engine.on_cancelled, drain=0.5)
    engine.use(executor)
    await executor.launch()
    loop = asyncio.create_task(engine.loop()) if looping else None
    try:
        yield Desk(engine, store, world, executor, crew)
    finally:
        if loop is not None:
            loop.cancel()
            await asyncio.wait([loop])
        await executor.close()
        lease.close()
        await store.close()
        assert not dead, "the machine gave this node no time: " + dead[0]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def bot(migrated_url: str, world: World) -> AsyncIterator[Desk]:
    async with desk(migrated_url, world) as found:
        yield found
