"""Two versions of the code on one PostgreSQL, as while a deploy rolls or is taken back: real processes, one log.

The older one is the code as it is; the newer one is the same with more kinds, fields and handlers
(`tests/torture/newer.py`). What both did is held to every rule of the torture's auditor.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import migrations
from bot.catalogue import Release
from bot.handlers.registry import Registry
from bot.plan.compile import compile_plan
from bot.plan.model import Plan
from bot.policy import Actor, Person
from bot.run import events as ev
from bot.run.answering import COMMANDS
from bot.run.commands import Approve, Command, Retry
from bot.run.state import Run, Step
from bot.store.log import Store
from tests.torture import handlers, newer
from tests.torture.audit import audit
from tests.torture.crew import ANA, BEN, CHO, GUS
from tests.torture.eyes import Eyes, Row
from tests.torture.node import Settings
from tests.torture.verdicts import Case, Death
from tests.torture.world import World

HOUSE = Path(__file__).parent.parent.parent
PROGRAMS = {"older": "tests.torture.node", "newer": "tests.torture.newer"}


@dataclass
class Fleet:
    """Nodes of either version on one database, the world that they act on, and what people say to them."""

    url: str
    folder: Path
    store: Store
    world: World
    nodes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    deaths: list[Death] = field(default_factory=list)
    clicks: itertools.count[int] = field(default_factory=itertools.count)

    async def start(self, version: str) -> None:
        """A node, ready."""
        settings = Settings(version, self.url, str(self.folder / f"{version}.sock"), self.world.url, ttl=10.0, tick=0.1)
        with (self.folder / f"{version}.log").open("a") as log:
            self.nodes[version] = node = await asyncio.create_subprocess_exec(
                sys.executable, "-m", PROGRAMS[version], settings.text, cwd=HOUSE, stdout=log, stderr=log
            )
        async with asyncio.timeout(60):
            while node.pid not in self.world.ready:
                assert node.returncode is None, (self.folder / f"{version}.log").read_text()[-2000:]
                await asyncio.sleep(0.02)

    async def retire(self, version: str) -> None:
        """Its end, once nothing is at work."""
        for head in await self.store.heads(open=True, limit=10):
            await self.until(head.run, lambda r: not r.in_flight)
        await self.end(version)

    async def end(self, version: str) -> None:
        """Its end, at once."""
        node = self.nodes.pop(version)
        with contextlib.suppress(ProcessLookupError):
            node.send_signal(signal.SIGKILL)
        await node.wait()
        self.deaths.append(Death(node.pid, 0.0, "deployed"))

    async def open(self, version: str, run: str, plan: Plan) -> None:
        """A run, opened by one of them."""
        created = ev.Created(
            run, plan, plan.digest, Release("2.4.1"), Release("2.4.0"), "checkout fails", Actor.of(ANA, "test")
        )
        body = {"run": run, "created": ev.encode(created)[1], "key": f"create {run}"}
        assert await self._post(version, "create", body) == {"text": "opened"}

    async def say(self, version: str, run: str, person: Person, command: Command) -> dict[str, str]:
        """What one of them answers to a person."""
        body = {"run": run, "person": person.id, "command": COMMANDS.dump_python(command, mode="json")}
        return await self._post(version, "command", {**body, "key": f"click{next(self.clicks)}"})

    async def _post(self, version: str, what: str, body: dict[str, Any]) -> dict[str, str]:
        async with (
            aiohttp.UnixConnector(str(self.folder / f"{version}.sock")) as connector,
            aiohttp.ClientSession(connector=connector) as http,
            http.post(f"http://node/{what}", json=body) as reply,
        ):
            answer: dict[str, str] = await reply.json()
            return answer

    async def approve(self, version: str, run: str, name: str, *people: Person) -> str:
        """One vote each on the card as it is once it is open; returns the card."""
        card = (await self.asked(run, name)).card(name)
        for person in people:
            answer = await self.say(version, run, person, Approve(name, card))
            assert "text" in answer, answer
        return card

    async def asked(self, run: str, name: str) -> Run:
        """The run, once it asks people this."""
        return await self.until(run, lambda r: r.asked[name].opened is not None)

    async def step(self, run: str, step: str, true: Callable[[Step], object]) -> Step:
        """A step, once something holds of it."""
        return (await self.until(run, lambda r: true(r.steps[step]))).steps[step]

    async def until(self, run: str, true: Callable[[Run], object]) -> Run:
        """The run as this version reads it, once something holds of it."""
        async with asyncio.timeout(60):
            while not true(found := await self.store.load(run)):  # noqa: ASYNC110 - it waits for other processes
                await asyncio.sleep(0.02)
        return found

    async def over(self, run: str) -> Run:
        """The run, once it has closed itself."""
        found = await self.until(run, lambda r: r.closed is not None)
        assert found.closed is not None and found.closed.outcome == "verified"
        return found

    async def rows(self, run: str) -> list[Row]:
        """Its log as stored."""
        return (await asyncio.to_thread(self.world.eyes.rows))[run]

    async def findings(self) -> list[str]:
        """What the auditor says about everything."""
        rows, checkpoints = self.world.eyes.rows(), self.world.eyes.checkpoints()
        return [str(f) for f in audit(Case(rows, self.world.journal, self.deaths, checkpoints=checkpoints))]


@pytest.fixture
async def fleet(pg_database: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    await asyncio.to_thread(migrations.upgrade, pg_database)
    store, eyes = await Store.open(pg_database), Eyes(pg_database)
    world = World(eyes, lambda pid, why: None)
    await world.start()
    found = Fleet(pg_database, tmp_path, store, world)
    try:
        yield found
    finally:
        for version in list(found.nodes):
            await found.end(version)
        await world.stop()
        await store.close()
        eyes.close()


def plan(text: str, run: str, registry: Registry) -> Plan:
    """The plan of a file, for a run."""
    return compile_plan(text.replace("RUN", run), source="plan.yaml", registry=registry, service=None, roles=None)


SHARED = """
name: shared
tracks:
  main:
    - {id: hold, uses: doc.hold, with: {docs: [RUN/h1, RUN/h2], to: held}}
    - {id: go, gate: {by: {approver: 1}}}
    - - {id: a, uses: doc.set, with: {docs: [RUN/a1, RUN/a2], to: new, post: true}}
      - {id: b, uses: doc.set, with: {docs: [RUN/b], to: new, later: 1}}
      - {id: c, uses: doc.set, with: {docs: [RUN/c], to: new, flaky: 1}}
      - {id: d, uses: doc.set, with: {docs: [RUN/d], to: "${target.version}"}}
    - {id: last, uses: doc.set, with: {docs: [RUN/last], to: new}, gate: {by: {dba: 1}}}
    - {id: lift, undo: hold}
    - {id: seen, uses: doc.is, with: {doc: RUN/last, want: new}, phase: verify, within: 5s, every: 0.1s}
