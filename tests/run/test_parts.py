"""Parts that are away: one decision goes on without one everywhere, and what it is owed is done when it is back."""

from __future__ import annotations

from collections.abc import Mapping

from bot.run import events as ev
from bot.run.commands import Abort, Agree, Back, Close, HandOver, Retry, Skip, Without
from bot.telling.plain import text
from bot.telling.view import status, view
from tests.run.played import ANA, CHO, COMMANDER, DAN, Play, act, ask, check, gate, plan, undo

OLD: Mapping[str, str] = {"eu/shop": "2.4.1", "us/shop": "2.4.1", "eu/work": "on", "us/work": "on"}


def shop() -> Play:
    """A pause in two places, a gated deploy, workers back, a check, and a ban."""
    pause = act("pause", {"eu/work": "off", "us/work": "off"}, ["start"], temporary=True)
    deploy = act("deploy", {"eu/shop": "2.4.0", "us/shop": "2.4.0"}, ["pause"], decision="backend")
    steps = (
        ask("start"), pause, deploy, undo("resume", pause, ["deploy"]),
        check("runs", ["resume"], phase="verify"),
        act("ban", {"eu/ban": "2.4.1", "us/ban": "2.4.1"}, ["runs"]),
    )  # fmt: skip
    play = Play(plan(*steps, decisions=[gate("start", by=COMMANDER), gate("backend", "deploy")]))
    play.world |= OLD
    return play


def without(play: Play, part: str = "us") -> None:
    """The commander proposes it, and an approver agrees."""
    assert "Still needed: an approver" in play.do(ANA, Without(part, "its provider is down"))
    play.do(CHO, Agree(play.proposal))


def lost_in_the_middle() -> Play:
    """us is paused, and goes away before it is deployed to; the run goes on without it."""
    play = shop()
    play.approve("start", ANA)
    play.go("pause")
    play.look()
    play.approve("backend", CHO)
    play.away.add("us")
    play.go("deploy")
    assert play.halt("deploy").parts == {"us": "no answer"}
    without(play)
    return play


def shown(play: Play) -> str:
    return text(view(play.run, play.now))


def test_one_decision_serves_every_step_and_what_waited_for_the_part_alone_goes_on() -> None:
    play = lost_in_the_middle()
    assert play.step("deploy").halt is None
    play.go_all()
    assert play.world["eu/shop"] == "2.4.0" and play.world["eu/work"] == "on" and play.world["eu/ban"] == "2.4.1"
    assert play.world["us/shop"] == "2.4.1" and play.world["us/work"] == "off" and "us/ban" not in play.world
    assert play.run.open and [p.name for p in play.run.owed_parts] == ["us"], "never verified while something is owed"
    assert set(play.run.debts) == {"pause"}, "what was paused there stays a debt"
    assert "eu restored, us unknown" in status(play.run, play.now)
    assert shown(play).splitlines()[1].startswith("eu restored, us unknown")


def test_it_is_decided_before_the_start_too() -> None:
    play = shop()
    play.away.add("us")
    without(play)
    play.look()
    play.approve("start", ANA)
    play.go_all()
    play.look()
    change = play.step("deploy").change
    assert change is not None and change.targets == {"eu/shop"}
    play.approve("backend", CHO)
    play.go_all()
    assert play.world["eu/shop"] == "2.4.0" and not play.run.debts and play.run.open


def test_when_the_part_is_back_its_share_of_every_step_is_asked_for_once_and_done_in_the_plans_order() -> None:
    play = lost_in_the_middle()
    play.go_all()
    play.away.clear()
    before = len(play.moments)
    assert play.write(ev.PartBack("us")) is None
    play.look()
    change = play.step("deploy").change
    assert change is not None and change.targets == {"us/shop"} and play.run.asked["backend"].opened is not None
    assert play.world["us/work"] == "off" and play.step("resume").attempt is None, "workers wait for the deploy"
    dropped = play.run.asked["backend"].dropped
    assert dropped is not None and dropped.why == "us is back, and gets its share now"
    play.approve("backend", DAN)
    play.go_all()
    began = [m.event.step for m in play.moments[before:] if isinstance(m.event, ev.ApplyStarted)]
    assert began == ["deploy", "resume", "ban"]
    assert play.world == {k: v for p in ("eu", "us") for k, v in
                          ((f"{p}/shop", "2.4.0"), (f"{p}/work", "on"), (f"{p}/ban", "2.4.1"))}  # fmt: skip
    assert play.run.closed == ev.Closed("verified") and not play.run.debts
    made = play.step("deploy").made
    assert made is not None and made.targets == {"eu/shop", "us/shop"}, "undo data merge by target"


def test_a_part_that_never_saw_a_step_is_frozen_deployed_and_thawed_when_it_is_back() -> None:
    play = shop()
    play.away.add("us")
    without(play)
    play.approve("start", ANA)
    play.go_all()
    play.look()
    play.approve("backend", CHO)
    play.go_all()
    play.away.clear()
    play.do(ANA, Back("us"))
    play.go("pause")
    assert play.world["us/work"] == "off" and play.world["eu/work"] == "on"
    play.look()
    play.approve("backend", DAN)
    play.go_all()
    assert play.world["us/work"] == "on" and play.run.closed == ev.Closed("verified")


