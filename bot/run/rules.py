"""What may be appended to a run now: `refused` is the only fence. Pure.

- An event of an attempt is refused unless that attempt is the one in flight: a superseded attempt cannot write.
- An approval is refused unless it binds exactly what the decision shows now.
- Effects are refused unless the change at hand is covered by what was released.
- Nothing is appended to what is not believed.
- Whatever people ask is refused where the run is not in a state for it; the text says what to do instead.

Who may ask is `authority`'s part; what may happen at all is decided here, for people and programs alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast, get_args

from bot.policy import Why
from bot.run import events as ev
from bot.run import stale
from bot.run.afterwards import looking
from bot.run.decide import RELEASING, destroys_behind, finished, has_begun, lacking, needs_nobody, next_attempt
from bot.run.state import Run, Step
from bot.run.where import changed, stands_at

_OF_ATTEMPT = get_args(ev.OfAttempt)
_AFTERWARDS = (
    *_OF_ATTEMPT, ev.Started, ev.UndoAsked, ev.AdoptAsked, ev.Retried, ev.Accepted, ev.Proposed, ev.Agreed, ev.Approved,
    ev.Declined, ev.BrokeGlass, ev.Taken, ev.Reminded, ev.Paged, ev.PeopleChanged, ev.HandedOver, ev.TakenOver,
    ev.Overdue, ev.Lifted, ev.CameBack, ev.Reviewed, ev.PartHandedOver, ev.Lapsed, ev.ClockJumped,
)  # fmt: skip
"""What may still happen to a run that is over: what it has left is given back."""


@dataclass(frozen=True, slots=True)
class Objection:
    """Why something may not be appended now. text: for people, begins small and has no full stop; why: for programs."""

    text: str
    why: Why = Why.NOT_NOW


def refused(run: Run, event: ev.Event) -> Objection | None:
    """Why this event may not be appended now; None if it may."""
    no = _refused(run, event)
    return Objection(no) if isinstance(no, str) else no


def _refused(run: Run, event: ev.Event) -> str | Objection | None:
    if run.doubt:
        return doubted(run)
    if isinstance(event, ev.Created):
        return "this run exists already" if run.created else None
    if run.created is None:
        return f"there is no run {run.id}"
    if run.closed is not None and not isinstance(event, _AFTERWARDS):
        return f"this run is over ({run.closed.outcome})"
    step = getattr(event, "step", "")
    if step and step not in run.steps:
        return f"there is no step {step!r}"
    decision = getattr(event, "decision", "")
    if decision and decision not in run.asked:
        return f"there is no decision {decision!r}"
    if isinstance(event, _OF_ATTEMPT) and (why := _superseded(run, event)):
        return why
    rule = _RULES.get(type(event))
    return rule(run, event) if rule else None


def doubted(run: Run) -> str:
    """Why nothing is done with a run whose record is not believed, and where to read on."""
    return (
        f"the record of this run is not believed: {run.doubt}. Until that is settled the bot does nothing in it; go on "
        'by hand if it cannot wait. docs/audit.md, "What is not believed", says what to do'
    )


def _superseded(run: Run, e: Any) -> str | None:
    s = run.steps[e.step]
    if isinstance(e, ev.Failed) and s.attempt is None and s.n == e.n and _without_attempt(run, s, e):
        return None
    if s.attempt is None or s.attempt.n != e.n:
        return f"attempt {e.n} of {e.step} is not the one in flight"
    doing = _DOING.get(type(e))
    if doing is not None and s.attempt.doing not in doing:
        return f"attempt {e.n} of {e.step} is there to {s.attempt.doing}"
    return None


def _without_attempt(run: Run, s: Step, e: ev.Failed) -> bool:
    """Whether the failure follows from the clock, or from a reference without a value: nobody was at work."""
    late = e.cause == "timeout" and s.open and s.halt is None and s.applying and s.began is not None
    return late or (e.cause == "fatal" and bool(lacking(run, s)))


def _start(run: Run, e: ev.Started) -> str | None:
    s = run.steps[e.step]
    if s.attempt is not None:
        return f"attempt {s.attempt.n} of {e.step} is in flight"
    if e.n != s.n + 1 or e.application != s.application:
        return f"attempt {e.n} of {e.step} is not the next one"
    if e.doing in ("apply", "undo") and not run.free(s):
        return f"{e.step} has not been approved"
    if e.doing != next_attempt(run, s):
        return f"{e.step} is not to be started"
    return None


def _effects(run: Run, e: ev.ApplyStarted) -> str | None:
    s = run.steps[e.step]
    if not run.free(s):
        return f"{e.step} has not been approved"
    if s.released is not None and (beyond := e.change.beyond(s.released, e.there)):
        return f"{e.step} would go beyond what was approved: {'; '.join(beyond)}"
    return _no_effects_left(run, s)


def _no_effects_left(run: Run, s: Step) -> str | None:
    if s.attempt is not None and s.attempt.cancel:
        return f"{s.spec.id} is to stop ({s.attempt.cancel})"
    return None


def _recorded(run: Run, e: ev.Recorded) -> str | None:
    s = run.steps[e.step]
    return (
        None
        if s.applying and not _no_effects_left(run, s)
        else _no_effects_left(run, s) or "nothing may be changed yet"
    )


def _decide(run: Run, e: ev.Approved | ev.BrokeGlass) -> str | Objection | None:
    asked = run.asked[e.decision]
    if given_up := _given_up(run, *asked.spec.members):
        return given_up
    if asked.decided is not None:
        by = [v.by for v in asked.votes] or ([asked.glass] if asked.glass is not None else [])
        return f"this was decided already{', by ' if by else ''}{' and '.join(f'@{a.name}' for a in by)}"
    if asked.spec.gate is None:
        return "nobody has to be asked here"
    if asked.opened is None:
        return "this cannot be decided yet: " + _why_closed(run, e.decision)
    if stale.stale_vote(run, e.decision, e.fingerprints):
        return Objection(stale.WORDS, Why.STALE)
    if isinstance(e, ev.Approved) and any(v.by.id == e.by.id for v in asked.votes):
        return "you have decided this already; one person counts once"
    if isinstance(e, ev.Approved) and asked.spec.gate.typed_phrase and not e.phrase:
        return "this needs the typed phrase"
    return None


def _why_closed(run: Run, name: str) -> str:
    asked = run.asked[name]
    if asked.spec.choice and (option := run.chosen(asked.spec.choice)):
        return f"{option} was chosen"
    if begun := run.begun_otherwise(asked):
        return f"{', '.join(begun)} has begun: it must end first, or be undone"
    halted = [s.spec.id for s in run.members(name) if s.halt is not None]
    if halted:
        return f"{', '.join(halted)} needs a decision first"
    waits = [s.spec.id for s in run.members(name) if s.change is None and s.spec.kind != "gate"]
    return f"what {', '.join(waits)} would do is not known yet" if waits else "earlier steps come first"


def _decline(run: Run, e: ev.Declined) -> str | None:
    return None if run.asked[e.decision].opened is not None else "this is not being asked at the moment"


def _taken(run: Run, e: ev.Taken) -> str | None:
    asked = run.asked[e.decision]
    if asked.opened is None:
        return "this is not open"
    return None if needs_nobody(run, asked) else "people are asked here"


def _lapse(run: Run, e: ev.Lapsed) -> str | None:
    asked = run.asked[e.decision]
    return "it has begun" if has_begun(run, asked) else None if asked.said_by else "nobody has said yes to it"


def _once(run: Run, e: ev.Reminded | ev.Paged) -> str | None:
    asked = run.asked[e.decision]
    done = asked.reminded if isinstance(e, ev.Reminded) else asked.paged
    return None if asked.opened is not None and done is None else "done already"


def _stop(run: Run, e: ev.Stopped) -> str | None:
    return "it is being aborted" if run.aborted else "it is stopped already" if run.stopped else None


def _resume(run: Run, e: ev.Resumed) -> str | None:
    return None if run.stopped else "it is not stopped"


def _abort(run: Run, e: ev.Aborted) -> str | None:
    if run.aborted:
        return "it is being aborted already"
    at_work = begun(run) if e.instead else ""
    return f"{at_work} has begun: another plan cannot take this one's place any more" if at_work else None


def begun(run: Run) -> str:
    """A step that people let begin, that has begun to change something, or was done; empty before all that."""
    acts = (s for s in run.steps.values() if s.spec.changes or s.spec.kind == "gate")
    return next((s.spec.id for s in acts if s.applying or s.acted or _at_it(s)), "")


def moved(run: Run) -> bool:
    """Whether a run changed which release runs, or with what, and that stands: only such a one can be taken back."""
    if run.purpose not in RELEASING:
        return False
    lasting = (s for s in run.steps.values() if s.spec.kind == "action" and not s.spec.temporary)
    kept = (s for s in lasting if (s.made is not None and s.made.edits) or s.end == "adopted")
    return run.restored is not None or any(s.spec.id in run.plan.on_target for s in kept)


def _at_it(s: Step) -> bool:
    at_work = s.attempt is not None and s.attempt.doing in ("apply", "undo")
    return at_work or s.began is not None or s.end in ("done", "adopted", "accepted", "failed")


def _live(run: Run, e: object) -> str | None:
    return "this run is being aborted" if run.aborted else None


def _given_up(run: Run, *steps: str) -> str | None:
    """Why nothing is to be said about these steps any more: only what is given back goes on after an abort."""
    if not run.over or any(run.goes_on(run.steps[i]) for i in steps):
        return None
    return f"this run is over ({run.closed.outcome})" if run.closed is not None else "this run is being aborted"


def _propose(run: Run, e: ev.Proposed) -> str | None:
    if e.id in run.proposals:
        return f"proposal {e.id} exists already"
    same = [p for p in run.proposals.values() if (p.what, p.step, p.release) == (e.what, e.step, e.release)]
    if same:
        return f"that is proposed already: agree to {same[0].id}"
    if e.what == "retarget" and run.purpose not in RELEASING:
        return "it brings no release back, so there is no other one to bring"
    return _accept(run, e) if e.what == "accept" else _live(run, e)


def _propose_part(run: Run, e: ev.PartProposed) -> str | None:
    if e.id in run.proposals:
        return f"proposal {e.id} exists already"
    same = [p.id for p in run.proposals.values() if p.what == "without" and p.part == e.part]
    return f"that is proposed already: agree to {same[0]}" if same else _leave_out(run, e)


def _leave_out(run: Run, e: ev.WentWithout | ev.PartProposed) -> str | None:
    return f"{e.part} is left out already" if e.part in run.left_out else _live(run, e)


def _part_back(run: Run, e: ev.PartBack) -> str | None:
    owed = [p.name for p in run.owed_parts]
    return _live(run, e) if e.part in owed else f"{e.part} is not left out; owed are {', '.join(owed) or 'none'}"


def _part_handed_over(run: Run, e: ev.PartHandedOver) -> str | None:
    return None if e.part in [p.name for p in run.owed_parts] else f"{e.part} is owed nothing"


def _agree(run: Run, e: ev.Agreed) -> str | None:
    p = run.proposals.get(e.id)
    if p is None:
        return f"there is no open proposal {e.id!r}"
    return "you have agreed already" if any(a.id == e.by.id for a in p.votes) else None


def _retarget(run: Run, e: ev.Retargeted) -> str | None:
    if run.target is not None and e.target.version == run.target.version:
        return f"{e.target.version} is the target already"
    return _live(run, e)


def _relocate(run: Run, e: ev.Relocated) -> str | None:
    names = changed(run.places, e.places)
    if stands := stands_at(run, names):
        return f"something of this run stands at {', '.join(stands)}: it is taken back there, or nowhere"
    return _live(run, e) if names else "these are its places"


def _retry(run: Run, e: ev.Retried) -> str | None:
    s = run.steps[e.step]
    if why := _given_up(run, e.step):
        return f"{why}: restore the debt, or hand it over"
    return None if s.open and s.halt is not None else f"{e.step} is not waiting for a decision"


def _skip(run: Run, e: ev.Skipped) -> str | None:
    s = run.steps[e.step]
    if run.aborted:
        return "this run is being aborted"
    if not s.open:
        return f"{e.step} has ended already ({s.end})"
    if s.attempt is not None and s.attempt.doing != "plan":
        return f"{e.step} is at work: stop the run first, or wait"
    if s.spec.kind == "gate":
        return f"{e.step} is the decision itself and cannot be skipped"
    later = destroys_behind(run, s)
    return f"{later} destroys data and depends on {e.step}: it cannot be skipped" if later else None


def _accept(run: Run, e: ev.Accepted | ev.Proposed) -> str | None:
    s = run.steps[e.step]
    if why := _given_up(run, e.step):
        return why
    ok = s.open and s.halt is not None and s.halt.cause in ("check", "left")
    return None if ok else f"{e.step} has no failing check and nothing left by others to accept"


def _undo(run: Run, e: ev.UndoAsked) -> str | None:
    s = run.steps[e.step]
    if s.made is None:
        return f"{e.step} has changed nothing that could be undone"
    if s.attempt is not None and not looking(s):
        return f"{e.step} is at work: wait, or stop the run first"
    if s.open and s.undoing and s.halt is None and run.goes_on(s) and (not e.debt or run.free(s)):
        return f"{e.step} is being undone already"
    if not s.made.reversible:
        return f"{e.step} cannot be undone: {s.made.summary}"
    if e.debt and e.step not in run.debts:
        return f"{e.step} is no debt"
    if run.closed is not None and run.closed.outcome == "verified" and not e.debt:
        return "this run is verified: `forward` takes it back"
    undos = [x for x in run.steps.values() if x.spec.undo == e.step and x.open]
    busy = [x.spec.id for x in undos if x.attempt is not None or (x.applying and not run.over)]
    return f"{busy[0]} is undoing it" if busy else None


def _hand_over(run: Run, e: ev.HandedOver) -> str | None:
    if e.step not in run.debts:
        return f"{e.step} is no debt"
    return None


def _inherit(run: Run, e: ev.Inherited) -> str | None:
    s = run.steps[e.step]
    return None if s.spec.temporary and s.made is None and s.n == 0 else f"{e.step} cannot take a debt over any more"


def _taken_over(run: Run, e: ev.TakenOver) -> str | None:
    if run.open:
        return "this run is open, and gives back itself what it owes"
    if e.part:
        return None if e.part in run.parts else f"{e.part} is owed nothing"
    busy = run.steps[e.step].attempt is not None
    return f"{e.step} is being given back" if busy else None if e.step in run.debts else f"{e.step} is no debt"


def _overdue(run: Run, e: ev.Overdue) -> str | None:
    if e.part:
        return None if any(p.name == e.part and p.owner for p in run.owed_parts) else f"{e.part} was promised by nobody"
    if e.step:
        return None if e.step in run.debts and run.debts[e.step].owner else f"{e.step} was promised by nobody"
    review = run.reviews.get(e.decision)
    return None if review is not None and review.reviewed is None else "there is nothing to be reviewed"


def _lifted(run: Run, e: ev.Lifted) -> str | None:
    if e.step not in run.debts:
        return f"{e.step} is no debt"
    if run.being_given_back(e.step):
        return f"{e.step} is being given back"
    return "that is known" if run.debts[e.step].missing == e.missing else None


def _came_back(run: Run, e: ev.CameBack) -> str | None:
    if run.closed is None:
        return "this run is open: its own steps and checks look"
    return "that is known" if run.back == e.seen else None


def _review(run: Run, e: ev.Reviewed) -> str | None:
    review = run.reviews.get(e.decision)
    if review is None:
        return "no glass was broken for this"
    if review.reviewed is not None:
        return f"@{review.reviewed.name} has reviewed this already"
    return "whoever broke the glass does not review it" if review.by.id == e.by.id else None


def _adopt(run: Run, e: ev.AdoptAsked) -> str | None:
    s = run.steps[e.step]
    if not s.open or not s.spec.changes:
        return f"{e.step} has nothing to adopt"
    if s.spec.undo is not None and run.steps[s.spec.undo].open:
        return f"{s.spec.undo} has not ended: there is nothing to take back yet"
    if s.attempt is not None:
        return f"{e.step} is at work: wait, or stop the run first"
    return _given_up(run, e.step)


def _tell(run: Run, e: ev.Told) -> str | None:
    return None if run.purpose in RELEASING else "stakeholders read of rollbacks only"


def _close(run: Run, e: ev.Closed) -> str | None:
    if run.owing:
        names = ", ".join(d.step for d in run.owing)
        return f"still in place: {names}. Undo it, or hand it over to somebody with a time."
    if short := [p.name for p in run.owed_parts if not p.owner and not run.aborted]:
        return f"still owed: {', '.join(short)}. Wait until it is back, or hand it over to somebody with a time."
    if e.outcome == "verified" and run.owed_parts:
        return f"{run.owed_parts[0].name} is owed something: it is not verified"
    if run.in_flight:
        return f"{run.in_flight[0].spec.id} is at work"
    if not run.aborted and not finished(run):
        left = [s.spec.id for s in run.steps.values() if s.open]
        return f"{len(left)} steps are left ({', '.join(left[:3])}{'…' if len(left) > 3 else ''}): skip them, or abort"
    return None


def _not_needed(run: Run, e: ev.NotNeeded) -> str | None:
    s = run.steps[e.step]
    return f"{e.step} has begun" if run.started(s) or s.applying or s.attempt is not None else None


_DOING: dict[type, tuple[ev.AttemptKind, ...]] = {
    ev.Planned: ("plan", "apply", "undo"), ev.Drifted: ("apply", "undo"), ev.ApplyStarted: ("apply", "undo"),
    ev.Recorded: ("apply", "undo"), ev.Noted: ("apply", "undo"), ev.Applied: ("apply",), ev.Undone: ("undo",),
    ev.Checked: ("check",), ev.Adopted: ("plan",), ev.Seen: ("plan",),
}  # fmt: skip
"""What an attempt must be doing to say this."""

_Rule = Callable[[Run, Any], str | Objection | None]
_RULES: dict[type, _Rule] = cast(dict[type, _Rule], {
    ev.Started: _start, ev.ApplyStarted: _effects, ev.Recorded: _recorded, ev.NotNeeded: _not_needed,
    ev.Approved: _decide, ev.BrokeGlass: _decide, ev.Declined: _decline, ev.Taken: _taken, ev.Lapsed: _lapse,
    ev.Reminded: _once, ev.Paged: _once, ev.Stopped: _stop, ev.Resumed: _resume, ev.Aborted: _abort,
    ev.Proposed: _propose, ev.Agreed: _agree, ev.Retargeted: _retarget, ev.FixAdmitted: _live, ev.Relocated: _relocate,
    ev.Retried: _retry, ev.Skipped: _skip, ev.Accepted: _accept, ev.UndoAsked: _undo,
    ev.HandedOver: _hand_over, ev.AdoptAsked: _adopt, ev.Told: _tell, ev.Closed: _close,
    ev.Inherited: _inherit, ev.TakenOver: _taken_over, ev.Overdue: _overdue,
    ev.Lifted: _lifted, ev.CameBack: _came_back, ev.Reviewed: _review,
    ev.PartProposed: _propose_part, ev.WentWithout: _leave_out, ev.PartBack: _part_back,
    ev.PartHandedOver: _part_handed_over,
})  # fmt: skip
