"""Events -> state: `evolve` folds one event into a run. Pure: no clock, no I/O.

It never refuses (rules.py does, before an event is written) and ignores kinds that it does not know. One small
function a kind: what is asked (`fold_decisions`, `proposals`), done (`fold_attempts`), owed (`afterwards`, `places`);
what follows from every event (which decisions are open) is worked out once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from bot.policy import Actor
from bot.run import afterwards, places, proposals
from bot.run import events as ev
from bot.run import fold_attempts as attempts
from bot.run import fold_decisions as decisions
from bot.run import fold_steps as steps
from bot.run.again import redone, widened
from bot.run.moments import jumped, set_right
from bot.run.past import remembered
from bot.run.replacing import replace
from bot.run.state import (
    Asked,
    Run,
    Step,
)
from bot.run.where import met


def evolve(run: Run, event: ev.Event, at: float) -> Run:
    """The run after one more event, which happened `at` (seconds since the epoch)."""
    run = set_right(run, at)
    fold = _FOLD.get(type(event))
    after = fold(run, event, at) if fold else run
    by = getattr(event, "by", None)
    commands = isinstance(by, Actor) and after.commander is not None and by.id == after.commander.id
    seen = at if commands else after.commander_seen
    after = replace(after, seq=run.seq + 1, at=at, commander_seen=seen, spent=run.spent_until(at))
    after = remembered(run, after, event, at)
    return decisions.refreshed(after, at) if fold and not isinstance(event, ev.Recorded | ev.Noted) else after


# -- the run ---------------------------------------------------------------------------------------------------------


def _created(run: Run, e: ev.Created, at: float) -> Run:
    return replace(
        run, created=e, created_at=at, target=e.target, places=e.places, commander=e.by, commander_seen=at,
        commanded=frozenset({e.by.id}), impossible=e.impossible, impact=e.impact, workaround=e.workaround,
        steps={s.id: Step(s) for s in e.plan.steps},
        asked={d.name: Asked(d) for d in e.plan.decisions},
    )  # fmt: skip


def _stopped(run: Run, e: ev.Stopped, at: float) -> Run:
    return steps.cancelled(replace(run, stopped=e.by), "stopped", (s.spec.id for s in run.in_flight))


def _resumed(run: Run, e: ev.Resumed, at: float) -> Run:
    """The clocks of what had begun start anew: the time in which nothing could happen does not count."""
    begun = [s for s in run.steps.values() if s.open and s.began is not None]
    return steps.with_steps(replace(run, stopped=None), *(replace(s, began=at if s.attempt else None) for s in begun))


def _aborted(run: Run, e: ev.Aborted, at: float) -> Run:
    run = replace(run, aborted=e.by, abort_reason=e.reason, stopped=None, proposals={})
    restoring = {s.spec.id for s in run.in_flight if s.undoing and s.spec.id in run.debts}
    left = (replace(s, reset=False) for s in run.steps.values() if s.made is not None or s.reset)
    run = steps.with_steps(run, *(s if s.spec.id in run.debts else afterwards.given_up(s) for s in left))
    return steps.cancelled(run, "aborted", (s.spec.id for s in run.in_flight if s.spec.id not in restoring))


def _retargeted(run: Run, e: ev.Retargeted, at: float) -> Run:
    tried = ((run.target, e.reason),) if run.target else ()
    again = redone(run)
    asked = {n: a for n, a in run.asked.items() if n not in {f"undo.{i}" for i in again}}
    run = replace(
        run, target=e.target, tried=(*run.tried, *tried), restored=None, proposals={}, asked=asked
    )  # fmt: skip
    return steps.done_again(run, again, why=f"{e.target.version} is to be restored now")


def _relocated(run: Run, e: ev.Relocated, at: float) -> Run:
    """What reaches the places that differ is asked again, for these."""
    again = met(run, e.places)
    return steps.done_again(replace(run, places=e.places, restored=None), again, e.differences)


def _admitted(run: Run, e: ev.FixAdmitted, at: float) -> Run:
    """What refuses new releases is widened for this one: its undo still leads to what was there before the run."""
    waiting = {k: p for k, p in run.proposals.items() if p.what != "admit" or p.release != e.release}
    run = replace(run, admitted=(*run.admitted, e.release), proposals=waiting)
    return steps.done_again(run, widened(run), why=f"{e.release.version} is let through the freeze")


def _offered(run: Run, e: ev.CommandOffered, at: float) -> Run:
    return replace(run, offered=e.to)


def _command_taken(run: Run, e: ev.CommandTaken, at: float) -> Run:
    run = replace(run, commander=e.by, commanded=run.commanded | {e.by.id}, commander_seen=at, offered="")
    asked = {n: _unseated(a, e.by.id) for n, a in run.asked.items()}
    return replace(run, asked=asked, proposals=proposals.unseated(run))


def _unseated(asked: Asked, commander: str) -> Asked:
    """A decision that is not made yet, without the yes of whoever commands now."""
    if asked.decided is not None or asked.spec.gate is None or asked.spec.gate.self_approval:
        return asked
    return replace(asked, votes=tuple(g for g in asked.votes if g.by.id != commander))


def _told(run: Run, e: ev.Told, at: float) -> Run:
    return replace(run, impact=e.impact, workaround=e.workaround, told=(*run.told, at))


def _people_changed(run: Run, e: ev.PeopleChanged, at: float) -> Run:
    return replace(run, impossible=e.impossible)


def _restored(run: Run, e: ev.Restored, at: float) -> Run:
    return replace(run, restored=at)


def _closed(run: Run, e: ev.Closed, at: float) -> Run:
    return replace(run, closed=e, closed_at=at, proposals={})


_Fold = Callable[[Run, Any, float], Run]
_FOLD: dict[type, _Fold] = cast(dict[type, _Fold], {
    ev.Created: _created, ev.Stopped: _stopped, ev.Resumed: _resumed, ev.Aborted: _aborted, ev.Restored: _restored,
    ev.Closed: _closed, ev.Retargeted: _retargeted, ev.Relocated: _relocated, ev.FixAdmitted: _admitted,
    ev.CommandOffered: _offered, ev.CommandTaken: _command_taken, ev.PeopleChanged: _people_changed,
    ev.Told: _told, ev.ClockJumped: jumped,
    # what is asked
    ev.Approved: decisions.approved, ev.Declined: decisions.declined, ev.BrokeGlass: decisions.broke_glass,
    ev.Taken: decisions.taken, ev.Lapsed: decisions.lapsed, ev.Reminded: decisions.reminded, ev.Paged: decisions.paged,
    ev.Proposed: proposals.proposed, ev.PartProposed: proposals.part_proposed, ev.Agreed: proposals.agreed,
    # what is done
    ev.Started: attempts.started, ev.Planned: attempts.planned, ev.Drifted: attempts.drifted,
    ev.ApplyStarted: attempts.apply_started, ev.Recorded: attempts.recorded, ev.Noted: attempts.noted,
    ev.Waiting: attempts.waiting, ev.Applied: attempts.applied, ev.Undone: attempts.undone,
    ev.Checked: attempts.checked, ev.Failed: attempts.failed, ev.Cancelled: attempts.cancelled, ev.Lost: attempts.lost,
    ev.NotNeeded: attempts.not_needed, ev.Retried: attempts.retried, ev.Skipped: attempts.skipped,
    ev.Accepted: attempts.accepted, ev.AdoptAsked: attempts.adopt_asked, ev.Adopted: attempts.adopted,
    # what is owed
    ev.UndoAsked: afterwards.undo_asked, ev.HandedOver: afterwards.handed_over, ev.Seen: afterwards.seen,
    ev.Inherited: afterwards.inherited, ev.TakenOver: afterwards.taken_over, ev.Overdue: afterwards.overdue,
    ev.Lifted: afterwards.lifted, ev.CameBack: afterwards.came_back, ev.Reviewed: afterwards.reviewed,
    ev.WentWithout: places.went_without, ev.PartBack: places.part_back, ev.PartHandedOver: places.handed_over,
})  # fmt: skip
