"""A bout: nodes on one database, runs on them, kills and freezes, until every run is closed; then the audit.

Everything random comes from one seed: plans, mines, what goes wrong in the world, what people say. Timing does not, so
the same seed gives the same kind of bout and not the same bout.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

import migrations
from bot.audit import verify
from bot.catalogue import Release
from bot.plan.model import Plan
from bot.playground.free_port import free_port
from bot.policy import Actor, Person
from bot.run import events as ev
from bot.run.answering import COMMANDS
from bot.run.commands import Command
from bot.run.state import Run
from bot.store.log import Store, StoreUnavailable
from tests.torture.audit import audit
from tests.torture.crew import ANA, CREW, Crew
from tests.torture.edges import TIMES, sampled
from tests.torture.eyes import Eyes
from tests.torture.hazards import JUMPS, Hazards
from tests.torture.node import Settings
from tests.torture.plans import random_plan
from tests.torture.verdicts import Case, Death, Freeze
from tests.torture.world import Order, World

HOUSE = Path(__file__).parent.parent.parent
FENCED = 70


@dataclass(frozen=True, slots=True)
class Bout:
    """What is to happen. mines: of the first incarnations, in order; later ones are sampled while `kills` last.

    kills, freezes: how many at most; limit: seconds after which an open run is a finding; trouble: how often the
    world misbehaves; careless: the commander closes without looking; plans: these instead of random ones;
    wanders, jumps, fills, floods, by, hurry: what else goes wrong (`hazards.py`).
    """

    seed: int
    database: str
    nodes: int = 1
    runs: int = 3
    kills: int = 8
    freezes: int = 0
    limit: float = 120.0
    ttl: float = 3.0
    trouble: float = 0.03
    playful: bool = True
    careless: bool = False
    size: int | None = None
    mines: tuple[str, ...] = ()
    sabotage: str = ""
    plans: tuple[Plan, ...] = ()
    wanders: int = 0
    jumps: int = 0
    fills: int = 0
    floods: int = 0
    by: tuple[float, ...] = JUMPS
    hurry: float = 1.0


@dataclass
class Incarnation:
    """One process of a node."""

    name: str
    process: asyncio.subprocess.Process
    settings: Settings
    frozen: bool = False
    why: str = ""

    @property
    def port(self) -> int:
        """Of its door."""
        return self.settings.port

    @property
    def pid(self) -> int:
        """Of its process."""
        return self.process.pid


@dataclass
class Arena:
    """Everything of one bout while it lasts."""

    bout: Bout
    folder: Path
    random: Random
    store: Store
    eyes: Eyes
    world: World
    hazards: Hazards
    http: dict[str, aiohttp.ClientSession] = field(default_factory=dict)
    nodes: dict[str, Incarnation] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    freezes: list[Freeze] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    frozen: int = 0
    over: bool = False
    quiet: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    door: aiohttp.ClientSession = field(init=False)
    clicks: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    # -- processes ------------------------------------------------------------------------------------------------

    async def keep(self, name: str) -> None:
        """One node: started, and started again whenever it dies."""
        mines = list(self.bout.mines) if name == "n0" else []
        while not self.over:
            mine = mines.pop(0) if mines else self._mine()
            node = await self._start(name, mine)
            code = await node.process.wait()
            if self.over:
                return
            said = self.world.dying.get(node.process.pid)
            why = f"mine {said[1]}" if said else node.why or ("fenced" if code == FENCED else f"unexpected exit {code}")
            self.deaths.append(Death(node.process.pid, said[0] if said else time.time(), why))
            self.kinds[" ".join(why.split(":")[:1]) if said else why] += 1
            if said:
                self.kills += 1
            if why.startswith("unexpected"):
                self.over = self.kinds[why] >= 3  # it will not get better

    def _mine(self) -> str:
        if self.kills >= self.bout.kills or self.bout.mines or self.random.random() < 0.15:
            return ""
        freeze = self.frozen < self.bout.freezes and self.random.random() < 0.4
        self.frozen += freeze
        return sampled(self.random, freeze and not self.lite)

    async def _start(self, name: str, mine: str) -> Incarnation:
        settings = Settings(
            name, self.bout.database, str(self.folder / f"{name}.sock"), self.world.url, self.bout.ttl, mine=mine,
            sabotage=self.bout.sabotage, catalogue=str(self.folder / f"{name}.yaml"), port=self.ports[name],
            ahead=self.hazards.ahead.get(name, 0.0), timed=bool(self.bout.jumps),
        )  # fmt: skip
        with (self.folder / f"{name}.log").open("a") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.torture.node", settings.text, cwd=HOUSE, stdout=log, stderr=log
            )
        self.nodes[name] = Incarnation(name, process, settings)
        return self.nodes[name]

    def kill(self, pid: int, why: str) -> None:
        """Ends a node's process at once."""
        for node in self.nodes.values():
            if node.process.pid == pid and node.process.returncode is None:
                node.why = why
                self.kills += 1
                node.process.kill()

    async def hunt(self) -> None:
        """Kills at random moments, beside the mines."""
        while not self.over:
            await asyncio.sleep(self.random.uniform(4.0, 12.0))
            up = self._up()
            if up and not self.quiet and self.kills < self.bout.kills:
                self.kill(self.random.choice(up).process.pid, "at random")

    async def chill(self) -> None:
        """Stops nodes for a while: for longer than their lease, or a part of it."""
        while not self.over and self.frozen < self.bout.freezes:
            await asyncio.sleep(self.random.uniform(0.5, 4.0))
            up = self._up()
            if up and not self.quiet:
                self.frozen += 1
                pid = self.random.choice(up).process.pid
                fatal = not self.lite and (self.bout.freezes == 1 or self.random.random() < 0.7)
                os.kill(pid, signal.SIGSTOP)
                await self._thaw(pid, fatal, "at random")

    def stopped(self, pid: int, why: str) -> None:
        """A node has stopped itself."""
        self.tasks.append(asyncio.create_task(self._thaw(pid, True, f"mine {why.split(':')[0]}")))

    async def _thaw(self, pid: int, fatal: bool, why: str) -> None:
        """Lets a stopped node go on after a while, and sees what becomes of it."""
        node, since = next(n for n in self.nodes.values() if n.process.pid == pid), time.time()
        node.frozen, place = True, len(self.freezes)
        self.freezes.append(Freeze(pid, since, math.inf, fatal))
        await asyncio.sleep(self.bout.ttl * (1.7 if fatal else self.random.uniform(0.2, 0.6)))
        self.freezes[place] = Freeze(pid, since, time.time(), fatal)
        self.kinds[f"frozen {'beyond the lease' if fatal else 'for a moment'}, {why}"] += 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
        node.frozen = False
        if fatal:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(60):
                    await node.process.wait()
                    return
            self.deaths.append(Death(pid, time.time(), "unexpected: lives on after a freeze longer than its lease"))

    def _up(self) -> list[Incarnation]:
        """Nodes at work."""
        return [n for n in self.nodes.values() if n.process.pid in self.world.ready and not n.frozen and not n.why]

    @property
    def lite(self) -> bool:
        """Whether it is SQLite: one node, no lease to outlive."""
        return self.bout.database.startswith("sqlite")

    # -- the world and people -------------------------------------------------------------------------------------

    def order(self, method: str, path: str) -> Order:
        """What happens to the next request of the world."""
        if self.quiet or self.random.random() > self.bout.trouble:
            return ""
        if self.kills < self.bout.kills and self.random.random() < 0.25:
            return self.random.choice(("kill", "kill after")) if method == "PUT" else "kill"
        plain: tuple[Order, ...] = ("delay", "delay", "hang", "500", "drop")
        after: tuple[Order, ...] = ("hang after", "500 after", "drop after")
        return self.random.choice((*plain, *after) if method == "PUT" else plain)

    async def say(self, run: str, person: Person, command: Command) -> None:
        """One person says one thing to some node; where no answer comes, the same again, elsewhere."""
        key = f"click{next(self.clicks)}"
        body = {"run": run, "person": person.id, "command": COMMANDS.dump_python(command, mode="json"), "key": key}
        await self.send("command", body, tries=1 if self.random.random() < 0.2 else 4)
        if self.random.random() < 0.05:
            await self.send("command", body, tries=1)

    async def send(self, what: str, body: dict[str, Any], tries: int) -> dict[str, Any]:
        """A request to a node; the answer, or nothing."""
        for _ in range(tries):
            if self.over:
                break
            name = self.random.choice(list(self.nodes))
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                where = f"http://127.0.0.1:{self.ports[name]}" if self.bout.floods else "http://node"
                asking = self.door if self.bout.floods else self.http[name]
                async with asking.post(f"{where}/{what}", json=body) as reply:
                    if reply.status == 200:
                        found: dict[str, Any] = await reply.json()
                        return found
            await asyncio.sleep(0.3)
        return {}

    async def open(self, number: int) -> str:
        """A run of its own service."""
        run, bout = f"run{number}", self.bout
        plan = bout.plans[number] if bout.plans else random_plan(bout.seed, run, bout.size)
        faults = plan.impossible(CREW, frozenset({ANA.id}))
        assert not faults, faults
        created = ev.Created(
            f"service{number}", plan, plan.digest, Release("2.4.1"), Release("2.4.0"), "checkout fails",
            Actor.of(ANA, "harness"),
        )  # fmt: skip
        said = {"run": run, "created": ev.encode(created)[1], "key": f"create {run}"}
        await self.send("create", said, tries=200)
        return run

    async def go(self) -> dict[str, str]:
        """Until every run is closed, or time is up: what is still open, and what it waits for."""
        runs = [await self.open(i) for i in range(len(self.bout.plans) or self.bout.runs)]
        crew = Crew(self.random, self.say, self.world.foreign, self.bout.playful, self.bout.careless)
        began, pinned = time.monotonic(), dict[str, str]()
        while time.monotonic() - began < self.bout.limit and not self.over:
            self.quiet = self.quiet or time.monotonic() - began > self.bout.limit / 2
            self.hazards.quiet = self.quiet
            crew.playful = self.bout.playful and not self.quiet
            open_runs = []
            for run in runs:
                with contextlib.suppress(StoreUnavailable):
                    state = await self.store.load(run)
                    if state.places:
                        pinned[state.service] = state.places[state.id].at
                    if state.closed is None:
                        open_runs.append(run)
                        await crew.look_after(state)
            if not open_runs:
                return {}
            if self.bout.wanders:
                self.hazards.right(pinned)
            await asyncio.sleep(0.08)
        return {r: _waits(await self.store.load(r)) for r in runs if (await self.store.load(r)).closed is None}


