"""Ended runs that have left something, on a real engine: given back in their own record, or by the service's next."""

from __future__ import annotations

import asyncio

from bot.opening.debts import Debts
from bot.plan.model import StepSpec
from bot.policy import Refusal
from bot.ports import Unreachable
from bot.run import events as ev
from bot.run.commands import Abort, HandOver, Restore, Undo
from bot.run.state import Run
from bot.telling.owing import lines
from tests.engine.conftest import Desk
from tests.engine.documents import ANA, BEN, CHO, World, gate, plan, put, undo


def shop() -> list[StepSpec]:
    """Workers paused, a gated deploy of two places, workers back."""
    pause = put("pause", "workers", to="off", uses="doc.hold")
    deploy = put("deploy", "eu", "us", after=["pause"], decision="deploy")
    return [pause, deploy, undo("back", pause, ["deploy"])]


async def given_up(bot: Desk, world: World) -> Run:
    """Half a deploy, an abort in the middle of it, and the pause in ben's hands."""
    world.docs |= {"workers": "on", "eu": "old", "us": "old"}
    run_id = await bot.open(plan(*shop(), decisions=[gate("deploy", "deploy")]))
    world.hold["us"] = asyncio.Event()
    await bot.approve(run_id, "deploy", BEN)
    await bot.until(run_id, lambda r: world.docs["eu"] == "new" and world.entered["us"])
    assert not isinstance(await bot.say(run_id, ANA, Abort("not the cause")), Refusal)
    world.hold["us"].set()
    later = bot.engine.clock() + 3600
    assert not isinstance(await bot.say(run_id, ANA, HandOver("pause", "ben", later, "after the call")), Refusal)
    return await bot.until(run_id, lambda r: r.closed)


async def test_an_aborted_run_looks_where_it_stands_and_is_undone_from_its_record_after_the_end(
    bot: Desk, world: World
) -> None:
    run = await given_up(bot, world)
    assert run.steps["deploy"].seen == {"eu": "new", "us": "old"}
    told = "\n".join(lines(await Debts(bot.store, bot.engine).owed(), bot.engine.clock()))
    assert "Still" not in told and "workers" not in told.splitlines()[1]
    assert f"rollback-bot restore {run.id} pause" in told and f"rollback-bot undo {run.id} deploy" in told
    await bot.say(run.id, ANA, Undo("deploy", "put it back"))
    await bot.approve(run.id, "undo.deploy", CHO)
    await bot.step(run.id, "deploy", lambda s: s.end == "undone")
    assert world.docs["eu"] == "old"
    await bot.say(run.id, BEN, Restore("pause", "the call is over"))
    run = await bot.until(run.id, lambda r: not r.debts)
    assert world.docs["workers"] == "on" and not run.at_work
    assert await Debts(bot.store, bot.engine).owed() == []


async def test_nothing_is_given_back_beside_a_rollback_that_is_open_and_that_takes_it_over(
    bot: Desk, world: World
) -> None:
    old, debts = await given_up(bot, world), Debts(bot.store, bot.engine)
    follows = plan(*shop(), decisions=[gate("deploy", "deploy")])
    inherited = await debts.inherits("shop", follows, {})
    assert [(e.step, e.run, e.of) for e in inherited] == [("pause", old.id, "pause")]
    bot.engine.watchers = (debts.watch,)
    assert old.created is not None
    created = ev.Created("shop", follows, "d", old.created.removed, old.created.target, "again", old.created.by)
    await bot.engine.create("shop-next", created, *inherited)
    await bot.until(old.id, lambda r: not r.debts)
    said = await bot.say(old.id, ANA, Undo("deploy", "put it back"))
    assert not isinstance(said, Refusal), "it waits for its gate, and changes nothing yet"
    refused = await bot.approve(old.id, "undo.deploy", CHO)
    assert isinstance(refused, Refusal) and "shop-next of shop is at work" in refused.text
    await bot.approve("shop-next", "deploy", BEN)
    run = await bot.until("shop-next", lambda r: r.steps["back"].end == "done")
    assert world.docs == {"workers": "on", "eu": "new", "us": "new"} and not run.debts


async def test_an_abort_ends_although_what_it_left_cannot_be_looked_at(bot: Desk, world: World) -> None:
    world.docs |= {"a": "old"}
    run_id = await bot.open(plan(put("one", "a"), put("two", "b", after=["one"])))
    world.hold["b"] = asyncio.Event()
    await bot.until(run_id, lambda r: world.entered["b"])
    world.fail["get a"] = [Unreachable("no answer")]
    await bot.say(run_id, ANA, Abort("enough"))
    world.hold["b"].set()
    run = await bot.until(run_id, lambda r: r.closed)
    one = run.steps["one"]
    assert not one.seen and one.unseeable.endswith("no answer"), one.unseeable
