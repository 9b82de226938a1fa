"""How people decide: one card for several steps, who counts, what asks again, and what needs nobody."""

from __future__ import annotations

from bot.catalogue import Release
from bot.contract import Change, Edit
from bot.plan.model import REF, Choice
from bot.policy import Actor, Gate, Refusal, Requirement
from bot.ports import Blob
from bot.run import events as ev
from bot.run.answering import Answer, Asking, answer
from bot.run.commands import Agree, Approve, BreakGlass, Decline, Resume, Retarget, Retry, Skip, Stop
from bot.telling.plain import text
from bot.telling.view import view
from tests.run.played import (
    ANA,
    APPROVER,
    BEN,
    BOTH,
    CHO,
    COMMANDER,
    DAN,
    KIM,
    PEOPLE,
    TWO,
    TYPED,
    Play,
    act,
    ask,
    check,
    gate,
    plan,
    undo,
    watch,
)  # fmt: skip


def test_a_run_goes_from_preflight_to_verified_and_closes_itself() -> None:
    pause = act("pause", temporary=True, decision="backend", after=["start"])
    play = Play(
        plan(
            check("pre", phase="preflight"),
            ask("start", ["pre"]),
            pause,
            act("deploy", {"shop": "2.4.0"}, ["pause"], decision="backend"),
            check("health", ["deploy"], within=60, passes=2),
            undo("resume", pause, ["health"]),
            check("journeys", ["resume"], phase="verify"),
            watch("watch", ["journeys"], lasting=60, passes=3),
            decisions=[gate("start", by=COMMANDER), gate("backend", "pause", "deploy")],
        )
    )
    play.go("pre")
    play.approve("start", ANA)
    play.approve("backend", CHO)
    play.go_all()
    assert play.world == {"pause": "new", "shop": "2.4.0"} and set(play.run.debts) == {"pause"}
    play.wait(5)
    play.go_all()
    assert play.world == {"pause": None, "shop": "2.4.0"} and not play.run.debts
    assert play.run.restored and not play.run.closed, "it is watched first"
    while play.run.open:
        play.wait(5)
        play.go_all()
    assert play.run.closed is not None and play.run.closed.outcome == "verified" and play.run.closed.by is None
    assert play.run.closed_at == play.run.restored + 60


def group() -> Play:
    """Two steps on one card, as it is first shown."""
    play = Play(
        plan(
            act("one", {"a": "new"}, decision="both"),
            act("two", {"b": "new"}, ["one"], decision="both"),
            decisions=[gate("both", "one", "two", by=TWO)],
        )
    )
    play.look()
    return play


def test_one_click_binds_every_step_on_the_card() -> None:
    play = group()
    play.approve("both", CHO)
    assert play.step("one").attempt is None, "one of two is not enough"
    play.approve("both", DAN)
    for e in play.events(ev.Approved):
        assert dict(e.fingerprints) == {"one": play.step("one").fingerprint, "two": play.step("two").fingerprint}
    play.go_all()
    assert play.world == {"a": "new", "b": "new"}


def test_a_later_step_of_a_group_is_planned_on_top_of_the_earlier_ones() -> None:
    play = Play(
        plan(
            act("one", {"a": "first"}, decision="both"),
            act("two", {"a": "second"}, ["one"], decision="both"),
            decisions=[gate("both", "one", "two")],
        )
    )
    play.look()
    change = play.step("two").change
    assert change is not None and change.edits[0].before == "first"
    play.approve("both", CHO)
    play.go_all()
    assert play.world == {"a": "second"} and play.run.steps["two"].end == "done"


def test_what_stands_between_two_steps_of_a_group_cannot_lock_their_card() -> None:
    play = Play(
        plan(
            act("one", {"a": "first"}, decision="both"),
            act("between", {"b": "first"}, ["one"]),
            act("two", {"b": "second"}, ["between"], decision="both"),
            decisions=[gate("both", "one", "two")],
        )
    )
    play.look()
    play.approve("both", CHO)
    play.go_all()
    assert play.world == {"a": "first", "b": "second"} and not play.events_of("drifted")


