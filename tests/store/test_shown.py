"""What the publisher asks of the store: which runs it has to look at, and what actions want to be posted."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

import migrations
from bot.engine.notices import StoredNotices
from bot.ports import ReadOnly
from bot.redaction.redactor import Redactor
from bot.run import events as ev
from bot.run.state import new_run
from bot.store import tables as t
from bot.store.log import Known, Notice, Slot, Store, Unshown

AT = 1_763_900_000.25


async def test_a_run_is_unshown_until_its_last_event_is_marked(store: Store, sample: Any) -> None:
    run = await store.append(new_run("r1"), [sample.created()], AT)
    (seen,) = await store.unshown()
    assert seen == Unshown("r1", 1, 0)
    await store.append(run, [ev.Stopped(sample.ana)], AT + 1)
    await store.mark_shown(seen)
    (seen,) = await store.unshown("r1")
    assert seen == Unshown("r1", 2, 1)
    await store.mark_shown(seen)
    assert await store.unshown() == [] == await store.unshown("r1")


async def test_a_notice_that_comes_while_a_run_is_drawn_is_not_overlooked(store: Store, sample: Any) -> None:
    await store.append(new_run("r1"), [sample.created()], AT)
    (before,) = await store.unshown()
    await store.mark_shown(before)
    for name in ("one", "two"):
        drawn = await store.unshown()
        await store.put_notice(Notice("r1", name, "#status", "text", AT))
        for seen in drawn:
            await store.mark_shown(seen)
        assert [u.run for u in await store.unshown()] == ["r1"]
    (seen,) = await store.unshown()
    await store.mark_shown(seen)
    await store.put_notice(Notice("r1", "two", "#status", "again", AT + 5))
    assert await store.unshown() == []


async def test_the_first_text_of_a_notice_stays_and_they_come_in_order(store: Store) -> None:
    first, second = Notice("r1", "b", "#status", "first", AT), Notice("r1", "a", "#cdn", "second", AT + 1)
    for notice in (second, first, Notice("r1", "b", "#status", "changed", AT + 2), Notice("r2", "b", "#x", "y", AT)):
        await store.put_notice(notice)
    assert await store.notices("r1") == [first, second]
    later = Notice("r1", "c", "#status", "it begins", AT + 3, AT + 7200.25, "U1 U2")
    await store.put_notice(later)
    assert (await store.notices("r1"))[-1] == later


async def test_a_handler_posts_through_its_record_and_without_secrets(store: Store) -> None:
    said: list[str] = []

    async def record(command: str) -> None:
        said.append(command)

    async def refuse(command: str) -> None:
        raise ReadOnly(command)

    redactor = Redactor(["hunter2-hunter2"])
    notices = StoredNotices(store, redactor, new_run("r1"), record, lambda: AT)
    await notices.post("#status", "cdn", "purged with hunter2-hunter2")
    (kept,) = await store.notices("r1")
    assert "hunter2" not in kept.text + said[0] and said[0] == f"post in #status: {kept.text}"
    with pytest.raises(ReadOnly):
        await StoredNotices(store, redactor, new_run("r1"), refuse, lambda: AT).post("#status", "two", "x")
    assert len(await store.notices("r1")) == 1
    at = datetime(2026, 12, 1, 9, tzinfo=timezone(timedelta(hours=1)))
    await notices.post("#status", "later", "it begins", at=at, people=["U1", "U2", "U1"])
    (later,) = [n for n in await store.notices("r1") if n.name == "later"]
    assert (later.due, later.people) == (at.timestamp(), "U1 U2")
    assert said[-1] == "post in #status at 2026-12-01 08:00 UTC: it begins"


async def test_what_was_known_is_replaced(store: Store) -> None:
    assert await store.known("slack/people") is None
    for body in ("[1]", "[2]"):
        await store.put_known(Known("slack/people", body, AT))
    assert await store.known("slack/people") == Known("slack/people", "[2]", AT)


async def test_a_slot_can_be_forgotten(store: Store) -> None:
    for name in ("root", "end"):
        await store.put_slot(Slot("r1", name, "C1", "", "d", AT))
    await store.forget_slot("r1", "root")
    await store.forget_slot("r1", "never")
    assert await store.slots("r1") == {"end": Slot("r1", "end", "C1", "", "d", AT)}


async def test_after_the_upgrade_closed_runs_count_as_shown_and_open_ones_do_not(database_url: str) -> None:
    await asyncio.to_thread(migrations.upgrade, database_url, "0001")
    store = await Store.open(database_url)
    rows = [
        {
            "run": run,
            "service": run,
            "kind": "rollback",
            "open": closed is None,
            "seq": 7,
            "created": 1,
            "closed": closed,
        }
        for run, closed in (("open", None), ("closed", 2))
    ]
    old = sa.table("head", *(sa.column(c.name, c.type) for c in t.head.c if c.name != "shown"))
    await store.db.write(lambda c: c.execute(sa.insert(old), rows))
    await store.close()
    await asyncio.to_thread(migrations.upgrade, database_url)
    store = await Store.open(database_url)
    assert await store.unshown() == [Unshown("open", 7, 0)]
    await store.close()


async def test_a_checkpoint_is_found_by_the_moment_of_what_it_marks(store: Store, sample: Any) -> None:
    run = await store.append(new_run("r1"), [sample.created()], AT, checkpoint=True)
    await store.append(new_run("r2"), [sample.created("other")], AT + 1, checkpoint=True)
    run = await store.append(run, [ev.Stopped(sample.ana)], AT + 2)
    run = await store.append(run, [ev.Aborted(sample.ana, "no help")], AT + 3, checkpoint=True)
    found = await store.marks("r1")
    assert {at: (c.n, c.seq) for at, c in found.items()} == {AT: (1, 1), AT + 3: (3, 3)}
    assert found[AT + 3].hash == run.head and await store.checkpoints(2) == [found[AT + 3]]
    assert await store.marks("r9") == {}