@contextlib.asynccontextmanager
async def arena(bout: Bout, folder: Path) -> AsyncIterator[Arena]:
    """Database, world and nodes, and their end."""
    await asyncio.to_thread(migrations.upgrade, bout.database)
    store, eyes = await Store.open(bout.database), Eyes(bout.database)
    world = World(eyes, lambda pid, why: None)
    kinds, ways = Counter[str](), dict[str, aiohttp.ClientSession]()
    services = tuple(f"service{i}" for i in range(len(bout.plans) or bout.runs))
    many = {n: getattr(bout, n) for n in ("wanders", "jumps", "fills", "floods", "by", "hurry")}
    hazards = Hazards(
        Random(bout.seed + 1), folder, bout.database, lambda: found._up(), ways, kinds, services=services, **many
    )
    found = Arena(bout, folder, Random(bout.seed), store, eyes, world, hazards, http=ways, kinds=kinds)
    world.kill, world.order, world.frozen = found.kill, found.order, found.stopped
    names = [f"n{i}" for i in range(bout.nodes)]
    found.door = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=4))
    for name in names:
        found.ports[name] = free_port()
        connector = aiohttp.UnixConnector(str(folder / f"{name}.sock"))
        found.http[name] = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=4))
    await world.start()
    hazards.places = world.url, world.other
    for name in names:
        hazards.write(name, dict.fromkeys(hazards.services, world.url))
    if bout.jumps:
        await store.db.write(lambda c: c.exec_driver_sql(TIMES))
    tasks = found.tasks
    tasks += [asyncio.create_task(found.keep(n)) for n in names]
    tasks += [asyncio.create_task(found.hunt()), asyncio.create_task(found.chill())]
    try:
        while len(found.nodes) < bout.nodes:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        tasks += hazards.tasks()
        yield found
    finally:
        found.over = hazards.over = True
        for node in found.nodes.values():
            with contextlib.suppress(ProcessLookupError):
                node.process.kill()
            await node.process.wait()
        for task in tasks:
            task.cancel()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        for session in (*found.http.values(), found.door):
            await session.close()
        await world.stop()
        await store.close()
        eyes.close()
        for fault in told:
            if isinstance(fault, Exception):
                raise fault