def test_a_card_waits_while_earlier_work_still_changes_the_same_targets() -> None:
    play = Play(
        plan(
            act("one", {"a": "first"}),
            act("two", {"a": "second"}, ["one"], decision="two"),
            act("three", {"c": "new"}, ["two"], decision="three"),
            decisions=[gate("two"), gate("three")],
        )
    )
    play.go("one", "wait")
    play.look()
    assert play.run.asked["two"].opened is None
    assert play.run.asked["three"].opened is not None, "this one touches something else and can be decided meanwhile"
    play.wait(30)
    play.go_all()
    play.approve("two", CHO)
    play.go_all()
    assert play.world == {"a": "second"}, "three has not been approved"


def test_a_dba_who_is_also_an_approver_fills_one_seat_only() -> None:
    either = Gate((Requirement("approver"), Requirement("dba")))
    play = Play(plan(act("one", decision="one"), decisions=[gate("one", by=either)]))
    play.look()
    play.approve("one", DAN)
    assert play.run.asked["one"].votes[0].role == "dba", "fewer people hold it"
    assert "already" in play.refusal(DAN, Approve("one", play.run.card("one")))
    play.approve("one", CHO)
    assert play.step("one").released is not None, "cho fills the other one"
    assert [v.role for v in play.run.asked["one"].votes] == ["dba", "approver"]


def test_requester_and_commanders_do_not_approve_whatever_else_they_are() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one", by=Gate((Requirement("commander"),)))]))
    play.look()
    assert "you asked for this run" in play.refusal(ANA, Approve("one", play.run.card("one")))
    play.approve("one", KIM)
    assert play.step("one").released is not None


def test_a_click_on_what_has_changed_since_counts_for_nothing() -> None:
    play = group()
    seen = play.run.card("both")
    play.world["b"] = "theirs"
    play.wait(60)
    play.look()
    assert play.events_of("reminded") == 1
    assert "look again" in play.refusal(CHO, Approve("both", seen))
    assert not play.run.asked["both"].votes
    play.approve("both", CHO)


def test_a_typed_phrase_must_be_the_one_that_is_asked_for() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one", by=TYPED)]))
    play.look()
    card = play.run.card("one")
    assert 'Type "one shop"' in play.refusal(BEN, Approve("one", card, "yes"))
    play.do(BEN, Approve("one", card, " One Shop "))
    assert [e.phrase for e in play.events(ev.Approved)] == [True]


def test_drift_asks_again_only_about_what_has_not_begun() -> None:
    play = group()
    play.approve("both", CHO, DAN)
    play.go("one")
    play.world["b"] = "theirs"
    play.go("two")
    assert play.kinds()[-1] == "drifted"
    assert play.step("one").end == "done"
    assert [s.spec.id for s in play.run.members("both")] == ["two"] and not play.run.asked["both"].votes
    play.approve("both", CHO, KIM)
    play.go_all()
    assert play.world == {"a": "new", "b": "new"}


def test_less_to_do_than_was_approved_needs_no_new_approval() -> None:
    play = Play(plan(act("one", {"a": "new", "b": "new"}, decision="one"), decisions=[gate("one")]))
    play.look()
    play.approve("one", CHO)
    play.world["a"] = "new"
    play.go_all()
    assert play.world == {"a": "new", "b": "new"} and play.events_of("drifted") == 0


def test_while_votes_come_in_everybody_decides_on_the_same_fingerprint() -> None:
    play = group()
    play.approve("both", CHO)
    shown = play.run.fingerprints("both")
    play.world["a"] = "new"  # what CHO approved still covers the rest
    play.wait(60)
    play.look()
    assert play.run.fingerprints("both") == shown
    play.approve("both", DAN)
    assert [dict(e.fingerprints) for e in play.events(ev.Approved)] == [shown, shown]


def test_a_change_that_grows_while_votes_come_in_drops_them() -> None:
    play = group()
    play.approve("both", CHO)
    play.world["b"] = "theirs"
    play.wait(60)
    play.look()
    assert not play.run.asked["both"].votes and play.run.asked["both"].opened is not None


