"""The engine against a bare asyncio loop that does the same durable writes.

    make bench BENCH=engine [ARGS="clicks steps idle audit"]

- clicks: from the click's arrival until the handler is called (its fresh plan, the first thing it is asked);
  yardstick: insert the click into the same kind of database, commit, create a task.
- steps: 30 steps without gates in two tracks, each planned and applied; yardstick: two loops that commit twice a step.
- idle: CPU of the bot with 5,000 waiting runs, in percent of a core, and its memory; yardstick: a process that asks
  the same database once a second what is due, through the plain driver. CPU time of the process, not time on the wall.
- audit: verifying the chain, in MB/s; yardstick: a plain program that reads the same rows in order through the driver
  and hashes their bytes, nothing else. Beside it, without a goal: the same bytes already in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import psycopg
from pydantic import Field

import migrations
from bench import median, report
from bot import audit
from bot.catalogue import Release
from bot.contract import Action, Change, Ctx, Effect, Params, ReadCtx, Receipt, Value
from bot.engine.executor import Executor
from bot.engine.reconciler import Engine
from bot.handlers.registry import Registry
from bot.plan.model import Decision, Plan, StepSpec
from bot.playground.postgres import database, private_postgres
from bot.policy import Actor, Gate, Person, Refusal, Requirement
from bot.ports import Ports, Record
from bot.redaction.redactor import Redactor
from bot.run import events as ev
from bot.run.commands import Approve
from bot.run.state import Run
from bot.store.lease import take
from bot.store.log import Store

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

    async def person(self, id: str) -> Person:
        """One of them."""
        return await self.still(id)

    async def still(self, id: str) -> Person:
        """One of them."""
        return ANA if id == ANA.id else CHO


class NoPorts:
    """Nothing is needed."""


def no_ports(run: Run, record: Record) -> Ports:
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


Plain = sqlite3.Connection | psycopg.Connection[tuple[object, ...]]


def connect(url: str) -> Plain:
    """The database through its driver alone, in SQLite with the durability that the bot has."""
    if not url.startswith("sqlite"):
        return psycopg.connect(url.replace("+psycopg", ""))
    db = sqlite3.connect(url.partition("///")[2], check_same_thread=False)
    db.execute("pragma journal_mode=WAL")
    db.execute("pragma synchronous=FULL")
    return db


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Callable[[str], None]]:
    """Writes a durable row into a plain table of a database of the same kind."""
    with contextlib.closing(connect(url.replace("bot.db", "bare.db"))) as db:
        insert = f"insert into bare values ({'?' if isinstance(db, sqlite3.Connection) else '%s'})"
        db.execute("create table if not exists bare(body text)")
        db.commit()

        def row(body: str) -> None:
            db.execute(insert, (body,))
            db.commit()

        yield row


async def write(row: Callable[[str], None], body: str) -> None:
    """One durable row, without holding up the loop."""
    await asyncio.to_thread(row, body)


# -- clicks ----------------------------------------------------------------------------------------------------------


async def clicks(url: str, name: str, goal: float, n: int = 60) -> None:
    """Click to handler start."""
    ours, theirs = [], []
    async with engine(url) as (made, store), bare(url) as row:
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
            theirs.append(await _bare_click(row))
    report(f"click to handler start, p50 ({name})", 1e3 * median(ours), 1e3 * median(theirs), "ms", goal)


async def _bare_click(row: Callable[[str], None]) -> float:
    begun = asyncio.Event()

    async def handler() -> None:
        begun.set()

    start = time.perf_counter()
    await write(row, "x" * 400)
    task = asyncio.create_task(handler())
    await begun.wait()
    took = time.perf_counter() - start
    await task
    return took


# -- steps -----------------------------------------------------------------------------------------------------------


async def steps(url: str, name: str, goal: float, n: int = 5) -> None:
    """Thirty empty steps in two tracks."""
    ours, theirs = [], []
    async with engine(url) as (made, store), bare(url) as one, bare(url) as two:
        for i in range(n):
            run_id = f"{name}-s{i}"
            start = time.perf_counter()
            await create(made, run_id, two_tracks())
            while any(s.open for s in (await store.load(run_id)).steps.values()):
                await asyncio.sleep(0.005)
            ours.append(time.perf_counter() - start)
            start = time.perf_counter()
            await asyncio.gather(_bare_track(one), _bare_track(two))
            theirs.append(time.perf_counter() - start)
    report(f"30 empty steps in two tracks ({name})", median(ours), median(theirs), "s", goal)


async def _bare_track(row: Callable[[str], None]) -> None:
    for _ in range(15):
        await write(row, "planned" + "x" * 400)
        await asyncio.create_task(asyncio.sleep(0))
        await write(row, "applied" + "x" * 400)


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
    memory: dict[str, float] = {"ours": 0.0, "bare": 0.0}
    for _ in range(3):
        for side, found in (("ours", ours), ("bare", theirs)):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bench.engine", "--wait", side, url, str(seconds), stdout=asyncio.subprocess.PIPE
            )
            out, _err = await process.communicate()
            seen = json.loads(out)
            found.append(seen["cpu"])
            memory[side] = max(memory[side], seen["rss"])
    report(f"CPU with {runs} waiting runs ({name})", median(ours), median(theirs), "%", goal)
    report(f"memory with {runs} waiting runs ({name})", memory["ours"], memory["bare"], "MB", 150)


async def wait(side: str, url: str, seconds: float) -> None:
    """Waits, and prints what that cost."""
    if side == "ours":
        async with engine(url):
            await asyncio.sleep(3)
            await _measured(asyncio.sleep(seconds))
    else:
        with contextlib.closing(connect(url)) as db:
            await _measured(_ask(db, seconds))


async def _ask(db: Plain, seconds: float) -> None:
    for _ in range(int(seconds)):
        db.execute(f"select run from head where due <= {int(time.time() * 1e6)}").fetchall()
        db.rollback()
        await asyncio.sleep(1)


async def _measured(work: Awaitable[None]) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    await work
    share = 100 * (time.process_time() - cpu) / (time.perf_counter() - wall)
    print(json.dumps({"cpu": share, "rss": _peak()}))


def _peak() -> float:
    """The most memory that this process had at once, in MB. (`ru_maxrss` counts the process that started it, too.)"""
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


# -- audit -----------------------------------------------------------------------------------------------------------


async def verify(url: str, name: str, n: int = 400) -> None:
    """Chain verification against reading and hashing the same bytes, in turns."""
    async with engine(url) as (made, store):
        for i in range(n):
            await create(made, f"v{i}", two_tracks())
            if i % 50 == 49:
                async with asyncio.timeout(600):
                    while await store.due(time.time()):
                        await asyncio.sleep(0.2)
    store = await Store.open(url)
    ours, theirs, hashed = [], [], []
    held: list[bytes] = []
    for _ in range(9):
        start = time.perf_counter()
        found = await audit.verify(store)
        ours.append(time.perf_counter() - start)
        if found.faults:
            raise RuntimeError(str(found.faults[0]))
        start = time.perf_counter()
        for raw in _stored(url):
            hashlib.sha256(raw).digest()
        theirs.append(time.perf_counter() - start)
        held = list(_stored(url))
        start = time.perf_counter()
        for raw in held:
            hashlib.sha256(raw).digest()
        hashed.append(time.perf_counter() - start)
    await store.close()
    mb = sum(map(len, held)) / 1e6
    report(f"audit verify ({name})", mb / median(ours), mb / median(theirs), "MB/s", 0.3, of="rate")
    report(f"... against bytes in memory ({name})", mb / median(ours), mb / median(hashed), "MB/s", None)


def _stored(url: str) -> Iterator[bytes]:
    """The bytes that were hashed, in order, as a plain program gets them."""
    query = "select prev, run, seq, at, kind, body from event order by run, seq"
    with contextlib.closing(connect(url)) as db, contextlib.closing(_cursor(db)) as rows:
        for row in rows.execute(query):
            yield "\n".join(map(str, row)).encode()


def _cursor(db: Plain) -> sqlite3.Cursor | psycopg.ServerCursor[tuple[object, ...]]:
    """One that fetches a thousand rows at a time, for what does not fit into memory."""
    if isinstance(db, sqlite3.Connection):
        return db.cursor()
    cursor = psycopg.ServerCursor(db, "stored")
    cursor.itersize = 1000
    return cursor


async def everything(which: Collection[str]) -> None:
    """All figures, on both databases."""
    with tempfile.TemporaryDirectory() as folder, private_postgres() as server:
        for kind in ("SQLite", "PostgreSQL"):
            for name in [w for w in ("clicks", "steps", "idle", "audit") if w in which]:
                with contextlib.ExitStack() as stack:
                    lite = kind == "SQLite"
                    Path(folder, name).mkdir(exist_ok=True)  # noqa: ASYNC240
                    url = f"sqlite:///{folder}/{name}/bot.db" if lite else stack.enter_context(database(server, name))
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
