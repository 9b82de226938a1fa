"""A clock that is set while runs are under way: nothing is stranded, nothing ends before its time."""

from __future__ import annotations

import asyncio
import time

import pytest

import migrations
from bot.engine import reconciler
from bot.run import events as ev
from bot.run.events import decode
from bot.steady.clock import Steady
from tests.engine.conftest import desk
from tests.engine.documents import World, plan, put

HOUR = 3600.0


async def test_a_clock_that_goes_back_and_one_that_jumps_ahead(
    database_url: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconciler, "LOOK_FOR", 0.05)
    await asyncio.to_thread(migrations.upgrade, database_url)
    off = HOUR
    async with desk(database_url, world) as bot:
        bot.engine.clock = Steady(lambda: time.time() + off)
        world.docs["eu"] = "old"
        world.settle["eu"] = 3
        run = await bot.open(plan(put("deploy", "eu")))
        await bot.until(run, lambda r: r.steps["deploy"].began is not None)
        off = 0.0
        found = await bot.until(run, lambda r: not r.steps["deploy"].open)
        assert found.steps["deploy"].end == "done" and found.at < time.time() + 60

        world.docs["us"] = "old"
        world.hold["us"] = asyncio.Event()
        run = await bot.open(plan(put("deploy", "us")), service="other")
        await bot.until(run, lambda r: world.entered["us"])
        off = 24 * HOUR
        told = await bot.until(run, lambda r: r.jumped is not None)
        assert told.steps["deploy"].attempt is not None and told.steps["deploy"].halt is None
        off = 0.0
        assert bot.engine.clock() < time.time() + 60
        off, first = 24 * HOUR, told.jumped  # at once again: another jump, of which the run has not been told
        told = await bot.until(run, lambda r: r.jumped not in (None, first))
        assert told.steps["deploy"].attempt is not None and told.steps["deploy"].halt is None
        world.hold["us"].set()
        found = await bot.until(run, lambda r: not r.steps["deploy"].open)
        assert found.steps["deploy"].end == "done"
        events = [decode(r.kind, r.body) for r in await bot.store.events(run)]
        jumps = [e.by for e in events if isinstance(e, ev.ClockJumped)]
        assert [by > 23 * HOUR for by in jumps if by > 0] == [True, True]


async def test_a_wait_is_as_long_as_it_was_meant_although_the_clock_goes_back_before_it_is_written_down(
    database_url: str, world: World
) -> None:
    await asyncio.to_thread(migrations.upgrade, database_url)
    ahead = 24 * HOUR
    async with desk(database_url, world) as bot:
        bot.engine.clock = lambda: time.time() + ahead
        world.docs["eu"] = "old"
        world.hold["eu"] = asyncio.Event()
        run = await bot.open(plan(put("deploy", "eu")))
        found = await bot.until(run, lambda r: world.entered["eu"])
        attempt = found.steps["deploy"].attempt
        assert attempt is not None
        waits = ev.Waiting("deploy", attempt.n, "rolling", bot.engine.clock() + 5)
        said = asyncio.create_task(bot.engine.submit(run, waits))
        await asyncio.sleep(0)
        ahead = 0.0
        assert await said is None
        (written,) = [r for r in await bot.store.events(run) if r.kind == "waiting"]
        event = decode(written.kind, written.body)
        assert isinstance(event, ev.Waiting) and event.until - written.at / 1e6 < 60
        world.hold["eu"].set()
        found = await bot.until(run, lambda r: not r.steps["deploy"].open)
        assert found.steps["deploy"].end == "done"