def test_a_limit_that_was_shown_holds_until_the_first_effect() -> None:
    play = Play(plan(act("one", limit=5, decision="one"), decisions=[gate("one")]), world={"rows": 3})
    play.look()
    play.approve("one", CHO)
    play.world["rows"] = 6
    play.go("one")
    (drift,) = play.events(ev.Drifted)
    assert drift.differences == ("rows: 6 rows now, the limit shown was 5",)
    play.approve("one", CHO)
    play.go_all()
    assert play.step("one").end == "done", "who saw six agreed to six"


def test_a_limit_holds_up_nobody_where_somebody_else_has_done_all_that_was_approved() -> None:
    play = Play(plan(act("one", limit=5, decision="one"), decisions=[gate("one")]), world={"rows": 3})
    play.look()
    play.approve("one", CHO)
    assert play.run.steps["one"].change is not None
    play.world["rows"] = 9
    play.world |= {e.target: e.after for e in play.run.steps["one"].change.edits if not isinstance(e.after, Blob)}
    play.go_all()
    assert play.step("one").end == "done"
    assert not [*play.events(ev.Drifted)]


def test_the_third_drift_halts_and_says_why() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one")]))
    play.look()
    for k in range(3):
        play.approve("one", CHO)
        play.world["one"] = f"theirs {k}"
        play.go("one")
    halt = play.halt("one")
    assert halt.cause == "drift" and "3 times" in halt.error and "who else writes here" in halt.hint
    assert play.run.asked["one"].opened is None


def choice(proven: bool) -> Play:
    """Keep or down, planned; keep is proven or not."""
    play = Play(
        plan(
            check("advise", data={"proven": proven}),
            act("keep", {}, ["advise"], decision="schema.keep"),
            act("quiesce", {"mode": "read-only"}, ["advise"], decision="schema.down", temporary=True),
            act("down", {"schema": "41"}, ["quiesce"], decision="schema.down", destructive=True),
            act("flush", after=["keep", "down"]),
            decisions=[
                gate("schema.keep", "keep", unless="steps.advise.proven", choice="schema", option="keep"),
                gate("schema.down", "quiesce", "down", by=BOTH, choice="schema", option="down"),
            ],
            choices=[Choice("schema", "Schema", ("schema.keep", "schema.down"))],
        )
    )
    play.go("advise")
    play.look()
    return play


def test_of_several_ways_exactly_one_is_taken() -> None:
    play = choice(proven=False)
    assert {n for n, a in play.run.asked.items() if a.opened} == {"schema.keep", "schema.down"}
    play.approve("schema.down", BEN, CHO)
    assert play.step("keep").end == "not needed" and play.step("keep").why == "down was chosen"
    assert "down was chosen" in play.refusal(DAN, Approve("schema.keep", play.run.card("schema.keep")))
    play.go_all()
    assert play.world == {"mode": "read-only", "schema": "41", "flush": "new"}


def test_keeping_is_asked_although_nothing_would_change() -> None:
    play = choice(proven=False)
    play.wait(10)
    assert play.step("keep").open
    play.approve("schema.keep", CHO)
    play.go_all()
    assert play.step("keep").end == "done" and play.step("down").end == "not needed" and play.world == {"flush": "new"}


def test_what_is_proven_is_taken_without_asking() -> None:
    play = choice(proven=True)
    (taken,) = play.events(ev.Taken)
    assert taken == ev.Taken("schema.keep", "steps.advise.proven holds")
    play.go_all()
    assert play.step("keep").end == "done" and not list(play.events(ev.Approved))


