"""What is done: attempts of steps as events move them, and what people say of a step. Pure."""

from __future__ import annotations

from bot.contract import Change, Receipt, Scope, Status, merged
from bot.run import afterwards, deadlines, places, proposals
from bot.run import events as ev
from bot.run import fold_steps as steps
from bot.run.replacing import replace
from bot.run.state import Attempt, EndKind, Halt, Run, Step, merge


def started(run: Run, e: ev.Started, at: float) -> Run:
    """An attempt is in flight."""
    s = run.steps[e.step]
    began = s.began if s.began is not None or e.doing == "plan" else at
    attempt = Attempt(e.n, e.doing, at, e.node, without=run.left_out)
    return steps.with_steps(run, replace(s, n=e.n, attempt=attempt, began=began))


def planned(run: Run, e: ev.Planned, at: float) -> Run:
    """While votes are pending, what is shown stays as long as it covers what is planned: all bind the same."""
    s = run.steps[e.step]
    outdated = s.attempt.outdated if s.attempt is not None else None
    if outdated and outdated & e.change.targets:
        return steps.with_steps(run, replace(steps.at_rest(s, lost=0), stale=s.change is not None))
    asked = run.decision_of(s)
    voting = asked is not None and bool(asked.votes) and s.released is None
    shown = s.released or (s.change if voting else None)
    beyond = e.change.beyond(shown) if shown is not None else ()
    if not voting or beyond or s.change is None:
        s = replace(s, change=e.change, fingerprint=e.fingerprint)
    s = replace(s, stale=outdated is not None, left=e.left)
    s = steps.at_rest(s, lost=0) if s.attempt is None or s.attempt.doing == "plan" else s
    left = sorted(set(e.left) - s.leave)
    if left:
        seen = ", ".join(f"{t} is {v!r}" for t, v in e.left.items() if t in left)
        hint = "accept leaves them as they are; or put them right and try again"
        s = replace(steps.at_rest(s), halt=Halt("left", f"changed by others since: {seen}", at, hint))
    run = steps.with_steps(run, s)
    return steps.voided(run, asked.spec.name, beyond) if beyond and asked is not None else run


def drifted(run: Run, e: ev.Drifted, at: float) -> Run:
    """It goes beyond what was approved: it is asked again, or halts."""
    s = run.steps[e.step]
    s = replace(steps.at_rest(s, lost=0), change=e.change, fingerprint=e.fingerprint, stale=False)
    s = replace(s, drifts=s.drifts + 1, began=None, replan=s.applying)  # what is then approved is begun anew
    if deadlines.drifted_too_often(s):
        hint = "find out who else writes here, then try again"
        s = replace(s, halt=Halt("drift", f"changed under us {s.drifts} times: {'; '.join(e.differences)}", at, hint))
    run = steps.with_steps(run, replace(s, released=None))
    asked = run.decision_of(s)
    return steps.voided(run, asked.spec.name, e.differences) if asked else run


def apply_started(run: Run, e: ev.ApplyStarted, at: float) -> Run:
    """Effects may be there from now on; what they are leads back."""
    s = run.steps[e.step]
    unseen = s.attempt.without if s.attempt is not None and places.placed(s) else run.left_out
    s = replace(s, applying=True, replan=False, change=e.change, fingerprint=e.fingerprint, stale=False)
    s = s if s.only or not places.placed(s) else replace(s, without=unseen)
    s = replace(s, note=f"could not be asked whether {' and '.join(e.unasked)} may still decide") if e.unasked else s
    if run.undoes(s) is not None:
        return steps.with_steps(run, s)
    if run.steps[e.step].applying and s.made is not None and _redirects(s.made, e.change):
        s = replace(s, redirected=s.redirected + 1, memo={})
    ours = [x for x in e.change.edits if x.target not in e.there]
    edits = merged(s.made.edits if s.made else (), ours)
    if not edits and not e.change.effects:  # all of it was there already: it is only waited for
        return steps.with_steps(run, s)
    run = steps.with_steps(run, replace(s, made=merge(s.made, e.change, edits)))
    return steps.owing(run, s, at) if ours else run


def _redirects(made: Change, now: Change) -> bool:
    """Whether what people approved half-way is not a rest of what had begun: another value, or another effect."""
    begun = {e.target: e.after for e in made.edits}
    other = any(begun.get(e.target, e.after) != e.after for e in now.edits)
    return other or not set(now.effects) <= set(made.effects)


