"""What may happen about what a run still owes: kinds of events like those in `events.py`, which lists them all.

They are stored for ever; the rules of `events.py` hold for them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bot.contract import Change, Value
from bot.policy import Actor


@dataclass(frozen=True, slots=True)
class Seen:
    """Where the targets of a step stand that was given up half-way. `error`: why nobody could look, or at not all."""

    kind: ClassVar[str] = "seen"
    step: str
    n: int
    observed: Mapping[str, Value]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Inherited:
    """A debt that an ended run of the service has handed over, and that this run gives back in the end. `step` of
    this run owes it; `of` is the step that made it in `run`, `change` its undo data."""

    kind: ClassVar[str] = "inherited"
    step: str
    run: str
    of: str
    change: Change
    since: float


@dataclass(frozen=True, slots=True)
class TakenOver:
    """A debt of this ended run, or what a part is owed, is another run's now, which gives it back or does it."""

    kind: ClassVar[str] = "taken over"
    step: str
    run: str
    part: str = ""


@dataclass(frozen=True, slots=True)
class Overdue:
    """The time has come at which a debt was to be given back, or a broken glass to be reviewed: whoever promised it is
    reminded. One of `step`, `decision` and `part`."""

    kind: ClassVar[str] = "overdue"
    step: str = ""
    decision: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True)
class Lifted:
    """What a step holds for a time does not stand any more though the run has not given it back, or stands again.
    missing: target -> what was seen there, in words; empty where all of it stands."""

    kind: ClassVar[str] = "lifted"
    step: str
    missing: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CameBack:
    """What this run has removed stands somewhere again, or all of it is gone again. seen: target -> what it is, in
    words; empty where nothing of it is seen."""

    kind: ClassVar[str] = "came back"
    seen: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Somebody has looked at a broken glass afterwards."""

    kind: ClassVar[str] = "reviewed"
    decision: str
    by: Actor
    note: str


@dataclass(frozen=True, slots=True)
class PartProposed:
    """Somebody wants the run to go on without a part; agreed to under `id`. `why`: what was said of it; `role`: the
    seat that its author's own yes fills, empty where it fills none."""

    kind: ClassVar[str] = "part proposed"
    id: str
    part: str
    why: str
    by: Actor
    reason: str
    role: str = ""


@dataclass(frozen=True, slots=True)
class WentWithout:
    """The run goes on without a part, every step of it; what the part should have got is owed."""

    kind: ClassVar[str] = "went without"
    part: str
    why: str
    by: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class PartBack:
    """A part that was left out answers again, or somebody (`by`) says so: what it is owed is done now."""

    kind: ClassVar[str] = "part back"
    part: str
    by: Actor | None = None


@dataclass(frozen=True, slots=True)
class PartHandedOver:
    """What a part is owed belongs to a named person now, until a time (seconds since the epoch)."""

    kind: ClassVar[str] = "part handed over"
    part: str
    to: str
    until: float
    by: Actor
    reason: str
