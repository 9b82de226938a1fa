"""What people do with a whole run: stop and go on, hand over the command, change the target, skip, admit, close."""

from __future__ import annotations

from dataclasses import replace

from bot.catalogue import Release
from bot.contract import Receipt
from bot.plan.model import REF, Choice
from bot.policy import Actor, Gate, Refusal, Requirement
from bot.policy.approval import may_vote
from bot.run import events as ev
from bot.run.commands import (
    Abort,
    Accept,
    Admit,
    Agree,
    Approve,
    Close,
    Offer,
    Resume,
    Retarget,
    Retry,
    Skip,
    Stop,
    Take,
)
from bot.run.fold import evolve
from bot.run.state import new_run
from tests.run.played import (
    ANA,
    APPROVER,
    BEN,
    BOTH,
    CHO,
    DAN,
    GUS,
    KIM,
    PEOPLE,
    T0,
    TYPED,
    ZED,
    Play,
    act,
    check,
    gate,
    plan,
    undo,
)

V9, V8 = Release("2.3.9"), Release("2.3.8")


# -- stop and go on ----------------------------------------------------------------------------------------------------


def test_nothing_starts_while_stopped_and_what_was_at_work_goes_on_afterwards() -> None:
    play = Play(plan(act("one", {"a": 1, "b": 1}), act("two", after=["one"])))
    play.go("one", "write")
    play.do(CHO, Stop("wait for the vendor"))
    assert play.decision.stop == ("one",)
    play.go("one", "cancelled")
    play.wait(100_000)
    assert not play.run.in_flight and play.due is None
    assert "stopped already" in play.refusal(ANA, Stop())
    play.do(ANA, Resume())
    play.go_all()
    assert play.world == {"a": 1, "b": 1, "two": "new"}
    assert "not stopped" in play.refusal(ANA, Resume())


def test_a_pass_in_hand_may_finish_after_a_stop() -> None:
    play = Play(plan(act("one"), act("two", after=["one"])))
    play.go("one", "write")
    play.do(ANA, Stop())
    assert play.write(ev.Applied("one", 1, Receipt("done"))) is None
    assert play.step("one").end == "done" and play.step("two").n == 0


def test_the_time_of_a_stop_counts_for_nobody() -> None:
    play = Play(plan(act("one", timeout=100), check("c", within=60, every=5)))
    play.go("one", "wait")
    play.go("c", "bad")
    play.do(ANA, Stop())
    play.wait(5000)
    play.do(ANA, Resume())
    play.go("c", "bad")
    assert play.step("one").halt is None and play.step("c").halt is None
    play.go_all()
    assert play.step("one").end == "done"


# -- who commands ------------------------------------------------------------------------------------------------------


def test_command_is_taken_over_after_five_minutes_of_silence() -> None:
    play = Play(plan(check("c")))
    play.wait(299)
    assert "was active 299 s ago" in play.refusal(KIM, Take())
    play.do(ANA, Stop())
    play.wait(299)
    assert "wait 1 s" in play.refusal(KIM, Take())
    play.wait(1)
    play.do(KIM, Take())
    assert play.run.commander is not None and play.run.commander.id == "kim"
    assert play.run.barred == {"ana", "kim"}
    assert "only a commander" in play.refusal(CHO, Take())


def test_command_is_handed_over_by_offer() -> None:
    play = Play(plan(check("c")))
    assert "cannot command" in play.refusal(ANA, Offer("cho"))
    assert "cannot command" in play.refusal(ANA, Offer("gus"))
    play.do(ANA, Offer("kim"))
    play.do(KIM, Take())
    assert [e.how for e in play.events(ev.CommandTaken)] == ["handed over"] and play.run.offered == ""
    assert "@kim commands" in play.refusal(ANA, Abort("mine again"))
    assert "in command already" in play.refusal(KIM, Take())


def test_who_has_commanded_does_not_approve_any_more() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one")]))
    play.look()
    play.do(ANA, Offer("kim"))
    play.do(KIM, Take())
    assert "or commanded it" in play.refusal(KIM, Approve("one", play.run.card("one")))


def test_strangers_and_guests_are_refused_whatever_their_roles() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one")]))
    play.look()
    assert "guests may read" in play.refusal(GUS, Approve("one", play.run.card("one")))
    assert "not a member" in play.refusal(ZED, Stop())


# -- another target ----------------------------------------------------------------------------------------------------


def retargetable() -> Play:
    """Frozen and paused; the deploy of the target is done, the rest is approved but not begun."""
    freeze = act("freeze", temporary=True)
    play = Play(
        plan(
            freeze,
            act("deploy", {"v": {REF: "target.version"}}, ["freeze"], decision="backend"),
            act("settings", after=["deploy"], decision="backend"),
            check("health", ["settings"], phase="verify"),
            undo("thaw", freeze, ["health"]),
            decisions=[gate("backend", "deploy", "settings")],
        )
    )
    play.go("freeze")
    play.look()
    play.approve("backend", CHO)
    return play


