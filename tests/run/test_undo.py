"""Taking back: undo of a step and its gate, debts, abort, what others changed meanwhile."""

from __future__ import annotations

from dataclasses import replace

from bot.catalogue import Release
from bot.contract import Receipt, Status, Verdict
from bot.plan.model import REF, Condition
from bot.policy import Actor
from bot.run import events as ev
from bot.run.commands import (
    Abort,
    Accept,
    Adopt,
    Agree,
    Approve,
    Close,
    HandOver,
    Restore,
    Resume,
    Retry,
    Skip,
    Stop,
    Undo,
)
from tests.run.played import ANA, CHO, DAN, KIM, T0, TWO, Play, act, check, gate, plan, undo


def deployed() -> Play:
    """A gated step that is done, and one behind it that is not."""
    play = Play(
        plan(
            act("deploy", {"shop": "2.4.0"}, decision="backend"),
            act("flush", after=["deploy"], decision="backend"),
            act("thing", after=["flush"]),
            decisions=[gate("backend", "deploy", "flush")],
        ),
        world={"shop": "2.4.1"},
    )
    play.look()
    play.approve("backend", CHO)
    play.go("deploy")
    play.go("flush", "broken")
    return play


def test_undoing_a_gated_step_asks_its_gate_again_and_restores_what_was_there() -> None:
    play = deployed()
    assert "It waits for an approver" in play.do(ANA, Undo("deploy", "wrong one"))
    play.look()
    assert play.step("deploy").attempt is None and play.world["shop"] == "2.4.0"
    change = play.step("deploy").change
    assert change is not None and change.edits[0].after == "2.4.1"
    assert "you asked for this run" in play.refusal(ANA, Approve("undo.deploy", play.run.card("undo.deploy")))
    play.approve("undo.deploy", DAN)
    play.go("deploy")
    assert play.world["shop"] == "2.4.1"
    assert play.halt("deploy").cause == "undone" and "try again does it again" in play.halt("deploy").hint


def test_an_undone_step_is_done_again_only_after_it_was_approved_again() -> None:
    play = deployed()
    play.do(ANA, Undo("deploy", "wrong one"))
    play.look()
    play.approve("undo.deploy", DAN)
    play.go("deploy")
    assert play.step("flush").released is None, "what was approved together is asked together"
    play.do(ANA, Retry("deploy"))
    play.look()
    assert play.step("deploy").attempt is None
    play.do(ANA, Retry("flush"))
    play.look()
    play.approve("backend", CHO)
    play.go_all()
    assert play.world == {"shop": "2.4.0", "flush": "new", "thing": "new"}
    assert play.step("deploy").application == 3, "do, undo, do again"


def test_an_undone_step_that_was_then_looked_for_by_hand_still_needs_its_approval() -> None:
    play = deployed()
    play.do(ANA, Undo("deploy"))
    play.look()
    play.approve("undo.deploy", DAN)
    play.go("deploy")
    play.do(ANA, Adopt("deploy", "did it on the console"))
    play.go("deploy")
    play.do(ANA, Retry("deploy"))
    play.do(ANA, Retry("flush"))
    play.look()
    assert play.run.asked["backend"].opened is not None
    play.approve("backend", CHO)
    play.go_all()
    assert play.world["shop"] == "2.4.0"


def test_what_is_undone_by_hand_is_undone_too() -> None:
    play = deployed()
    play.do(ANA, Undo("deploy"))
    play.world["shop"] = "2.4.1"
    play.look()
    play.do(ANA, Adopt("deploy", "put it back myself"))
    play.go("deploy")
    step = play.step("deploy")
    assert play.halt("deploy").cause == "undone" and step.made is None and not step.undoing


def test_a_step_that_changed_nothing_or_cannot_be_undone_says_so() -> None:
    play = Play(plan(act("one", final=True), act("two")), world={"two": "new"})
    play.go_all()
    assert "cannot be undone" in play.refusal(ANA, Undo("one"))
    assert "changed nothing" in play.refusal(ANA, Undo("two"))


