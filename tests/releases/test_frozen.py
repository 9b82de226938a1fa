"""CI is answered at once, however long the history, and never from before it asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

import migrations
from bot.catalogue import Release
from bot.releases.frozen import Frozen
from bot.releases.register import ReleaseRegister
from bot.run import events as ev
from bot.run.commands import Abort, HandOver
from bot.run.state import Run, new_run
from bot.steady.together import Together
from bot.store.log import Head, Store
from tests.run.played import ANA, CHO, T0, Play, act, check, gate, plan, undo


@pytest.fixture
async def frozen(database_url: str) -> AsyncIterator[Frozen]:
    await asyncio.to_thread(migrations.upgrade, database_url)
    store = await Store.open(database_url)
    yield Frozen(store, ReleaseRegister(store, lambda: T0))
    await store.close()


async def keep(store: Store, play: Play, name: str, purpose: str = "rollback") -> Run:
    """A run that was played, in the log."""
    run = new_run(name)
    for moment in play.moments:
        event = moment.event
        event = replace(event, purpose=purpose) if isinstance(event, ev.Created) else event
        run = await store.append(run, [event], moment.after.at)
    return run


def at_work() -> Play:
    """A run whose freeze stands."""
    freeze = replace(
        act("freeze", {"guard": "on"}, temporary=True, decision="go"), uses="deploys.freeze", duties=("freeze", "hold")
    )
    serves = check("serves", ["freeze"], phase="verify")
    play = Play(plan(freeze, serves, undo("lift", freeze, ("serves",)), decisions=[gate("go", "freeze")]))
    play.look()
    play.approve("go", CHO)
    play.go("freeze")
    return play


def ended() -> Play:
    play = at_work()
    play.go_all()
    assert play.run.closed is not None
    return play


async def test_runs_that_have_ended_are_not_looked_at(frozen: Frozen) -> None:
    for i in range(3):
        await keep(frozen.store, ended(), f"old-{i}")
    assert await frozen.runs("shop") == [] and not (await frozen.of("shop")).locked
    await keep(frozen.store, at_work(), "now")
    assert [r.id for r in await frozen.runs("shop")] == ["now"]
    assert (await frozen.of("shop")).run == "now"


async def test_what_an_ended_run_has_left_frozen_stays_so_until_a_thaw_has_ended(frozen: Frozen) -> None:
    left = at_work()
    left.do(ANA, Abort("enough"))
    left.do(ANA, HandOver("freeze", "cho", T0 + 3600, "tomorrow"))
    left.go_all()
    assert left.run.closed is not None
    await keep(frozen.store, left, "left")
    assert (await frozen.of("shop")).run == "left"
    lifting = Play(plan(replace(act("thaw"), uses="deploys.thaw", duties=("thaw",))), now=T0 + 100)
    lifting.go_all()
    await keep(frozen.store, lifting, "thaw", "thaw")
    assert not (await frozen.of("shop")).locked, "its debt is not settled yet, but it is lifted"


async def test_bans_are_read_again_after_each_change_whoever_made_it(frozen: Frozen) -> None:
    other = ReleaseRegister(frozen.store, lambda: T0)  # another process
    for version in ("2.4.0", "2.4.1"):
        await other.record("shop", Release(version), by="ci")
    assert await frozen.bans("shop") == ()
    await other.ban("shop", "2.4.1", "payments fail", "ana")
    (banned,) = await frozen.bans("shop")
    assert banned.version == "2.4.1" and await frozen.bans("other") == ()
    await other.lift("shop", "2.4.1", "it was not the cause", "ana")
    assert await frozen.bans("shop") == ()
    await other.ban("shop", "2.4.1", "it was", "run r1")
    assert len(await frozen.bans("shop")) == 1
    await other.record("shop", Release("2.4.2"), by="ci")
    assert await frozen.bans("shop") == (), "a newer one ends the ban of a run"


async def test_the_ledger_is_not_read_where_it_is_the_same(frozen: Frozen, monkeypatch: pytest.MonkeyPatch) -> None:
    await frozen.releases.record("shop", Release("2.4.1"), by="ci")
    found = await frozen.bans("shop")
    monkeypatch.setattr(Store, "releases", None)
    assert await frozen.bans("shop") == found


async def test_nothing_is_looked_at_while_the_database_stands_as_it_stood(
    frozen: Frozen, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(frozen.store, at_work(), "now")
    found = await frozen.of("shop")
    looks = 0
    look = Store.unended

    async def counted(store: Store, service: str) -> list[Head]:
        nonlocal looks
        looks += 1
        return await look(store, service)

    monkeypatch.setattr(Store, "unended", counted)
    asked = 200  # one server of PostgreSQL may serve other tests as well: each commit there costs a look
    assert all([await frozen.of("shop") is found for _ in range(asked)]), "one object, so that it is written once"
    assert looks < asked


async def test_what_another_process_has_written_is_in_the_next_answer(frozen: Frozen, database_url: str) -> None:
    other = await Store.open(database_url)
    for i in range(3):
        play = at_work()
        run = await keep(other, play, f"r{i}")
        assert (await frozen.of("shop")).run == f"r{i}"
        begun = len(play.moments)
        play.go_all()
        for moment in play.moments[begun:]:
            run = await other.append(run, [moment.event], moment.after.at)
        assert not (await frozen.of("shop")).locked
    await other.close()


async def test_who_asks_while_somebody_looks_shares_the_next_look() -> None:
    began, begun, go = 0, asyncio.Event(), asyncio.Event()

    async def look(_: str) -> int:
        nonlocal began
        began += 1
        begun.set()
        mine = began
        await go.wait()
        return mine

    looks = Together(look)
    first = asyncio.create_task(looks.of("shop"))
    await begun.wait()
    later = [asyncio.create_task(looks.of("shop")) for _ in range(50)]
    await asyncio.sleep(0)
    later[0].cancel()
    go.set()
    assert await first == 1
    assert await asyncio.gather(*later[1:]) == [2] * 49, "one look, begun after all of them had asked"
    assert await looks.of("shop") == 3


async def test_a_look_that_fails_is_told_to_all_who_share_it_and_to_nobody_else() -> None:
    faults = [OSError("away"), None]

    async def look(_: str) -> str:
        await asyncio.sleep(0)
        if fault := faults.pop(0):
            raise fault
        return "fine"

    looks = Together(look)
    asked = await asyncio.gather(looks.of("shop"), looks.of("shop"), return_exceptions=True)
    assert [type(a) for a in asked] == [OSError, OSError] and await looks.of("shop") == "fine"
