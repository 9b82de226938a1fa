"""What a run still owes, as values: debts, broken glass to be reviewed, parts that it goes on without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.policy import Actor


@dataclass(frozen=True, slots=True)
class Debt:
    """Something temporary that is in place. owner, until: set once it was handed over; reminded: when its owner last
    was; run: the ended run that it was taken over from; missing: target -> what stands there instead, where somebody
    else has lifted it, noticed at `missed`."""

    step: str
    since: float
    owner: str = ""
    until: float | None = None
    reminded: float | None = None
    run: str = ""
    missing: Mapping[str, str] = field(default_factory=dict)
    missed: float | None = None


@dataclass(frozen=True, slots=True)
class BrokenGlass:
    """A broken glass, which somebody else has to look at afterwards. reviewed: who has; reminded: when people last
    were."""

    decision: str
    by: Actor
    at: float
    why: str
    reviewed: Actor | None = None
    reminded: float | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A place of the catalogue that was given up for the time being, by a decision or because it was away: what it
    should have got is owed.

    why: what was said of it; by, reason: whose decision (None: a step that goes on whatever comes); back: when it
    answered again; owner, until: set once it was handed over; reminded: when its owner last was.
    """

    name: str
    why: str
    since: float
    by: Actor | None = None
    reason: str = ""
    back: float | None = None
    owner: str = ""
    until: float | None = None
    reminded: float | None = None
