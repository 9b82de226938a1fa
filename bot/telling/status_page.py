"""What customers read on a status page: what they notice, what helps meanwhile, whether it is solved. Pure.

Invariants: plain words of people alone (what the commander or the form said), never a reason, a version, a name of ours
or a time that is not certain; nothing is said before the commander has started it, and the last word of a run that was
called off is never that it is solved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bot.run.state import Run

State = Literal["investigating", "monitoring", "resolved"]
"""As status pages call them."""


@dataclass(frozen=True, slots=True)
class Update:
    """What the page is to say of one run. key: of the incident, the same for all its updates; impact, workaround: as
    people said them, "" where nobody did; text: all of it in words; began: seconds since the epoch."""

    key: str
    service: str
    state: State
    impact: str
    workaround: str
    text: str
    began: float


def update(run: Run, title: str) -> Update | None:
    """What is to stand there now; None where nothing is. title: of the service, as people call it."""
    begun = _begun(run)
    if run.created is None or run.purpose != "rollback" or begun is None or run.doubt:
        return None
    state, words = _state(run)
    impact, workaround = _sentence(run.impact), _sentence(run.workaround)
    problem = impact or f"There is a problem with {title}."
    said = [problem if state == "investigating" else f"The problem was: {problem}" if impact else ""]
    said += [workaround if state == "investigating" else "", words]
    return Update(run.id, run.service, state, impact, workaround, " ".join(filter(None, said)), begun)


def _begun(run: Run) -> float | None:
    """Since when there is something to tell: somebody has said that it is begun, or nobody had to."""
    start = run.asked.get("start")
    return run.created_at if start is None else start.decided


def _state(run: Run) -> tuple[State, str]:
    over = run.closed is not None
    verified = run.closed is not None and run.closed.outcome == "verified"
    if run.aborted is not None or (run.restored is None and not verified):
        return "investigating", "It is not solved yet. We are working on it." if over else "We are working on it."
    if run.owed_parts:
        return "monitoring", "It works again for most. We are working on the rest."
    if over:
        return "resolved", "It is solved."
    return "monitoring", "It works again. We are watching it."


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if not text or text[-1] in ".!?…" else ".")
