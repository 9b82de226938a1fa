"""What stays changed when something is given up, and how it is given back: after an abort, and when a run is over."""

from __future__ import annotations

from bot.catalogue import Release
from bot.contract import Change, Edit
from bot.plan.model import REF
from bot.policy import Actor
from bot.run import events as ev
from bot.run.afterwards import leftovers
from bot.run.commands import (
    Abort,
    Accept,
    Adopt,
    Approve,
    BreakGlass,
    Close,
    HandOver,
    Restore,
    Retry,
    Review,
    Skip,
    Stop,
    Undo,
)
from bot.telling.by_hand import by_hand, in_words
from bot.telling.plain import text
from bot.telling.view import status, view
from tests.run.played import ANA, BEN, CHO, DAN, KIM, Play, act, check, gate, plan, undo

DAY = 86400.0


def half_done() -> Play:
    """Workers are paused, and the deploy has reached one of two regions; it waits for the other."""
    pause = act("pause", {"workers": 0}, temporary=True)
    deploy = act("deploy", {"eu": "2.4.0", "us": "2.4.0"}, ["pause"], decision="deploy")
    play = Play(
        plan(pause, deploy, act("flush", after=["deploy"]), undo("back", pause, ["flush"]), decisions=[gate("deploy")]),
        world={"workers": 6, "eu": "2.4.1", "us": "2.4.1"},
    )
    play.go("pause")
    play.look()
    play.approve("deploy", CHO)
    play.go("deploy", "write")
    play.go("deploy", "wait")
    return play


def aborted() -> Play:
    """The same, given up; its debt is restored, and somebody has looked where the rest stands."""
    play = half_done()
    play.do(ANA, Abort("not the cause"))
    play.look()
    play.do(ANA, Restore("pause", "back to work"))
    play.go("pause")
    assert play.run.closed == ev.Closed("aborted")
    return play


def shown(play: Play) -> str:
    return text(view(play.run, play.now))


def test_an_abort_names_what_stays_changed_and_looks_where_it_stands() -> None:
    play = half_done()
    said = play.do(ANA, Abort("not the cause"))
    assert said.endswith("Stays changed: Deploy. `undo` takes one of them back.")
    assert play.run.open and play.step("deploy").attempt is not None, "it is looked at"
    play.look()
    (left,) = leftovers(play.run)
    assert [e.target for e in left.change.edits] == ["eu"] and left.seen == {"eu": "2.4.0", "us": "2.4.1"}
    play.do(ANA, HandOver("pause", "ben", play.now + 3600, "after the call"))
    assert play.run.closed is not None
    for said in (shown(play), by_hand(play.run, play.now, in_words)):
        assert "Deploy was given up half-way: eu is 2.4.0, was 2.4.1" in said
    assert "given up" in shown(play) and "not done: taking effect" not in shown(play)
    assert "stays changed: Deploy" in status(play.run, play.now)


def test_an_apply_that_had_written_all_when_the_abort_came_is_not_called_not_done() -> None:
    play = Play(plan(act("deploy", {"eu": "2.4.0"})), world={"eu": "2.4.1"})
    play.go("deploy", "write")
    play.go("deploy", "wait")
    play.do(ANA, Abort("not the cause"))
    play.look()
    (step,) = view(play.run, play.now).steps
    assert step.state == "given up" and step.detail.startswith("was written; 1 value stays changed")


def test_what_nobody_could_look_at_is_said_to_be_unknown_and_the_abort_ends_all_the_same() -> None:
    play = half_done()
    play.do(ANA, Abort("not the cause"))
    s = play.step("deploy")
    assert play.write(ev.Seen("deploy", s.n, {}, "eu cannot be reached")) is None
    play.do(ANA, HandOver("pause", "ben", play.now + 3600, "after the call"))
    assert play.run.closed is not None
    assert "nobody could look (eu cannot be reached): us was to become 2.4.0, was 2.4.1" in shown(play)


def test_what_stays_changed_is_undone_from_the_record_after_the_end_with_the_gate_of_its_step() -> None:
    play = aborted()
    assert f"rollback-bot undo {play.run.id} deploy" in shown(play)
    assert "for a commander" in play.refusal(BEN, Undo("deploy", "put it back"))
    play.do(KIM, Undo("deploy", "put it back"))
    play.look()
    assert not play.run.at_work and "an approver" in shown(play)
    play.approve("undo.deploy", DAN)
    assert play.run.at_work, "no other rollback of the service may begin now"
    play.go("deploy")
    assert play.world["eu"] == play.world["us"] == "2.4.1"
    assert not play.run.at_work and not leftovers(play.run)
    assert play.run.closed == ev.Closed("aborted") and play.step("deploy").end == "undone"
    assert "changed nothing" in play.refusal(ANA, Undo("deploy", "again"))


