"""Which steps have to be done again after people decided something else in the middle of a run. Pure.

What is a standing debt is kept, so that nothing is given back only to be taken again; what it did is known all the
while (`made`), so that its undo still leads back to what was there before the run.
"""

from __future__ import annotations

from bot.run.state import Run

ADMITTED = "run.admitted"
"""Reference to the images that people have let through the freeze."""


def redone(run: Run) -> set[str]:
    """Steps that another target makes necessary again: those that depend on it, except what is a standing debt;
    every way of a choice that one of them belongs to; and what was paused for them, where it is no more."""
    on_target = run.plan.on_target
    choices = {a.spec.choice for a in run.asked.values() if a.spec.choice and on_target.intersection(a.spec.members)}
    ways = {i for a in run.asked.values() if a.spec.choice in choices for i in a.spec.members}
    again = {i for i in on_target | ways if not _standing(run, i)}
    undos = [s for i, s in run.steps.items() if i in again and s.spec.undo]
    partly = {s.spec.undo for s in undos if s.applying}
    whole = {s.spec.undo for s in undos if s.end in ("done", "accepted", "adopted") and s.spec.undo not in run.debts}
    return again | {u for u in partly | whole if u is not None}


def widened(run: Run) -> set[str]:
    """Steps in place, or on their way, that are to let one more release pass; none that is being given back."""
    given_back = {s.spec.undo for s in run.steps.values() if s.spec.undo and (s.applying or not s.open)}
    return {
        i
        for i, s in run.steps.items()
        if ADMITTED in s.spec.refs and s.spec.undo is None and not s.undoing and i not in given_back
        and (s.open or i in run.debts)
    }  # fmt: skip


def _standing(run: Run, i: str) -> bool:
    return i in run.debts and run.steps[i].spec.temporary
