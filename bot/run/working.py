"""What may happen to a step, by attempts and by people: kinds of events like those that `events.py` lists.

They are stored for ever; the rules of `events.py` hold for them too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from bot.contract import Change, Json, Receipt, Value, Verdict
from bot.policy import Actor

# -- attempts ------------------------------------------------------------------------------------------------------

AttemptKind = Literal["plan", "apply", "undo", "check"]


@dataclass(frozen=True, slots=True)
class Started:
    """Attempt n of a step was claimed. `node`: who claimed it (information only)."""

    kind: ClassVar[str] = "started"
    step: str
    n: int
    application: int
    doing: AttemptKind
    node: str = ""


@dataclass(frozen=True, slots=True)
class Planned:
    """What the step would change now. `left`: targets that stand neither where the undo expects nor where it
    leads, with what was seen there (undo only)."""

    kind: ClassVar[str] = "planned"
    step: str
    n: int
    change: Change
    fingerprint: str
    left: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drifted:
    """Planned again before the first effect, it went beyond what was approved: the approvals are void."""

    kind: ClassVar[str] = "drifted"
    step: str
    n: int
    change: Change
    fingerprint: str
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ApplyStarted:
    """The change that is about to be made; written before the first effect, it is the undo data. `there`: targets of
    it that stood at their `after` before anything was done: they are waited for, and not ours to undo. `unasked`: who
    let it pass and could not be looked up again before this, as the directory did not answer."""

    kind: ClassVar[str] = "apply started"
    step: str
    n: int
    change: Change
    fingerprint: str
    there: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """A changing call is about to be made: what a person would have typed."""

    kind: ClassVar[str] = "recorded"
    step: str
    n: int
    command: str


@dataclass(frozen=True, slots=True)
class Noted:
    """The result of `once(name)`."""

    kind: ClassVar[str] = "noted"
    step: str
    n: int
    name: str
    value: Json


@dataclass(frozen=True, slots=True)
class Waiting:
    """Taking effect; looked at again at `until` (seconds since the epoch)."""

    kind: ClassVar[str] = "waiting"
    step: str
    n: int
    note: str
    until: float
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Applied:
    """In place."""

    kind: ClassVar[str] = "applied"
    step: str
    n: int
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Undone:
    """Put back, and seen to be: `observed` is target -> value."""

    kind: ClassVar[str] = "undone"
    step: str
    n: int
    receipt: Receipt
    observed: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Checked:
    """One look of a check."""

    kind: ClassVar[str] = "checked"
    step: str
    n: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Failed:
    """An attempt ended in an error. `cause` decides what follows: only `retryable` is tried again by itself.
    `observed`: where the targets stood afterwards, as far as could be seen; `parts`: places that were away -> why."""

    kind: ClassVar[str] = "failed"
    step: str
    n: int
    cause: Literal["retryable", "fatal", "unknown", "timeout"]
    error: str
    hint: str = ""
    retry_at: float | None = None
    observed: Mapping[str, Value] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """An attempt ended because people (or its timeout) wanted it to."""

    kind: ClassVar[str] = "cancelled"
    step: str
    n: int
    why: str


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt will never report: its process is gone."""

    kind: ClassVar[str] = "lost"
    step: str
    n: int
    why: str


@dataclass(frozen=True, slots=True)
class NotNeeded:
    """The step's condition does not hold, or another option was chosen."""

    kind: ClassVar[str] = "not needed"
    step: str
    why: str


# -- people and steps ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Retried:
    """Try the halted step again."""

    kind: ClassVar[str] = "retried"
    step: str
    by: Actor


@dataclass(frozen=True, slots=True)
class Skipped:
    """The step is left out."""

    kind: ClassVar[str] = "skipped"
    step: str
    by: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The step's state is accepted as it is: a failing check, or targets that others changed (undo)."""

    kind: ClassVar[str] = "accepted"
    step: str
    by: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class UndoAsked:
    """Take back what the step did: a new application of it, with its own gate. `debt`: because the run ends."""

    kind: ClassVar[str] = "undo asked"
    step: str
    by: Actor
    reason: str = ""
    debt: bool = False


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A debt now belongs to a named person, until a time (seconds since the epoch)."""

    kind: ClassVar[str] = "handed over"
    step: str
    to: str
    until: float
    by: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class AdoptAsked:
    """A person says the step was done by hand; the bot looks before it believes."""

    kind: ClassVar[str] = "adopt asked"
    step: str
    by: Actor
    reason: str


@dataclass(frozen=True, slots=True)
class Adopted:
    """Done by hand, and seen to be."""

    kind: ClassVar[str] = "adopted"
    step: str
    n: int
    observed: Mapping[str, Value]
    summary: str
    output: Mapping[str, Json] = field(default_factory=dict)