def test_a_way_that_is_refused_holds_up_neither_the_others_nor_what_comes_behind() -> None:
    play = Play(
        plan(
            act("keep", {}, decision="schema.keep"),
            act("quiesce", {"mode": "read-only"}, decision="schema.down", temporary=True),
            act("down", {"schema": "41"}, ["quiesce"], decision="schema.down"),
            act("deploy", after=["keep", "down"], decision="deploy"),
            decisions=[
                gate("schema.keep", "keep", choice="schema", option="keep"),
                gate("schema.down", "quiesce", "down", by=BOTH, choice="schema", option="down"),
                gate("deploy", "deploy"),
            ],
            choices=[Choice("schema", "Schema", ("schema.keep", "schema.down"))],
        )
    )
    play.go("quiesce", "broken")
    play.look()
    assert not play.run.halted and not play.run.held
    assert {n for n, a in play.run.asked.items() if a.opened} == {"schema.keep", "deploy"}
    play.approve("schema.keep", CHO)
    play.approve("deploy", CHO)
    play.go_all()
    assert play.step("quiesce").end == "not needed" and play.world == {"deploy": "new"}


def test_nobody_can_take_a_decision_for_people_who_are_asked() -> None:
    play = choice(proven=False)
    assert play.write(ev.Taken("schema.keep", "because")) == "people are asked here"


def test_a_way_that_has_begun_must_end_before_another_is_taken() -> None:
    play = Play(
        plan(
            act("keep", {}, decision="schema.keep"),
            act("quiesce", {"mode": "read-only", "v": {REF: "target.version"}}, decision="schema.down", temporary=True),
            act("down", {"schema": "41"}, ["quiesce"], decision="schema.down"),
            decisions=[
                gate("schema.keep", "keep", choice="schema", option="keep"),
                gate("schema.down", "quiesce", "down", by=BOTH, choice="schema", option="down"),
            ],
            choices=[Choice("schema", "Schema", ("schema.keep", "schema.down"))],
        )
    )
    play.look()
    play.approve("schema.down", BEN, CHO)
    play.go("quiesce", "write")
    play.go("quiesce", "broken")
    play.do(ANA, Retarget(Release("2.3.9"), "bad too"))
    play.do(CHO, Agree(play.proposal))
    play.do(ANA, Retry("quiesce"))
    play.go("quiesce")
    play.look()
    assert play.kinds().count("drifted") == 1 and play.step("keep").open
    assert {n for n, a in play.run.asked.items() if a.opened} == {"schema.down"}
    assert "quiesce has begun: it must end first" in play.refusal(CHO, Approve("schema.keep", ""))
    play.approve("schema.down", BEN, DAN)
    play.go_all()
    assert play.world["schema"] == "41"


def test_a_waiting_decision_reminds_once_and_pages_once_and_then_waits_for_people_only() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one")]))
    play.look()
    opened = play.run.asked["one"].opened
    assert opened is not None and play.due == opened + 60
    for seconds, kind in ((60, "reminded"), (240, "paged")):
        play.wait(seconds)
        assert play.step("one").attempt is not None, "it is planned again"
        play.look()
        assert play.events_of(kind) == 1
    assert play.due is None
    play.wait(100_000)
    assert play.events_of("reminded") == play.events_of("paged") == 1


def test_not_now_keeps_the_decision_open_and_says_who() -> None:
    play = group()
    assert play.do(CHO, Decline("both", "after the sale")) == "Noted: not now. The decision stays open."
    ((who, why, _),) = play.run.asked["both"].declined
    assert (who.id, why) == ("cho", "after the sale") and play.run.asked["both"].opened is not None
    play.approve("both", CHO, DAN)
    assert play.run.asked["both"].decided is not None


def test_broken_glass_opens_a_decision_alone_and_is_kept() -> None:
    play = group()
    play.do(ANA, BreakGlass("both", play.run.card("both"), "everybody sleeps"))
    asked = play.run.asked["both"]
    assert asked.glass is not None and asked.glass.id == "ana" and asked.taken == "everybody sleeps"
    play.go_all()
    assert play.world == {"a": "new", "b": "new"}


