"""How steps go: failures that pass and that do not, time, lost processes, checks, conditions, adoption."""

from __future__ import annotations

import re

import pytest

from bot.catalogue import Release
from bot.contract import Change, Receipt
from bot.plan.model import REF, Condition
from bot.policy import Actor
from bot.run import events as ev
from bot.run.commands import Accept, Adopt, Agree, Retry, Skip
from bot.run.deadlines import deadline
from bot.telling.plain import text
from bot.telling.view import view
from tests.run.played import ANA, CHO, DAN, T0, Outcome, Play, act, ask, check, gate, plan, undo, watch


def test_a_retryable_failure_is_tried_again_as_often_as_the_plan_says_and_then_halts() -> None:
    play = Play(plan(act("one", failures=2)))
    for _ in range(2):
        play.go("one", "flaky")
        assert play.step("one").halt is None and play.due == play.now + 5
        play.wait(5)
    play.go("one", "flaky")
    assert play.halt("one").cause == "retryable" and play.due is None
    play.do(ANA, Retry("one"))
    assert play.step("one").failures == 0
    play.go_all()
    assert play.step("one").end == "done"


def test_waiting_for_effects_is_no_failure_however_often() -> None:
    play = Play(plan(act("one", failures=0, timeout=600)))
    for _ in range(10):
        play.go("one", "wait")
        play.wait(30)
    assert play.step("one").halt is None and play.step("one").attempt is not None
    play.go_all()
    assert play.step("one").end == "done"


@pytest.mark.parametrize(("outcome", "cause"), [("broken", "fatal"), ("odd", "unknown")])
def test_what_is_not_known_to_pass_is_never_tried_again_by_itself(outcome: Outcome, cause: str) -> None:
    play = Play(plan(act("one"), act("after", after=["one"]), act("beside")))
    play.go("one", outcome)
    assert play.halt("one").cause == cause
    play.wait(10_000)
    assert [e.n for e in play.events(ev.Started) if e.step == "one"] == [1]
    assert play.step("after").n == 0 and play.step("beside").n == 1, "only what follows waits"


def test_on_fail_halt_holds_the_whole_run_and_continue_goes_on() -> None:
    play = Play(plan(act("one", on_fail="halt"), act("two"), check("three", ["two"])))
    play.go("one", "broken")
    play.go("two")
    assert play.step("two").end == "done", "what is at work ends"
    assert play.step("three").n == 0 and play.due is None, "nothing new starts"
    play = Play(plan(act("one", on_fail="continue"), act("two", after=["one"])))
    play.go("one", "broken")
    assert play.step("one").end == "failed" and play.step("two").attempt is not None


def test_a_step_that_takes_too_long_is_told_to_stop_and_halts() -> None:
    play = Play(plan(act("one", timeout=100)))
    play.go("one", "begin")
    play.wait(99)
    assert "one" not in play.decision.stop
    play.wait(1)
    assert "one" in play.decision.stop
    play.go("one", "cancelled")
    assert play.halt("one").cause == "timeout" and "not done after 100 s" in play.halt("one").error


def test_a_step_that_only_waits_runs_out_of_time_as_well() -> None:
    play = Play(plan(act("one", timeout=20), act("two", timeout=20, on_fail="continue")))
    play.go("one", "wait")
    play.go("two", "wait")
    assert play.due == T0 + 20
    play.wait(20)
    assert play.halt("one").error == "not done after 20 s: taking effect"
    assert play.step("two").end == "failed", "the plan says to go on"


def test_a_change_that_needs_longer_than_the_plan_says_gets_its_time() -> None:
    play = Play(plan(act("one", timeout=20, within=50)))
    play.go("one", "wait")
    play.wait(29)
    assert play.step("one").halt is None and deadline(play.step("one")) == T0 + 50
    play.wait(21)
    play.go("one", "cancelled")
    assert play.halt("one").error == "not done after 50 s: taking effect"


def test_time_spent_waiting_for_people_after_drift_does_not_count() -> None:
    play = Play(plan(act("one", decision="one", timeout=100), decisions=[gate("one")]))
    play.look()
    play.approve("one", CHO)
    play.world["one"] = "theirs"
    play.go("one")
    play.wait(500)
    play.look()
    play.approve("one", CHO)
    assert not play.decision.stop
    play.go_all()
    assert play.step("one").end == "done"


def test_three_lost_attempts_in_a_row_halt_and_fewer_do_not() -> None:
    play = Play(plan(act("one")))
    for k in range(2):
        play.go("one", "lost")
        assert play.step("one").attempt is not None and play.step("one").n == k + 2
    play.go("one", "wait")
    play.wait(30)
    play.go("one", "lost")
    play.go("one", "lost")
    assert play.step("one").attempt is not None, "one has reported in between"
    play.go("one", "lost")
    assert play.halt("one").cause == "lost" and "3 times in a row" in play.halt("one").error


