"""Paging: what rings, what is said to a real pager over HTTP, and that nothing is forgotten whatever crashes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot import wiring
from bot.node.paging import PAGER, NotTaken, Pager, Paging, alerts
from bot.opening.rollbacks import Wanted
from bot.run import answering
from bot.run import commands as c
from bot.run import events as ev
from bot.run.state import Run
from bot.settings import Settings
from tests.fixtures.lone_shop import Shop
from tests.fixtures.pager import KEY, Incidents, pager
from tests.fixtures.whole_bot import House, fill, upgraded
from tests.slack import scenes

# -- what should ring --------------------------------------------------------------------------------------------------


def test_a_decision_rings_when_it_was_paged_and_until_it_is_taken() -> None:
    assert alerts(scenes.asked_backend().run) == {}
    late = scenes.reminded()
    found, schema = alerts(late.run).values()
    assert "/waits/schema/" in schema.key, "people may decide it already"
    paged = late.run.asked["backend"].paged
    assert paged is not None and found.key == f"shop-1f/waits/backend/{paged:.3f}"
    assert found.payload["summary"] == (
        "Rollback of shop: 2.4.1 → 2.4.0: Bring the backend back waits for an approver since 14:02 UTC"
    )
    assert found.payload["severity"] == "critical" and found.payload["component"] == "shop"
    late.approve("backend", scenes.CHO)
    assert list(alerts(late.run)) == [schema.key]


def test_the_ways_of_a_choice_ring_once() -> None:
    late = scenes.schema_asked()
    late.wait(61)
    late.look()
    late.wait(240)
    late.look()
    (found,) = alerts(late.run).values()
    assert "/waits/schema/" in found.key and "a dba or a dba and an approver" in str(found.payload["summary"])
    late.approve("schema.keep", scenes.BEN)
    assert alerts(late.run) == {}


def test_an_abort_ends_the_ringing() -> None:
    late = scenes.reminded()
    late.do(scenes.ANA, c.Abort("it is no help"))
    assert alerts(late.run) == {}


def test_broken_glass_rings_with_who_and_why() -> None:
    t = scenes.asked_backend()
    t.do(scenes.DEE, c.BreakGlass("backend", t.run.card("backend"), "nobody answers"))
    (found,) = alerts(t.run).values()
    assert "/glass/backend/" in found.key
    assert "@dee opened Bring the backend back alone at 14:02 UTC: nobody answers" in str(found.payload["summary"])


def test_a_debt_that_was_not_given_back_in_time_rings_until_it_is() -> None:
    t = scenes.handed_over()
    assert not alerts(t.run), "promised, and not late yet"
    t.now += 86_401
    t.wrote(ev.Overdue("freeze"))
    (found,) = alerts(t.run).values()
    summary = str(found.payload["summary"])
    assert "/owed/freeze/" in found.key and "Freeze deployments is in place" in summary and "is overdue" in summary
    t.now += 60
    t.do(scenes.ANA, c.Restore("freeze", "it is late"))
    t.acts("freeze", "open again", 3)
    assert not alerts(t.run)


# -- what is said to the pager -----------------------------------------------------------------------------------------


@pytest.fixture
async def there() -> AsyncIterator[Incidents]:
    async with pager() as found:
        yield found


async def test_a_key_that_the_pager_does_not_know_is_said_and_never_shown(there: Incidents) -> None:
    wrong = Pager(there.url, "no-such-key")
    fault = await wrong.ping()
    assert "answered 400: Event object is invalid; Invalid routing key" in fault and "no-such-key" not in fault
    assert await Pager(there.url, KEY).ping() == "" and there.ringing == {}


async def test_an_address_where_nobody_is_is_said() -> None:
    assert "cannot be reached" in await Pager("http://127.0.0.1:9/v2/enqueue", KEY).ping()


async def test_a_pager_that_hangs_is_given_up() -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(NotTaken, match=r"did not answer within 0\.2 s"):
            await Pager(f"http://127.0.0.1:{port}/", KEY, patience=0.2).send("resolve", "x")
        await gone.wait()


# -- the whole bot -----------------------------------------------------------------------------------------------------


class World:
    """A bot that pages, whose clock can be moved on."""

    def __init__(self, house: House, there: Incidents) -> None:
        self.house, self.there, self.late = house, there, 0.0

    def clock(self) -> float:
        return time.time() + self.late

    @property
    def settings(self) -> Settings:
        return self.house.settings.model_copy(update={"page_key": SecretStr(KEY), "page_url": self.there.url})

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not true():  # noqa: ASYNC110 - what a pager hears cannot be waited for otherwise
                await asyncio.sleep(0.02)


@pytest.fixture
async def world(tmp_path: Path, there: Incidents) -> AsyncIterator[World]:
    async with Shop("2.4.1", delay=0) as shop:
        yield World(await asyncio.to_thread(upgraded, House(tmp_path, shop.url)), there)


async def overdue(world: World, bot: wiring.Bot) -> Run:
    """A rollback whose decision nobody makes."""
    await fill(bot, world.house)
    ana = await bot.people.person("ana")
    run = await bot.rollbacks.open(Wanted("shop", "checkout fails"), ana, "test")
    assert isinstance(run, Run)
    await bot.rollbacks.command(run.id, c.Approve("start", run.card("start")), ana, "test")
    await asked(bot, run.id)
    world.late += 61
    await happened(bot, run.id, "reminded")
    world.late += 240
    await happened(bot, run.id, "paged")
    return run


async def asked(bot: wiring.Bot, run_id: str) -> Run:
    async with asyncio.timeout(60):
        while (run := await bot.store.load(run_id)).asked["backend"].opened is None:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return run


async def happened(bot: wiring.Bot, run_id: str, kind: str) -> None:
    async with asyncio.timeout(60):
        while kind not in [e.kind for e in await bot.store.events(run_id)]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def approve(bot: wiring.Bot, run_id: str) -> None:
    """ben says yes, to whatever the card shows by then."""
    ben = await bot.people.person("ben")
    async with asyncio.timeout(60):
        while True:
            run = await asked(bot, run_id)
            said = await bot.rollbacks.command(run_id, c.Approve("backend", run.card("backend")), ben, "test")
            if isinstance(said, answering.Answer):
                return
            await asyncio.sleep(0.02)


async def test_nobody_answers_then_it_rings_once_and_is_resolved_at_the_click(world: World) -> None:
    there = world.there
    async with wiring.running(world.settings, world.clock) as bot:
        run = await overdue(world, bot)
        await world.until(lambda: there.ringing)
        (key,) = there.ringing
        assert key.startswith(f"{run.id}/waits/backend/")
        await approve(bot, run.id)
        await world.until(lambda: not there.ringing)
        assert there.log == [("trigger", key), ("resolve", key)]
        assert (await bot.ready())["pager"] == "" and await bot.store.slots(PAGER) == {}


async def test_a_pager_that_is_away_holds_nothing_up_and_hears_it_when_it_is_back(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    there = world.there
    there.answers = [503, 429]
    async with wiring.running(world.settings, world.clock) as bot:
        assert bot.paging is not None
        await overdue(world, bot)
        await world.until(lambda: there.heard == 1)
        await world.until(lambda: bot.paging and bot.paging.fault)
        assert "the pager answered 503" in (await bot.ready())["pager"]
        assert "the pager answered 503" in caplog.text and KEY not in caplog.text
        await bot.paging.round()
        assert there.heard == 1, "it is left alone for a while"
        world.late += 10
        await bot.paging.round()
        assert there.heard == 2 and there.rang == []
        world.late += 6
        await bot.paging.round()
        assert there.heard == 2, "as long as it asked for"
        world.late += 2
        await bot.paging.round()
        assert len(there.rang) == 1 and (await bot.ready())["pager"] == ""


async def test_what_a_crash_left_unsaid_is_said_after_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    there = world.there
    there.answers = [503] * 1000
    async with wiring.running(world.settings, world.clock) as bot:
        run = await overdue(world, bot)
        await world.until(lambda: there.heard)
    there.answers.clear()
    world.late += 100
    async with wiring.running(world.settings, world.clock) as bot:
        await world.until(lambda: there.ringing)
        (key,) = there.rang
        assert key.startswith(f"{run.id}/waits/backend/")
        async with asyncio.timeout(60):  # it is written down behind the call
            while not (row := next(iter((await bot.store.slots(PAGER)).values()))).ts:  # noqa: ASYNC110 - rows call nobody
                await asyncio.sleep(0.02)
        await bot.store.put_slot(replace(row, ts=""))  # as if it had crashed before that
    async with wiring.running(world.settings, world.clock) as bot:
        await world.until(lambda: len(there.rang) == 2)
        assert there.rang == [key, key] and len(there.ringing) == 1, "again is harmless: one key"
        await approve(bot, run.id)
        await world.until(lambda: not there.ringing)


async def test_glass_that_was_broken_while_the_pager_was_away_rings_though_the_run_is_over(world: World) -> None:
    there = world.there
    there.answers = [503] * 1000
    async with wiring.running(world.settings, world.clock) as bot:
        await fill(bot, world.house)
        ana = await bot.people.person("ana")
        run = await bot.rollbacks.open(Wanted("shop", "checkout fails"), ana, "test")
        assert isinstance(run, Run) and bot.paging is not None
        card = run.card("start")
        await bot.rollbacks.command(run.id, c.BreakGlass("start", card, "nobody else is there"), ana, "test")
        await bot.rollbacks.command(run.id, c.Abort("it healed by itself"), ana, "test")
        await happened(bot, run.id, "closed")
        await world.until(lambda: there.heard)
        there.answers.clear()
        world.late += 100
        await bot.paging.round()
        (payload,) = there.ringing.values()
        assert "@ana opened Start the rollback alone" in payload["summary"]
        world.late += 2 * 86400
        await bot.paging.round()
        assert await bot.store.slots(PAGER) == {} and len(there.ringing) == 1, "it is for people to resolve"


async def test_an_event_that_the_pager_refuses_holds_up_no_other(world: World) -> None:
    there = world.there
    async with wiring.running(world.settings, world.clock) as bot:
        assert bot.paging is not None
        paging = Paging(bot.store, bot.lease, Pager(there.url, KEY), world.clock)
        run = await overdue(world, bot)
        await world.until(lambda: there.ringing)
        (row,) = (await bot.store.slots(PAGER)).values()
        bad = row.digest.replace('"critical"', '"awful"')
        await bot.store.put_slot(replace(row, name=f"{run.id}/glass/a/1", ts="", digest=bad.replace("waits", "glass")))
        await bot.store.put_slot(replace(row, ts=""))
        await paging.round()
        assert len(there.rang) == 2 and "'payload.severity' is invalid" in paging.fault
