"""Giving back, and what is left when a run has been given up or is over: the folds of those events. Pure.

Invariants:
- what was changed and not undone stays known (`Step.made`) whatever else becomes of the step;
- a debt goes when it is seen undone, or when another run of the service has taken it over, and never otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.contract import Change, Edit, Value
from bot.plan.model import Decision
from bot.run import events as ev
from bot.run.replacing import replace
from bot.run.state import Asked, BrokenGlass, Debt, Run, Step

DAY = 86400.0
"""Seconds between two reminders of something that is overdue."""


# -- what stays changed ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a step has changed that was given up, and nobody has undone. change: its edits, but those that stand at
    their `before` again; seen: where they stand as far as somebody has looked; unseeable: why nobody could."""

    step: str
    change: Change
    seen: Mapping[str, Value] = field(default_factory=dict)
    unseeable: str = ""

    @property
    def moved(self) -> tuple[Edit, ...]:
        """Those that stand neither where they were nor where they were to be: others have changed them since, or they
        are on their way. They are not touched."""
        seen = self.seen
        return tuple(e for e in self.change.edits if e.target in seen and seen[e.target] not in (e.before, e.after))

    @property
    def reversible(self) -> bool:
        """Whether the record can put it back."""
        return self.change.reversible and len(self.moved) < len(self.change.edits)


def leftovers(run: Run) -> tuple[Leftover, ...]:
    """Everything of the run that stays changed although it was given up: of a run that was given up whatever it has
    done, of any other the steps that were left out or failed half-way. Debts are told of as debts."""
    verified = run.closed is not None and run.closed.outcome == "verified"
    found = (left_by(s) for s in run.steps.values() if s.spec.id not in run.debts and (
        (run.over and not verified) or s.end in GIVEN_UP))  # fmt: skip
    return tuple(x for x in found if x is not None)


GIVEN_UP = ("skipped", "failed", "not needed")
"""Ends of a step after which what it has changed stays, and nobody counts on it."""


def left_by(s: Step) -> Leftover | None:
    """What the step has changed and nobody has undone; None for nothing."""
    if s.made is None or s.spec.undo is not None:
        return None
    edits = tuple(e for e in s.made.edits if e.before != e.after and not _back(e, s.seen))
    return Leftover(s.spec.id, replace(s.made, edits=edits), s.seen, s.unseeable) if edits else None


def _back(e: Edit, seen: Mapping[str, Value]) -> bool:
    return e.target in seen and seen[e.target] == e.before


def given_up(s: Step) -> Step:
    """The step, to be looked at once: it may have changed something that stays so."""
    return replace(s, unseen=left_by(replace(s, seen={})) is not None, seen={}, unseeable="")


def looking(s: Step) -> bool:
    """Whether its attempt only looks where it stands."""
    return s.unseen and s.attempt is not None and s.attempt.doing == "plan"


# -- giving back -------------------------------------------------------------------------------------------------------


def undo_asked(run: Run, e: ev.UndoAsked, at: float) -> Run:
    """A new application, which takes back what the step did; with its gate, unless it is a debt."""
    s = run.steps[e.step]
    old = run.asked.get(s.spec.decision) if s.spec.decision else None
    name = f"undo.{e.step}"
    gate = None if e.debt or old is None else old.spec.gate
    refused = s.undoing and s.halt is not None and s.halt.cause == "fatal"
    s = replace(
        cleared(s),
        application=s.application + 1,
        redirected=0,
        undoing=True,
        afterwards=run.over,
        attempt=None,  # one that only looked
        insisted=e.reason if e.debt and refused else "",
        end=None,
        ended=None,
        change=None,
        fingerprint="",
        released=None,
        applying=False,
        halt=None,
        memo={},
        receipt=None,
        left={},
        leave=frozenset(),
        unseen=False,
    )
    asked = {k: v for k, v in run.asked.items() if k != name}
    if gate is not None:
        asked[name] = Asked(Decision(name, f"Undo: {s.spec.title}", (e.step,), gate))
    return replace(run, steps={**run.steps, e.step: s}, asked=asked)


def cleared(s: Step) -> Step:
    """A fresh start of the counters: somebody decided to try again."""
    return replace(
        s,
        failures=0,
        drifts=0,
        lost=0,
        streak=0,
        samples=0,
        began=None,
        wake=0.0,
        note="",
        done=None,
        total=None,
        adopting=False,
    )


def seen(run: Run, e: ev.Seen, at: float) -> Run:
    """Somebody has looked, as far as that was possible."""
    s = run.steps[e.step]
    s = replace(s, attempt=None, lost=0, unseen=False, seen=e.observed, unseeable=e.error)
    return replace(run, steps={**run.steps, e.step: s})


# -- debts and reviews -------------------------------------------------------------------------------------------------


def handed_over(run: Run, e: ev.HandedOver, at: float) -> Run:
    """A debt is a named person's."""
    debt = replace(run.debts[e.step], owner=e.to, until=e.until, reminded=None)
    return replace(run, debts={**run.debts, e.step: debt})


def inherited(run: Run, e: ev.Inherited, at: float) -> Run:
    """In place before the step has done anything: its undo leads back to what was there before the ended run."""
    s = replace(run.steps[e.step], made=e.change)
    debts = {**run.debts, e.step: Debt(e.step, e.since, run=e.run)}
    heirs = {**run.inherited, e.step: (e.run, e.of)}
    return replace(run, steps={**run.steps, e.step: s}, debts=debts, inherited=heirs)


def taken_over(run: Run, e: ev.TakenOver, at: float) -> Run:
    """A debt, or a part, is another run's."""
    if e.part:
        return replace(run, parts={k: p for k, p in run.parts.items() if k != e.part})
    s = replace(run.steps[e.step], made=None)
    return replace(run, steps={**run.steps, e.step: s}, debts={k: d for k, d in run.debts.items() if k != e.step})


def overdue(run: Run, e: ev.Overdue, at: float) -> Run:
    """Somebody is reminded."""
    if e.part:
        return replace(run, parts={**run.parts, e.part: replace(run.parts[e.part], reminded=at)})
    if e.step:
        return replace(run, debts={**run.debts, e.step: replace(run.debts[e.step], reminded=at)})
    return _reviewing(run, replace(run.reviews[e.decision], reminded=at))


def lifted(run: Run, e: ev.Lifted, at: float) -> Run:
    """Somebody else has lifted what stood for a time, or it stands again."""
    debt = replace(run.debts[e.step], missing=dict(e.missing), missed=at if e.missing else None)
    return replace(run, debts={**run.debts, e.step: debt})


def came_back(run: Run, e: ev.CameBack, at: float) -> Run:
    """What was removed stands again, or no more."""
    return replace(run, back=dict(e.seen), back_at=at if e.seen else None)


def glass_broken(run: Run, e: ev.BrokeGlass, at: float) -> Run:
    """It is to be reviewed, whatever becomes of the decision."""
    return _reviewing(run, BrokenGlass(e.decision, e.by, at, e.reason))


def reviewed(run: Run, e: ev.Reviewed, at: float) -> Run:
    """A broken glass was looked at."""
    return _reviewing(run, replace(run.reviews[e.decision], reviewed=e.by))


def _reviewing(run: Run, review: BrokenGlass) -> Run:
    return replace(run, reviews={**run.reviews, review.decision: review})
