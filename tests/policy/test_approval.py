"""Who may decide: seats, who is barred, what nobody can pass, and words that help."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.policy import Gate, Person, Refusal, Requirement, Why, stranger
from bot.policy.approval import (
    Vote,
    eligible,
    impossible,
    may_break_glass,
    may_vote,
    missing,
    satisfied,
    seated,
    seats,
    unsatisfiable,
)

ROLES = ("approver", "commander", "dba")
BOTH = Gate((Requirement("dba"), Requirement("approver")))
TWO = Gate((Requirement("approver", 2),))

ANA = Person("ana", "ana", frozenset({"commander", "approver"}))
BEN = Person("ben", "ben", frozenset({"dba"}))
CHO = Person("cho", "cho", frozenset({"approver"}))
DAN = Person("dan", "dan", frozenset({"approver", "dba"}), on_call=frozenset({"dba"}))
TEAM = (ANA, BEN, CHO, DAN)

ROLE = st.sampled_from(ROLES)
gates = st.lists(st.builds(Requirement, ROLE, st.integers(1, 2)), min_size=1, max_size=3).map(
    lambda by: Gate(tuple(by))
)
names = st.sampled_from("abcdef")
votes = st.lists(st.builds(Vote, names, st.frozensets(ROLE)), max_size=6, unique_by=lambda v: v.person)
people = st.lists(st.builds(Person, names, names, st.frozensets(ROLE)), max_size=6, unique_by=lambda p: p.id)


def chairs(gate: Gate) -> list[str]:
    return [r.role for r in gate.by for _ in range(r.count)]


@given(gates, votes)
def test_as_many_seats_are_filled_as_can_be_whoever_came_first(gate: Gate, votes: list[Vote]) -> None:
    found = seats(gate, votes)
    assert all(role in v.roles for v in votes for person, role in found.items() if v.person == person)
    assert all(list(found.values()).count(r) <= chairs(gate).count(r) for r in ROLES)
    sitting: list[Vote | None] = [*votes, *[None] * max(0, len(chairs(gate)) - len(votes))]
    best = max(
        sum(v is not None and c in v.roles for v, c in zip(order, chairs(gate), strict=False))
        for order in permutations(sitting, len(chairs(gate)))
    )
    assert len(found) == best
    assert satisfied(gate, votes) == (best == len(chairs(gate)))


@given(gates, votes)
def test_a_vote_that_counts_fills_a_seat_and_takes_none_away(gate: Gate, votes: list[Vote]) -> None:
    for k in range(len(votes)):
        assert seats(gate, votes[:k]).keys() <= seats(gate, votes[: k + 1]).keys()


@given(gates, votes)
def test_what_is_missing_is_nothing_exactly_when_it_is_enough(gate: Gate, votes: list[Vote]) -> None:
    left = missing(gate, votes)
    assert (not left) == satisfied(gate, votes)
    assert sum(r.count for r in left) == len(chairs(gate)) - len(seats(gate, votes))
    assert len({r.role for r in left}) == len(left)


@given(gates, votes)
def test_one_person_counts_once(gate: Gate, votes: list[Vote]) -> None:
    assert seats(gate, [v for v in votes for _ in range(2)]) == seats(gate, votes)


def test_who_has_two_roles_makes_room_for_the_next() -> None:
    either = Gate((Requirement("approver"), Requirement("dba")))
    first = [Vote("dan", DAN.roles)]
    assert seats(either, first) == {"dan": "approver"}
    assert seats(either, [*first, Vote("cho", CHO.roles)]) == {"dan": "dba", "cho": "approver"}
    assert may_vote(either, CHO, first, TEAM, ()) == "approver"


@pytest.mark.parametrize("kind", ["guest", "bot", "stranger", "deactivated"])
def test_only_members_decide_whatever_their_roles(kind: str) -> None:
    person = Person("x", "x", frozenset(ROLES), kind)  # type: ignore[arg-type]
    no = stranger(person)
    assert no is not None and no.why is Why.NOT_YOURS and "Nothing was changed." in no.text
    assert may_vote(BOTH, person, (), [*TEAM, person], ()) == no
    assert person not in eligible(BOTH, [*TEAM, person], ())


def test_who_is_barred_does_not_approve_unless_the_gate_says_so() -> None:
    no = may_vote(TWO, ANA, (), TEAM, {"ana"})
    assert isinstance(no, Refusal) and no.why is Why.BARRED and no.who_can == ("cho", "dan")
    assert no.text == (
        "Not yours to decide: you asked for this run or commanded it. This needs 2 approvers. "
        "On call: @dan. Nothing was changed."
    )
    assert may_vote(Gate(TWO.by, self_approval=True), ANA, (), TEAM, {"ana"}) == "approver"


def test_a_second_vote_and_a_vote_for_a_full_seat_do_not_count() -> None:
    given = [Vote("cho", CHO.roles)]
    again = may_vote(BOTH, CHO, given, TEAM, ())
    assert isinstance(again, Refusal) and again.why is Why.ALREADY
    full = may_vote(BOTH, ANA, given, TEAM, ())
    assert isinstance(full, Refusal) and full.why is Why.NOT_YOURS
    assert full.text == "Not yours to decide: this needs a dba. On call: @dan. Nothing was changed."


def test_a_refusal_names_who_is_on_call_first_and_four_at_most() -> None:
    crowd = [Person(f"p{k}", f"p{k}", frozenset({"approver"})) for k in range(7)]
    no = may_vote(TWO, BEN, (), crowd, ())
    assert isinstance(no, Refusal) and "Who can: @p0, @p1, @p2, @p3 and 3 more." in no.text
    alone = may_vote(TWO, BEN, (), [BEN], ())
    assert isinstance(alone, Refusal) and "Nobody else can at the moment; break-glass is possible." in alone.text


def test_a_gate_that_nobody_can_pass_is_found_and_says_what_is_missing() -> None:
    assert impossible(BOTH, TEAM, ()) is None
    no = impossible(Gate(BOTH.by, self_approval=True), [DAN], ())
    assert no == "needs a dba and an approver; found 1 of 1 approver (one person counts once)"
    assert unsatisfiable({"one": BOTH, "two": TWO}, [BEN, CHO, DAN], {"dan"}) == {
        "two": "needs 2 approvers; found 1 of 2 approver, not counting requester and commanders"
    }


@given(gates, people)
def test_a_gate_is_possible_exactly_when_everybody_together_passes_it(gate: Gate, team: list[Person]) -> None:
    given: list[Vote] = []
    for p in team:
        if isinstance(may_vote(gate, p, given, team, ()), str):
            given.append(Vote(p.id, p.roles))
    assert (impossible(gate, team, ()) is None) == satisfied(gate, given)


def test_gates_are_said_in_words() -> None:
    assert BOTH.words == "a dba and an approver"
    assert Gate((Requirement("dba"), Requirement("approver", 2), Requirement("commander"))).words == (
        "a dba, 2 approvers and a commander"
    )


# -- breaking the glass ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "roles", "may"),
    [
        (BEN, set(), True),
        (BEN, {"dba"}, True),
        (BEN, {"commander", "dba"}, True),
        (BEN, {"commander"}, False),
        (Person("eve", "eve"), set(), False),
        (Person("gus", "gus", frozenset({"dba"}), kind="guest"), {"dba"}, False),
    ],
)
def test_the_glass_is_broken_by_the_roles_that_the_catalogue_names_else_by_any(
    person: Person, roles: set[str], may: bool
) -> None:
    assert (may_break_glass(person, TEAM, roles) is None) is may


def test_who_may_not_break_the_glass_is_told_who_may() -> None:
    no = may_break_glass(BEN, TEAM, {"commander", "approver"})
    assert no is not None and no.why is Why.NOT_YOURS and no.who_can == ("dan", "ana", "cho")
    assert no.text == (
        "Not yours to decide: breaking the glass takes role approver or commander. On call: @dan. Nothing was changed."
    )
    nobody = may_break_glass(BEN, TEAM, {"ceo"})
    assert nobody is not None and "takes role ceo. Nobody can at the moment. Nothing" in nobody.text


def test_who_alone_can_fill_a_seat_is_seated_there_whatever_the_order_of_the_gate() -> None:
    eli, cho, dan = (Person(n, n, frozenset(r)) for n, r in (("eli", ("dba", "approver")), ("cho", ("approver",)),
                                                             ("dan", ("approver",))))  # fmt: skip
    for by in (("approver", "dba"), ("dba", "approver")):
        gate = Gate(tuple(Requirement(role) for role in by))
        assert may_vote(gate, eli, (), (eli, cho, dan), ()) == "dba"
        votes = [Vote("eli", eli.roles, "dba")]
        assert missing(gate, votes) == (Requirement("approver"),)
        assert seated(gate, cho, votes, (eli, cho, dan), ()) == {"eli": "dba", "cho": "approver"}


@given(gates, people, st.randoms(use_true_random=False))
def test_the_record_shows_for_every_seat_who_fills_it(gate: Gate, team: list[Person], random: Any) -> None:
    """Whatever the order: as many seats are filled as could be at all, each by one person who holds the role."""
    order = random.sample(team, len(team))
    given: list[Vote] = []
    for p in order:
        if isinstance(may_vote(gate, p, given, team, ()), str):
            now = seated(gate, p, given, team, ())
            given = [Vote(v.person, v.roles, now[v.person]) for v in [*given, Vote(p.id, p.roles)]]
    wanted = {r.role: sum(g.count for g in gate.by if g.role == r.role) for r in gate.by}
    filled = [v.seat for v in given]
    assert all(v.seat in v.roles for v in given) and all(filled.count(r) <= n for r, n in wanted.items())
    assert len(given) == len(seats(gate, [Vote(p.id, p.roles) for p in eligible(gate, team, ())]))
    assert satisfied(gate, given) == (wanted == {r: filled.count(r) for r in wanted})
