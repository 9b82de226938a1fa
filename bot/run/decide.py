"""What is to be done next: `decide(run, now)`. Pure, so whatever crashed, asking again goes on.

Three kinds of answer: `record`, things that follow from the events and the time alone and only need writing down;
`start`, attempts that may begin; `stop`, attempts that must end. `due` is when time alone changes the answer;
None where only a person can move the run. The engine records, decides again, and starts what is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.plan.model import Condition, StepSpec, step_of
from bot.run import events as ev
from bot.run.afterwards import DAY
from bot.run.deadlines import deadline, not_done, overdue, why_stop
from bot.run.moments import AHEAD
from bot.run.state import Asked, BrokenGlass, Debt, Part, Run, Step, touches

RELEASING = ("rollback", "forward")
"""Purposes of runs that bring a release back; any other closes itself when it has nothing left to do."""


@dataclass(frozen=True, slots=True)
class Start:
    """Attempt n of a step may begin."""

    step: str
    n: int
    application: int
    doing: ev.AttemptKind


@dataclass(frozen=True, slots=True)
class Next:
    """start, stop: attempts; record: events to append; due: seconds since the epoch."""

    record: tuple[ev.Event, ...] = ()
    start: tuple[Start, ...] = ()
    stop: tuple[str, ...] = ()
    due: float | None = None


def decide(run: Run, now: float) -> Next:
    """What to do now, and when to ask again. A run that is over goes on with what is given back, and reminds; of one
    that is not believed nothing is done."""
    if run.created is None or run.doubt:
        return Next()
    if run.at > now + AHEAD:
        return Next(record=(ev.ClockJumped(now - run.at),), due=now)
    if record := _follows(run, now):
        return Next(record=tuple(record), due=now)
    start = tuple(_starts(run, now))
    stop = tuple(s.spec.id for s in run.in_flight if why_stop(s, now))
    if start or stop or run.in_flight:
        return Next(start=start, stop=stop, due=now)
    return Next(due=min(_moments(run, now), default=None))


# -- what follows from events and time -------------------------------------------------------------------------------


def _follows(run: Run, now: float) -> list[ev.Event]:
    """Events of one kind at a time, none of which stands in the way of another."""
    found: list[ev.Event] = list(_overdue(run, now)) or list(_lapsed(run, now))
    if run.closed is not None or found:
        return found or list(_waiting(run, now))
    if run.aborted:
        over = not run.in_flight and not run.owing and not any(s.unseen for s in run.steps.values())
        ends = ev.Closed("aborted, debts handed over" if run.debts else "aborted")
        return [ends] if over else list(_waiting(run, now))
    found = list(_not_needed(run))
    if found or run.stopped:
        return found
    for follow in (_unasked(run), _late(run, now), _waiting(run, now), _ending(run)):
        if found := list(follow):
            break
    return found


def _overdue(run: Run, now: float) -> Iterator[ev.Event]:
    """Debts whose promised time has come, and broken glass that nobody has reviewed: once, then daily."""
    for d in run.debts.values():
        if d.owner and now >= _reminded(d):
            yield ev.Overdue(step=d.step)
    for p in _promised(run):
        if now >= _reminded(p):
            yield ev.Overdue(part=p.name)
    for r in run.reviews.values():
        if r.reviewed is None and now >= review_by(r):
            yield ev.Overdue(decision=r.decision)


def _promised(run: Run) -> list[Part]:
    """Parts whose owed part somebody has taken over; what was called off is owed to nobody."""
    return [p for p in run.owed_parts if p.owner and run.aborted is None]


def _reminded(d: Debt | Part) -> float:
    """When the owner is to be reminded next."""
    return d.reminded + DAY if d.reminded is not None else d.until or 0.0


def review_by(r: BrokenGlass) -> float:
    """When those who review it are reminded next: after two working days, then each day."""
    return r.reminded + DAY if r.reminded is not None else working_days(r.at, 2)


def working_days(at: float, days: int) -> float:
    """The same time of the day so many working days later (Saturday and Sunday are none), in UTC."""
    day = datetime.fromtimestamp(at, UTC)
    while days:
        day += timedelta(days=1)
        days -= day.weekday() < 5
    return day.timestamp()


def _unasked(run: Run) -> Iterator[ev.Event]:
    """Decisions that need nobody; of several ways of a choice the first."""
    choices: set[str] = set()
    for a in run.asked.values():
        why = needs_nobody(run, a)
        if why and a.spec.choice not in choices:
            yield ev.Taken(a.spec.name, why)
        if why and a.spec.choice is not None:
            choices.add(a.spec.choice)


def _waiting(run: Run, now: float) -> Iterator[ev.Event]:
    """Decisions that people have not made in time."""
    for a in run.asked.values():
        if a.opened is None or a.spec.gate is None:
            continue
        if a.reminded is None and now >= a.opened + a.spec.gate.remind:
            yield ev.Reminded(a.spec.name)
        elif a.paged is None and now >= a.opened + a.spec.gate.escalate:
            yield ev.Paged(a.spec.name)


def _lapsed(run: Run, now: float) -> Iterator[ev.Event]:
    """Decisions whose yes is too long ago for what has not begun yet. What is about to begin looks itself, right before
    its first effect; where it is lost before that, nobody is at work on it any more."""
    for a in run.asked.values():
        about = any(s.attempt is not None and s.attempt.doing in ("apply", "undo") for s in run.members(a.spec.name))
        if not about and (gone := lapsed(run, a, now)) is not None:
            yield gone


def lapsed(run: Run, a: Asked, now: float) -> ev.Lapsed | None:
    """That a yes to this holds no longer, where it does not."""
    until = lapses(run, a)
    if until is None or a.spec.gate is None or now < until:
        return None
    return ev.Lapsed(a.spec.name, f"approved over {a.spec.gate.lifetime / 60:g} min ago, and not begun")


def lapses(run: Run, a: Asked) -> float | None:
    """When a yes to this holds no longer (seconds since the epoch); None where nobody has said so, or it has begun."""
    if a.spec.gate is None or not a.said_by or has_begun(run, a):
        return None
    if not any(run.goes_on(s) for s in run.members(a.spec.name)):
        return None
    said = [v.at for v in a.votes] + ([a.decided] if a.decided is not None else [])
    return min(said) + a.spec.gate.lifetime


def has_begun(run: Run, a: Asked) -> bool:
    """Whether something of what was decided has begun, or ended by acting: then it is carried through."""
    steps = (run.steps[i] for i in a.spec.members)
    return a.decided is not None and any(
        s.applying or s.end in ("done", "adopted", "accepted", "failed") for s in steps
    )


def _ending(run: Run) -> Iterator[ev.Event]:
    checks = [s for s in run.steps.values() if s.spec.phase == "verify"]
    if run.restored is None and _passed([s for s in checks if s.spec.kind != "watch"], accepted=True):
        yield ev.Restored()
    if any(not _left_to_others(run, d) for d in run.debts.values()) or run.owed_parts or not finished(run):
        return
    if run.restored is not None and _passed(checks):
        yield ev.Closed("verified")
    elif run.purpose not in RELEASING:
        yield ev.Closed("closed")


def _left_to_others(run: Run, debt: Debt) -> bool:
    """Whether the plan asks people about giving it back, and they have handed it over instead: its owner is reminded,
    and the run has nothing more to do with it."""
    asked = [s for s in run.steps.values() if s.spec.undo == debt.step]
    return bool(debt.owner) and any(s.end == "not needed" and s.spec.decision is not None for s in asked)


def finished(run: Run) -> bool:
    """Whether every step has ended."""
    return not run.in_flight and all(not s.open for s in run.steps.values())


def _passed(steps: list[Step], *, accepted: bool = False) -> bool:
    """Whether these have all ended well; never true of nothing."""
    well = {"done", "not needed", *(("accepted", "adopted") if accepted else ())}
    return any(s.end == "done" for s in steps) and all(s.end in well for s in steps)


def _not_needed(run: Run) -> Iterator[ev.Event]:
    for s in run.steps.values():
        if not s.open or s.undoing or s.applying or s.attempt is not None:
            continue
        if s.spec.when is not None and _holds(run, s.spec.when) is False:
            yield ev.NotNeeded(s.spec.id, _why_not(run, s.spec.when.ref))
            continue
        asked = run.decision_of(s)
        chosen = run.chosen(asked.spec.choice) if asked is not None and asked.spec.choice else None
        if chosen is not None and asked is not None and chosen != asked.spec.option:
            yield ev.NotNeeded(s.spec.id, f"{chosen} was chosen")
        elif asked is not None and asked.spec.gate is not None and asked.decided is None and _handed(run, s):
            yield ev.NotNeeded(s.spec.id, f"{s.spec.undo} was handed over to somebody")
        elif s.spec.undo is not None and _ready(run, s) and run.steps[s.spec.undo].made is None:
            owed = s.spec.undo in run.debts  # done by hand before anybody looked what was there
            unknown = f"nobody knows what was there before {s.spec.undo}: hand it over"
            yield ev.NotNeeded(s.spec.id, unknown if owed else f"nothing of {s.spec.undo} is left to undo")


def _why_not(run: Run, ref: str) -> str:
    """What a condition that does not hold was asked of."""
    try:
        return f"{ref} is {run.value(ref)}"
    except LookupError:
        return f"{step_of(ref)} was not needed"


def _handed(run: Run, s: Step) -> bool:
    """Whether what this step would put back is somebody's debt by now, and no longer the run's."""
    debt = run.debts.get(s.spec.undo or "")
    return debt is not None and bool(debt.owner)


def needs_nobody(run: Run, asked: Asked) -> str:
    """Why an open decision needs nobody: no gate, or its `unless` holds; empty where people are asked."""
    if asked.opened is None:
        return ""
    if asked.spec.gate is None:
        return "nobody has to be asked"
    if asked.spec.unless is None:
        return ""
    try:
        return f"{asked.spec.unless} holds" if run.value(asked.spec.unless) is True else ""
    except LookupError:
        return ""


def _late(run: Run, now: float) -> Iterator[ev.Event]:
    """Steps whose time is up while no attempt is in flight."""
    for s in run.steps.values():
        acting = s.open and s.halt is None and s.attempt is None and s.applying
        if acting and overdue(s, now):
            yield ev.Failed(s.spec.id, s.n, "timeout", not_done(s), "look at the target, then try again")
        elif ref := lacking(run, s):
            yield ev.Failed(s.spec.id, s.n, "fatal", f"needs {ref}, and there is none", _without(run, s))


def lacking(run: Run, s: Step) -> str:
    """A reference that is without a value although it is the step's turn to act; empty where there is none."""
    waits = not s.open or s.halt is not None or s.attempt is not None or s.applying or s.adopting
    return "" if waits or not (s.undoing or _ready(run, s)) else next(_without_value(run, s.spec), "")


