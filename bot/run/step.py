"""One step of a run as it stands, as values. What its events make of it is in the `fold_*.py`, how long it may take and
how often it is tried in `deadlines.py`. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bot.contract import Change, Json, Receipt, Value, Verdict
from bot.plan.model import StepSpec
from bot.policy import Actor
from bot.run.events import AttemptKind

EndKind = Literal["done", "skipped", "accepted", "not needed", "adopted", "failed", "undone"]
"""How a step ended. failed: it failed, and its plan says to go on; undone: taken back in a run that was given up."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The one attempt in flight. `cancel`: why it is to stop, empty while it may go on; `outdated`: a step before it
    has acted while this one looked, on these targets; `without`: parts that it does not see."""

    n: int
    doing: AttemptKind
    since: float
    node: str = ""
    cancel: str = ""
    outdated: frozenset[str] | None = None
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a step waits for people to decide how to go on."""

    cause: Literal["retryable", "fatal", "unknown", "timeout", "drift", "lost", "check", "left", "undone"]
    error: str
    since: float
    hint: str = ""
    observed: Mapping[str, Value] = field(default_factory=dict)
    parts: Mapping[str, str] = field(default_factory=dict)
    """Places that could not be reached -> why."""


@dataclass(frozen=True)
class Step:
    """One step as it stands. Times in seconds since the epoch."""

    spec: StepSpec
    #: Counts do, undo and redo.
    application: int = 1
    #: How often in this application what had begun became something else (each has its own memo and key).
    redirected: int = 0
    #: This application takes back what the step did before.
    undoing: bool = False
    #: Number of its last attempt: the fencing token.
    n: int = 0
    #: The attempt in flight.
    attempt: Attempt | None = None
    #: What it would do, or does; and the digest of that as an approval binds it.
    change: Change | None = None
    fingerprint: str = ""
    #: To be planned again before people rely on it.
    stale: bool = False
    #: Targets that others have moved, with what was seen there (undo only); those that people leave as they are.
    left: Mapping[str, Value] = field(default_factory=dict)
    leave: frozenset[str] = frozenset()
    #: The change that people (or nobody, where none are asked) let pass.
    released: Change | None = None
    #: Effects may be there.
    applying: bool = False
    #: It is planned anew before it goes on acting.
    replan: bool = False
    #: What it has changed and nobody has undone, merged over attempts and over all that it was done anew; None where
    #: there is nothing to undo.
    made: Change | None = None
    #: Results of `once`, of this turn.
    memo: Mapping[str, Json] = field(default_factory=dict)
    #: When this application began to act or look.
    began: float | None = None
    #: Not before this is it looked at again.
    wake: float = 0.0
    #: What it last said of itself, with how far it is.
    note: str = ""
    done: int | None = None
    total: int | None = None
    #: Errors that were tried again, drifts, and attempts lost in a row.
    failures: int = 0
    drifts: int = 0
    lost: int = 0
    #: Looks in a row that passed (above 0) or failed (below); how many looks told anything.
    streak: int = 0
    samples: int = 0
    #: What a check found last; what an action said when it was in place.
    verdict: Verdict | None = None
    receipt: Receipt | None = None
    #: Why it waits for people.
    halt: Halt | None = None
    end: EndKind | None = None
    ended: float | None = None
    #: Why and by whom it ended so, where people had a part in that.
    why: str = ""
    by: Actor | None = None
    #: It is looked whether it was done by hand.
    adopting: bool = False
    #: It is done anew as soon as what is at work has come to rest.
    reset: bool = False
    #: What was run so far, as a person would have typed it.
    commands: tuple[str, ...] = ()
    #: It was given up half-way, and nobody has looked yet where it stands; what was found then, or why nobody could.
    unseen: bool = False
    seen: Mapping[str, Value] = field(default_factory=dict)
    unseeable: str = ""
    #: Its undo was asked for when the run had been given up or was over.
    afterwards: bool = False
    #: Parts that it has been done without; it is done for `only` these now, which are back.
    without: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    #: Why a person wants it taken back although the handler refused to.
    insisted: str = ""

    @property
    def open(self) -> bool:
        """Whether it still has something to do or to be decided."""
        return self.end is None

    @property
    def acted(self) -> bool:
        """Whether it has changed something, taken back since or not."""
        return self.made is not None or self.application > 1

    @property
    def output(self) -> Mapping[str, Json]:
        """What it hands to later steps; empty until it has ended well."""
        if self.verdict is not None and self.end is not None:
            return self.verdict.data
        return self.receipt.output if self.receipt is not None and self.end in ("done", "adopted") else {}

    @property
    def turn(self) -> str:
        """What is being done, under one name over all its attempts: "2", or "2.1" where it was redirected once."""
        return f"{self.application}.{self.redirected}" if self.redirected else str(self.application)
