"""What people are asked, as values: a decision with its votes, and what more than one person must want."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.catalogue import Release
from bot.plan.model import Decision
from bot.policy import Actor, Gate
from bot.policy.approval import Vote, able


@dataclass(frozen=True, slots=True)
class Given:
    """One vote for a decision, with what it bound. young: roles that they had come to hold within the hour before it
    -> seconds before."""

    by: Actor
    role: str
    at: float
    fingerprints: Mapping[str, str]
    young: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dropped:
    """What was said before the decision had to be asked anew. differences: how the change goes beyond what was
    approved, one line each; empty where it was planned anew for another reason (another target, say); why: what else
    has ended it."""

    votes: tuple[Given, ...]
    glass: Actor | None = None
    differences: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A decision as it stands. opened: since when people can decide it (None: not now). shown: whether it ever was
    open; waited: seconds from then until it was decided; dropped: what no longer holds, until it is decided again."""

    spec: Decision
    votes: tuple[Given, ...] = ()
    opened: float | None = None
    reminded: float | None = None
    paged: float | None = None
    declined: tuple[tuple[Actor, str, float], ...] = ()
    decided: float | None = None
    glass: Actor | None = None
    glass_young: Mapping[str, int] = field(default_factory=dict)
    """Which of the roles of whoever broke the glass were new, as in `Given`."""
    taken: str = ""
    """Why nobody had to be asked, or the reason given when the glass was broken."""
    shown: bool = False
    waited: float | None = None
    dropped: Dropped | None = None

    @property
    def ballots(self) -> list[Vote]:
        """The votes as policy counts them."""
        return [Vote(g.by.id, frozenset(g.by.roles), g.role) for g in self.votes]

    @property
    def said_by(self) -> tuple[Actor, ...]:
        """Everybody on whose word it rests."""
        return (*(g.by for g in self.votes), *((self.glass,) if self.glass is not None else ()))


@dataclass(frozen=True, slots=True)
class Proposal:
    """Something that more than one person must want. seats: who voted -> the role whose seat their yes fills;
    barred: who has asked for the run or commanded it."""

    id: str
    what: str
    by: Actor
    reason: str
    gate: Gate
    votes: tuple[Actor, ...]
    at: float
    step: str = ""
    release: Release | None = None
    part: str = ""
    why: str = ""
    seats: Mapping[str, str] = field(default_factory=dict)
    barred: frozenset[str] = frozenset()

    @property
    def ballots(self) -> list[Vote]:
        """The votes as policy counts them."""
        seats, gate = self.seats, self.gate
        return [Vote(a.id, able(gate, a.roles, a.id in self.barred), seats.get(a.id, "")) for a in self.votes]