def _without(run: Run, s: Step) -> str:
    """What people can do about a step that lacks a value for good."""
    if later := destroys_behind(run, s):
        return f"abort: {later} destroys data and depends on this, so that it cannot be skipped"
    return "skip this step; what it is for must be done by hand" if s.spec.changes else "skip this step"


def destroys_behind(run: Run, s: Step) -> str:
    """The step that destroys data and depends on this one, for which it cannot be skipped; empty where none does."""
    later = (run.steps[i] for i in run.plan.behind[s.spec.id])
    return "" if s.spec.phase == "preflight" else next((x.spec.id for x in later if x.open and x.spec.destructive), "")


# -- what may start --------------------------------------------------------------------------------------------------


def _starts(run: Run, now: float) -> Iterator[Start]:
    for s in run.steps.values():
        doing = next_attempt(run, s) if s.unseen or (s.open and s.wake <= now) else None
        if doing is not None:
            yield Start(s.spec.id, s.n + 1, s.application, doing)


def next_attempt(run: Run, s: Step) -> ev.AttemptKind | None:
    """What the step's next attempt is to do, once it is awake; None where nothing may start now. After another
    target was chosen nothing starts before all that this superseded has come to rest."""
    if s.unseen and s.attempt is None and run.open and not run.stopped:
        return "plan"
    if run.stopped or not s.open or s.halt is not None or s.attempt is not None:
        return None
    if s.spec.kind == "gate" or run.superseded or not run.goes_on(s):
        return None
    if s.adopting:
        return "plan" if s.spec.changes else None
    if s.applying and run.free(s):
        return "undo" if run.undoes(s) is not None else "apply"
    if not (s.undoing or _holds_now(run, s)) or any(_without_value(run, s.spec)):
        return None
    if not s.spec.changes:
        return "check" if _ready(run, s) and not run.held else None
    asked = run.decision_of(s)
    if _wants_plan(run, s, asked) and _plannable(run, s):
        return "plan"
    turn = s.undoing or (_ready(run, s) and not run.held)
    if not turn or not run.free(s):
        return None
    return "undo" if run.undoes(s) is not None else "apply"


