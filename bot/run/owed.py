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
    """A debt of this ended run is another run's now, which gives it back."""

    kind: ClassVar[str] = "taken over"
    step: str
    run: str


@dataclass(frozen=True, slots=True)
class Overdue:
    """The time has come at which a debt was to be given back, or a broken glass to be reviewed: whoever promised it is
    reminded. One of `step` and `decision`."""

    kind: ClassVar[str] = "overdue"
    step: str = ""
    decision: str = ""


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