def test_an_undo_that_was_left_out_can_be_asked_for_again() -> None:
    play = deployed()
    play.do(ANA, Undo("deploy"))
    play.do(CHO, Skip("deploy", "on second thoughts"))
    assert play.step("deploy").end == "skipped"
    play.do(ANA, Undo("deploy"))
    play.look()
    play.approve("undo.deploy", DAN)
    play.go("deploy")
    assert play.world["shop"] == "2.4.1"


def paused() -> Play:
    """Workers are paused, and the deploy that follows is at work."""
    pause = act("pause", {"workers": 0, "cron": "off"}, temporary=True)
    play = Play(
        plan(pause, act("deploy", after=["pause"], on_fail="halt"), undo("back", pause, ["deploy"])),
        world={"workers": 6, "cron": "on"},
    )
    play.go("pause")
    return play


def test_a_debt_stands_from_the_first_effect_until_it_is_given_back() -> None:
    play = Play(plan(act("pause", temporary=True)))
    assert not play.run.debts
    play.go("pause", "begin")
    assert play.run.debts["pause"].since == T0 and play.run.owing
    play = paused()
    play.go_all()
    assert play.world["workers"] == 6 and play.world["cron"] == "on" and not play.run.debts
    assert play.step("pause").made is None and play.step("back").end == "done"


def test_what_was_as_wanted_before_us_is_no_debt_of_ours() -> None:
    pause = act("pause", {"workers": 0}, temporary=True)
    play = Play(plan(pause, act("deploy", after=["pause"]), undo("back", pause, ["deploy"])), world={"workers": 0})
    play.go_all()
    assert play.step("back").end == "not needed" and "nothing of pause" in play.step("back").why
    assert play.world["workers"] == 0


def test_later_edits_by_others_stay_and_people_say_so() -> None:
    play = paused()
    play.world["workers"] = 9
    play.go("deploy")
    play.go("back")
    halt = play.halt("back")
    assert halt.cause == "left" and "workers is 9" in halt.error and play.world["cron"] == "off"
    play.do(ANA, Accept("back", "somebody needed nine"))
    play.do(CHO, Agree(play.proposal))
    play.go("back")
    assert play.world["workers"] == 9 and play.world["cron"] == "on" and not play.run.debts


def test_accepting_that_others_changed_everything_gives_the_debt_back() -> None:
    play = paused()
    play.world.update(workers=9, cron="theirs")
    play.go("deploy")
    play.go("back")
    play.do(CHO, Accept("back", "they know"))
    assert play.step("back").end == "accepted" and not play.run.debts and play.step("pause").made is None
    assert play.world["workers"] == 9


def test_a_debt_can_be_restored_at_once_even_while_a_failed_step_holds_the_run() -> None:
    play = paused()
    play.go("deploy", "broken")
    play.do(ANA, Restore("pause", "customers wait"))
    assert "pause is at work" in play.refusal(ANA, Restore("pause", "again"))
    play.go("pause", "flaky")
    assert "pause is being undone already" in play.refusal(ANA, Restore("pause", "again"))
    play.wait(5)
    play.go("pause")
    assert play.world["workers"] == 6 and not play.run.debts
    assert play.halt("pause").cause == "undone"


def test_two_undos_of_one_step_never_run_at_once() -> None:
    play = paused()
    play.go("deploy")
    play.go("back", "wait")
    assert "back is undoing it" in play.refusal(ANA, Restore("pause", "faster"))
    play.wait(30)
    assert "back is undoing it" in play.refusal(ANA, Undo("pause"))
    play = paused()
    play.do(ANA, Restore("pause", "at once"))
    play.go("deploy")
    assert play.step("back").n == 0, "the step itself is being undone"
    play.go("pause")
    play.do(CHO, Skip("pause", "it stays undone"))
    assert play.step("back").end == "not needed"


