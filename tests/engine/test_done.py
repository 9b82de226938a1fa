"""Done compares the world with the end that was approved: not with what a handler says, or with what is left to do."""

from __future__ import annotations

import asyncio
import time

from bot.contract import Fatal, Status, Verdict
from bot.engine.attempt import together
from bot.policy import Refusal
from bot.run import events as ev
from bot.run.commands import Adopt, Retry
from bot.run.events import decode
from tests.engine.conftest import Desk
from tests.engine.documents import ANA, BEN, CHO, gate, plan, put, undo

TWO = plan(put("deploy", "eu", "us", decision="deploy"), decisions=[gate("deploy", "deploy")])


async def drifts(bot: Desk, run: str) -> list[ev.Drifted]:
    """Every time that it went beyond what was approved."""
    found = [decode(r.kind, r.body) for r in await bot.store.events(run)]
    return [e for e in found if isinstance(e, ev.Drifted)]


async def test_what_a_handler_calls_done_is_looked_at_and_applied_again(bot: Desk) -> None:
    bot.world.docs |= {"eu": "old", "us": "old"}
    bot.world.dropped["us"] = 1
    run = await bot.open(TWO)
    await bot.approve(run, "deploy", BEN)
    step = await bot.step(run, "deploy", lambda s: s.end is not None)
    assert step.end == "done" and bot.world.docs == {"eu": "new", "us": "new"}
    assert bot.world.entered["us"] == 2 and await drifts(bot, run) == []


async def test_what_others_put_in_place_of_it_while_it_was_done_is_asked_about_and_not_called_done(bot: Desk) -> None:
    bot.world.docs |= {"eu": "old", "us": "old"}
    bot.world.hold["us"] = asyncio.Event()
    run = await bot.open(TWO)
    await bot.approve(run, "deploy", BEN)
    await bot.until(run, lambda r: bot.world.entered["us"])
    bot.world.docs["eu"] = "theirs"
    bot.world.hold["us"].set()
    await bot.until(run, lambda r: r.asked["deploy"].opened is not None and r.asked["deploy"].dropped is not None)
    (drift,) = await drifts(bot, run)
    assert drift.differences == ("eu: is theirs now, was old when approved",)
    assert not isinstance(await bot.approve(run, "deploy", CHO), Refusal)
    await bot.step(run, "deploy", lambda s: s.end == "done")
    assert bot.world.docs == {"eu": "new", "us": "new"}


async def test_an_edit_that_a_new_plan_does_not_see_is_done_only_where_its_target_stands_at_its_end(bot: Desk) -> None:
    bot.world.docs |= {"eu": "old", "us": "old"}
    run = await bot.open(TWO)
    await bot.until(run, lambda r: r.asked["deploy"].opened is not None)
    bot.world.hidden.add("us")
    bot.world.docs["us"] = "theirs"
    await bot.approve(run, "deploy", BEN)
    await bot.until(run, lambda r: r.asked["deploy"].dropped is not None)
    (drift,) = await drifts(bot, run)
    assert drift.differences == ("us: is theirs, and would stay so; approved was old -> new",)
    assert bot.world.writes == [] and bot.world.docs["eu"] == "old"


async def test_an_approved_edit_that_somebody_else_has_made_is_waited_for_and_not_ours_to_undo(bot: Desk) -> None:
    bot.world.docs |= {"eu": "old", "us": "old"}
    back = put("deploy", "eu", "us", decision="deploy", uses="doc.hold")
    run = await bot.open(plan(back, undo("back", back), decisions=[gate("deploy", "deploy")]))
    await bot.until(run, lambda r: r.asked["deploy"].opened is not None)
    bot.world.docs["us"] = "new"
    bot.world.settle["us"] = 1
    await bot.approve(run, "deploy", BEN)
    await bot.until(run, lambda r: r.steps["back"].end == "done")
    assert bot.world.entered["us"] >= 2 and bot.world.settle["us"] == 0, "its effect was waited for"
    assert bot.world.docs == {"eu": "old", "us": "new"}