"""

CAREFUL = """
name: careful
tracks:
  one:
    - {id: same, uses: doc.set, with: {docs: [RUN/same], to: new}, gate: {by: {approver: 2}}}
    - {id: late, uses: doc.drop, with: {docs: [RUN/late], to: gone}, gate: {by: {approver: 1}}}
  two:
    - {id: other, uses: doc.drop, with: {docs: [RUN/other], to: gone}, gate: {by: {approver: 2}}}
  verify:
    - {id: seen, uses: doc.is, with: {doc: RUN/late, want: gone}, after: [late, other], phase: verify}
"""


async def test_runs_outlive_a_deploy_that_is_rolled_out_taken_back_and_rolled_out_again(fleet: Fleet) -> None:
    await fleet.start("newer")
    keep = "    - {id: keep, uses: doc.archive, with: {docs: [RUN/keep], to: kept}}\n    - {id: lift,"
    await fleet.open("newer", "new", plan(SHARED.replace("    - {id: lift,", keep), "new", newer.registry()))
    await fleet.asked("new", "go")
    await fleet.start("older")
    await fleet.open("older", "old", plan(SHARED, "old", handlers.registry()))
    await _both_at_work(fleet)

    await fleet.retire("newer")
    await _the_older_one_goes_on(fleet)
    opened = plan(CAREFUL, "waiting", handlers.registry())
    await fleet.open("older", "waiting", opened)
    card = await _half_approved(fleet)

    await fleet.retire("older")
    await fleet.start("newer")
    await fleet.say("newer", "new", ANA, Retry("keep"))
    assert (await fleet.over("new")).plan.by_id["keep"].uses == "doc.archive"
    await _only_what_is_the_same_still_holds(fleet, card)
    changed = CAREFUL.replace("approver: 2", "approver: 1").replace("to: new", "to: newer")
    await fleet.open("newer", "changed", plan(changed, "changed", newer.registry()))
    for name in ("same", "late", "other"):
        await fleet.approve("newer", "changed", name, BEN)
    there = (await fleet.over("changed")).plan
    assert (await fleet.over("waiting")).plan == opened and opened.digest != there.digest
    assert (fleet.world.value("waiting/same"), fleet.world.value("changed/same")) == ("new", "newer")
    assert await fleet.findings() == []


async def _both_at_work(fleet: Fleet) -> None:
    """Each is told by people about the run that the other opened; either may do any of their steps."""
    await fleet.approve("newer", "old", "go", BEN)
    await fleet.approve("older", "new", "go", BEN)
    await fleet.asked("old", "last")
    await fleet.asked("new", "last")
    rows = await fleet.rows("new")
    assert "weighed" in {r.kind for r in rows} and {"zone"} <= {k for r in rows for k in r.body}
    assert len({r.body["node"] for r in rows + await fleet.rows("old") if r.kind == "started"}) == 2


async def _the_older_one_goes_on(fleet: Fleet) -> None:
    """With kinds and fields that it does not know; what it has no handler for waits for people."""
    await fleet.approve("older", "old", "last", BEN)
    await fleet.approve("older", "new", "last", BEN)
    await fleet.over("old")
    halt = (await fleet.step("new", "keep", lambda s: s.halt is not None)).halt
    assert halt is not None and (halt.cause, halt.error) == ("fatal", "this version of the bot has no doc.archive")


async def _half_approved(fleet: Fleet) -> str:
    """One vote each: all that `late` needs, half of what `same` and `other` need. Returns the card of `other`."""
    await fleet.approve("older", "waiting", "same", BEN)
    await fleet.approve("older", "waiting", "late", BEN)
    card = await fleet.approve("older", "waiting", "other", BEN)
    await fleet.until("waiting", lambda r: not r.in_flight)
    assert not any(e.changed and e.path.startswith("waiting/") for e in fleet.world.journal)
    return card


async def _only_what_is_the_same_still_holds(fleet: Fleet, card: str) -> None:
    """The new code would do `same` as before, in other words; `late` and `other` would do more than was approved."""
    await fleet.approve("newer", "waiting", "same", CHO)
    await fleet.step("waiting", "same", lambda s: s.end == "done")
    votes = [r for r in await fleet.rows("waiting") if r.kind == "approved" and r.body["decision"] == "same"]
    assert [v.body["by"]["id"] for v in votes] == ["ben", "cho"]

    await fleet.until("waiting", lambda r: r.asked["late"].opened is not None and not r.asked["late"].votes)
    await fleet.approve("newer", "waiting", "late", CHO)
    await fleet.say("newer", "waiting", CHO, Approve("other", card))
    await fleet.until("waiting", lambda r: r.asked["other"].opened is not None and r.card("other") != card)
    assert "no" in await fleet.say("newer", "waiting", GUS, Approve("other", card))
    await fleet.approve("newer", "waiting", "other", BEN, CHO)
    await fleet.over("waiting")
    assert [fleet.world.value(f"waiting/{d}-copy-new") for d in ("late", "other")] == ["v0", "v0"]
