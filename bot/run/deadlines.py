"""How long a step may take and how often it is tried: deadlines, retries, drifts, losses, looks of a check. Pure.

What a plan says of it stands in its `StepSpec` (timeout, failures, within, every, passes, lasting); what no plan says
stands here. How long a handler wants to wait before the next try it says itself (`NotYet`, `Retryable`).
"""

from __future__ import annotations

from typing import Literal

from bot.run.step import Step

DRIFTS = 3
"""Drifts after which a step halts: somebody else keeps writing."""
LOSSES = 3
"""Lost attempts in a row after which a step halts."""
WATCH_FAILS = 2
"""Failing samples in a row after which a watch halts."""
WATCH_WAITS = 2.0
"""How many times its time a watch goes on for the samples that it lacks (the bot was away) before it halts."""

Looks = Literal["enough", "failed", "too few", "more"]
"""What the looks of a check or a watch amount to: it has passed, has failed, lacks samples, or is looked at again."""


def limit(s: Step) -> float:
    """Seconds that one application may take: the plan's, or what its change needs by itself."""
    return max(s.spec.timeout, s.change.within if s.change is not None else 0.0)


def deadline(s: Step) -> float | None:
    """When its time is up (seconds since the epoch), once it has begun; None where there is no such time."""
    return None if s.began is None or not s.spec.changes else s.began + limit(s)


def overdue(s: Step, now: float) -> bool:
    """Whether its time is up."""
    until = deadline(s)
    return until is not None and now >= until


def why_stop(s: Step, now: float) -> str:
    """Why the step's attempt is to end; empty while it may go on."""
    if s.attempt is None:
        return ""
    if s.attempt.cancel:
        return s.attempt.cancel
    return "timeout" if s.attempt.doing in ("apply", "undo") and overdue(s, now) else ""


def not_done(s: Step) -> str:
    """What is said of a step whose time is up."""
    return f"not done after {limit(s):g} s: {s.note or 'no word from it'}"


def tried_again(s: Step) -> bool:
    """Whether a step that has failed so often, for reasons that pass, is tried once more."""
    return s.failures <= s.spec.failures


def drifted_too_often(s: Step) -> bool:
    """Whether people have to find out who else writes here."""
    return s.drifts >= DRIFTS


def lost_too_often(s: Step) -> bool:
    """Whether its process has died so often in a row that people have to look why."""
    return s.lost >= LOSSES


def looks(s: Step, at: float) -> Looks:
    """What the looks of a check or a watch amount to, the one at `at` included."""
    good, began = s.streak > 0, s.began if s.began is not None else at
    if s.spec.kind != "watch":
        if s.streak >= s.spec.passes:
            return "enough"
        return "failed" if not good and at >= began + s.spec.within else "more"
    if s.streak <= -WATCH_FAILS:
        return "failed"
    lasted, enough = at - began, s.samples >= s.spec.passes
    if lasted >= s.spec.lasting and good and enough:
        return "enough"
    return "too few" if lasted >= WATCH_WAITS * s.spec.lasting and not enough else "more"