def test_only_the_roles_that_may_break_the_glass_do() -> None:
    play = group()
    command = BreakGlass("both", play.run.card("both"), "everybody sleeps")
    no = answer(play.run, command, Asking(ANA, "test", PEOPLE, play.now, "p0", frozenset({"dba"})))
    assert isinstance(no, Refusal) and no.who_can == ("ben", "dan")
    yes = answer(play.run, command, Asking(BEN, "test", PEOPLE, play.now, "p0", frozenset({"dba"})))
    assert isinstance(yes, Answer)


def test_a_decision_can_be_made_while_the_run_is_stopped_but_nothing_starts() -> None:
    play = group()
    play.do(ANA, Stop("look at the graphs"))
    play.approve("both", CHO)
    play.approve("both", DAN)
    assert not play.run.in_flight


def test_a_gate_of_its_own_is_over_once_it_is_decided() -> None:
    play = Play(plan(ask("go"), act("one", after=["go"]), decisions=[gate("go", by=APPROVER)]))
    assert "the decision itself" in play.refusal(CHO, Skip("go", "never mind"))
    play.approve("go", CHO)
    assert play.step("go").end == "done" and play.step("one").attempt is not None


def test_a_plan_that_arrives_after_the_last_vote_and_goes_beyond_it_takes_the_vote_back() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one")]))
    play.look()
    play.wait(60)
    assert play.step("one").attempt is not None, "planned again because it reminded"
    play.do(CHO, Approve("one", play.run.card("one")))
    assert play.step("one").released is not None
    play.world["one"] = "theirs"
    play.look()
    assert play.step("one").released is None and play.run.asked["one"].opened is not None
    assert not play.run.in_flight


def test_the_second_person_sees_a_plan_made_at_the_click_of_the_first() -> None:
    play = group()
    play.do(CHO, Approve("both", play.run.card("both")))
    assert {s.spec.id for s in play.run.in_flight} == {"one", "two"}
    assert all(s.attempt is not None and s.attempt.doing == "plan" for s in play.run.in_flight)


def test_of_two_proven_ways_the_first_is_taken() -> None:
    play = Play(
        plan(
            check("advise", data={"proven": True}),
            act("keep", after=["advise"], decision="c.keep"),
            act("down", after=["advise"], decision="c.down"),
            decisions=[
                gate("c.keep", "keep", unless="steps.advise.proven", choice="c", option="keep"),
                gate("c.down", "down", unless="steps.advise.proven", choice="c", option="down"),
            ],
            choices=[Choice("c", "C", ("c.keep", "c.down"))],
        )
    )
    play.do(ANA, Stop())
    play.do(ANA, Resume())
    play.go("advise", "cancelled")
    play.look()
    play.go("advise")
    play.go_all()
    assert [e.decision for e in play.events(ev.Taken)] == ["c.keep"]
    assert play.step("keep").end == "done" and play.step("down").end == "not needed"


def test_a_vote_for_other_fingerprints_or_a_second_one_is_refused_by_whatever_way_it_comes() -> None:
    play = group()
    cho = Actor.of(CHO, "cli")
    assert "look again" in (play.write(ev.Approved("both", {"one": "f", "two": "f"}, cho, "approver")) or "")
    part = {"one": play.step("one").fingerprint}
    assert "look again" in (play.write(ev.Approved("both", part, cho, "approver")) or "")
    play.approve("both", CHO)
    again = ev.Approved("both", play.run.fingerprints("both"), cho, "approver")
    assert "one person counts once" in (play.write(again) or "")


def test_effects_beyond_what_was_approved_are_refused_by_whatever_way_they_come() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one")]))
    play.look()
    play.approve("one", CHO)
    more = Change("x", (Edit("one", None, "new"), Edit("other", None, "new")))
    why = play.write(ev.ApplyStarted("one", 2, more, more.fingerprint("doc.set")))
    assert why == "one would go beyond what was approved: other: now also absent -> new"


