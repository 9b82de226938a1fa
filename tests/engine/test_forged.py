"""What somebody writes straight into the database, with hashes that fit, moves no run of a bot that signs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

import migrations
from bot.catalogue import Channels
from bot.node import paging
from bot.policy import Actor, Refusal, Why
from bot.run import events as ev
from bot.run.state import Run
from bot.slack.draw.screen import screen
from bot.store import tables as t
from bot.store.chain import event_hash
from bot.store.log import Keys, Store
from bot.store.signing import new_key
from bot.telling import view
from tests.engine.conftest import Desk, desk
from tests.engine.documents import CHO, World, gate, plan, put

OWN, PUBLIC = new_key()
CHANNELS = Channels(incident=("C1",))


@pytest.fixture
async def bot(database_url: str, world: World) -> AsyncIterator[Desk]:
    """A bot that signs, and looks for what no bot wrote in every round."""
    await asyncio.to_thread(migrations.upgrade, database_url)
    async with desk(database_url, world, keys=Keys(OWN)) as found:
        yield found


async def forge(store: Store, run: Run, event: ev.Event, *, due: bool) -> None:
    """A row as this program would write it, but for the signature; due: the index says that it is the run's turn."""
    kind, body = ev.encode(event)
    seq, at = run.seq + 1, int(run.at * 1e6) + 1
    hash_ = event_hash(run.head, run.id, seq, at, kind, body)
    row = {"run": run.id, "seq": seq, "at": at, "kind": kind, "body": body, "prev": run.head, "hash": hash_}

    def write(c: sa.Connection) -> None:
        c.execute(sa.insert(t.event), row)
        if due:
            c.execute(sa.update(t.head).where(t.head.c.run == run.id).values(seq=seq, due=at))

    await store.db.write(write)


@pytest.mark.parametrize("due", [True, False])
async def test_an_approval_that_no_bot_wrote_is_not_acted_upon_and_told(
    bot: Desk, due: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr("bot.engine.reconciler.LOOK_FOR", 0.1)
    told = asyncio.Queue[Run]()

    async def watch(run: Run, events: object) -> None:
        if not events:
            told.put_nowait(run)

    bot.engine.watchers = (watch,)
    run_id = await bot.open(plan(put("a", decision="a"), decisions=[gate("a", "a")]))
    bot.world.docs["a"] = "old"
    run = await bot.until(run_id, lambda r: r.asked["a"].opened is not None)
    approved = ev.Approved("a", run.fingerprints("a"), Actor(CHO.id, CHO.name, ("approver",), "slack"), "approver")
    await forge(bot.store, run, approved, due=due)

    async with asyncio.timeout(60):
        doubted = await told.get()
    assert doubted.doubt == f"row {run.seq + 1} (approved) is not signed"
    assert bot.engine.doubted == {run_id: doubted.doubt}
    no = await bot.approve(run_id, "a", CHO)
    assert isinstance(no, Refusal) and no.why is Why.NOT_NOW and "is not believed" in no.text
    for _ in range(3):
        await bot.engine.reconcile(run_id)
    assert bot.world.writes == [] and (await bot.store.events(run_id))[-1].seq == run.seq + 1
    assert sum("is not believed, and nothing is done" in r.getMessage() for r in caplog.records) == 1
    assert run_id in {r.run for r in await bot.store.unshown()}

    assert "is not believed" in view.view(doubted, doubted.at).status
    assert view.view(doubted, doubted.at).next == (f"rollback-bot audit {run_id} verify",)
    (alert,) = [a for a in paging.alerts(doubted).values() if a.payload["class"] == "doubt"]
    assert alert.payload["severity"] == "critical" and "(approved) is not signed" in str(alert.payload["summary"])
    posts = {p.slot: str(p.message) for p in screen(doubted, now=doubted.at, channels=CHANNELS).posts}
    assert "I do nothing more in" in posts[f"doubt.{run.seq}"] and "is not signed" in posts["root"]
    assert "'actions'" not in posts["root"]

    def remove(c: sa.Connection) -> None:
        lite = c.dialect.name == "sqlite"
        c.exec_driver_sql("DROP TRIGGER event_no_delete" if lite else "ALTER TABLE event DISABLE TRIGGER ALL")
        c.execute(sa.delete(t.event).where(t.event.c.run == run_id, t.event.c.seq > run.seq))
        c.execute(sa.update(t.head).where(t.head.c.run == run_id).values(seq=run.seq))

    await bot.store.db.write(remove)
    async with asyncio.timeout(60):
        assert (await told.get()).doubt == "" and bot.engine.doubted == {}
    assert not isinstance(await bot.approve(run_id, "a", CHO), Refusal)
    await bot.step(run_id, "a", lambda s: s.end == "done")
    assert bot.world.docs == {"a": "new"}


async def test_an_attempt_under_way_changes_nothing_more_once_the_record_is_not_believed(bot: Desk) -> None:
    bot.world.docs["a"] = "old"
    bot.world.hold["a"] = asyncio.Event()
    run_id = await bot.open(plan(put("a")))
    async with asyncio.timeout(60):
        while not bot.world.entered["a"]:  # noqa: ASYNC110 - the handler says so
            await asyncio.sleep(0.01)
    run = await bot.store.load(run_id)
    await forge(bot.store, run, ev.Resumed(Actor("U1", "ana")), due=False)
    bot.world.hold["a"].set()
    await bot.engine.reconcile(run_id)
    why = await bot.engine.submit(run_id, ev.Recorded("a", run.steps["a"].n, "put a"))
    assert "row" in (why or "") and "is not signed" in (why or "")
    assert bot.world.writes == [] and (await bot.store.load(run_id)).doubt
