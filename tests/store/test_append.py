"""Appending and loading: optimistic, whole or not at all, and what comes back is what went in."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
import sqlalchemy as sa

from bot.run import events as ev
from bot.run.decide import decide
from bot.run.fold import evolve
from bot.run.state import new_run
from bot.store import tables as t
from bot.store.chain import ZERO
from bot.store.log import AlreadyOpen, Conflict, Duplicate, Head, Store
from tests.fixtures.stores import ending

AT = 1_763_900_000.123456


async def count(store: Store, table: sa.Table) -> int:
    return await store.db.read(lambda c: c.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


async def test_what_is_loaded_is_what_append_returned(store: Store, migrated_url: str, sample: Any) -> None:
    run = await store.append(new_run("r1"), [sample.created()], AT)
    for n, event in enumerate(sample.work()):
        run = await store.append(run, [event], AT + n / 7)
    fresh = await Store.open(migrated_url)
    assert await fresh.load("r1") == await store.load("r1") == run
    await fresh.close()
    assert (run.seq, run.at) == (6, round((AT + 4 / 7) * 1e6) / 1e6)


async def test_an_unknown_run_is_new(store: Store) -> None:
    assert await store.load("nobody") == new_run("nobody")


async def test_load_reads_only_what_another_process_added(store: Store, migrated_url: str, sample: Any) -> None:
    mine = await store.append(new_run("r1"), [sample.created()], AT)
    other = await Store.open(migrated_url)
    theirs = await other.append(await other.load("r1"), sample.work(), AT + 1)
    await other.close()
    assert await store.load("r1") == theirs
    assert theirs.seq == mine.seq + 5


async def test_of_two_who_append_behind_the_same_event_one_wins(store: Store, sample: Any) -> None:
    run = await store.append(new_run("r1"), [sample.created()], AT)
    stop = ev.Stopped(sample.ana)
    results = await asyncio.gather(*(store.append(run, [stop], AT + n) for n in range(8)), return_exceptions=True)
    assert [type(r) for r in results].count(Conflict) == 7
    assert (await store.load("r1")).seq == 2
    assert await count(store, t.event) == 2


async def test_a_service_has_one_open_rollback(store: Store, sample: Any) -> None:
    first = await store.append(new_run("r1"), [sample.created()], AT)
    with pytest.raises(AlreadyOpen, match="shop has an open rollback already: r1") as e:
        await store.append(new_run("r2"), [sample.created()], AT)
    assert (e.value.service, e.value.run) == ("shop", "r1")
    assert await count(store, t.event) == 1
    assert await store.find_open("shop") == "r1"
    await store.append(new_run("f1"), [sample.created(purpose="freeze")], AT)
    await store.append(new_run("b1"), [sample.created("blog")], AT)
    await store.append(first, [sample.closed()], AT + 1)
    assert await store.find_open("shop") is None
    await store.append(new_run("r2"), [sample.created()], AT + 2)


async def test_a_new_run_whose_id_is_taken_is_a_conflict(store: Store, sample: Any) -> None:
    await store.append(new_run("r1"), [sample.created()], AT)
    with pytest.raises(Conflict):
        await store.append(new_run("r1"), [sample.created("blog")], AT)


async def test_a_command_delivered_twice_counts_once(store: Store, sample: Any) -> None:
    run = await store.append(new_run("r1"), [sample.created()], AT, key="slack:1")
    assert await store.seen("slack:1") and not await store.seen("slack:2")
    with pytest.raises(Duplicate, match="slack:1"):
        await store.append(run, [ev.Stopped(sample.ana)], AT, key="slack:1")
    assert await store.load("r1") == run
    await store.append(run, [ev.Stopped(sample.ana)], AT, key="slack:2")
    assert await store.prune_inbox(AT + 1) == 2
    assert not await store.seen("slack:1")


async def test_the_loser_of_a_race_may_send_its_key_again(store: Store, sample: Any) -> None:
    run = await store.append(new_run("r1"), [sample.created()], AT)
    await store.append(run, [ev.Stopped(sample.ana)], AT)
    with pytest.raises(Conflict):
        await store.append(run, [ev.Resumed(sample.ana)], AT, key="k")
    await store.append(await store.load("r1"), [ev.Resumed(sample.ana)], AT, key="k")


async def test_all_of_an_append_commits_or_none_of_it(store: Store, sample: Any) -> None:
    def add_slot(c: sa.Connection) -> None:
        c.execute(sa.insert(t.slot).values(run="r1", name="root", channel="C", ts="1", digest=""))

    def fail(c: sa.Connection) -> None:
        add_slot(c)
        raise LookupError("the queue is gone")

    then = fail
    ending(store.db, lambda: then)
    with pytest.raises(LookupError):
        await store.append(new_run("r1"), [sample.created()], AT, key="k", checkpoint=True)
    for table in (t.event, t.head, t.slot, t.inbox, t.checkpoint):
        assert await count(store, table) == 0
    assert (await store.load("r1")).seq == 0
    then = add_slot
    run = await store.append(new_run("r1"), [sample.created()], AT, key="k", checkpoint=True)
    for table in (t.event, t.head, t.slot, t.inbox, t.checkpoint):
        assert await count(store, table) == 1
    with pytest.raises(sa.exc.IntegrityError):  # a constraint of others is no conflict of ours
        await store.append(run, [ev.Stopped(sample.ana)], AT)


async def test_a_cancelled_append_is_whole_or_not_there(store: Store, sample: Any) -> None:
    entered, go, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

    def wait(_: sa.Connection) -> None:
        loop.call_soon_threadsafe(entered.set)
        go.wait()

    ending(store.db, lambda: wait)
    task = asyncio.create_task(store.append(new_run("r1"), [sample.created()], AT))
    await entered.wait()
    task.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await store.load("r1")).seq == 1
    assert [h.run for h in await store.heads()] == ["r1"]


async def test_the_head_follows_the_run(store: Store, sample: Any) -> None:
    run = await store.append(new_run("r1"), [sample.created()], AT)
    (head,) = await store.heads("shop", open=True)
    assert (head.run, head.kind, head.seq, head.open, head.created, head.closed) == (
        "r1", "rollback", 1, True, run.created_at, None,
    )  # fmt: skip
    assert head.due == decide(run, run.at).due == run.at
    assert await store.due(AT) == ["r1"] and await store.due(AT - 1) == []
    stopped = await store.append(run, [ev.Stopped(sample.ana)], AT + 1)
    assert decide(stopped, AT + 1).due is None
    assert await store.due(AT + 1e6) == []
    done = await store.append(stopped, [sample.closed()], AT + 2)
    (head,) = await store.heads(open=False)
    assert (head.seq, head.open, head.closed) == (3, False, done.closed_at)
    assert await store.heads("shop", open=True) == [] == await store.heads("blog")


async def test_a_run_that_ends_between_two_looks_is_one_of_those_of_late(
    store: Store, sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await store.append(new_run("r1"), [sample.created()], AT)
    heads, looks = store.heads, list[bool | None]()

    async def meanwhile(service: str | None = None, open: bool | None = None, limit: int | None = 100) -> list[Head]:
        found = await heads(service, open, limit)
        if not looks:
            await store.append(run, [sample.closed()], AT + 2)
        looks.append(open)
        return found

    monkeypatch.setattr(store, "heads", meanwhile)
    (head,) = await store.lately(AT, 20)
    assert len(looks) == 2 and (head.run, head.open) == ("r1", False)
    assert await store.lately(AT + 3, 20) == [], "it ended before"


async def test_without_events_only_the_head_is_written_anew(store: Store, sample: Any) -> None:
    run = await store.append(new_run("r1"), [sample.created()], AT)
    before = await store.db.read(lambda c: c.execute(sa.select(t.head)).one())
    await store.db.write(lambda c: c.execute(sa.delete(t.head)))
    assert await store.append(run, [], AT) == run
    assert await store.db.read(lambda c: c.execute(sa.select(t.head)).one()) == before
    assert await count(store, t.event) == 1
    with pytest.raises(ValueError, match="no events yet"):
        await store.append(new_run("r9"), [], AT)


async def test_a_hash_is_over_the_stored_bytes(store: Store, sample: Any) -> None:
    await store.append(new_run("r1"), [sample.created(), *sample.work()], AT, checkpoint=True)
    prev = ZERO
    rows = await store.events("r1")
    for seq, row in enumerate(rows, 1):
        text = "\n".join((prev, "r1", str(seq), str(round(AT * 1e6)), row.kind, row.body))
        assert (row.seq, row.prev, row.hash) == (seq, prev, sha256(text.encode()).hexdigest())
        prev = row.hash
    assert (await store.load("r1")).head == prev
    assert await store.events("r1", after=4) == rows[4:]
    async with store.snapshot() as snapshot:
        assert [row async for part in snapshot.rows() for row, _ in part] == rows


async def test_checkpoints_are_one_chain_over_all_runs(store: Store, sample: Any) -> None:
    assert await store.last_checkpoint() is None
    runs = await asyncio.gather(*(
        store.append(new_run(f"r{n}"), [sample.created(f"s{n}")], AT, checkpoint=True) for n in range(6)
    ))  # fmt: skip
    chain = await store.checkpoints()
    assert [c.n for c in chain] == [1, 2, 3, 4, 5, 6]
    assert [c.prev for c in chain] == [ZERO, *(c.chain for c in chain[:-1])]
    assert {(c.run, c.hash) for c in chain} == {(r.id, r.head) for r in runs}
    assert await store.last_checkpoint() == chain[-1]
    assert await store.checkpoints(after=4) == chain[4:]


async def test_an_event_that_could_not_be_read_back_is_not_written(store: Store, sample: Any) -> None:
    run = await store.append(new_run("r1"), [sample.created()], AT)
    bad = ev.Stopped(replace(sample.ana, roles=(object(),)))
    with pytest.raises(Exception, match="object"):
        await store.append(run, [bad], AT)
    with pytest.raises(ev.TooLarge):
        await store.append(run, [ev.Stopped(sample.ana, "x" * ev.BODY_LIMIT)], AT)
    with pytest.raises(ev.BadEvent):
        await store.append(run, [ev.Stopped(sample.ana), ev.Unknown("resumed", "{}")], AT)
    with pytest.raises(ValueError, match="line feed"):
        await store.append(run, [ev.Unknown("a\nb", "{}")], AT)
    assert await store.load("r1") == run
    assert await count(store, t.event) == 1


async def test_events_of_a_newer_version_are_kept_and_ignored(store: Store, sample: Any) -> None:
    run = await store.append(new_run("r1"), [sample.created()], AT)
    newer = ev.Unknown("teleported", '{"to":"mars"}')
    assert await store.append(run, [newer], AT) == replace(
        evolve(run, newer, run.at), head=(await store.events("r1"))[1].hash
    )
    assert (await store.events("r1"))[1].body == '{"to":"mars"}'


async def test_memory_holds_a_limited_number_of_runs(
    store: Store, sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.store.log.CACHED", 3)
    for n in range(5):
        await store.append(new_run(f"r{n}"), [sample.created(f"s{n}")], AT)
    assert len(store._runs) == 3
    assert (await store.load("r0")).service == "s0"
