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
    """A decision as it stands. Times in seconds since the epoch."""

    spec: Decision
    #: Yeses that hold.
    votes: tuple[Given, ...] = ()
    #: Since when people can decide it (None: not now); when they were reminded of it, and called.
    opened: float | None = None
    reminded: float | None = None
    paged: float | None = None
    #: Who said no, why, and when.
    declined: tuple[tuple[Actor, str, float], ...] = ()
    #: When it was decided.
    decided: float | None = None
    #: Who broke the glass, and which of their roles were new then, as in `Given`.
    glass: Actor | None = None
    glass_young: Mapping[str, int] = field(default_factory=dict)
    #: Why nobody had to be asked, or the reason given when the glass was broken.
    taken: str = ""
    #: Whether it ever was open; seconds from then until it was decided.
    shown: bool = False
    waited: float | None = None
    #: What no longer holds, until it is decided again.
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
    """Something that more than one person must want."""

    id: str
    #: The word of the command that it is about ("skip", "retarget"), who wants it, and why.
    what: str
    by: Actor
    reason: str
    #: Whose yes it takes, who has given theirs, and since when it is open (seconds since the epoch).
    gate: Gate
    votes: tuple[Actor, ...]
    at: float
    #: The step, release or part that it is about, and what was said of the part.
    step: str = ""
    release: Release | None = None
    part: str = ""
    why: str = ""
    #: Who voted -> the role whose seat their yes fills.
    seats: Mapping[str, str] = field(default_factory=dict)
    #: Who has asked for the run or commanded it.
    barred: frozenset[str] = frozenset()

    @property
    def ballots(self) -> list[Vote]:
        """The votes as policy counts them."""
        seats, gate = self.seats, self.gate
        return [Vote(a.id, able(gate, a.roles, a.id in self.barred), seats.get(a.id, "")) for a in self.votes]