def _wants_plan(run: Run, s: Step, asked: Asked | None) -> bool:
    if s.released is not None:  # at its turn it is planned as it acts
        return s.stale and not (s.undoing or _ready(run, s))
    ahead = asked is not None or (s.spec.id in run.plan.planned_ahead and not _ready(run, s))
    return ahead and (s.change is None or s.stale)


def _plannable(run: Run, s: Step) -> bool:
    """Whether what comes before it is known well enough to say what it would change."""
    source = run.undoes(s)
    if source is not None and source.made is None:
        return False
    if s.undoing:
        return True
    if source is not None and source.open:  # its targets are still on their way
        return False
    return all(_foreseen(run, run.steps[i]) for i in run.plan.before[s.spec.id])


def _foreseen(run: Run, earlier: Step) -> bool:
    if not earlier.open:
        return True
    if earlier.spec.kind in ("check", "watch"):
        return True
    asked = run.decision_of(earlier)
    if asked is not None and any(s.halt is not None and run.refused(s, s.halt) for s in run.members(asked.spec.name)):
        return True  # nothing will come of a way that is refused
    if not _holds_now(run, earlier):
        return False
    if earlier.spec.kind == "gate":  # one way of a choice, which would change nothing
        return asked is not None and asked.spec.choice is not None
    return earlier.change is not None or (earlier.spec.kind == "undo" and bool(touches(run, earlier)))