def test_what_stays_changed_can_be_undone_while_the_abort_still_waits_for_a_debt() -> None:
    play = half_done()
    play.do(ANA, Abort("not the cause"))
    play.do(ANA, Undo("deploy", "put it back"))
    play.look()
    play.approve("undo.deploy", CHO)
    play.go("deploy", "flaky")
    play.wait(5)
    play.go("deploy")
    assert play.world["eu"] == "2.4.1" and play.run.open
    play.do(ANA, Restore("pause", "back to work"))
    play.go("pause")
    assert play.run.closed == ev.Closed("aborted")


def test_an_undo_that_was_under_way_when_the_abort_came_is_asked_for_anew() -> None:
    play = half_done()
    play.wait(30)
    play.go("deploy", "broken")
    play.do(ANA, Undo("deploy", "put it back"))
    play.look()
    play.approve("undo.deploy", CHO)
    play.go("deploy", "begin")
    play.do(ANA, Abort("all of it"))
    play.go("deploy", "cancelled")
    play.look()
    assert play.step("deploy").attempt is None, "an abort stops attempts"
    play.do(ANA, Undo("deploy", "all the same"))
    play.look()
    play.approve("undo.deploy", DAN)
    play.go("deploy")
    assert play.world["eu"] == "2.4.1"


def test_what_somebody_else_has_moved_since_is_theirs() -> None:
    play = aborted()
    play.world["eu"] = "2.4.2"
    play.do(ANA, Undo("deploy", "put it back"))
    play.look()
    assert play.halt("deploy").cause == "left" and "eu is '2.4.2'" in play.halt("deploy").error
    play.do(CHO, Accept("deploy", "2.4.2 is the fix"))
    play.go_all()
    assert play.world["eu"] == "2.4.2" and not leftovers(play.run)


def test_nothing_else_happens_to_a_run_that_is_over() -> None:
    play = aborted()
    for command in (Retry("flush"), Skip("flush", "no need"), Stop(), Abort("again"), Adopt("flush", "by hand")):
        assert "over" in play.refusal(ANA, command), command


def test_a_verified_run_is_not_undone_step_by_step() -> None:
    play = Play(plan(act("deploy", {"v": "2.4.0"}), check("v", ["deploy"], phase="verify")), world={"v": "2.4.1"})
    play.go_all()
    assert play.run.closed == ev.Closed("verified") and not leftovers(play.run)
    assert "`forward` takes it back" in play.refusal(ANA, Undo("deploy", "no"))


def test_a_step_left_out_after_it_had_begun_is_named_although_the_run_goes_on_and_is_verified() -> None:
    play = Play(
        plan(act("deploy", {"eu": "2.4.0", "us": "2.4.0"}), check("v", ["deploy"], phase="verify")),
        world={"eu": "2.4.1", "us": "2.4.1"},
    )
    play.go("deploy", "write")
    play.go("deploy", "broken")
    play.do(CHO, Skip("deploy", "go on without it"))
    play.look()
    play.go_all()
    assert play.run.closed is not None
    (left,) = leftovers(play.run)
    assert [e.target for e in left.change.edits] == ["eu"]
    assert "eu is 2.4.0, was 2.4.1" in shown(play)


def test_what_the_first_target_changed_and_the_second_does_not_touch_can_still_be_undone() -> None:
    deploy = act("deploy", {"a": {REF: "target.version"}})
    play = Play(plan(deploy, act("late", after=["deploy"])), world={"a": "2.4.1", "b": "old"})
    s = play.step("deploy")
    first = Change("two", (Edit("a", "2.4.1", "2.4.0"), Edit("b", "old", "new")))
    assert play.write(ev.ApplyStarted("deploy", s.n, first, "x")) is None
    play.world |= {"a": "2.4.0", "b": "new"}
    assert play.write(ev.Retargeted(Release("2.3.9"), "bad too", Actor.of(ANA, "cli"))) is None
    play.go("deploy", "cancelled")
    play.go("deploy")
    assert play.world == {"a": "2.3.9", "b": "new"}
    play.go("late", "broken")
    play.do(ANA, Undo("deploy", "all of it"))
    play.go("deploy")
    assert play.world == {"a": "2.4.1", "b": "old"}, "what was there before the run"


def test_a_restored_debt_of_an_aborted_run_is_not_called_stopped() -> None:
    play = aborted()
    states = {s.id: s.state for s in view(play.run, play.now).steps}
    assert states["pause"] == "undone" and not play.run.halted


# -- debts that were handed over ---------------------------------------------------------------------------------------


def handed_over() -> Play:
    """Aborted, with its debt in somebody's hands for an hour."""
    play = half_done()
    play.do(ANA, Abort("not the cause"))
    play.look()
    play.do(ANA, HandOver("pause", "ben", play.now + 3600, "after the call"))
    assert play.run.closed == ev.Closed("aborted, debts handed over")
    return play


