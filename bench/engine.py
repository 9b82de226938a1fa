"""The engine against a bare asyncio loop that does the same durable writes.

    make bench BENCH=engine [ARGS="clicks steps idle audit"]

- clicks: from the click's arrival until the handler is called (its fresh plan, the first thing it is asked);
  yardstick: insert the click into the same kind of database, commit, create a task.
- steps: 30 steps without gates in two tracks, each planned and applied; yardstick: two loops that commit twice a step.
- idle: CPU of the bot with 5,000 waiting runs, in percent of a core, and its memory; yardstick: a loop that asks the
  same database once a second what is due.
- audit: verifying the chain, in MB/s; yardstick: reading the same rows and hashing the same bytes, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import migrations
from bench import median, report
from bot import audit
from bot.catalogue import Release
from bot.commands import Approve
from bot.contract import Action, Change, Ctx, Effect, Params, ReadCtx, Receipt, Value
from bot.engine.executor import Executor
from bot.engine.reconciler import Engine
from bot.lease import take
from bot.plan.model import Decision, Plan, StepSpec
from bot.playground.postgres import database, private_postgres
from bot.policy import Actor, Gate, Person, Refusal, Requirement
from bot.ports import Ports, Record
from bot.redact import Redactor
from bot.registry import Registry
from bot.run import events as ev
from bot.store import Store

ANA = Person("ana", "ana", frozenset({"commander"}))
CHO = Person("cho", "cho", frozenset({"approver"}))


class EmptyParams(Params):
    """Nothing to say."""

    id: str = Field(description="which step it is")


class EmptyDo(Action[EmptyParams]):
    """Does nothing, and is planned and applied like everything else."""

    name = "empty.do"
    Params = EmptyParams
    asked: ClassVar[dict[str, float]] = {}

    async def plan(self, ctx: ReadCtx, p: EmptyParams) -> Change:
        self.asked[p.id] = time.perf_counter()
        return Change("nothing", effects=(Effect("nothing"),))

    async def observe(self, ctx: ReadCtx, p: EmptyParams, targets: Collection[str]) -> Mapping[str, Value]:
        return {}

    async def apply(self, ctx: Ctx, p: EmptyParams, change: Change) -> Receipt:
        return Receipt("done")


class Everyone:
    """Two people."""

    async def everyone(self) -> Sequence[Person]:
        """Both."""
        return (ANA, CHO)


class NoPorts:
    """Nothing is needed."""


def no_ports(service: str, record: Record) -> Ports:
    """Ports of nothing."""
    return NoPorts()  # type: ignore[return-value]


def step(id: str, after: Collection[str] = (), decision: str | None = None) -> StepSpec:
    """An empty step."""
    return StepSpec(id, id, "main", "action", "empty.do", {"id": id}, tuple(after), decision=decision)


def two_tracks() -> Plan:
    """Thirty steps, fifteen a track."""
    return Plan("bench", tuple(step(f"{t}{i}", [f"{t}{i - 1}"] if i else ()) for i in range(15) for t in "ab"))


def one_gate(id: str) -> Plan:
    """One step that an approver frees."""
    gate = Gate((Requirement("approver"),), remind=1e9, escalate=2e9)
    return Plan("bench", (step(id, decision="gate"),), (Decision("gate", "Gate", (id,), gate),))


@asynccontextmanager
async def engine(url: str) -> AsyncIterator[tuple[Engine, Store]]:
    """The engine as production runs it."""
    await asyncio.to_thread(migrations.upgrade, url)
    store = await Store.open(url)
    lease = await asyncio.to_thread(take, url)
    made = Engine(store, Registry.of(EmptyDo()), no_ports, Everyone(), redactor=Redactor([]), node=lease.id)
    executor = Executor(url, lease=lease, run_pass=made.run_pass, on_cancelled=made.on_cancelled)
    made.use(executor)
    await executor.launch()
    loop = asyncio.create_task(made.loop())
    try:
        yield made, store
    finally:
        loop.cancel()
        await asyncio.wait([loop])
        await executor.close()
        lease.close()
        await store.close()


async def create(made: Engine, run_id: str, plan: Plan) -> None:
    """A run of a service of its own."""
    by = Actor.of(ANA, "bench")
    await made.create(run_id, ev.Created(run_id, plan, plan.digest, Release("2"), Release("1"), "bench", by))


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[AsyncEngine]:
    """A plain table in a database of the same kind, with the same durability."""
    db = create_async_engine(url.replace("bot.db", "bare.db"))
    if url.startswith("sqlite"):

        @sa.event.listens_for(db.sync_engine, "connect")
        def _(c: sa.engine.interfaces.DBAPIConnection, _: object) -> None:
            c.cursor().execute("pragma journal_mode=WAL")
            c.cursor().execute("pragma synchronous=FULL")

    async with db.begin() as c:
        await c.execute(sa.text("create table if not exists bare(body text)"))
    try:
        yield db
    finally:
        await db.dispose()


async def write(db: AsyncEngine, body: str) -> None:
    """One durable row."""
    async with db.begin() as c:
        await c.execute(sa.text("insert into bare values (:b)"), {"b": body})


# -- clicks ----------------------------------------------------------------------------------------------------------


async def clicks(url: str, name: str, goal: float, n: int = 60) -> None:
    """Click to handler start."""
    ours, theirs = [], []
    async with engine(url) as (made, store), bare(url) as db:
        for i in range(n):
            run_id = f"{name}-c{i}"
            await create(made, run_id, one_gate(run_id))
            run = await store.load(run_id)
            while run.asked["gate"].opened is None:
                await asyncio.sleep(0.005)
                run = await store.load(run_id)
            await asyncio.sleep(0.02)
            EmptyDo.asked.pop(run_id, None)
            start = time.perf_counter()
            answer = await made.command(run_id, Approve("gate", run.card("gate")), CHO, "bench", "p")
            if isinstance(answer, Refusal):
                raise RuntimeError(answer.text)
            while run_id not in EmptyDo.asked:
                await asyncio.sleep(0.0005)
            ours.append(EmptyDo.asked[run_id] - start)
            theirs.append(await _bare_click(db))
    report(f"click to handler start, p50 ({name})", 1e3 * median(ours), 1e3 * median(theirs), "ms", goal)


async def _bare_click(db: AsyncEngine) -> float:
    begun = asyncio.Event()

    async def handler() -> None:
        begun.set()

    start = time.perf_counter()
    await write(db, "x" * 400)
    task = asyncio.create_task(handler())
    await begun.wait()
    took = time.perf_counter() - start
    await task
    return took


# -- steps -----------------------------------------------------------------------------------------------------------


async def steps(url: str, name: str, goal: float, n: int = 5) -> None:
    """Thirty empty steps in two tracks."""
    ours, theirs = [], []
    async with engine(url) as (made, store), bare(url) as db:
        for i in range(n):
            run_id = f"{name}-s{i}"
            start = time.perf_counter()
            await create(made, run_id, two_tracks())
            while any(s.open for s in (await store.load(run_id)).steps.values()):
                await asyncio.sleep(0.005)
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            await asyncio.gather(*(_bare_track(db) for _ in "ab"))
            theirs.append(time.perf_counter() - start)
    report(f"30 empty steps in two tracks ({name})", median(ours), median(theirs), "s", goal)


async def _bare_track(db: AsyncEngine) -> None:
    for _ in range(15):
        await write(db, "planned" + "x" * 400)
        await asyncio.create_task(asyncio.sleep(0))
        await write(db, "applied" + "x" * 400)


# -- idle ------------------------------------------------------------------------------------------------------------


async def idle(url: str, name: str, goal: float, runs: int = 5000, seconds: float = 20.0) -> None:
    """CPU and memory with many waiting runs. Each side in a process of its own, so that nothing else is counted."""
    async with engine(url) as (made, _):
        for i in range(runs):
            await create(made, f"w{i}", one_gate(f"w{i}"))
        async with asyncio.timeout(300):
            while await made.store.due(time.time()):
                await asyncio.sleep(0.2)
    ours: list[float] = []
    theirs: list[float] = []
    memory = 0.0
    for _ in range(3):
        for side, found in (("ours", ours), ("bare", theirs)):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.engine", "--wait", side, url, str(seconds), stdout=asyncio.subprocess.PIPE
            )
            out, _err = await process.communicate()
            seen = json.loads(out)
            found.append(seen["cpu"])
            memory = max(memory, seen["rss"]) if side == "ours" else memory
    report(f"CPU with {runs} waiting runs ({name})", median(ours), median(theirs), "%", goal)
    report(f"memory with {runs} waiting runs ({name})", memory, memory, "MB", 150)


async def wait(side: str, url: str, seconds: float) -> None:
    """Waits, and prints what that cost."""
    async with contextlib.AsyncExitStack() as stack:
        if side == "ours":
            await stack.enter_async_context(engine(url))
            await asyncio.sleep(3)
            await _measured(asyncio.sleep(seconds))
        else:
            db = create_async_engine(url)
            stack.push_async_callback(db.dispose)
            await _measured(_ask(db, seconds))


async def _ask(db: AsyncEngine, seconds: float) -> None:
    for _ in range(int(seconds)):
        async with db.connect() as c:
            await c.execute(sa.text("select run from head where due <= :now"), {"now": int(time.time() * 1e6)})
        await asyncio.sleep(1)


async def _measured(work: object) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    await work  # type: ignore[misc]
    share = 100 * (time.process_time() - cpu) / (time.perf_counter() - wall)
    print(json.dumps({"cpu": share, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


# -- audit -----------------------------------------------------------------------------------------------------------


async def verify(url: str, name: str, n: int = 400) -> None:
    """Chain verification against plain SHA-256 of the same bytes."""
    async with engine(url) as (made, store):
        for i in range(n):
            await create(made, f"v{i}", two_tracks())
            if i % 50 == 49:
                async with asyncio.timeout(600):
                    while await store.due(time.time()):
                        await asyncio.sleep(0.2)
    store = await Store.open(url)
    ours, theirs, size = [], [], 0
    for _ in range(5):
        start = time.perf_counter()
        found = await audit.verify(store)
        ours.append(time.perf_counter() - start)
        if found.faults:
            raise RuntimeError(str(found.faults[0]))
        start = time.perf_counter()
        size = await _plain(url)
        theirs.append(time.perf_counter() - start)
    await store.close()
    mb = size / 1e6
    report(f"audit verify ({name})", mb / median(ours), mb / median(theirs), "MB/s", 0.3, of="rate")


async def _plain(url: str) -> int:
    db = create_async_engine(url)
    size = 0
    async with db.connect() as c:
        rows = await c.stream(sa.text("select run, seq, at, kind, body, prev from event order by run, seq"))
        async for part in rows.partitions(2000):
            for run, seq, at, kind, body, prev in part:
                raw = f"{prev}{run}{seq}{at}{kind}{body}".encode()
                hashlib.sha256(raw).digest()
                size += len(raw)
    await db.dispose()
    return size


async def everything(which: Collection[str]) -> None:
    """All figures, on both databases."""
    with tempfile.TemporaryDirectory() as folder, private_postgres() as server:
        for kind in ("SQLite", "PostgreSQL"):
            for name in [w for w in ("clicks", "steps", "idle", "audit") if w in which]:
                with contextlib.ExitStack() as stack:
                    lite = kind == "SQLite"
                    Path(folder, name).mkdir(exist_ok=True)  # noqa: ASYNC240
                    url = (
                        f"sqlite+aiosqlite:///{folder}/{name}/bot.db"
                        if lite
                        else stack.enter_context(database(server, name))
                    )
                    if name == "clicks":
                        await clicks(url, kind, 20 if lite else 120)
                    elif name == "steps":
                        await steps(url, kind, 1.0 if lite else 2.5)
                    elif name == "idle":
                        await idle(url, kind, 2.0 if lite else 10.0)
                    else:
                        await verify(url, kind)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--wait"]:
        asyncio.run(wait(sys.argv[2], sys.argv[3], float(sys.argv[4])))
    else:
        asyncio.run(everything(sys.argv[1:] or ("clicks", "steps", "idle", "audit")))