def retarget(play: Play, release: Release = V9) -> None:
    play.do(ANA, Retarget(release, "fails as well"))
    play.do(CHO, Agree(play.proposal))


def test_another_target_needs_commander_and_approver_and_keeps_debts() -> None:
    play = retargetable()
    play.go("deploy")
    assert "commands this run" in play.refusal(CHO, Retarget(V9, "fails as well"))
    assert "Still needed: an approver" in play.do(ANA, Retarget(V9, "fails as well"))
    assert play.run.target == Release("2.4.0")
    play.do(CHO, Agree(play.proposal))
    assert play.run.target == V9 and play.run.tried == ((Release("2.4.0"), "fails as well"),)
    assert set(play.run.debts) == {"freeze"} and play.step("freeze").end == "done"


def test_approvals_for_the_old_target_release_nothing_for_the_new_one() -> None:
    play = retargetable()
    play.go("deploy")
    assert play.step("settings").attempt is not None
    retarget(play)
    play.go("settings", "cancelled")
    play.look()
    assert not play.run.in_flight and play.step("settings").released is None
    assert play.run.fingerprints("backend").keys() == {"deploy", "settings"}
    play.approve("backend", DAN)
    play.go_all()
    assert play.world["v"] == "2.3.9" and play.run.closed is not None and play.run.closed.outcome == "verified"


def test_what_was_at_work_for_the_old_target_ends_before_anything_new_starts() -> None:
    play = retargetable()
    play.go("deploy", "begin")
    retarget(play)
    assert play.decision.stop == ("deploy",) and len(play.run.in_flight) == 1
    play.go("deploy", "write")
    assert play.kinds()[-2:] == ["cancelled", "started"] and play.world.get("v") is None
    assert play.step("deploy").application == 2 and play.step("deploy").attempt is not None


def test_a_choice_is_open_again_for_another_target() -> None:
    play = Play(
        plan(
            act("keep", {}, decision="schema.keep"),
            act("down", {"schema": {REF: "target.version"}}, decision="schema.down"),
            decisions=[
                gate("schema.keep", "keep", choice="schema", option="keep"),
                gate("schema.down", "down", by=BOTH, choice="schema", option="down"),
            ],
            choices=[Choice("schema", "Schema", ("schema.keep", "schema.down"))],
        )
    )
    play.look()
    play.approve("schema.keep", CHO)
    play.go_all()
    assert play.run.chosen("schema") == "keep" and play.step("down").end == "not needed"
    retarget(play)
    play.look()
    assert {n for n, a in play.run.asked.items() if a.opened} == {"schema.keep", "schema.down"}
    play.approve("schema.down", BEN, DAN)
    play.go_all()
    assert play.world == {"schema": "2.3.9"} and play.step("keep").end == "not needed"


def test_two_targets_can_be_proposed_and_the_same_one_only_once() -> None:
    play = retargetable()
    play.do(ANA, Retarget(V9, "perhaps this"))
    assert "proposed already" in play.refusal(ANA, Retarget(V9, "perhaps this"))
    play.do(ANA, Retarget(V8, "or this"))
    assert "is the target already" in play.refusal(ANA, Retarget(Release("2.4.0"), "the same"))
    play.do(CHO, Agree(list(play.run.proposals)[1]))
    assert play.run.target == V8 and not play.run.proposals


def test_a_fix_is_admitted_by_commander_and_approver() -> None:
    play = retargetable()
    play.do(ANA, Admit(Release("2.4.2"), "has the fix"))
    play.do(DAN, Agree(play.proposal))
    assert play.run.admitted == (Release("2.4.2"),) and not play.run.proposals


# -- leaving out and accepting -----------------------------------------------------------------------------------------


def test_an_approver_alone_may_skip_what_an_approver_decides() -> None:
    play = Play(plan(act("one"), act("two", after=["one"])))
    play.go("one", "broken")
    assert play.do(CHO, Skip("one", "not worth it")) == "Done: skip One."
    assert play.step("one").end == "skipped" and play.step("two").attempt is not None


def test_a_commander_proposes_a_skip_and_the_steps_own_approvers_agree() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one", by=BOTH)]))
    play.look()
    assert "Still needed: a dba and an approver" in play.do(ANA, Skip("one", "not worth it"))
    assert "not yours" in play.refusal(ANA, Agree(play.proposal)).lower()
    assert "Still needed: a dba" in play.do(CHO, Agree(play.proposal))
    assert "already" in play.refusal(CHO, Agree(play.proposal))
    assert play.do(BEN, Agree(play.proposal)) == "Done: skip One."
    assert play.step("one").end == "skipped"
    assert "no open proposal" in play.refusal(DAN, Agree("p9"))


def test_nothing_that_a_destructive_step_stands_on_is_skipped() -> None:
    play = Play(
        plan(
            act("export"),
            act("drop", after=["export"], decision="drop", destructive=True),
            act("flush", after=["drop"]),
            decisions=[gate("drop", by=TYPED)],
        )
    )
    play.go("export", "broken")
    assert "drop destroys data and depends on export" in play.refusal(CHO, Skip("export", "no space"))
    play.do(ANA, Retry("export"))
    play.go("export")
    play.look()
    play.do(BEN, Skip("drop", "keep the data"))
    play.go("flush", "broken")
    play.do(CHO, Skip("flush", "harmless"))
    assert play.step("flush").end == "skipped"


