"""What every fold moves: steps, and the decisions about them. Pure.

Invariants: what was planned before an earlier step acted is planned again; approvals go where what they bound does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from bot.run import places
from bot.run.past import dropped
from bot.run.replacing import replace
from bot.run.state import Asked, Debt, EndKind, Run, Step, touches


def with_steps(run: Run, *steps: Step) -> Run:
    """The run with these steps; what was planned before a step ended that comes earlier is planned again."""
    if not steps:
        return run
    new = {s.spec.id: anew(s) if s.reset and s.attempt is None else s for s in steps}
    ended = [i for i, s in new.items() if not s.open and run.steps[i].open]
    run = replace(run, steps={**run.steps, **new})
    for i in ended:
        run = _acted(run, i)
    return run


def _acted(run: Run, i: str) -> Run:
    """A step has acted: what was planned before says nothing any more where it meets what this one moved, and is to be
    looked at again everywhere else, as a plan may have found nothing to do only because this one had not acted."""
    ended = run.steps[i]
    moved = touches(run, ended)
    if not moved and (ended.change is None or ended.change.is_noop):
        return run
    for later in (run.steps[b] for b in run.plan.behind[i]):
        asked = run.decision_of(later)
        together = asked is not None and i in asked.spec.members
        if together or not later.spec.changes or run.started(later):
            continue
        if later.attempt is not None:
            seen = later.attempt.outdated or frozenset()
            later = replace(later, attempt=replace(later.attempt, outdated=seen | moved))
        met = sorted(moved & later.change.targets) if later.change is not None and later.released is None else []
        later = replace(later, stale=later.change is not None)
        run = _put(run, replace(later, change=None, fingerprint="", stale=False) if met else later)
        if met and asked is not None and asked.votes:
            run = voided(run, asked.spec.name, tuple(f"{t}: {ended.spec.title} has acted on it since" for t in met))
    return run


def forecast(s: Step) -> bool:
    """Whether what it would do is shown to people who have yet to decide: what was let pass is planned as it acts."""
    return s.change is not None and not s.applying and s.released is None


def _put(run: Run, step: Step) -> Run:
    return replace(run, steps={**run.steps, step.spec.id: step})


def with_asked(run: Run, asked: Asked) -> Run:
    """The run with this decision."""
    return replace(run, asked={**run.asked, asked.spec.name: asked})


def at_rest(s: Step, lost: int | None = None) -> Step:
    """Without an attempt in flight. lost: attempts lost in a row, as before where None."""
    return replace(s, attempt=None, lost=s.lost if lost is None else lost)


def finished(s: Step, end: EndKind, at: float) -> Step:
    """The step at its end; of the run nothing follows yet."""
    return replace(at_rest(s), end=end, ended=at, halt=None, applying=False, adopting=False, wake=0.0)


def ended(run: Run, s: Step, end: EndKind, at: float) -> Run:
    """A step has come to its end, and the run goes on by that."""
    s = places.ended(run, s) if end in places.ENDED_WELL else s
    return places.caught_up(with_steps(run, finished(s, end, at)))


def anew(s: Step) -> Step:
    """A new application of the step, as if it had never been planned; what it made before stays known."""
    return Step(s.spec, application=s.application + 1, n=s.n, made=s.made, commands=s.commands)


def owing(run: Run, s: Step, at: float) -> Run:
    """What is temporary is a debt from its first effect on."""
    if not s.spec.temporary or s.spec.id in run.debts:
        return run
    return replace(run, debts={**run.debts, s.spec.id: Debt(s.spec.id, at)})


def cancelled(run: Run, why: str, steps: Iterable[str]) -> Run:
    """The attempts of these steps are to end."""
    return with_steps(
        run,
        *(
            replace(s, attempt=replace(s.attempt, cancel=why))
            for i in steps
            if (s := run.steps[i]).attempt is not None and not s.attempt.cancel
        ),
    )


def voided(run: Run, decision: str, differences: tuple[str, ...] = (), why: str = "") -> Run:
    """Drops the approvals: what was shown is not what would happen now. Of a choice every way is open again, unless
    something of the one that was taken has been done already."""
    asked = run.asked[decision]
    run = with_steps(run, *map(anew, _struck_out(run, asked)))
    run = with_steps(run, *(replace(s, released=None) for s in run.members(decision)))
    asked = replace(asked, dropped=dropped(asked, differences, why), votes=(), decided=None, opened=None, waited=None)
    return with_asked(run, replace(asked, reminded=None, paged=None, glass=None, taken=""))


def _struck_out(run: Run, asked: Asked) -> list[Step]:
    """Steps of the other ways of a choice that ended because this way was taken, and nothing of it is done yet."""
    taken = [run.steps[i] for i in asked.spec.members]
    if asked.spec.choice is None or asked.decided is None or any(s.applying or s.made or not s.open for s in taken):
        return []
    others = (a for a in run.asked.values() if a.spec.choice == asked.spec.choice and a is not asked)
    return [s for a in others for i in a.spec.members if (s := run.steps[i]).end == "not needed"]


def done_again(run: Run, again: Collection[str], differences: tuple[str, ...] = (), why: str = "") -> Run:
    """These steps are done anew, whatever was said about them so far; what of them is at work comes to rest first."""
    busy = [i for i in again if (a := run.steps[i].attempt) is not None and a.doing != "plan"]
    run = with_steps(run, *(replace(run.steps[i], reset=True) if i in busy else anew(run.steps[i]) for i in again))
    for name in [n for n, a in run.asked.items() if set(again).intersection(a.spec.members)]:
        run = voided(run, name, differences, why)
    return cancelled(run, "superseded", busy)