def test_an_abort_ends_when_each_debt_is_restored() -> None:
    play = paused()
    assert play.do(ANA, Abort("wrong service")) == "Aborting. Still in place: Pause. Restore each, or hand it over."
    assert play.decision.stop == ("deploy",)
    play.go("deploy", "cancelled")
    assert play.run.open and play.due is None
    assert "still in place: pause" in play.refusal(ANA, Close()).lower()
    play.do(ANA, Restore("pause", "back to work"))
    play.go("pause")
    assert play.world["workers"] == 6
    assert play.run.closed == ev.Closed("aborted")


def test_an_abort_ends_when_each_debt_is_somebodys() -> None:
    play = paused()
    play.do(ANA, Abort("wrong service"))
    play.go("deploy", "cancelled")
    assert "must lie in the future" in play.refusal(ANA, HandOver("pause", "ben", play.now, "later"))
    assert "do not know" in play.refusal(ANA, HandOver("pause", "zed", play.now + 60, "later"))
    play.do(ANA, HandOver("pause", "ben", play.now + 3600, "after the call"))
    assert play.run.closed == ev.Closed("aborted, debts handed over")
    assert (play.run.debts["pause"].owner, play.run.debts["pause"].until) == ("ben", play.now + 3600)


def test_an_abort_offers_other_ways_when_a_restore_fails() -> None:
    play = paused()
    play.do(ANA, Abort("wrong service"))
    play.go("deploy", "cancelled")
    play.do(ANA, Restore("pause", "back to work"))
    play.go("pause", "broken")
    assert "restore the debt, or hand it over" in play.refusal(ANA, Retry("deploy"))
    play.do(ANA, Retry("pause"))
    play.go("pause", "write")
    play.go("pause", "odd")
    play.do(ANA, Restore("pause", "once more"))
    play.world["workers"] = 9
    play.go("pause")
    assert play.halt("pause").hint == "accept leaves them as they are; or put them right and try again"
    assert "being aborted" in play.refusal(CHO, Accept("deploy", "let it be"))
    play.do(CHO, Accept("pause", "nine are needed"))
    play.go("pause")
    assert play.world == {"workers": 9, "cron": "on"} and play.run.closed == ev.Closed("aborted")


def test_an_abort_lets_a_restore_that_is_under_way_go_on() -> None:
    play = paused()
    play.do(ANA, Restore("pause", "at once"))
    play.go("pause", "begin")
    play.do(ANA, Abort("all of it"))
    assert play.decision.stop == ("deploy",)
    play.go("deploy", "cancelled")
    play.go("pause")
    assert play.run.closed == ev.Closed("aborted") and play.world["workers"] == 6


def test_an_undo_step_that_an_abort_cut_short_is_finished_by_a_restore() -> None:
    play = paused()
    play.go("deploy")
    play.go("back", "write")
    play.do(ANA, Abort("enough"))
    play.go("back", "cancelled")
    play.do(ANA, Restore("pause", "the rest"))
    play.go("pause")
    play.look()
    assert play.world["workers"] == 6 and play.world["cron"] == "on" and play.run.closed


def test_an_abort_drops_votes_proposals_and_everything_that_waits() -> None:
    play = deployed()
    play.do(ANA, Skip("thing", "no need"))
    play.do(ANA, Abort("stop it"))
    play.look()
    assert play.run.closed is not None and play.run.closed.outcome == "aborted" and not play.run.proposals
    assert "This run is over (aborted)" in play.refusal(ANA, Retry("flush"))


def test_a_stopped_run_can_be_aborted() -> None:
    play = paused()
    play.do(ANA, Stop())
    play.do(ANA, Abort("no use"))
    assert not play.run.stopped
    play.go("deploy", "cancelled")
    play.do(ANA, Restore("pause", "back to work"))
    play.go("pause")
    assert play.run.closed == ev.Closed("aborted")
    assert "over" in play.refusal(KIM, Resume())