def test_whoever_has_a_debt_is_reminded_at_the_promised_time_and_then_daily() -> None:
    play = handed_over()
    until = play.run.debts["pause"].until
    assert play.due == until and not play.run.at_work
    play.wait(3600)
    assert play.events_of("overdue") == 1 and play.due == play.now + DAY
    play.wait(DAY)
    assert play.events_of("overdue") == 2
    play.do(ANA, HandOver("pause", "cho", play.now + 60, "ben is ill"))
    assert play.due == play.now + 60


def test_a_debt_is_given_back_after_the_end_by_whose_it_is_and_then_nobody_is_reminded() -> None:
    play = handed_over()
    assert "whose debt it is" in play.refusal(DAN, Restore("pause", "I am here"))
    play.do(BEN, Restore("pause", "the call is over"))
    assert play.run.at_work
    play.go("pause")
    assert play.world["workers"] == 6 and not play.run.debts and play.due is None and not play.run.at_work
    assert play.run.closed == ev.Closed("aborted, debts handed over"), "how it ended stays as it was"


def test_a_debt_that_was_given_back_by_hand_is_looked_at_and_then_gone() -> None:
    play = handed_over()
    play.world["workers"] = 6
    play.do(BEN, Restore("pause", "did it on the console"))
    play.go("pause", "begin")
    assert not play.run.debts and play.events_of("recorded") == 2, "nothing was written for it"


def test_a_restore_that_fails_after_the_end_can_be_tried_again_and_holds_up_no_other_run() -> None:
    play = handed_over()
    play.do(BEN, Restore("pause", "the call is over"))
    play.go("pause", "broken")
    assert not play.run.at_work and play.run.debts
    play.do(ANA, Retry("pause"))
    play.go("pause")
    assert not play.run.debts


def test_another_run_that_has_taken_a_debt_over_gives_it_back_and_this_one_reminds_nobody() -> None:
    play = handed_over()
    made = play.step("pause").made
    assert made is not None
    assert play.write(ev.TakenOver("pause", "r2")) is None
    assert not play.run.debts and play.due is None
    assert "changed nothing that could be undone" in play.refusal(ANA, Restore("pause", "the call is over"))

    pause = act("pause", {"workers": 0}, temporary=True)
    heir = Play(plan(pause, act("go", after=["pause"]), undo("back", pause, ["go"])), world={"workers": 0},
                inherits=(ev.Inherited("pause", "r1", "pause", made, 5.0),))  # fmt: skip
    assert heir.run.debts["pause"].run == "r1" and heir.run.debts["pause"].since == 5.0
    heir.go_all()
    assert heir.world["workers"] == 6 and not heir.run.debts, "it was ours, not paused before us"


# -- reviews -----------------------------------------------------------------------------------------------------------


def test_broken_glass_is_reviewed_by_somebody_else_within_two_working_days_and_reminded_of_until_then() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one")]))
    play.look()
    play.do(CHO, BreakGlass("one", play.run.card("one"), "nobody is awake"))
    play.go_all()
    play.do(ANA, Close("done"))
    assert play.due is not None and play.due - play.now >= 2 * DAY and not play.run.at_work
    play.wait(play.due - play.now)
    assert play.events_of("overdue") == 1
    assert "does not review" in play.refusal(CHO, Review("one", "it was right"))
    play.do(DAN, Review("one", "it was right"))
    assert play.due is None
    assert "has reviewed this already" in play.refusal(CHO, Review("one", "it was right"))


def test_a_glass_broken_for_what_then_drifted_is_still_to_be_reviewed() -> None:
    play = Play(plan(act("one", {"a": "new"}, decision="one"), decisions=[gate("one")]), world={"a": "old"})
    play.look()
    play.do(BEN, BreakGlass("one", play.run.card("one"), "nobody is awake"))
    play.world["a"] = "theirs"
    play.go("one")
    assert play.run.asked["one"].glass is None and play.run.reviews["one"].by.id == "ben"
    play.do(CHO, Approve("one", play.run.card("one")))


def test_a_release_whose_removal_was_called_off_is_not_kept_out_of_anything() -> None:
    pause = act("pause", {"workers": 0}, temporary=True)
    deploy = act("deploy", {"v": {REF: "target.version"}}, ["pause"])
    play = Play(plan(pause, deploy, act("late", after=["deploy"])), world={"workers": 6, "v": "2.4.1"})
    play.go("pause")
    play.go("deploy")
    play.go("late", "broken")
    assert [r.version for r in play.run.outgoing] == ["2.4.1"]
    play.do(ANA, Abort("2.4.1 was not the cause"))
    play.look()
    assert [r.version for r in play.run.outgoing] == ["2.4.1"], "2.4.0 runs in its place as yet"
    play.do(ANA, Undo("deploy", "2.4.1 stays"))
    play.go("deploy")
    assert play.world["v"] == "2.4.1" and play.run.outgoing == ()
