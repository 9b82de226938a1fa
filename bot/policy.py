"""Who may decide what. Pure values and functions: people and roles come in, answers go out.

Invariants:
- requester and everyone who ever commanded the run are barred from approving, in every role, unless the gate
  says `self_approval`;
- all requirements of a gate must hold, and one person counts once, whatever their roles;
- strangers, guests, bots and deactivated people are refused before any role is looked at;
- a refusal says who can.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

COMMANDER = "commander"
APPROVER = "approver"
SILENCE = 300.0
"""Seconds without a sign of the commander after which any commander may take over."""


@dataclass(frozen=True, slots=True)
class Person:
    """Someone as the directory knows them now. roles: role names of the catalogue that they hold now; young: those
    that a group gives and that were first seen to be theirs within the last hour -> seconds since then."""

    id: str
    name: str
    roles: frozenset[str] = frozenset()
    kind: Literal["member", "guest", "bot", "stranger", "deactivated"] = "member"
    on_call: frozenset[str] = frozenset()
    young: Mapping[str, int] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, with the roles they held at that moment, and by which way in."""

    id: str
    name: str
    roles: tuple[str, ...] = ()
    via: str = "cli"

    @classmethod
    def of(cls, person: Person, via: str) -> Actor:
        """The person as recorded in an event."""
        return cls(person.id, person.name, tuple(sorted(person.roles)), via)


@dataclass(frozen=True, slots=True)
class Requirement:
    """`count` different people of this role. own: requester and commanders may be among them."""

    role: str
    count: int = 1
    own: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """What must be decided by people before a step may act. remind, escalate: seconds after opening; lifetime: seconds
    after which a yes holds no longer, where nothing of what it lets pass has begun."""

    by: tuple[Requirement, ...]
    self_approval: bool = False
    typed_phrase: bool = False
    remind: float = 60.0
    escalate: float = 300.0
    lifetime: float = 3600.0

    @property
    def roles(self) -> frozenset[str]:
        """Every role that has a part in this gate."""
        return frozenset(r.role for r in self.by)

    @property
    def words(self) -> str:
        """ "a dba and 2 approvers"."""
        return _and([_people(r.role, r.count) for r in self.by])


ONE_APPROVER = Gate((Requirement(APPROVER),))
"""Skipping or accepting a step that has no gate of its own."""
COMMANDER_AND_APPROVER = Gate((Requirement(COMMANDER, own=True), Requirement(APPROVER)))
"""Retarget, admit a fix, go on without a part: the commander proposes, an approver agrees (barred as anywhere)."""


class Why(enum.StrEnum):
    """Kinds of refusal, for programs; people read the text."""

    NOT_YOURS = "not-yours"
    BARRED = "barred"
    ALREADY = "already"
    STALE = "stale"
    NOT_NOW = "not-now"
    IMPOSSIBLE = "impossible"
    """Some decision could be passed only by breaking the glass; it can be opened despite that."""
    UNKNOWN = "unknown"
    BAD_INPUT = "bad-input"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A "no" for one person: what is wrong, who can, and that nothing was changed. field: of what they have said, which
    of it is meant; empty where none is."""

    why: Why
    text: str
    who_can: tuple[str, ...] = ()
    field: str = ""


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's yes, with the roles held at the click. seat: the role that it filled so far, empty for none yet."""

    person: str
    roles: frozenset[str]
    seat: str = ""


def stranger(person: Person) -> Refusal | None:
    """Refuses everyone who is not an active member, whatever their roles say."""
    words = {
        "guest": "guests may read, not decide",
        "bot": "bots do not decide",
        "stranger": "you are not a member of this workspace",
        "deactivated": "this account is deactivated",
    }
    if person.kind == "member":
        return None
    return Refusal(Why.NOT_YOURS, f"Refused: {words[person.kind]}. Nothing was changed.")


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
    who = f"role {_and(sorted(roles), 'or')}" if roles else "a role in the catalogue"
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
    found = _and([f"{have[role]} of {count} {role}" for role, count in want.items()])
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


def _people(role: str, count: int) -> str:
    article = "an" if role[0] in "aeiou" else "a"
    return f"{article} {role}" if count == 1 else f"{count} {role}s"


def _and(words: Sequence[str], word: str = "and") -> str:
    return f" {word} ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