def test_a_lost_attempt_goes_on_where_it_was_with_the_same_change() -> None:
    play = Play(plan(act("one", {"a": "new", "b": "new"}, decision="one"), decisions=[gate("one")]))
    play.look()
    play.approve("one", CHO)
    play.go("one", "write")
    play.go("one", "lost")
    play.go("one")
    assert play.world == {"a": "new", "b": "new"} and play.events_of("apply started") == 1
    made = play.step("one").made
    assert made is not None and {e.target: e.before for e in made.edits} == {"a": None, "b": None}


def test_undo_data_survive_a_second_plan_in_the_middle() -> None:
    play = Play(plan(act("one", {"a": "new", "b": "new"})), world={"a": "old", "b": "old"})
    play.go("one", "write")
    play.go("one", "odd")
    play.do(ANA, Retry("one"))
    play.go("one")
    assert play.events_of("apply started") == 2
    made = play.step("one").made
    assert made is not None and {e.target: e.before for e in made.edits} == {"a": "old", "b": "old"}


def test_a_step_that_drifts_in_the_middle_is_asked_about_again_and_keeps_its_undo_data() -> None:
    play = Play(plan(act("one", {"a": "new", "b": "new"}, decision="one"), decisions=[gate("one")]))
    play.look()
    play.approve("one", CHO)
    play.go("one", "write")
    play.go("one", "odd")
    play.world["b"] = "theirs"
    play.do(ANA, Retry("one"))
    play.go("one")
    assert play.kinds()[-1] == "drifted" and play.run.asked["one"].opened is not None
    assert play.step("one").attempt is None, "nothing goes on before it was approved"
    play.approve("one", DAN)
    play.go_all()
    made = play.step("one").made
    assert made is not None and {e.target: e.before for e in made.edits} == {"a": None, "b": None}, "as it first was"


def test_a_check_polls_until_it_has_passed_often_enough() -> None:
    play = Play(plan(check("health", within=60, passes=3, every=5)))
    for outcome in ("bad", "well", "well", "unclear", "well", "warn", "well"):
        assert play.step("health").open
        play.go("health", outcome)
        play.wait(5)
    assert play.step("health").end == "done" and play.step("health").samples == 6, "no answer is no sample"


def test_a_check_that_ends_in_a_warning_is_shown_as_one_and_holds_nothing_up() -> None:
    play = Play(plan(check("rights"), check("backups"), act("after", after=["rights", "backups"])))
    play.go("rights", "warn")
    play.go("backups")
    told = text(view(play.run, play.now))
    assert re.search(r"! Rights +warning: seen warn; expected pass$", told, re.MULTILINE)
    assert re.search(r"✓ Backups +done: ", told)
    play.go("after")
    assert play.step("after").end == "done"


def test_a_check_that_fails_for_too_long_can_be_tried_again_or_accepted() -> None:
    play = Play(plan(check("health", within=10, every=5), act("after", after=["health"])))
    for _ in range(3):
        play.go("health", "bad")
        play.wait(5)
    assert play.halt("health").cause == "check" and play.halt("health").error == "fail: seen fail; expected pass"
    play.do(ANA, Retry("health"))
    play.go("health", "bad")
    assert play.step("health").halt is None, "it has its time again"
    play.wait(10)
    play.go("health", "bad")
    assert "Still needed: an approver" in play.do(ANA, Accept("health", "known noise"))
    play.do(CHO, Agree(play.proposal))
    assert play.step("health").end == "accepted" and play.step("after").attempt is not None


def test_unknown_is_never_a_pass() -> None:
    play = Play(plan(check("health")))
    play.go("health", "unclear")
    assert play.halt("health").error.startswith("unknown")


def test_a_preflight_fault_holds_up_only_what_needs_it() -> None:
    play = Play(
        plan(
            check("backups", phase="preflight"),
            check("images", phase="preflight"),
            act("deploy", after=["images"]),
            act("restore", after=["backups"]),
        )
    )
    play.go("backups", "bad")
    play.go("images")
    play.go("deploy")
    assert play.step("deploy").end == "done"
    assert play.halt("backups").cause == "check" and play.step("restore").n == 0


