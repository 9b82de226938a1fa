"""What holds of any run, over random plans and random lawful orders of events.

`pytest tests/run --hypothesis-profile=long` looks much longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.contract import Change, Edit, Receipt, Status, Verdict
from bot.policy import Actor, Refusal
from bot.policy.approval import Vote, satisfied
from bot.run import commands as c
from bot.run import events as ev
from bot.run.answering import Answer, Asking, answer
from bot.run.deadlines import why_stop
from bot.run.decide import decide
from bot.run.fold import evolve
from bot.run.rules import refused
from bot.run.state import Run, new_run
from tests.run.played import CHO, PEOPLE, Play
from tests.run.stories import (
    BAD,
    RELEASES,
    Story,
    bring_home,
    commander,
    commands,
    inherited,
    move,
    moves,
    random_plan,
    stories,
)

FORWARD = ("apply", "check")


# -- there is always a way out -----------------------------------------------------------------------------------------


@given(stories())
def test_an_open_run_always_has_a_way_on(story: Story) -> None:
    play = Play(story.plan)
    for _ in moves(play, story.numbers):
        if play.run.open and not play.run.in_flight and play.due is None:
            assert list(ways_on(play.run, play.now)), "only giving up is left"


def ways_on(run: Run, now: float) -> Iterator[c.Command]:
    """Commands that would be accepted from somebody and bring the run on (giving up or waiting does not)."""
    aside = (c.Abort, c.Stop, c.Offer, c.Take, c.Decline, c.Undo, c.Admit, c.Retarget)
    for seed in range(20):
        for command in commands(run, Random(seed), now):
            if not isinstance(command, aside):
                asking = (Asking(p, "test", PEOPLE, now, "p0") for p in PEOPLE)
                if any(isinstance(answer(run, command, a), Answer) for a in asking):
                    yield command
                    return


@given(stories(), st.integers(0, 60))
def test_a_helpful_crew_brings_any_run_home(story: Story, cut: int) -> None:
    play = Play(story.plan)
    for _ in moves(play, story.numbers[:cut]):
        pass
    bring_home(play)
    assert play.run.closed is not None


@given(stories(), st.integers(0, 2**16))
def test_an_abort_always_ends_whatever_the_world_does(story: Story, seed: int) -> None:
    play, r = story.played(), Random(seed)
    if not play.run.open:
        return
    if not play.run.aborted:
        play.do(commander(play.run), c.Abort("enough"))
    for k in range(120):
        if not play.run.open:
            break
        for s in play.run.in_flight:
            play.go(s.spec.id, "cancelled" if why_stop(s, play.now) else r.choice(BAD))
        for d in play.run.owing:
            if k > 40:
                play.do(commander(play.run), c.HandOver(d.step, "cho", play.now + 60, "cannot be put back"))
            elif r.random() < 0.3:
                play.say(commander(play.run), r.choice((c.Restore(d.step, "put it back"), c.Retry(d.step))))
        play.wait(r.choice((1.0, 30.0, 700.0)))
    assert play.run.closed is not None and play.run.closed.outcome.startswith("aborted")


# -- debts -------------------------------------------------------------------------------------------------------------


@given(stories())
def test_what_is_temporary_is_owed_from_its_first_effect_until_it_is_undone(story: Story) -> None:
    for m in story.played().moments:
        for gone in m.before.debts.keys() - m.after.debts.keys():
            assert isinstance(m.event, ev.Undone | ev.Adopted | ev.Accepted | ev.TakenOver), m.event
            if isinstance(m.event, ev.TakenOver):
                continue
            source = m.before.undoes(m.before.steps[m.event.step])
            assert source is not None and source.spec.id == gone
        match m.event:
            case ev.ApplyStarted(step=i, change=change, there=there) if m.before.steps[i].spec.temporary and (
                change.targets - set(there)
            ):
                assert i in m.after.debts or m.before.undoes(m.before.steps[i]) is not None


@given(stories(), st.booleans())
def test_no_run_closes_while_somebody_owes(story: Story, home: bool) -> None:
    play = story.played()
    if home:
        bring_home(play)
    if play.run.closed is not None:
        assert all(d.owner and d.until for d in play.run.debts.values())
        assert not play.run.in_flight
        handed = {s.spec.undo for s in play.run.steps.values() if s.spec.decision and s.end == "not needed"}
        assert play.run.closed.outcome != "verified" or play.run.debts.keys() <= handed, "no plan asked about these"
    elif play.run.owing:
        assert refused(play.run, ev.Closed("closed", Actor("ana", "ana")))


# -- approvals ---------------------------------------------------------------------------------------------------------


@given(stories())
def test_every_effect_is_covered_by_what_the_required_people_saw(story: Story) -> None:
    shown: dict[tuple[str, str], Change] = {}
    yes: dict[str, list[tuple[int, ev.Approved | ev.BrokeGlass | ev.Taken]]] = {}
    since: dict[str, int] = {}
    for k, m in enumerate(story.played().moments):
        for i, s in m.after.steps.items():
            if i in m.before.steps and s.application != m.before.steps[i].application:
                since[i] = k  # another application: whatever was said before is about something else
        match m.event:
            case ev.Planned(step=i) | ev.Drifted(step=i):
                shown[i, m.event.fingerprint] = m.event.change
                since[i] = k if isinstance(m.event, ev.Drifted) else since.get(i, 0)
            case ev.Approved(decision=d) | ev.BrokeGlass(decision=d):
                assert dict(m.event.fingerprints) == m.before.fingerprints(d)
                yes.setdefault(d, []).append((k, m.event))
            case ev.Taken(decision=d):
                yes.setdefault(d, []).append((k, m.event))
            case ev.Started(step=i, doing="apply" | "undo") | ev.ApplyStarted(step=i):
                asked = m.before.decision_of(m.before.steps[i])
                if asked is not None:
                    said = [e for at, e in yes.get(asked.spec.name, ()) if at >= since.get(i, 0)]
                    change = m.event.change if isinstance(m.event, ev.ApplyStarted) else None
                    assert released(m.before, i, said, shown, change), m.event


def released(
    run: Run,
    i: str,
    said: list[ev.Approved | ev.BrokeGlass | ev.Taken],
    shown: dict[tuple[str, str], Change],
    change: Change | None,
) -> bool:
    """Whether these decisions, each on its own fingerprint, let this change of the step pass."""
    asked = run.decision_of(run.steps[i])
    assert asked is not None
    gate, votes = asked.spec.gate, dict[str, list[Vote]]()
    for e in said:
        if isinstance(e, ev.Taken):
            return True
        if i not in e.fingerprints or (change is not None and change.beyond(shown[i, e.fingerprints[i]])):
            continue
        if isinstance(e, ev.BrokeGlass):
            return True
        votes.setdefault(e.fingerprints[i], []).append(Vote(e.by.id, frozenset(e.by.roles)))
    return gate is not None and any(satisfied(gate, v) for v in votes.values())


@given(stories())
def test_nobody_barred_and_nobody_twice_approves(story: Story) -> None:
    for m in story.played().moments:
        if isinstance(m.event, ev.Approved):
            asked, by = m.before.asked[m.event.decision], m.event.by
            assert asked.spec.gate is not None
            assert asked.spec.gate.self_approval or by.id not in m.before.barred
            assert by.id not in [g.by.id for g in asked.votes]
            assert by.id not in ("gus", "zed")
            assert m.event.phrase or not asked.spec.gate.typed_phrase


@given(stories())
def test_a_decision_that_was_made_has_let_all_its_members_pass(story: Story) -> None:
    for m in story.played().moments:
        for name, asked in m.after.asked.items():
            members = list(m.after.members(name))
            if asked.decided is not None:
                assert all(s.released is not None for s in members)
            if asked.opened is not None:
                assert members and all(s.change is not None or s.spec.kind == "gate" for s in members)


@given(stories(), st.data())
def test_a_click_on_an_older_card_changes_nothing(story: Story, data: st.DataObject) -> None:
    play = story.played()
    cards = {
        (m.event.decision, m.before.card(m.event.decision)) for m in play.moments if isinstance(m.event, ev.Approved)
    }
    for name, card in sorted(cards):
        if name in play.run.asked and card != play.run.card(name):
            for person in PEOPLE:
                assert isinstance(play.say(person, c.Approve(name, card, play.run.phrase(name))), Refusal)


# -- attempts ----------------------------------------------------------------------------------------------------------


@given(stories())
def test_a_step_has_one_attempt_at_a_time_and_numbers_only_grow(story: Story) -> None:
    for m in story.played().moments:
        if isinstance(m.event, ev.Started):
            s = m.before.steps[m.event.step]
            assert s.attempt is None and m.event.n == s.n + 1 and m.event.application == s.application
        for i, s in m.before.steps.items():
            assert m.after.steps[i].n >= s.n


@given(stories())
def test_an_attempt_that_is_over_writes_nothing_more(story: Story) -> None:
    play = Play(story.plan)
    for _ in moves(play, story.numbers):
        for i, s in play.run.steps.items():
            for n in {s.n - 1, s.n if s.attempt is None else 0} - {0, -1}:
                for e in anything(i, n):
                    assert refused(play.run, e), e


def anything(i: str, n: int) -> Iterator[ev.Event]:
    """Every event that an attempt may write."""
    change = Change("x", (Edit("a", None, "x"),))
    yield from (ev.Planned(i, n, change, "f"), ev.Drifted(i, n, change, "f", ()), ev.ApplyStarted(i, n, change, "f"))
    yield from (ev.Recorded(i, n, "x"), ev.Noted(i, n, "x", 1), ev.Waiting(i, n, "x", 0.0), ev.Adopted(i, n, {}, "x"))
    yield from (ev.Applied(i, n, Receipt("x")), ev.Undone(i, n, Receipt("x"), {}), ev.Lost(i, n, "x"))
    yield from (ev.Checked(i, n, Verdict(Status.PASS, "x", "x")), ev.Cancelled(i, n, "x"))
    yield from (ev.Failed(i, n, "retryable", "x", retry_at=1.0), ev.Failed(i, n, "unknown", "x"), ev.Seen(i, n, {}))


def test_every_event_of_an_attempt_is_tried_by_the_dead() -> None:
    assert {type(e) for e in anything("x", 1)} == set(get_args(ev.OfAttempt))


@given(stories())
def test_nothing_starts_too_early(story: Story) -> None:
    for m in story.played().moments:
        if not isinstance(m.event, ev.Started):
            continue
        run, s = m.before, m.before.steps[m.event.step]
        if s.unseen and m.event.doing == "plan":
            continue  # it is only looked at
        assert not run.stopped and s.halt is None and not any(x.reset for x in run.in_flight)
        assert not run.over or (s.undoing and (s.spec.id in run.debts or s.afterwards))
        if m.event.doing in FORWARD and not s.applying:
            assert all(not run.steps[a].open for a in s.spec.after)
            held = any(x.spec.on_fail == "halt" for x in run.halted)
            assert not held
        if m.event.doing == "undo" and s.spec.undo is not None:
            assert not run.steps[s.spec.undo].open


@given(stories())
def test_undo_data_keep_the_first_before_and_the_last_after(story: Story) -> None:
    for m in story.played().moments:
        if not isinstance(m.event, ev.ApplyStarted) or m.before.undoes(m.before.steps[m.event.step]) is not None:
            continue
        was, now = m.before.steps[m.event.step].made, m.after.steps[m.event.step].made
        made = {e.target: (e.before, e.after) for e in (was.edits if was is not None else ())}
        for e in (x for x in m.event.change.edits if x.target not in m.event.there):
            first = made[e.target][0] if e.target in made else e.before
            made[e.target] = (first, e.after)
        assert {e.target: (e.before, e.after) for e in (now.edits if now is not None else ())} == made


@given(stories())
def test_undo_data_go_only_when_it_is_undone(story: Story) -> None:
    for m in story.played().moments:
        for i, s in m.before.steps.items():
            if s.made is not None and m.after.steps[i].made is None:
                assert isinstance(m.event, ev.Undone | ev.Adopted | ev.Accepted | ev.TakenOver), m.event


# -- another target ----------------------------------------------------------------------------------------------------


@given(stories(), st.integers(0, 60))
def test_after_another_target_was_chosen_debts_stand_and_the_rest_begins_anew(story: Story, cut: int) -> None:
    play = Play(story.plan)
    for _ in moves(play, story.numbers[:cut]):
        pass
    found = play.say(commander(play.run), c.Retarget(RELEASES[0], "bad as well")) if play.run.open else None
    ids = list(play.run.proposals)
    if isinstance(found, Refusal) or not ids:
        return
    play.say(CHO, c.Agree(ids[-1]))
    for m in [m for m in play.moments if isinstance(m.event, ev.Retargeted)]:
        assert m.after.debts == m.before.debts
        for i in m.before.plan.on_target:
            was, now = m.before.steps[i], m.after.steps[i]
            stands = i in m.before.debts and was.spec.temporary and now.application == was.application
            fresh = now.application > was.application and now.change is None and now.released is None
            assert stands or fresh or (now.reset and now.attempt and now.attempt.cancel)
    for n in story.numbers[cut:]:
        if play.run.open:
            move(play, Random(n))
    if play.run.open:
        bring_home(play)


# -- the log -----------------------------------------------------------------------------------------------------------


@given(stories(), st.data())
def test_the_log_alone_gives_the_run_whatever_a_newer_version_wrote_into_it(story: Story, data: st.DataObject) -> None:
    play = story.played()
    runs = [m.after for m in play.moments]
    odd = data.draw(st.sets(st.integers(0, len(play.log))))
    run, strange = new_run("r1"), 0
    for k, (kind, body, at) in enumerate(play.log):
        if k in odd:
            unknown = ev.decode("of another time", '{"x":1}')
            assert isinstance(unknown, ev.Unknown) and ev.encode(unknown) == ("of another time", '{"x":1}')
            run, strange = evolve(run, unknown, at), strange + 1
        run = evolve(run, ev.decode(kind, body), at)
        assert without_seq(run, strange) == runs[k]
        assert decide(run, at) == decide(runs[k], at)


def without_seq(run: Run, strange: int) -> Run:
    return replace(run, seq=run.seq - strange)


@given(stories())
def test_deciding_again_says_the_same_and_only_what_is_lawful(story: Story) -> None:
    play = Play(story.plan)
    for _ in moves(play, story.numbers):
        decision = decide(play.run, play.now)
        assert decision == decide(play.run, play.now)
        assert not decision.record and not decision.start, "it has been written down already"
        later = decide(play.run, play.now + 1000.0)
        assert all(refused(play.run, e) is None for e in later.record)
        for s in later.start:
            assert refused(play.run, ev.Started(s.step, s.n, s.application, s.doing)) is None
        if play.run.open and decision.due is not None:
            assert decision.due >= play.now


@given(stories())
def test_due_is_the_moment_at_which_time_alone_moves_the_run(story: Story) -> None:
    play = Play(story.plan)
    for _ in moves(play, story.numbers):
        if not play.run.open or play.run.in_flight:
            continue
        due = play.due
        quiet = decide(play.run, (due or play.now + 1e6) - 0.001)
        assert not quiet.record and not quiet.start


# -- nothing is left out -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many() -> list[Play]:
    """Plenty of stories, always the same."""
    found = []
    for seed in range(200):
        play, r = Play(random_plan(seed), inherits=inherited(seed)), Random(seed)
        for _ in moves(play, [r.randrange(2**16) for _ in range(60)]):
            pass
        found.append(play)
    return found


def test_the_stories_tell_of_every_kind_of_event(many: list[Play]) -> None:
    assert {type(m.event) for play in many for m in play.moments} == set(get_args(ev.Event)) - {
        ev.Unknown,
        ev.LossAccepted,
        ev.Vouched,
        ev.TokenIssued,
        ev.TokenRevoked,
        ev.ClockJumped,  # test_moments.py
    }


def test_the_stories_tell_of_every_command_accepted_and_refused(many: list[Play]) -> None:
    said = {(type(command), accepted) for play in many for command, accepted in play.said}
    every = get_args(c.Command)
    assert said == {(command, accepted) for command in every for accepted in (True, False)}