async def fight(bout: Bout, folder: Path) -> tuple[Case, Arena]:
    """One bout and its audit."""
    async with arena(bout, folder) as found:
        stuck = await found.go()
        await asyncio.sleep(0.3)  # for what is on the wire
        found.over = True
        for node in found.nodes.values():
            with contextlib.suppress(ProcessLookupError):
                node.process.kill()
            await node.process.wait()
        made = {}
        rows = found.eyes.rows()
        for run in rows:
            for i, s in (await found.store.load(run)).steps.items():
                if s.made is not None:
                    made[run, i] = {e.target: e.before for e in s.made.edits}
        case = Case(
            rows, found.world.journal, found.deaths, found.freezes, found.eyes.checkpoints(), made, stuck,
            found.hazards.told,
        )  # fmt: skip
        for death in found.deaths:
            if death.why.startswith("unexpected"):
                case.fault("node", "-", f"process {death.pid}: {death.why}; see {folder}")
        for text in _complaints(folder):
            if bout.fills and text.startswith("dbos:"):
                continue  # it tells that a disk is full in words of its own; what becomes of it is what counts
            case.fault("complaint", "-", text)
        for bad in (await verify(found.store)).faults:
            case.fault("verify", bad.run, bad.text)
        audit(case)
        return case, found


def _complaints(folder: Path) -> list[str]:
    """What nodes logged as errors, once each, without what the harness did to them."""
    found: dict[str, None] = {}
    for log in sorted(folder.glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            _, error, text = line.partition(" ERROR ")
            if error:
                found[text[:200]] = None
    return list(found)


def _waits(run: Run) -> str:
    """What an open run waits for, in one line."""
    parts = [
        f"{i}: {s.halt.cause if s.halt else ''}{' #' + str(s.attempt.n) + ' ' + s.attempt.doing if s.attempt else ''}"
        f"{' waits' if not s.halt and not s.attempt else ''}"
        for i, s in run.steps.items()
        if s.open
    ]
    asked = [n for n, a in run.asked.items() if a.opened is not None]
    flags = [w for w, on in (("stopped", run.stopped), ("aborted", run.aborted), ("restored", run.restored)) if on]
    return f"open at {run.seq} {flags}; asked {asked}; debts {list(run.debts)}; {'; '.join(parts)[:600]}"