def test_only_a_failing_check_or_what_others_left_is_accepted() -> None:
    play = Play(plan(act("one")))
    play.go("one", "broken")
    assert "nothing left by others to accept" in play.refusal(CHO, Accept("one", "good enough"))


def test_what_is_at_work_is_not_skipped() -> None:
    play = Play(plan(act("one"), check("c", ["one"])))
    assert "is at work" in play.refusal(CHO, Skip("one", "too slow"))
    play.go_all()
    assert "has ended already (done)" in play.refusal(CHO, Skip("one", "too late"))


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_run_without_verification_is_closed_by_its_commander_and_only_when_all_has_ended() -> None:
    play = Play(plan(act("one"), act("two", after=["one"])))
    assert "one is at work" in play.refusal(ANA, Close())
    play.go("one", "broken")
    assert "2 steps are left (one, two): skip them, or abort" in play.refusal(ANA, Close())
    play.do(ANA, Retry("one"))
    play.go_all()
    assert play.due is None and play.run.open
    assert "commands this run" in play.refusal(CHO, Close())
    play.do(ANA, Close("fine"))
    assert play.run.closed is not None and play.run.closed.outcome == "closed" and play.run.closed_at == T0
    assert "This run is over (closed)" in play.refusal(ANA, Resume())


def test_a_run_with_an_accepted_check_does_not_call_itself_verified() -> None:
    play = Play(plan(check("v", phase="verify"), check("w", phase="verify")))
    play.go("v", "bad")
    play.go("w")
    play.do(CHO, Accept("v", "known noise"))
    assert play.run.restored is not None and play.run.open and play.due is None
    play.do(ANA, Close())


def test_who_has_voted_and_then_commands_counts_no_more_for_what_is_not_decided_yet() -> None:
    two, one = Gate((Requirement("commander", 2),)), Gate((Requirement("commander"),))
    gates = [gate("one", by=two), gate("two", by=one)]
    play = Play(plan(act("one", decision="one"), act("two", decision="two"), decisions=gates))
    play.look()
    play.approve("two", KIM)
    play.do(KIM, Approve("one", play.run.card("one")))
    play.look()
    play.do(ANA, Offer(KIM.id))
    play.do(KIM, Take())
    assert play.run.asked["one"].votes == () and play.run.asked["one"].opened is not None
    assert play.run.asked["two"].decided is not None, "that was decided before"
    assert "commanded it" in play.refusal(KIM, Approve("one", play.run.card("one")))
    assert "commanded it" in play.refusal(ANA, Approve("one", play.run.card("one"))), "nor the one before"


def test_who_has_agreed_to_a_proposal_and_then_commands_counts_no_more_for_it() -> None:
    mine = gate("one", by=Gate((Requirement("commander"), Requirement("approver"))))
    play = Play(plan(act("one", decision="one"), decisions=[mine]))
    play.do(KIM, Skip("one", "not needed tonight"))
    assert [a.id for a in play.run.proposals[play.proposal].votes] == ["kim"]
    play.do(ANA, Offer(KIM.id))
    play.do(KIM, Take())
    assert play.run.proposals[play.proposal].votes == ()
    play.do(CHO, Agree(play.proposal))
    assert play.step("one").open, "the commander's seat is empty again"


def test_who_asked_for_the_run_whose_place_this_takes_does_not_approve_here_either() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one")]))
    assert play.run.created is not None
    other = evolve(new_run("r2"), replace(play.run.created, by=Actor.of(KIM, "test"), instead_of="r1",
                                          barred=(Actor.of(CHO, "test"),)), play.now)  # fmt: skip
    assert other.barred == {"kim", "cho"} and [a.name for a in other.barred_people] == ["kim", "cho"]
    assert isinstance(may_vote(APPROVER, CHO, (), PEOPLE, other.barred), Refusal)


def test_who_asked_for_the_run_does_not_fill_the_approvers_seat_of_a_proposal_either() -> None:
    ana, kim = (replace(p, roles=frozenset({"commander", "approver"})) for p in (ANA, KIM))
    play = Play(plan(act("one")))
    play.do(ana, Retarget(V9, "bad too"))
    no = play.say(replace(KIM, roles=frozenset({"commander"})), Agree(play.proposal))
    assert isinstance(no, Refusal), "ana, who asked for the run, is not moved to the approver's seat"
    play.do(ana, Offer(KIM.id))
    play.do(kim, Take())
    play.do(kim, Retarget(V8, "bad as well"))
    last = list(play.run.proposals)[-1]
    assert "you asked for this run" in play.refusal(replace(ANA, roles=frozenset({"approver"})), Agree(last))
    assert play.run.target is not None and play.run.target.version == "2.4.0"
    play.do(CHO, Agree(last))
    assert play.run.target == V8