def test_what_was_handed_over_does_not_let_a_run_close_itself_as_verified() -> None:
    pause = act("pause", {"workers": 0}, temporary=True)
    play = Play(plan(pause, check("v", ["pause"], phase="verify"), undo("back", pause, ["v"])), world={"workers": 6})
    play.go("pause")
    play.go("v")
    play.go("back", "broken")
    play.do(CHO, Skip("back", "tomorrow"))
    assert "Still in place: pause" in play.refusal(ANA, Close("enough"))
    play.do(ANA, HandOver("pause", "ben", play.now + 3600, "tomorrow"))
    assert play.run.open
    play.do(ANA, Close("ben has it"))
    assert play.run.closed == ev.Closed("closed", play.run.created.by if play.run.created else None, "ben has it")


def test_effects_that_are_to_be_repeated_are_part_of_the_undo() -> None:
    play = Play(plan(act("one", effect="flush cache"), check("c", ["one"])))
    play.go("one")
    play.do(ANA, Undo("one"))
    play.go("one", "begin")
    (first, back) = play.events(ev.ApplyStarted)
    assert [e.what for e in back.change.effects] == [e.what for e in first.change.effects] == ["flush cache"]


def test_a_superseded_undo_that_still_ends_makes_its_step_needed_again() -> None:
    pause = act("pause", {"workers": 0}, temporary=True)
    deploy = act("deploy", {"v": {REF: "target.version"}}, ["pause"])
    play = Play(plan(pause, deploy, undo("back", pause, ["deploy"])), world={"workers": 6})
    play.go("pause")
    play.go("deploy")
    play.go("back", "write")
    assert play.write(ev.Retargeted(Release("2.3.9"), "bad too", Actor.of(ANA, "cli"))) is None
    assert play.write(ev.Undone("back", 1, Receipt("put back"), {"workers": 6})) is None
    assert play.step("pause").open and play.step("deploy").open
    play.go_all()
    assert [e.step for e in play.events(ev.ApplyStarted)] == ["pause", "deploy", "back", "pause", "deploy", "back"]
    assert play.world == {"workers": 6, "v": "2.3.9"} and not play.run.debts


def test_a_vote_for_the_rest_of_a_group_is_no_vote_for_a_step_that_joins_it_again() -> None:
    play = Play(
        plan(
            act("one", {"a": "new"}, decision="both"),
            act("two", {"b": "new"}, ["one"], decision="both"),
            decisions=[gate("both", "one", "two", by=TWO)],
        )
    )
    play.look()
    play.approve("both", CHO, DAN)
    play.go("one")
    play.world["b"] = "theirs"
    play.go("two")
    play.approve("both", CHO)  # for the second step, which has drifted
    play.do(ANA, Undo("one"))
    play.look()
    play.approve("undo.one", CHO, DAN)
    play.go("one")
    play.do(ANA, Retry("one"))
    play.look()
    assert not play.run.asked["both"].votes
    play.approve("both", DAN)
    assert play.step("one").released is None, "cho has not seen that it is done again"


def test_an_undo_that_found_nothing_to_do_for_the_old_target_makes_its_step_needed_again() -> None:
    pause = act("pause", {"workers": 0}, temporary=True)
    deploy = act("deploy", {"v": {REF: "target.version"}}, ["pause"])
    play = Play(plan(pause, deploy, undo("back", pause, ["deploy"])), world={"workers": 6})
    play.go("pause")
    play.go("deploy")
    play.world["workers"] = 6
    assert play.write(ev.Retargeted(Release("2.3.9"), "bad too", Actor.of(ANA, "cli"))) is None
    play.go("back", "begin")
    assert play.events_of("undone") == 1
    assert play.step("pause").open and play.step("pause").application == 2 and not play.run.debts


def test_while_a_run_is_aborted_a_restore_is_taken_up_again_however_often_it_is_lost() -> None:
    play = paused()
    play.do(ANA, Abort("wrong service"))
    play.go("deploy", "cancelled")
    play.do(ANA, Restore("pause", "back to work"))
    for _ in range(5):
        play.go("pause", "lost")
    assert play.step("pause").attempt is not None
    play.go("pause")
    assert play.run.closed == ev.Closed("aborted")