def test_a_watch_counts_samples_and_two_bad_ones_in_a_row_halt() -> None:
    def watched(passes: int = 3) -> Play:
        play = Play(plan(check("v", phase="verify"), watch("watch", ["v"], lasting=20, passes=passes, every=5)))
        play.go("v")
        return play

    play = watched()
    for outcome in ("well", "bad", "well", "well", "well"):
        play.go("watch", outcome)
        play.wait(5)
    assert play.step("watch").end == "done"
    play = watched()
    play.go("watch", "bad")
    play.wait(5)
    play.go("watch", "bad")
    assert play.halt("watch").cause == "check"
    play = watched(passes=5)
    for _ in range(5):
        play.go("watch", "unclear" if play.step("watch").streak > 0 else "well")
        play.wait(10)
    assert play.halt("watch").error.startswith("too few samples")


def test_a_watch_that_missed_samples_while_the_bot_was_away_goes_on_until_it_has_them() -> None:
    play = Play(plan(check("v", phase="verify"), watch("watch", ["v"], lasting=20, passes=3, every=5)))
    play.go("v")
    play.go("watch", "well")
    play.wait(21)
    play.go("watch", "well")
    assert play.step("watch").open and play.step("watch").halt is None
    play.wait(5)
    play.go("watch", "well")
    assert play.step("watch").end == "done"


def test_a_step_whose_condition_does_not_hold_is_not_needed() -> None:
    first = Condition("steps.pre.out", True, "down-first")
    last = Condition("steps.pre.out", False, "down-first")
    play = Play(
        plan(
            check("pre", data={"out": "down-first"}),
            act("early", after=["pre"], when=first),
            act("late", after=["early"], when=last, decision="late"),
            decisions=[gate("late")],
        )
    )
    play.go_all()
    assert play.step("early").end == "done"
    assert play.step("late").end == "not needed" and play.step("late").why == "steps.pre.out is down-first"
    assert play.run.asked["late"].opened is None


def test_what_depends_on_the_answer_of_a_step_that_was_not_needed_is_not_needed_either() -> None:
    never, way = Condition("target.version", True, "never"), Condition("steps.pre.out", False, "down-first")
    play = Play(plan(check("pre", when=never), act("one", after=["pre"], when=way), act("two", after=["one"])))
    play.go_all()
    assert (play.step("one").end, play.step("one").why) == ("not needed", "pre was not needed")
    assert play.step("two").end == "done"


def test_a_step_that_is_not_needed_passes_on_what_it_would_have_waited_for() -> None:
    when = Condition("target.version", True, "never")
    play = Play(plan(act("freeze"), act("allow", after=["freeze"], when=when), act("pause", after=["allow"])))
    assert play.step("allow").end == "not needed"
    assert play.step("pause").n == 0, "the freeze is not in place yet"
    play.go("freeze")
    assert play.step("pause").n == 1


def test_a_warning_is_a_pass_but_not_where_what_writes_data_waits_for_it() -> None:
    pause = act("pause", temporary=True, duties=("writers",))
    resume = undo("resume", pause, ["health"], duties=("writers",))
    early, late = check("backups", phase="preflight"), check("again", ["resume"], phase="verify")
    play = Play(plan(early, pause, check("health", ["pause"], within=60.0, every=5.0), resume, late))
    play.go("backups", "warn")
    assert play.step("backups").end == "done"
    play.go("pause")
    play.go("health", "warn")
    assert play.step("health").open and play.step("health").halt is None, "its time is not up"
    play.wait(61)
    play.go("health", "warn")
    assert play.halt("health").cause == "check" and "a warning is not enough" in play.halt("health").hint
    assert "pause" in play.run.debts and not play.step("resume").n, "workers still wait"
    play.do(CHO, Accept("health", "one test order is left, which hurts nobody"))
    play.go("resume")
    play.go("again", "warn")
    assert (play.step("resume").end, play.step("again").end) == ("done", "done")


def test_a_value_that_never_came_halts_what_needs_it_and_says_which() -> None:
    play = Play(plan(check("pre", on_fail="continue"), act("one", {"a": {REF: "steps.pre.out"}}, ["pre"])))
    play.go("pre", "broken")
    halt = play.halt("one")
    assert halt.error == "needs steps.pre.out, and there is none" and halt.hint.startswith("skip this step")
    play.do(CHO, Skip("one", "not worth it"))
    assert play.step("one").end == "skipped"


def test_where_data_are_destroyed_behind_it_a_step_that_lacks_a_value_is_not_said_to_be_skippable() -> None:
    lacks = act("one", {"a": {REF: "steps.pre.out"}}, ["pre"])
    play = Play(plan(check("pre", on_fail="continue"), lacks, act("drop", after=["one"], destructive=True)))
    play.go("pre", "broken")
    assert play.halt("one").hint == "abort: drop destroys data and depends on this, so that it cannot be skipped"