def test_each_yes_to_a_proposal_is_kept_with_the_seat_it_fills() -> None:
    play = Play(plan(act("one", decision="one"), act("two", after=["one"]), decisions=[gate("one")]))
    play.do(ANA, Retarget(Release("2.3.9"), "bad too"))
    proposal = play.run.proposals[play.proposal]
    assert proposal.seats == {"ana": "commander"} and [v.seat for v in proposal.ballots] == ["commander"]
    play.do(CHO, Agree(play.proposal))
    ((proposed,), (agreed,)) = play.events(ev.Proposed), play.events(ev.Agreed)
    assert (proposed.role, agreed.role, agreed.moved) == ("commander", "approver", {})
    assert play.run.past[-1].proposal.seats == {"ana": "commander", "cho": "approver"}


def test_a_yes_to_a_proposal_that_takes_another_seat_says_whose() -> None:
    either = Gate((Requirement("approver"), Requirement("dba")))
    play = Play(plan(act("one", decision="one"), decisions=[gate("one", by=either)]))
    play.do(DAN, Skip("one", "not needed tonight"))
    (proposed,) = play.events(ev.Proposed)
    assert proposed.role == "dba", "fewer people hold it"
    play.do(BEN, Agree(play.proposal))
    (agreed,) = play.events(ev.Agreed)
    assert (agreed.role, agreed.moved) == ("dba", {"dan": "approver"})
    assert play.run.past[-1].proposal.seats == {"dan": "approver", "ben": "dba"}


def test_a_yes_recorded_before_seats_were_kept_still_counts() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one", by=TWO)]))
    skip = ev.decode("proposed", ev.encode(ev.Proposed("p", "skip", Actor.of(CHO, "test"), "never mind", "one"))[1])
    assert play.write(skip) is None
    assert play.run.proposals["p"].seats == {} and [v.seat for v in play.run.proposals["p"].ballots] == [""]
    play.do(DAN, Agree("p"))
    assert play.step("one").end == "skipped"


def released(lifetime: float = 3600.0) -> Play:
    """Approved, while something before it still has to be done."""
    mine = gate("one", by=Gate((Requirement("approver"),), lifetime=lifetime))
    play = Play(plan(act("slow", timeout=1e6), act("one", after=["slow"], decision="one"), decisions=[mine]))
    play.go("slow", "write")
    play.go("slow", "flaky")
    play.look()
    return play


def test_a_yes_of_which_nothing_has_begun_lapses_and_is_asked_again_never_decided() -> None:
    play = released()
    play.approve("one", CHO)
    play.wait(3599)
    assert play.step("one").released is not None
    play.wait(1)
    play.look()
    (lapsed,) = play.events(ev.Lapsed)
    assert lapsed == ev.Lapsed("one", "approved over 60 min ago, and not begun")
    asked = play.run.asked["one"]
    assert asked.opened == play.now and not asked.votes and asked.decided is None and not asked.declined
    assert asked.dropped is not None and (asked.dropped.votes[0].by.id, asked.dropped.why) == ("cho", lapsed.why)
    told = f"  To be decided again: {lapsed.why}. No longer valid: the approval of @cho."
    assert told in text(view(play.run, play.now)), "in a terminal too"
    play.go_all()
    assert play.world == {"slow": "new"} and play.step("one").released is None, "nobody has said yes to it"
    play.approve("one", CHO)
    play.go_all()
    assert play.world == {"slow": "new", "one": "new"}


def test_what_is_about_to_begin_is_not_asked_again_beside_an_attempt_that_may_still_be_at_work() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one")]))
    play.look()
    play.approve("one", CHO)
    n = play.step("one").n
    play.now += 3601
    play.look()
    attempt = play.step("one").attempt
    assert attempt is not None and attempt.n == n and not play.events_of("lapsed")
    play.go("one", "lost")
    play.look()
    assert play.events_of("lapsed") == 1 and play.run.asked["one"].opened is not None