def recorded(run: Run, e: ev.Recorded, at: float) -> Run:
    """A changing call is about to be made."""
    s = run.steps[e.step]
    return steps.with_steps(run, replace(s, commands=(*s.commands, e.command)))


def noted(run: Run, e: ev.Noted, at: float) -> Run:
    """What was found once stays known to its later attempts."""
    s = run.steps[e.step]
    return steps.with_steps(run, replace(s, memo={**s.memo, e.name: e.value}))


def waiting(run: Run, e: ev.Waiting, at: float) -> Run:
    """It takes effect; looked at again later."""
    s = steps.at_rest(run.steps[e.step], lost=0)
    return steps.with_steps(run, replace(s, wake=e.until, note=e.note, done=e.done, total=e.total))


def applied(run: Run, e: ev.Applied, at: float) -> Run:
    """In place."""
    return steps.ended(run, replace(run.steps[e.step], receipt=e.receipt, note=e.receipt.detail), "done", at)


def undone(run: Run, e: ev.Undone, at: float) -> Run:
    """Put back."""
    return _taken_back(run, replace(run.steps[e.step], receipt=e.receipt), "done", e.receipt.detail, at)


def _taken_back(run: Run, s: Step, end: EndKind, how: str, at: float) -> Run:
    """What the step undoes is undone: no debt, nothing left to undo. A step that was undone itself waits for people;
    where the undo was superseded meanwhile (another target), what it gave back is needed again."""
    source = run.undoes(s)
    if source is None:
        return steps.ended(run, replace(s, note=how), end, at)
    unseen = s.attempt.without if s.attempt is not None else run.left_out
    begun = s.without if s.applying and not s.only else frozenset[str]()
    scope = Scope(unseen | begun, s.only)
    rest = tuple(e for e in source.made.edits if not scope.holds(e.target)) if source.made is not None else ()
    debts = {k: d for k, d in run.debts.items() if k != source.spec.id or rest}
    bare = replace(source, made=replace(source.made, edits=rest) if source.made is not None and rest else None)
    if s.spec.undo is not None:
        needed = s.reset and not source.open
        run = steps.with_steps(replace(run, debts=debts), steps.anew(bare) if needed else bare)
        return steps.ended(run, replace(s, note=how), end, at)
    if run.over:
        again = replace(steps.anew(bare), receipt=s.receipt, note=how)
        return steps.ended(replace(run, debts=debts), again, "undone", at)
    halt = Halt("undone", how, at, "try again does it again; skip goes on without it")
    return steps.with_steps(replace(run, debts=debts), replace(steps.anew(bare), receipt=s.receipt, halt=halt))


def checked(run: Run, e: ev.Checked, at: float) -> Run:
    """One look more."""
    s = run.steps[e.step]
    good = run.plan.passes(e.step, e.verdict.status)
    counted = s.samples + (e.verdict.status is not Status.UNKNOWN)
    s = replace(steps.at_rest(s, lost=0), verdict=e.verdict, note=e.verdict.observed, samples=counted)
    s = replace(s, wake=at + s.spec.every)
    s = replace(s, streak=max(s.streak, 0) + 1 if good else min(s.streak, 0) - 1)
    match deadlines.looks(s, at):
        case "enough":
            return steps.ended(run, s, "done", at)
        case "failed":
            return _check_failed(run, s, at)
        case "too few":
            return _check_failed(run, s, at, "too few samples")
    return steps.with_steps(run, s)


def _check_failed(run: Run, s: Step, at: float, why: str = "") -> Run:
    v = s.verdict
    seen = f"{v.status}: {v.observed}; expected {v.expected}" if v else "no answer"
    hint = "try again, or accept it with a reason"
    if v is not None and v.status is Status.WARN:
        hint = f"{hint}: what writes data by itself waits for this, and a warning is not enough to let it loose"
    return _gave_up(run, s, Halt("check", f"{why}; {seen}" if why else seen, at, hint), at)


