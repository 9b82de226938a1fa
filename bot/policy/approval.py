"""Who may approve: which seats of a gate people fill by saying yes, and who may open one alone. Pure.

Invariants:
- requester and everyone who ever commanded the run are barred from approving, in every role, unless the gate
  says `self_approval`;
- all requirements of a gate must hold, and one person counts once, whatever their roles;
- a refusal says who can.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bot.policy import Gate, Person, Refusal, Requirement, Why, joined, stranger


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's yes, with the roles held at the click. seat: the role that it filled so far, empty for none yet."""

    person: str
    roles: frozenset[str]
    seat: str = ""


def able(gate: Gate, roles: Collection[str], barred: bool) -> frozenset[str]:
    """The roles as which somebody may fill a seat of this gate. barred: they asked for the run, or commanded it."""
    seats = gate.by if not barred or gate.self_approval else [r for r in gate.by if r.own]
    return frozenset(roles) & {r.role for r in seats}


def seats(gate: Gate, votes: Sequence[Vote], others: Iterable[Person] = ()) -> dict[str, str]:
    """Person -> role they fill, for as many seats as these votes can fill together.

    A maximum matching (augmenting paths). Who has a seat keeps it, unless moving lets one more person count; a new vote
    takes the seat that the fewest of `others`, who could still vote, could fill. The result does not depend on names.
    """
    known = [p.roles for p in others]
    rare = {r.role: sum(r.role in roles for roles in known) for r in gate.by}
    chairs = sorted((r.role for r in gate.by for _ in range(r.count)), key=rare.__getitem__)
    taken: dict[int, int] = {}

    def place(vote: int, tried: set[int]) -> bool:
        for chair, role in enumerate(chairs):
            if role in votes[vote].roles and chair not in tried:
                tried.add(chair)
                if chair not in taken or place(taken[chair], tried):
                    taken[chair] = vote
                    return True
        return False

    first = {vote.person: i for i, vote in reversed([*enumerate(votes)])}
    for i in sorted(first.values()):
        kept = (c for c, role in enumerate(chairs) if c not in taken and role == votes[i].seat in votes[i].roles)
        if (chair := next(kept, None)) is not None:
            taken[chair] = i
    for i in sorted(set(first.values()) - set(taken.values())):
        place(i, set())
    return {votes[v].person: chairs[c] for c, v in taken.items()}


def seated(
    gate: Gate, person: Person, votes: Sequence[Vote], people: Iterable[Person], barred: Collection[str]
) -> dict[str, str]:
    """Person -> role they fill, once this person has said yes too."""
    there = {person.id, *(v.person for v in votes)}
    others = [p for p in eligible(gate, people, barred) if p.id not in there]
    return seats(gate, [*votes, Vote(person.id, able(gate, person.roles, person.id in barred))], others)


def satisfied(gate: Gate, votes: Sequence[Vote]) -> bool:
    """Whether these votes fill every seat."""
    return len(seats(gate, votes)) == sum(r.count for r in gate.by)


def missing(gate: Gate, votes: Sequence[Vote]) -> tuple[Requirement, ...]:
    """The seats that are still empty, by role."""
    filled = list(seats(gate, votes).values())
    left = {r.role: -filled.count(r.role) for r in gate.by}
    for r in gate.by:
        left[r.role] += r.count
    return tuple(Requirement(role, count) for role, count in left.items() if count > 0)


def eligible(gate: Gate, people: Iterable[Person], barred: Collection[str]) -> list[Person]:
    """Those who may fill a seat, on-call people first."""
    found = [p for p in people if p.kind == "member" and able(gate, p.roles, p.id in barred)]
    return sorted(found, key=lambda p: (not p.on_call & gate.roles, p.name))


def may_vote(
    gate: Gate, person: Person, votes: Sequence[Vote], people: Iterable[Person], barred: Collection[str]
) -> Refusal | str:
    """The role whose seat this person's yes would fill, or why it would not count."""
    if refusal := stranger(person):
        return refusal
    others = [p for p in eligible(gate, people, barred) if p.id != person.id and all(v.person != p.id for v in votes)]
    who = tuple(p.id for p in others)
    wanted = Gate(missing(gate, votes))
    if any(v.person == person.id for v in votes):
        return Refusal(Why.ALREADY, f"You have decided this already; one person counts once. {_who(others)}", who)
    if person.id in barred and not able(gate, person.roles, True) and not gate.self_approval:
        text = f"Not yours to decide: you asked for this run or commanded it. This needs {wanted.words}."
        return Refusal(Why.BARRED, f"{text} {_who(others)} Nothing was changed.", who)
    after = seated(gate, person, votes, people, barred)
    if person.id not in after:
        return Refusal(
            Why.NOT_YOURS,
            f"Not yours to decide: this needs {wanted.words}. {_who(others)} Nothing was changed.",
            who,
        )
    return after[person.id]


def may_break_glass(person: Person, people: Iterable[Person], roles: Collection[str]) -> Refusal | None:
    """Why a person may not open a decision alone, and who may. roles: those that may; empty: every role may."""
    if refusal := stranger(person):
        return refusal

    def may(p: Person) -> bool:
        return p.kind == "member" and bool(p.roles & frozenset(roles) if roles else p.roles)

    if may(person):
        return None
    able = sorted((p for p in people if may(p)), key=lambda p: (not p.on_call, p.name))
    who = f"role {joined(sorted(roles), 'or')}" if roles else "a role in the catalogue"
    text = f"Not yours to decide: breaking the glass takes {who}. {_who(able, glass=True)} Nothing was changed."
    return Refusal(Why.NOT_YOURS, text, tuple(p.id for p in able))


def impossible(gate: Gate, people: Collection[Person], barred: Collection[str]) -> str | None:
    """Why the people who exist now can never pass this gate; None if they can."""
    votes = [Vote(p.id, able(gate, p.roles, p.id in barred)) for p in eligible(gate, people, barred)]
    short = missing(gate, votes)
    if not short:
        return None
    have = {r.role: sum(r.role in v.roles for v in votes) for r in gate.by}
    want = {r.role: sum(g.count for g in gate.by if g.role == r.role) for r in short}
    found = joined([f"{have[role]} of {count} {role}" for role, count in want.items()])
    note = " (one person counts once)" if any(have[role] >= count for role, count in want.items()) else ""
    note += "" if gate.self_approval else ", not counting requester and commanders"
    return f"needs {gate.words}; found {found}{note}"


def unsatisfiable(gates: Mapping[str, Gate], people: Collection[Person], barred: Collection[str]) -> dict[str, str]:
    """Gate name -> why nobody can pass it. Empty is the proof that every gate can be satisfied."""
    faults = ((name, impossible(gate, people, barred)) for name, gate in gates.items())
    return {name: why for name, why in faults if why}


def _who(people: Sequence[Person], *, glass: bool = False) -> str:
    if not people:
        return "Nobody can at the moment." if glass else "Nobody else can at the moment; break-glass is possible."
    on_call = [p for p in people if p.on_call]
    label, names = ("On call", on_call) if on_call else ("Who can", list(people))
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{label}: {', '.join('@' + p.name for p in names[:4])}{more}."