def test_a_click_after_the_lifetime_of_the_yes_before_it_begins_a_new_round() -> None:
    play = Play(plan(act("one", decision="one"), decisions=[gate("one", by=TWO)]))
    play.look()
    play.approve("one", CHO)
    play.now += 3601  # and nobody has looked since: the bot was away
    said = play.do(DAN, Approve("one", play.run.card("one")))
    assert said.startswith("It was approved over 60 min ago, and not begun, so it is asked anew. Approved: One.")
    assert "Still needed: an approver" in said
    asked = play.run.asked["one"]
    assert [g.by.id for g in asked.votes] == ["dan"] and asked.decided is None
    assert asked.dropped is not None and [g.by.id for g in asked.dropped.votes] == ["cho"]
    play.look()
    play.approve("one", CHO)
    assert play.run.asked["one"].decided is not None


def test_the_lifetime_is_the_gates_own() -> None:
    play = released(lifetime=120)
    play.approve("one", CHO)
    play.wait(119)
    assert play.events_of("lapsed") == 0
    play.wait(1)
    assert play.events_of("lapsed") == 1


def test_one_of_two_votes_lapses_while_the_other_is_waited_for() -> None:
    play = group()
    play.approve("both", CHO)
    play.wait(3600)
    assert not play.run.asked["both"].votes and play.run.asked["both"].opened is not None
    play.approve("both", DAN)
    assert play.run.asked["both"].decided is None, "cho has to say so again"
    play.approve("both", CHO)
    assert play.run.asked["both"].decided is not None


def test_what_has_begun_is_carried_through_however_long_it_takes() -> None:
    play = group()
    play.approve("both", CHO, DAN)
    play.go("one", "write")
    play.go("one", "broken")
    play.wait(7200)
    play.do(ANA, Retry("one"))
    play.go_all()
    assert play.world == {"a": "new", "b": "new"} and not play.events_of("lapsed")


def test_a_yes_ages_while_the_run_is_stopped() -> None:
    play = group()
    play.do(ANA, Stop("look at the graphs"))
    play.approve("both", CHO, DAN)
    play.wait(3600)
    play.do(ANA, Resume())
    assert play.events_of("lapsed") == 1 and not [
        s for s in play.run.in_flight if s.attempt and s.attempt.doing == "apply"
    ]


def test_broken_glass_lapses_too() -> None:
    play = released()
    play.do(ANA, BreakGlass("one", play.run.card("one"), "everybody sleeps"))
    play.wait(3600)
    assert play.run.asked["one"].glass is None and play.run.asked["one"].opened is not None


def leaving() -> Play:
    """Leave it, or take it down: with a step before and one behind that people decide too."""
    play = Play(
        plan(
            act("before"),
            ask("schema.leave", ["before"]),
            act("down", {"schema": "41"}, ["before"], decision="schema.down"),
            act("last", after=["schema.leave", "down"], decision="last"),
            decisions=[
                gate("schema.leave", choice="schema", option="leave"),
                gate("schema.down", "down", by=BOTH, choice="schema", option="down"),
                gate("last"),
            ],
            choices=[Choice("schema", "Schema", ("leave", "down"))],
        )
    )
    play.look()
    return play


def test_leaving_it_as_it_is_is_a_way_that_people_take() -> None:
    play = leaving()
    assert play.run.asked["schema.leave"].opened is None, "what comes before has not ended"
    play.go_all()
    assert play.run.asked["last"].opened is not None, "whichever way is taken, this can be looked at"
    play.wait(1000)
    play.look()
    assert play.run.asked["schema.leave"].decided is None and play.events_of("taken") == 0, "nobody has said so"
    assert "Nothing is changed" in text(view(play.run, play.now))
    assert "you asked for this run" in play.refusal(ANA, Approve("schema.leave", play.run.card("schema.leave")))
    play.approve("schema.leave", CHO)
    assert play.step("schema.leave").end == "done"
    assert (play.step("down").end, play.step("down").why) == ("not needed", "leave was chosen")
    play.approve("last", CHO)
    play.go_all()
    assert play.world == {"before": "new", "last": "new"}


def test_another_way_strikes_out_leaving_it() -> None:
    play = leaving()
    play.go_all()
    play.approve("schema.down", BEN, CHO)
    assert play.step("schema.leave").end == "not needed"
    play.go_all()
    assert play.world == {"before": "new", "schema": "41"} and play.run.asked["last"].opened is not None