def test_a_part_that_is_back_before_a_step_has_begun_is_simply_part_of_it() -> None:
    play = shop()
    without(play)
    play.do(ANA, Back("us"))
    play.approve("start", ANA)
    play.go_all()
    play.look()
    play.approve("backend", CHO)
    play.go_all()
    assert play.run.closed == ev.Closed("verified") and play.world["us/shop"] == "2.4.0"


def test_what_is_done_without_a_part_when_it_comes_back_owes_it_all_the_same() -> None:
    play = lost_in_the_middle()
    play.go("deploy", "begin")
    play.away.clear()
    play.do(ANA, Back("us"))
    play.go("deploy")
    assert play.step("deploy").open and play.step("deploy").only == {"us"}
    play.look()
    play.approve("backend", DAN)
    play.go_all()
    assert play.world["us/shop"] == "2.4.0" and play.run.closed == ev.Closed("verified")


def test_a_part_that_goes_away_again_is_asked_about_again() -> None:
    play = lost_in_the_middle()
    play.go_all()
    assert play.write(ev.PartBack("us")) is None
    play.go("deploy")
    assert play.halt("deploy").parts == {"us": "no answer"} and not play.run.left_out
    without(play)
    play.go_all()
    assert play.run.open and [p.name for p in play.run.owed_parts] == ["us"]


def test_a_run_is_closed_as_partial_when_somebody_has_the_owed_part() -> None:
    play = lost_in_the_middle()
    play.go_all()
    assert "Still owed: us" in play.refusal(ANA, Close()) or "Still in place" in play.refusal(ANA, Close())
    play.do(ANA, HandOver("pause", "ben", play.now + 3600, "when us is back"))
    assert "Still owed: us" in play.refusal(ANA, Close())
    play.do(ANA, HandOver("us", "ben", play.now + 3600, "when us is back"))
    play.do(ANA, Close("ben goes on in the morning"))
    assert play.run.closed is not None and play.run.closed.outcome == "closed"
    assert "eu restored, us unknown" in status(play.run, play.now) and "ben" in shown(play)
    assert play.due == play.now + 3600
    play.wait(3600)
    assert {(e.step, e.part) for e in play.events(ev.Overdue)} == {("pause", ""), ("", "us")}


def test_a_step_left_out_for_a_part_that_is_back_leaves_it_owed() -> None:
    play = lost_in_the_middle()
    play.go_all()
    play.away.clear()
    play.do(ANA, Back("us"))
    play.look()
    play.do(CHO, Skip("deploy", "us stays as it is"))
    play.go_all()
    assert play.run.open and [p.name for p in play.run.owed_parts] == ["us"] and play.world["us/shop"] == "2.4.1"


def test_a_step_that_goes_on_whatever_comes_does_not_pass_over_a_part_in_silence() -> None:
    play = Play(
        plan(
            act("note", {"eu/a": "new", "us/a": "new"}, on_fail="continue", failures=0),
            check("v", ["note"], phase="verify"),
        )
    )
    play.away.add("us")
    play.go_all()
    assert play.step("note").end == "failed" and play.run.open
    assert [p.name for p in play.run.owed_parts] == ["us"]
    play.away.clear()
    play.do(ANA, Back("us"))
    play.go_all()
    assert play.world["us/a"] == "new" and play.run.closed == ev.Closed("verified")


def test_leaving_out_is_the_commanders_to_propose_and_an_approvers_to_agree() -> None:
    play = lost_in_the_middle()
    assert "commands this run" in play.refusal(CHO, Without("eu", "me too"))
    assert "us is left out already" in play.refusal(ANA, Without("us", "once more")).replace("Us", "us")
    assert "is no place" in play.refusal(ANA, Without("../x", "whatever"))
    assert "not left out" in play.refusal(ANA, Back("eu"))
    play.do(ANA, Abort("all of it"))
    assert "being aborted" in play.refusal(ANA, Back("us"))


def test_a_workload_that_is_left_as_it_is_becomes_an_owed_part() -> None:
    play = shop()
    without(play, "us/deployment/shop")
    assert play.run.left_out == {"us/deployment/shop"}
    play.approve("start", ANA)
    play.go_all()
    play.look()
    play.approve("backend", CHO)
    play.go_all()
    assert play.run.open and "us/deployment/shop unknown" in status(play.run, play.now)


def test_trying_again_without_the_decision_waits_for_the_part() -> None:
    play = shop()
    play.approve("start", ANA)
    play.go("pause")
    play.look()
    play.approve("backend", CHO)
    play.away.add("us")
    play.go("deploy")
    play.do(ANA, Retry("deploy"))
    play.go("deploy")
    assert play.halt("deploy").parts == {"us": "no answer"} and play.step("resume").n == 0


def test_a_second_part_that_is_left_out_while_a_step_is_tried_again_is_owed_as_well() -> None:
    play = Play(plan(act("ban", {"eu/ban": "x", "us/ban": "x"}), check("v", ["ban"], phase="verify")))
    without(play, "us")
    play.go("ban", "cancelled")
    play.go("ban", "begin")
    play.go("ban", "wait")
    without(play, "eu")
    play.go_all()
    assert play.step("ban").end == "done" and play.step("ban").without == {"eu", "us"}
    assert play.run.open and [p.name for p in play.run.owed_parts] == ["us", "eu"]