def _ready(run: Run, s: Step) -> bool:
    return not run.awaited(s)


def _holds_now(run: Run, s: Step) -> bool:
    return s.spec.when is None or _holds(run, s.spec.when) is True


def _holds(run: Run, c: Condition) -> bool | None:
    """Whether a condition holds; None while its value is not known. It does not where the step that would have given
    the value was not needed itself."""
    try:
        return (run.value(c.ref) == c.value) is c.equal
    except LookupError:
        giver = run.steps.get(step_of(c.ref) or "")
        return False if giver is not None and giver.end == "not needed" else None


def _without_value(run: Run, spec: StepSpec) -> Iterator[str]:
    """References of a step that cannot be resolved (yet)."""
    for ref in spec.refs:
        try:
            run.value(ref)
        except LookupError:
            yield ref


# -- when to ask again -----------------------------------------------------------------------------------------------


def _moments(run: Run, now: float) -> Iterator[float]:
    """Every later moment at which time alone may change the answer."""
    yield from (_reminded(d) for d in run.debts.values() if d.owner)
    yield from (_reminded(p) for p in _promised(run))
    yield from (review_by(r) for r in run.reviews.values() if r.reviewed is None)
    yield from (until for a in run.asked.values() if (until := lapses(run, a)) is not None)
    if run.stopped:
        return
    for s in run.steps.values():
        if s.open and s.halt is None and s.wake > now and run.goes_on(s):
            yield s.wake
        if s.open and s.halt is None and s.applying and (until := deadline(s)) is not None and not run.over:
            yield max(until, now)
    for a in run.asked.values():
        if a.opened is not None and a.spec.gate is not None:
            if a.reminded is None:
                yield a.opened + a.spec.gate.remind
            elif a.paged is None:
                yield a.opened + a.spec.gate.escalate
