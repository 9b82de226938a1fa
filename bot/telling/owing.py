"""What the runs of all services still owe, in one list: debts, broken glass to be reviewed, what stays changed. Pure.

Every way in shows the same list: `rollback-bot debts`, `/rollback debts`, `doctor`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from bot.run.afterwards import leftovers
from bot.run.decide import working_days
from bot.run.state import Debt, Run
from bot.telling import remains


@dataclass(frozen=True, slots=True)
class Owed:
    """One thing. subject: step or decision; text: a sentence; due: when it was promised (seconds since the epoch), None
    where nobody has promised anything; next: what to type."""

    what: Literal["debt", "part", "review", "left"]
    run: str
    service: str
    subject: str
    text: str
    owner: str = ""
    due: float | None = None
    next: str = ""

    def overdue(self, now: float) -> bool:
        """Whether the promised moment has passed."""
        return self.due is not None and self.due <= now


def owed(runs: Iterable[Run]) -> list[Owed]:
    """Everything that these runs owe: what was promised first, then what nobody has promised."""
    found = [x for run in runs for x in _of(run)]
    return sorted(found, key=lambda x: (x.due is None, x.due or 0.0, x.run, x.subject))


def _of(run: Run) -> Iterator[Owed]:
    for d in run.debts.values():
        yield _debt(run, d)
    for p in run.owed_parts if run.aborted is None else ():
        next_ = f"rollback-bot back {run.id} {p.name}" if run.open else f"a new rollback of {run.service} takes it over"
        yield Owed("part", run.id, run.service, p.name, remains.owed_part(run, p), p.owner, p.until, next_)
    for r in run.reviews.values():
        if r.reviewed is None:
            again = f"rollback-bot review {run.id} {r.decision} --reason '...'"
            due = working_days(r.at, 2)
            yield Owed("review", run.id, run.service, r.decision, remains.review(run, r), due=due, next=again)
    for x in leftovers(run):
        back = f"rollback-bot undo {run.id} {x.step} --reason '...'" if x.reversible else ""
        yield Owed("left", run.id, run.service, x.step, remains.stays(run, x), next=back)


def _debt(run: Run, d: Debt) -> Owed:
    s = run.steps[d.step]
    next_ = f"rollback-bot restore {run.id} {d.step} --reason '...'" if run.over else ""
    text = remains.debt(run, d)
    if s.undoing and s.halt is not None:
        text = f"{text}; giving it back stopped: {s.halt.error}"
    return Owed("debt", run.id, run.service, d.step, text, d.owner, d.until, next_)


def lines(found: Iterable[Owed], now: float) -> list[str]:
    """The list as text, two lines each."""
    told = []
    for x in found:
        late = " (overdue)" if x.overdue(now) else ""
        told.append(f"{x.service}: {x.text}{late}   [{x.run}]" + (f"\n  {x.next}" if x.next else ""))
    return told or ["Nothing is in place that has to be given back, and nothing waits for a review."]