def test_a_value_reaches_the_steps_that_name_it() -> None:
    play = Play(
        plan(
            act("one", gives={"id": "db-2"}),
            act(
                "two",
                {"a": {REF: "steps.one.id"}, "b": {REF: "target.version"}, "c": {REF: "service.limits.rows"}},
                ["one"],
            ),
        )
    )
    play.go_all()
    assert play.world == {"one": "new", "a": "db-2", "b": "2.4.0", "c": 5}


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_step_with_nothing_to_do_hands_on_its_output_all_the_same(by_hand: bool) -> None:
    one, two = act("one", gives={"id": "db-2"}, decision="one"), act("two", {"a": {REF: "steps.one.id"}}, ["one"])
    play = Play(plan(one, two, decisions=[gate("one")]), world={"one": "old" if by_hand else "new"})
    play.look()
    if by_hand:
        play.world["one"] = "new"
        play.do(ANA, Adopt("one", "did it on the console"))
    else:
        play.approve("one", CHO)
    play.go_all()
    assert play.step("one").end == ("adopted" if by_hand else "done")
    assert play.world["a"] == "db-2" and not [e for e in play.events(ev.ApplyStarted) if e.step == "one"]


def test_what_was_done_by_hand_is_seen_before_it_is_believed() -> None:
    play = Play(plan(act("one", decision="one", temporary=True), decisions=[gate("one")]), world={"one": "old"})
    play.look()
    play.do(ANA, Adopt("one", "did it on the console"))
    play.go("one")
    assert play.halt("one").error == "not done yet"
    play.world["one"] = "new"
    play.do(ANA, Adopt("one", "now really"))
    play.go("one")
    assert play.step("one").end == "adopted" and not list(play.events(ev.ApplyStarted))
    made = play.step("one").made
    assert made is not None and made.edits[0].before == "old", "as planned, so it can be undone"
    assert set(play.run.debts) == {"one"}


def test_a_failed_adoption_does_not_end_a_step_that_may_fail() -> None:
    play = Play(plan(ask("go"), act("one", after=["go"], on_fail="continue"), decisions=[gate("go")]))
    play.do(ANA, Adopt("one", "did it"))
    play.go("one")
    assert play.halt("one").error == "not done yet"


def test_nothing_to_do_is_done_without_effects_but_asks_where_people_are_asked() -> None:
    play = Play(
        plan(act("one"), act("two", decision="two"), decisions=[gate("two")]), world={"one": "new", "two": "new"}
    )
    play.go_all()
    assert play.step("one").end == "done" and play.step("one").made is None
    assert play.step("two").open
    play.approve("two", CHO)
    play.go_all()
    assert play.step("two").end == "done" and not list(play.events(ev.ApplyStarted))


def test_effects_are_refused_from_an_attempt_that_is_to_stop() -> None:
    play = Play(plan(act("one", {"a": "new", "b": "new"})))
    play.go("one", "write")
    assert play.write(ev.Stopped(Actor.of(ANA, "cli"))) is None
    assert play.write(ev.Recorded("one", 1, "set b")) == "one is to stop (stopped)"
    play.go("one", "write")
    assert play.kinds()[-1] == "cancelled" and play.world == {"a": "new"}


def test_no_attempt_says_what_only_another_kind_may_say() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one")]))
    assert play.write(ev.ApplyStarted("one", 1, Change("x"), "f")) == "attempt 1 of one is there to plan"
    assert play.write(ev.Undone("one", 1, Receipt("x"), {})) == "attempt 1 of one is there to plan"


def test_undo_data_of_a_standing_debt_are_kept_when_it_is_planned_again() -> None:
    pause = act("pause", {"a": 0, "b": 0}, temporary=True)
    deploy = act("deploy", {"v": {REF: "target.version"}}, ["pause"])
    back = undo("back", pause, ["deploy"])
    play = Play(plan(pause, deploy, back), world={"a": 3, "b": 4})
    play.go("pause")
    play.go("deploy")
    play.go("back", "write")
    retarget = ev.Retargeted(Release("2.3.9"), "bad too", Actor.of(ANA, "cli"))
    assert play.write(retarget) is None
    assert play.step("deploy").attempt is None, "what was superseded comes to rest first"
    play.go("back", "cancelled")
    play.go("pause")
    made = play.step("pause").made
    assert made is not None and {e.target: e.before for e in made.edits} == {"a": 3, "b": 4}
    assert play.world["a"] == play.world["b"] == 0, "what was given back too early is paused again"
    play.go_all()
    assert play.world == {"a": 3, "b": 4, "v": "2.3.9"} and not play.run.debts
