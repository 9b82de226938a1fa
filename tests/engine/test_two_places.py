"""Two bots on one database whose catalogues name different shops: only the one that people approved is ever touched."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from bot.run import events as ev
from bot.run.state import Run
from bot.store.log import Store
from tests.fixtures.lone_shop import Shop
from tests.fixtures.whole_bot import House, Running, shop_running, stocked

WITHIN = 60.0
"""Seconds that anything here may take on a busy machine."""


@dataclass
class Both:
    """A bot in this process, and one in another whose catalogue names another shop."""

    here: Running
    right: Shop
    wrong: Shop
    other: House
    process: subprocess.Popen[str]
    errors: Path

    async def until(self, run_id: str, true: Callable[[Run], object]) -> Run:
        """The run, once something holds of it."""
        async with asyncio.timeout(WITHIN):
            while not true(run := await self.store.load(run_id)):  # noqa: ASYNC110 - another process's word
                await asyncio.sleep(0.05)
        return run

    @property
    def store(self) -> Store:
        """The one database."""
        return self.here.bot.store

    def play(self, run_id: str) -> Run:
        """The run to its end, with everybody saying yes."""
        for person, decision in (("ana", "start"), ("cho", "backend")):
            run = self.here.call(self.until(run_id, asking(decision)))
            said = self.here.house.say(person, "approve", run_id, decision, "--card", run.card(decision))
            assert said.exit_code == 0, said.output
        return self.here.call(self.until(run_id, lambda r: not r.open))


def asking(decision: str) -> Callable[[Run], bool]:
    """Whether people can decide this."""
    return lambda run: run.asked[decision].opened is not None


@contextmanager
def node(house: House, files: Path, errors: Path) -> Iterator[subprocess.Popen[str]]:
    """A bot of this house in a process of its own, on another's database and files."""
    env = {k: v for k, v in {**os.environ, **house.env(), "ROLLBACK_BLOBS_URL": f"file:{files}"}.items() if v}
    command = [sys.executable, "-m", "bot.cli", "serve"]
    with errors.open("w") as told, subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=told, text=True
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None and "listens on" in process.stdout.readline(), errors.read_text()
            yield process
        finally:
            process.terminate()
            process.wait(90)


@pytest.fixture
def both(tmp_path: Path, pg_database: str) -> Iterator[Both]:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with shop_running() as right, shop_running() as wrong:
        house = stocked(House(tmp_path / "a", right.url, database=pg_database))
        other = House(tmp_path / "b", wrong.url, database=pg_database)
        here, errors = Running(house), tmp_path / "errors"
        try:
            with node(other, house.folder / "files", errors) as process:
                yield Both(here, right, wrong, other, process, errors)
        finally:
            here.stop()


async def ready(house: House, token: str) -> str:
    """What a member hears of how it is."""
    known = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(headers=known) as session, session.get(f"{house.url}/readyz") as answer:
        return await answer.text()


async def changes(shop: Shop) -> list[object]:
    """What the shop was asked to change."""
    async with aiohttp.ClientSession() as session, session.get(f"{shop.url}/log") as answer:
        found: list[object] = await answer.json()
    return found


def test_only_the_approved_shop_is_touched_and_the_other_node_says_why_it_takes_no_part(both: Both) -> None:
    here, house = both.here, both.here.house
    differs = f"api now at {both.wrong.url}, approved for {both.right.url}"
    opened = house.json("ana", "rollback", "shop", "to", "2.4.0", "because", "checkout fails")
    run_id = str(opened["run"])
    assert here.call(both.store.load(run_id)).places["api"].at == both.right.url
    until = time.monotonic() + WITHIN
    while f"places of {run_id}: takes no part: {differs}" not in (
        told := asyncio.run(ready(both.other, house.tokens["eve"]))
    ):
        assert time.monotonic() < until, told
        time.sleep(0.5)
    ended = both.play(run_id)
    assert ended.closed is not None and ended.closed.outcome == "verified"
    stored = (ev.decode(e.kind, e.body) for e in here.call(both.store.events(run_id)))
    attempts = [e for e in stored if isinstance(e, ev.Started)]
    assert len(attempts) >= 6 and {e.node for e in attempts} == {here.bot.lease.id}
    assert asyncio.run(changes(both.right)) and not asyncio.run(changes(both.wrong))

    back = str(house.json("dee", "forward", run_id, "because", "it was the gateway")["run"])
    evidence = here.call(both.store.load(back)).created.evidence  # type: ignore[union-attr]
    assert any(re.match(rf"node \w+ has another catalogue and takes no part: api now at {both.wrong.url}", x)
               for x in evidence)  # fmt: skip
    here.call(both.until(back, asking("start")))
    told = both.errors.read_text()
    assert told.count(f"Run {run_id} takes no part here: {differs}") == 1, "once for each run, not at each look"

    here.stop()  # nobody stands by the first shop any more: the other's catalogue is asked for anew
    asked = asyncio.run(relocated(house, back))
    assert asked.differences == (differs,)
    assert not asyncio.run(changes(both.wrong))


async def relocated(house: House, run_id: str) -> ev.Relocated:
    """The event by which the run's places became others, once it is there."""
    from bot.store.log import Store

    store = await Store.open(house.database)
    try:
        async with asyncio.timeout(WITHIN):
            while True:
                for e in (ev.decode(e.kind, e.body) for e in await store.events(run_id)):
                    if isinstance(e, ev.Relocated):
                        return e
                await asyncio.sleep(0.2)
    finally:
        await store.close()