async def test_a_limit_holds_up_nobody_where_somebody_else_has_done_all_that_was_approved(bot: Desk) -> None:
    bot.world.docs |= {"eu": "old", "us": "old"}
    bot.world.facts["eu"] = 3
    run = await bot.open(TWO)
    await bot.until(run, lambda r: r.asked["deploy"].opened is not None)
    bot.world.docs |= {"eu": "new", "us": "new"}
    bot.world.facts["eu"] = 11
    await bot.approve(run, "deploy", BEN)
    step = await bot.step(run, "deploy", lambda s: s.end is not None)
    assert step.end == "done" and await drifts(bot, run) == []
    assert bot.world.writes == []


async def test_trying_again_waits_for_every_part_of_what_was_approved(bot: Desk) -> None:
    bot.world.docs |= {"eu": "old", "us": "old"}
    bot.world.fail["us"] = [Fatal("the pods crash")]
    run = await bot.open(TWO)
    await bot.approve(run, "deploy", BEN)
    await bot.step(run, "deploy", lambda s: s.halt is not None)
    assert bot.world.docs == {"eu": "new", "us": "old"}
    before = bot.world.entered["eu"]
    bot.world.settle["eu"] = 1
    await bot.say(run, ANA, Retry("deploy"))
    await bot.step(run, "deploy", lambda s: s.end == "done")
    assert bot.world.entered["eu"] > before and bot.world.settle["eu"] == 0
    assert bot.world.docs == {"eu": "new", "us": "new"}


async def test_a_third_value_that_came_while_a_step_ran_out_of_time_is_asked_about_on_trying_again(bot: Desk) -> None:
    bot.world.docs |= {"eu": "old", "us": "old"}
    bot.world.hold["us"] = asyncio.Event()
    run = await bot.open(plan(put("deploy", "eu", "us", decision="deploy", timeout=600.0), decisions=TWO.decisions))
    await bot.approve(run, "deploy", BEN)
    await bot.until(run, lambda r: bot.world.entered["us"])
    bot.engine.clock = lambda: time.time() + 601.0
    step = await bot.step(run, "deploy", lambda s: s.halt is not None)
    assert step.halt is not None and step.halt.cause == "timeout"
    assert bot.world.docs == {"eu": "new", "us": "old"}
    bot.world.docs["us"] = "theirs"
    bot.world.hold["us"].set()
    await bot.say(run, ANA, Retry("deploy"))
    await bot.until(run, lambda r: r.asked["deploy"].opened is not None and r.asked["deploy"].dropped is not None)
    (drift,) = await drifts(bot, run)
    assert drift.differences == ("us: is theirs now, was old when approved",)
    assert bot.world.docs == {"eu": "new", "us": "theirs"}, "nobody has said yes to that"
    await bot.approve(run, "deploy", CHO)
    step = await bot.step(run, "deploy", lambda s: s.end == "done")
    assert bot.world.docs == {"eu": "new", "us": "new"}
    made = {e.target: e.before for e in step.made.edits} if step.made else {}
    assert made == {"eu": "old", "us": "old"}, "an undo leads back to what stood there before the run"


async def test_what_is_said_to_be_done_by_hand_is_so_only_where_everything_stands_at_its_end(bot: Desk) -> None:
    bot.world.docs |= {"eu": "old", "us": "old"}
    run = await bot.open(TWO)
    await bot.until(run, lambda r: r.asked["deploy"].opened is not None)
    bot.world.docs |= {"eu": "new", "us": "theirs"}
    bot.world.hidden.add("us")
    await bot.say(run, ANA, Adopt("deploy", "did it on the console"))
    step = await bot.step(run, "deploy", lambda s: s.halt is not None)
    assert step.halt is not None and "us: is theirs, and would stay so" in step.halt.error


async def test_what_is_not_about_the_world_is_not_looked_at_again(bot: Desk) -> None:
    bot.world.docs["eu"] = "new"
    run = await bot.open(plan(put("one", "eu", once=True)))
    await bot.step(run, "one", lambda s: s.end == "done")
    assert bot.world.plans["eu"] == 1


def test_a_warning_among_checks_that_are_looked_at_together_is_no_pass() -> None:
    seen = {
        "health": Verdict(Status.PASS, "200 in 80 ms", "200"),
        "crons": Verdict(Status.WARN, "not due since 14:02", "every run ended well"),
    }
    both = together(seen)
    assert (both.status, both.observed) == (Status.WARN, "1 of 2 pass; crons: not due since 14:02")