def test_an_undo_goes_on_although_its_step_would_not_be_needed_any_more() -> None:
    pre = replace(check("pre"), params={"data": {"out": "x"}, "about": {REF: "target.version"}})
    pause = act("pause", {"workers": 0}, ["pre"], when=Condition("steps.pre.out", True, "x"), temporary=True)
    play = Play(plan(pre, pause, act("deploy", after=["pause"])), world={"workers": 6})
    play.go("pre")
    play.go("pause")
    play.do(ANA, Restore("pause", "at once"))
    play.go("pause", "wait")
    play.go("deploy", "lost")
    assert play.write(ev.Retargeted(Release("2.3.9"), "bad too", Actor.of(ANA, "cli"))) is None
    play.go("deploy", "cancelled")
    says_no = Verdict(Status.PASS, "y", "an answer", {"out": "y"})
    assert play.write(ev.Checked("pre", 2, says_no)) is None
    assert play.write(ev.NotNeeded("pause", "pre says y now")) == "pause has begun"
    play.wait(30)
    play.go("pause")
    assert play.world["workers"] == 6 and not play.run.debts


def test_what_was_done_by_hand_before_anybody_looked_is_owed_and_can_only_be_handed_over() -> None:
    pause = act("pause", {"workers": 0}, ["pre"], temporary=True)
    play = Play(plan(check("pre"), pause, undo("back", pause)), world={"workers": 0})
    play.do(ANA, Adopt("pause", "paused them on the console"))
    play.go("pause")
    assert play.step("pause").end == "adopted" and set(play.run.debts) == {"pause"}
    play.go("pre")
    assert play.step("back").why == "nobody knows what was there before pause: hand it over"
    assert "Still in place: pause" in play.refusal(ANA, Close())
    play.do(ANA, HandOver("pause", "cho", play.now + 60, "cho knows how many"))
    play.do(ANA, Close())
    assert play.run.closed is not None


def test_an_undo_is_not_adopted_before_what_it_undoes_has_ended() -> None:
    pause = act("pause", {"workers": 0}, temporary=True)
    play = Play(plan(pause, undo("back", pause)), world={"workers": 6})
    assert "pause has not ended" in play.refusal(ANA, Adopt("back", "put them back"))


def test_what_is_only_half_done_does_not_look_like_somebody_elses_work_to_its_undo() -> None:
    pause = act("pause", {"workers": 0, "cron": "off"}, temporary=True)
    play = Play(
        plan(
            pause,
            undo("back", pause, decision="back"),
            act("after", after=["back"]),
            decisions=[gate("back")],
        ),
        world={"workers": 6, "cron": "on"},
    )
    play.go("pause", "write")
    play.world["workers"] = 3  # on its way
    play.go("pause", "wait")
    assert play.step("back").n == 0 and play.step("back").halt is None
    play.wait(30)
    play.go("pause")
    play.look()
    assert play.run.asked["back"].opened is not None


def test_what_was_handed_over_is_no_longer_asked_about_and_keeps_the_run_from_nothing() -> None:
    park = act("park", {"jobs": "aside"}, temporary=True)
    play = Play(
        plan(
            park,
            check("serves", ["park"], phase="verify"),
            undo("unpark", park, ["serves"], decision="unpark"),
            decisions=[gate("unpark")],
        )
    )
    play.go_all()
    assert play.step("unpark").open and play.run.closed is None
    play.do(ANA, HandOver("park", "ben", play.now + 3600, "ben looks at them"))
    play.go_all()
    assert (play.step("unpark").end, play.step("unpark").why) == ("not needed", "park was handed over to somebody")
    assert play.run.closed == ev.Closed("verified")
    assert play.world["jobs"] == "aside" and play.run.debts["park"].owner == "ben"
    play.wait(3600)
    assert play.events_of("overdue") == 1