def failed(run: Run, e: ev.Failed, at: float) -> Run:
    """An attempt ended in an error."""
    s = run.steps[e.step]
    if afterwards.looking(s):
        again = s.attempt is not None and bool(s.attempt.cancel)
        return steps.with_steps(run, replace(steps.at_rest(s), unseen=again, unseeable=e.error))
    s = replace(steps.at_rest(s, lost=0), note=e.error)
    halt = Halt(e.cause, e.error, at, e.hint, e.observed, e.parts)
    if s.adopting:  # it was not done by hand: people know that now, whatever else would follow from a failure
        return steps.with_steps(run, replace(s, adopting=False, halt=halt))
    if e.cause == "retryable" and e.retry_at is not None:
        s = replace(s, failures=s.failures + 1, wake=e.retry_at)
        if deadlines.tried_again(s):
            return steps.with_steps(run, s)
    return _gave_up(run, s, halt, at)


def _gave_up(run: Run, s: Step, halt: Halt, at: float) -> Run:
    """People decide how to go on, unless the plan says that it goes on."""
    if s.spec.on_fail == "continue" and not s.undoing:
        s = replace(s, without=s.without | halt.parts.keys())
        run = places.lost(run, halt.parts, at)
        return steps.ended(run, s if s.spec.id in run.debts else afterwards.given_up(s), "failed", at)
    return steps.with_steps(run, replace(s, halt=halt))


def cancelled(run: Run, e: ev.Cancelled, at: float) -> Run:
    """It ended because it was to."""
    s = steps.at_rest(run.steps[e.step], lost=0)
    if e.why == "timeout":
        return _gave_up(run, s, Halt("timeout", deadlines.not_done(s), at, "look at the target, then try again"), at)
    return steps.with_steps(run, replace(s, wake=0.0))


def lost(run: Run, e: ev.Lost, at: float) -> Run:
    """It will never report."""
    s = run.steps[e.step]
    looked = afterwards.looking(s)
    s = steps.at_rest(s, lost=s.lost + 1)
    if looked:
        return steps.with_steps(run, replace(s, unseen=not deadlines.lost_too_often(s), unseeable=e.why))
    if deadlines.lost_too_often(s) and not run.over:
        error = f"its process died {s.lost} times in a row ({e.why})"
        s = replace(s, halt=Halt("lost", error, at, "look at the bot's log, then try again"))
    return steps.with_steps(run, s)


def not_needed(run: Run, e: ev.NotNeeded, at: float) -> Run:
    """Its condition does not hold."""
    s = replace(run.steps[e.step], why=e.why)
    return steps.ended(run, places.ended(run, s) if s.only else s, "not needed", at)


def retried(run: Run, e: ev.Retried, at: float) -> Run:
    """Somebody wants it tried again."""
    s = run.steps[e.step]
    return steps.with_steps(run, afterwards.cleared(replace(s, halt=None, replan=s.applying, stale=steps.forecast(s))))


def skipped(run: Run, e: ev.Skipped, at: float) -> Run:
    """It is left out."""
    run = replace(run, proposals=proposals.without(run, "skip", e.step))
    s = replace(run.steps[e.step], halt=None, by=e.by, why=e.reason)
    return steps.ended(run, s if e.step in run.debts else afterwards.given_up(s), "skipped", at)


def accepted(run: Run, e: ev.Accepted, at: float) -> Run:
    """It is taken as it is."""
    run = replace(run, proposals=proposals.without(run, "accept", e.step))
    s = replace(run.steps[e.step], by=e.by, why=e.reason, halt=None)
    if s.left:
        s = replace(s, leave=s.leave | frozenset(s.left))
        if s.change is not None and not s.change.is_noop:
            return steps.with_steps(run, s)
        return _taken_back(run, s, "accepted", "what others changed was left as it is", at)
    return steps.ended(run, s, "accepted", at)


def adopt_asked(run: Run, e: ev.AdoptAsked, at: float) -> Run:
    """Somebody says it was done by hand: it is looked at."""
    s = replace(run.steps[e.step], adopting=True, halt=None, wake=0.0, by=e.by, why=e.reason)
    return steps.with_steps(run, s)


def adopted(run: Run, e: ev.Adopted, at: float) -> Run:
    """It was done by hand."""
    s = run.steps[e.step]
    if run.undoes(s) is not None:
        return _taken_back(run, s, "adopted", e.summary, at)
    if s.made is None and (s.change is None or s.change.edits):  # as planned, so it can be undone, and is owed
        s = replace(s, made=s.change)
        run = steps.owing(run, s, at)
    return steps.ended(run, replace(s, note=e.summary, receipt=Receipt(e.summary, output=e.output)), "adopted", at)
