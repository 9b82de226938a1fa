"""Events -> state: `evolve` folds one event into a run. Pure: no clock, no I/O.

It never refuses (rules.py does, before an event is written) and ignores kinds that it does not know. One small
function a kind; what follows from every event (which decisions are open) is worked out once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, cast

from bot.contract import Change, Receipt, Scope, Status, merged
from bot.policy import Actor
from bot.run import afterwards, places, proposals
from bot.run import events as ev
from bot.run.again import redone, widened
from bot.run.moments import jumped, set_right
from bot.run.past import dropped, remembered
from bot.run.replacing import replace
from bot.run.state import (
    Asked,
    Attempt,
    Debt,
    End,
    Given,
    Halt,
    Run,
    Step,
    merge,
    overlapping,
    touches,
    votes_suffice,
)
from bot.run.where import met

DRIFTS = 3
"""Drifts after which a step halts: somebody else keeps writing."""
LOSSES = 3
"""Lost attempts in a row after which a step halts."""
WATCH_FAILS = 2
"""Failing samples in a row after which a watch halts."""
WATCH_WAITS = 2.0
"""How many times its time a watch goes on for the samples that it lacks (the bot was away) before it halts."""


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
    return _refresh(after, at) if fold and not isinstance(event, ev.Recorded | ev.Noted) else after


# -- the run ---------------------------------------------------------------------------------------------------------


def _created(run: Run, e: ev.Created, at: float) -> Run:
    return replace(
        run, created=e, created_at=at, target=e.target, places=e.places, commander=e.by, commander_seen=at,
        commanded=frozenset({e.by.id}), impossible=e.impossible,
        steps={s.id: Step(s) for s in e.plan.steps},
        asked={d.name: Asked(d) for d in e.plan.decisions},
    )  # fmt: skip


def _stopped(run: Run, e: ev.Stopped, at: float) -> Run:
    return _cancel(replace(run, stopped=e.by), "stopped", (s.spec.id for s in run.in_flight))


def _resumed(run: Run, e: ev.Resumed, at: float) -> Run:
    """The clocks of what had begun start anew: the time in which nothing could happen does not count."""
    begun = [s for s in run.steps.values() if s.open and s.began is not None]
    return _set(replace(run, stopped=None), *(replace(s, began=at if s.attempt else None) for s in begun))


def _aborted(run: Run, e: ev.Aborted, at: float) -> Run:
    run = replace(run, aborted=e.by, abort_reason=e.reason, stopped=None, proposals={})
    restoring = {s.spec.id for s in run.in_flight if s.undoing and s.spec.id in run.debts}
    left = (replace(s, reset=False) for s in run.steps.values() if s.made is not None or s.reset)
    run = _set(run, *(s if s.spec.id in run.debts else afterwards.given_up(s) for s in left))
    return _cancel(run, "aborted", (s.spec.id for s in run.in_flight if s.spec.id not in restoring))


def _retargeted(run: Run, e: ev.Retargeted, at: float) -> Run:
    tried = ((run.target, e.reason),) if run.target else ()
    again = redone(run)
    asked = {n: a for n, a in run.asked.items() if n not in {f"undo.{i}" for i in again}}
    run = replace(
        run, target=e.target, tried=(*run.tried, *tried), restored=None, proposals={}, asked=asked
    )  # fmt: skip
    return _again(run, again, why=f"{e.target.version} is to be restored now")


def _relocated(run: Run, e: ev.Relocated, at: float) -> Run:
    """What reaches the places that differ is asked again, for these."""
    again = met(run, e.places)
    return _again(replace(run, places=e.places, restored=None), again, e.differences)


def _again(run: Run, again: Collection[str], differences: tuple[str, ...] = (), why: str = "") -> Run:
    """These steps are done anew, whatever was said about them so far; what of them is at work comes to rest first."""
    busy = [i for i in again if (a := run.steps[i].attempt) is not None and a.doing != "plan"]
    run = _set(run, *(replace(run.steps[i], reset=True) if i in busy else _anew(run.steps[i]) for i in again))
    for name in [n for n, a in run.asked.items() if set(again).intersection(a.spec.members)]:
        run = _void(run, name, differences, why)
    return _cancel(run, "superseded", busy)


def _admitted(run: Run, e: ev.FixAdmitted, at: float) -> Run:
    """What refuses new releases is widened for this one: its undo still leads to what was there before the run."""
    waiting = {k: p for k, p in run.proposals.items() if p.what != "admit" or p.release != e.release}
    run = replace(run, admitted=(*run.admitted, e.release), proposals=waiting)
    return _again(run, widened(run), why=f"{e.release.version} is let through the freeze")


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


def _people_changed(run: Run, e: ev.PeopleChanged, at: float) -> Run:
    return replace(run, impossible=e.impossible)


def _restored(run: Run, e: ev.Restored, at: float) -> Run:
    return replace(run, restored=at)


def _closed(run: Run, e: ev.Closed, at: float) -> Run:
    return replace(run, closed=e, closed_at=at, proposals={})


# -- deciding --------------------------------------------------------------------------------------------------------


def _approved(run: Run, e: ev.Approved, at: float) -> Run:
    asked = run.asked[e.decision]
    before = (replace(g, role=e.moved.get(g.by.id, g.role)) for g in asked.votes)
    asked = replace(asked, votes=(*before, Given(e.by, e.role, at, e.fingerprints, e.young)))
    if votes_suffice(asked):
        return _release(run, asked, at)
    waiting = (replace(s, stale=s.change is not None) for s in run.members(e.decision))
    return _ask(_set(run, *waiting), asked)


def _broke_glass(run: Run, e: ev.BrokeGlass, at: float) -> Run:
    run = afterwards.glass_broken(run, e, at)
    return _release(run, replace(run.asked[e.decision], glass=e.by, glass_young=e.young, taken=e.reason), at)


def _taken(run: Run, e: ev.Taken, at: float) -> Run:
    return _release(run, replace(run.asked[e.decision], taken=e.why), at)


def _declined(run: Run, e: ev.Declined, at: float) -> Run:
    asked = run.asked[e.decision]
    return _ask(run, replace(asked, declined=(*asked.declined, (e.by, e.reason, at))))


def _reminded(run: Run, e: ev.Reminded, at: float) -> Run:
    return _look_again(_ask(run, replace(run.asked[e.decision], reminded=at)), e.decision)


def _paged(run: Run, e: ev.Paged, at: float) -> Run:
    return _look_again(_ask(run, replace(run.asked[e.decision], paged=at)), e.decision)


def _lapsed(run: Run, e: ev.Lapsed, at: float) -> Run:
    """Asked again, as the world is now; what was about to begin does not."""
    asked = run.asked[e.decision]
    own = (s for s in run.steps.values() if run.decision_of(s) is asked and s.open and not s.applying)
    about = (replace(_over(s, lost=0), began=None) for s in own if s.attempt and s.attempt.doing in ("apply", "undo"))
    return _look_again(_void(_set(run, *about), e.decision, why=e.why), e.decision)


def _release(run: Run, asked: Asked, at: float) -> Run:
    free = [replace(s, released=s.released or s.change) for s in run.members(asked.spec.name)]
    run = _set(run, *(_finish(s, "done", at) if s.spec.kind == "gate" else s for s in free))
    waited = None if asked.opened is None else at - asked.opened
    return _ask(run, replace(asked, decided=at, opened=None, waited=waited, dropped=None))


def _look_again(run: Run, decision: str) -> Run:
    return _set(run, *(replace(s, stale=s.change is not None) for s in run.members(decision)))


def _void(run: Run, decision: str, differences: tuple[str, ...] = (), why: str = "") -> Run:
    """Drops the approvals: what was shown is not what would happen now. Of a choice every way is open again, unless
    something of the one that was taken has been done already."""
    asked = run.asked[decision]
    run = _set(run, *map(_anew, _struck_out(run, asked)))
    run = _set(run, *(replace(s, released=None) for s in run.members(decision)))
    asked = replace(asked, dropped=dropped(asked, differences, why), votes=(), decided=None, opened=None, waited=None)
    return _ask(run, replace(asked, reminded=None, paged=None, glass=None, taken=""))


def _struck_out(run: Run, asked: Asked) -> list[Step]:
    """Steps of the other ways of a choice that ended because this way was taken, and nothing of it is done yet."""
    taken = [run.steps[i] for i in asked.spec.members]
    if asked.spec.choice is None or asked.decided is None or any(s.applying or s.made or not s.open for s in taken):
        return []
    others = (a for a in run.asked.values() if a.spec.choice == asked.spec.choice and a is not asked)
    return [s for a in others for i in a.spec.members if (s := run.steps[i]).end == "not needed"]


# -- attempts --------------------------------------------------------------------------------------------------------


def _started(run: Run, e: ev.Started, at: float) -> Run:
    s = run.steps[e.step]
    began = s.began if s.began is not None or e.doing == "plan" else at
    return _set(run, replace(s, n=e.n, attempt=Attempt(e.n, e.doing, at, e.node, without=run.left_out), began=began))


def _planned(run: Run, e: ev.Planned, at: float) -> Run:
    """While votes are pending, what is shown stays as long as it covers what is planned: all bind the same."""
    s = run.steps[e.step]
    outdated = s.attempt.outdated if s.attempt is not None else None
    if outdated and outdated & e.change.targets:
        return _set(run, replace(_over(s, lost=0), stale=s.change is not None))
    asked = run.decision_of(s)
    voting = asked is not None and bool(asked.votes) and s.released is None
    shown = s.released or (s.change if voting else None)
    beyond = e.change.beyond(shown) if shown is not None else ()
    if not voting or beyond or s.change is None:
        s = replace(s, change=e.change, fingerprint=e.fingerprint)
    s = replace(s, stale=outdated is not None, left=e.left)
    s = _over(s, lost=0) if s.attempt is None or s.attempt.doing == "plan" else s
    left = sorted(set(e.left) - s.leave)
    if left:
        seen = ", ".join(f"{t} is {v!r}" for t, v in e.left.items() if t in left)
        hint = "accept leaves them as they are; or put them right and try again"
        s = replace(_over(s), halt=Halt("left", f"changed by others since: {seen}", at, hint))
    run = _set(run, s)
    return _void(run, asked.spec.name, beyond) if beyond and asked is not None else run


def _drifted(run: Run, e: ev.Drifted, at: float) -> Run:
    s = run.steps[e.step]
    s = replace(_over(s, lost=0), change=e.change, fingerprint=e.fingerprint, stale=False)
    s = replace(s, drifts=s.drifts + 1, began=None, replan=s.applying)  # what is then approved is begun anew
    if s.drifts >= DRIFTS:
        hint = "find out who else writes here, then try again"
        s = replace(s, halt=Halt("drift", f"changed under us {s.drifts} times: {'; '.join(e.differences)}", at, hint))
    run = _set(run, replace(s, released=None))
    asked = run.decision_of(s)
    return _void(run, asked.spec.name, e.differences) if asked else run


def _apply_started(run: Run, e: ev.ApplyStarted, at: float) -> Run:
    s = run.steps[e.step]
    unseen = s.attempt.without if s.attempt is not None and places.placed(s) else run.left_out
    s = replace(s, applying=True, replan=False, change=e.change, fingerprint=e.fingerprint, stale=False)
    s = s if s.only or not places.placed(s) else replace(s, without=unseen)
    s = replace(s, note=f"could not be asked whether {' and '.join(e.unasked)} may still decide") if e.unasked else s
    if run.undoes(s) is not None:
        return _set(run, s)
    if run.steps[e.step].applying and s.made is not None and _redirects(s.made, e.change):
        s = replace(s, redirected=s.redirected + 1, memo={})
    ours = [x for x in e.change.edits if x.target not in e.there]
    edits = merged(s.made.edits if s.made else (), ours)
    if not edits and not e.change.effects:  # all of it was there already: it is only waited for
        return _set(run, s)
    run = _set(run, replace(s, made=merge(s.made, e.change, edits)))
    return _owe(run, s, at) if ours else run


def _redirects(made: Change, now: Change) -> bool:
    """Whether what people approved half-way is not a rest of what had begun: another value, or another effect."""
    begun = {e.target: e.after for e in made.edits}
    other = any(begun.get(e.target, e.after) != e.after for e in now.edits)
    return other or not set(now.effects) <= set(made.effects)


def _recorded(run: Run, e: ev.Recorded, at: float) -> Run:
    s = run.steps[e.step]
    return _set(run, replace(s, commands=(*s.commands, e.command)))


def _noted(run: Run, e: ev.Noted, at: float) -> Run:
    s = run.steps[e.step]
    return _set(run, replace(s, memo={**s.memo, e.name: e.value}))


def _waiting(run: Run, e: ev.Waiting, at: float) -> Run:
    s = _over(run.steps[e.step], lost=0)
    return _set(run, replace(s, wake=e.until, note=e.note, done=e.done, total=e.total))


def _applied(run: Run, e: ev.Applied, at: float) -> Run:
    return _ended(run, replace(run.steps[e.step], receipt=e.receipt, note=e.receipt.detail), "done", at)


def _undone(run: Run, e: ev.Undone, at: float) -> Run:
    return _taken_back(run, replace(run.steps[e.step], receipt=e.receipt), "done", e.receipt.detail, at)


def _taken_back(run: Run, s: Step, end: End, how: str, at: float) -> Run:
    """What the step undoes is undone: no debt, nothing left to undo. A step that was undone itself waits for people;
    where the undo was superseded meanwhile (another target), what it gave back is needed again."""
    source = run.undoes(s)
    if source is None:
        return _ended(run, replace(s, note=how), end, at)
    unseen = s.attempt.without if s.attempt is not None else run.left_out
    begun = s.without if s.applying and not s.only else frozenset[str]()
    scope = Scope(unseen | begun, s.only)
    rest = tuple(e for e in source.made.edits if not scope.holds(e.target)) if source.made is not None else ()
    debts = {k: d for k, d in run.debts.items() if k != source.spec.id or rest}
    bare = replace(source, made=replace(source.made, edits=rest) if source.made is not None and rest else None)
    if s.spec.undo is not None:
        needed = s.reset and not source.open
        run = _set(replace(run, debts=debts), _anew(bare) if needed else bare)
        return _ended(run, replace(s, note=how), end, at)
    if run.over:
        again = replace(_anew(bare), receipt=s.receipt, note=how)
        return _ended(replace(run, debts=debts), again, "undone", at)
    halt = Halt("undone", how, at, "try again does it again; skip goes on without it")
    return _set(replace(run, debts=debts), replace(_anew(bare), receipt=s.receipt, halt=halt))


def _checked(run: Run, e: ev.Checked, at: float) -> Run:
    s = run.steps[e.step]
    good = e.verdict.status.good
    counted = s.samples + (e.verdict.status is not Status.UNKNOWN)
    s = replace(_over(s, lost=0), verdict=e.verdict, note=e.verdict.observed, samples=counted, wake=at + s.spec.every)
    s = replace(s, streak=max(s.streak, 0) + 1 if good else min(s.streak, 0) - 1)
    began = s.began if s.began is not None else at
    if s.spec.kind == "watch":
        if s.streak <= -WATCH_FAILS:
            return _check_failed(run, s, at)
        lasted, enough = at - began, s.samples >= s.spec.passes
        if lasted >= s.spec.lasting and good and enough:
            return _ended(run, s, "done", at)
        late = lasted >= WATCH_WAITS * s.spec.lasting and not enough
        return _check_failed(run, s, at, "too few samples") if late else _set(run, s)
    if s.streak >= s.spec.passes:
        return _ended(run, s, "done", at)
    late = at >= began + s.spec.within
    return _check_failed(run, s, at) if late and not good else _set(run, s)


def _check_failed(run: Run, s: Step, at: float, why: str = "") -> Run:
    v = s.verdict
    seen = f"{v.status}: {v.observed}; expected {v.expected}" if v else "no answer"
    hint = "try again, or accept it with a reason"
    return _gave_up(run, s, Halt("check", f"{why}; {seen}" if why else seen, at, hint), at)


def _failed(run: Run, e: ev.Failed, at: float) -> Run:
    s = run.steps[e.step]
    if afterwards.looking(s):
        again = s.attempt is not None and bool(s.attempt.cancel)
        return _set(run, replace(_over(s), unseen=again, unseeable=e.error))
    s = replace(_over(s, lost=0), note=e.error)
    halt = Halt(e.cause, e.error, at, e.hint, e.observed, e.parts)
    if s.adopting:  # it was not done by hand: people know that now, whatever else would follow from a failure
        return _set(run, replace(s, adopting=False, halt=halt))
    if e.cause == "retryable" and e.retry_at is not None:
        s = replace(s, failures=s.failures + 1, wake=e.retry_at)
        if s.failures <= s.spec.failures:
            return _set(run, s)
    return _gave_up(run, s, halt, at)


def _gave_up(run: Run, s: Step, halt: Halt, at: float) -> Run:
    """People decide how to go on, unless the plan says that it goes on."""
    if s.spec.on_fail == "continue" and not s.undoing:
        s = replace(s, without=s.without | halt.parts.keys())
        run = places.lost(run, halt.parts, at)
        return _ended(run, s if s.spec.id in run.debts else afterwards.given_up(s), "failed", at)
    return _set(run, replace(s, halt=halt))


def _cancelled(run: Run, e: ev.Cancelled, at: float) -> Run:
    s = _over(run.steps[e.step], lost=0)
    if e.why == "timeout":
        error = f"not done after {s.limit:g} s: {s.note or 'no word from it'}"
        return _gave_up(run, s, Halt("timeout", error, at, "look at the target, then try again"), at)
    return _set(run, replace(s, wake=0.0))


def _lost(run: Run, e: ev.Lost, at: float) -> Run:
    s = run.steps[e.step]
    looked = afterwards.looking(s)
    s = _over(s, lost=s.lost + 1)
    if looked:
        return _set(run, replace(s, unseen=s.lost < LOSSES, unseeable=e.why))
    if s.lost >= LOSSES and not run.over:
        error = f"its process died {s.lost} times in a row ({e.why})"
        s = replace(s, halt=Halt("lost", error, at, "look at the bot's log, then try again"))
    return _set(run, s)


def _not_needed(run: Run, e: ev.NotNeeded, at: float) -> Run:
    s = replace(run.steps[e.step], why=e.why)
    return _ended(run, places.ended(run, s) if s.only else s, "not needed", at)


# -- people and steps ------------------------------------------------------------------------------------------------


def _retried(run: Run, e: ev.Retried, at: float) -> Run:
    s = run.steps[e.step]
    return _set(run, afterwards.cleared(replace(s, halt=None, replan=s.applying, stale=_forecast(s))))


def _skipped(run: Run, e: ev.Skipped, at: float) -> Run:
    run = replace(run, proposals=proposals.without(run, "skip", e.step))
    s = replace(run.steps[e.step], halt=None, by=e.by, why=e.reason)
    return _ended(run, s if e.step in run.debts else afterwards.given_up(s), "skipped", at)


def _accepted(run: Run, e: ev.Accepted, at: float) -> Run:
    run = replace(run, proposals=proposals.without(run, "accept", e.step))
    s = replace(run.steps[e.step], by=e.by, why=e.reason, halt=None)
    if s.left:
        s = replace(s, leave=s.leave | frozenset(s.left))
        if s.change is not None and not s.change.is_noop:
            return _set(run, s)
        return _taken_back(run, s, "accepted", "what others changed was left as it is", at)
    return _ended(run, s, "accepted", at)


def _adopt_asked(run: Run, e: ev.AdoptAsked, at: float) -> Run:
    s = replace(run.steps[e.step], adopting=True, halt=None, wake=0.0, by=e.by, why=e.reason)
    return _set(run, s)


def _adopted(run: Run, e: ev.Adopted, at: float) -> Run:
    s = run.steps[e.step]
    if run.undoes(s) is not None:
        return _taken_back(run, s, "adopted", e.summary, at)
    if s.made is None and (s.change is None or s.change.edits):  # as planned, so it can be undone, and is owed
        s = replace(s, made=s.change)
        run = _owe(run, s, at)
    return _ended(run, replace(s, note=e.summary, receipt=Receipt(e.summary, output=e.output)), "adopted", at)


# -- shared ----------------------------------------------------------------------------------------------------------


def _refresh(run: Run, at: float) -> Run:
    """Which decisions are open: every member is planned as things stand, and nobody earlier will change that. It is
    asked from the beginning as soon as it has a member that is not what everybody so far has said yes to."""
    for name, asked in run.asked.items():
        if (asked.votes or asked.decided is not None) and not _bound(run, asked):
            run = _void(run, name, why=_back_again(run, name))
    changed: dict[str, Asked] = {}
    for name, asked in run.asked.items():
        opened = (asked.opened if asked.opened is not None else at) if _can_be_decided(run, asked) else None
        if opened != asked.opened:
            changed[name] = replace(asked, opened=opened, shown=asked.shown or opened is not None)
    return replace(run, asked={**run.asked, **changed}) if changed else run


def _back_again(run: Run, decision: str) -> str:
    """Why it is asked anew where that is for what was left out: "us-1 is back, and gets its share now"."""
    back = sorted(frozenset[str]().union(*(s.only for s in run.members(decision) if s.released is None)))
    one = len(back) == 1
    said = f"{', '.join(back)} {'is' if one else 'are'} back, and {'gets its' if one else 'get their'} share now"
    return said if back else ""


def _bound(run: Run, asked: Asked) -> bool:
    """Whether the votes (or the decision) hold for each member that waits for them."""
    waiting = [s for s in run.members(asked.spec.name) if s.released is None]
    if asked.decided is not None:
        return not waiting
    return all(v.fingerprints.get(s.spec.id) == s.fingerprint for s in waiting for v in asked.votes)


def _can_be_decided(run: Run, asked: Asked) -> bool:
    if asked.decided is not None or (run.over and not any(run.goes_on(s) for s in run.members(asked.spec.name))):
        return False
    if asked.spec.choice is not None and (run.chosen(asked.spec.choice) or run.begun_otherwise(asked)):
        return False
    members = list(run.members(asked.spec.name))
    return bool(members) and all(_decidable(run, s) for s in members)


def _decidable(run: Run, s: Step) -> bool:
    if s.spec.kind == "gate":
        return not run.awaited(s)
    return s.change is not None and s.halt is None and not overlapping(run, s)


def _set(run: Run, *steps: Step) -> Run:
    """The run with these steps; what was planned before a step ended that comes earlier is planned again."""
    if not steps:
        return run
    new = {s.spec.id: _anew(s) if s.reset and s.attempt is None else s for s in steps}
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
            run = _void(run, asked.spec.name, tuple(f"{t}: {ended.spec.title} has acted on it since" for t in met))
    return run


def _forecast(s: Step) -> bool:
    """Whether what it would do is shown to people who have yet to decide: what was let pass is planned as it acts."""
    return s.change is not None and not s.applying and s.released is None


def _put(run: Run, step: Step) -> Run:
    return replace(run, steps={**run.steps, step.spec.id: step})


def _ask(run: Run, asked: Asked) -> Run:
    return replace(run, asked={**run.asked, asked.spec.name: asked})


def _over(s: Step, lost: int | None = None) -> Step:
    return replace(s, attempt=None, lost=s.lost if lost is None else lost)


def _finish(s: Step, end: End, at: float) -> Step:
    return replace(_over(s), end=end, ended=at, halt=None, applying=False, adopting=False, wake=0.0)


def _ended(run: Run, s: Step, end: End, at: float) -> Run:
    s = places.ended(run, s) if end in places.ENDED_WELL else s
    return places.caught_up(_set(run, _finish(s, end, at)))


def _anew(s: Step) -> Step:
    """A new application of the step, as if it had never been planned; what it made before stays known."""
    return Step(s.spec, application=s.application + 1, n=s.n, made=s.made, commands=s.commands)


def _owe(run: Run, s: Step, at: float) -> Run:
    if not s.spec.temporary or s.spec.id in run.debts:
        return run
    return replace(run, debts={**run.debts, s.spec.id: Debt(s.spec.id, at)})


def _cancel(run: Run, why: str, steps: Iterable[str]) -> Run:
    return _set(
        run,
        *(
            replace(s, attempt=replace(s.attempt, cancel=why))
            for i in steps
            if (s := run.steps[i]).attempt is not None and not s.attempt.cancel
        ),
    )


_Fold = Callable[[Run, Any, float], Run]
_FOLD: dict[type, _Fold] = cast(dict[type, _Fold], {
    ev.Created: _created, ev.Stopped: _stopped, ev.Resumed: _resumed, ev.Aborted: _aborted,
    ev.Proposed: proposals.proposed, ev.Agreed: proposals.agreed, ev.Retargeted: _retargeted, ev.FixAdmitted: _admitted,
    ev.Relocated: _relocated,
    ev.CommandOffered: _offered, ev.CommandTaken: _command_taken, ev.PeopleChanged: _people_changed,
    ev.Restored: _restored, ev.Closed: _closed, ev.Approved: _approved, ev.Declined: _declined,
    ev.BrokeGlass: _broke_glass, ev.Taken: _taken, ev.Lapsed: _lapsed, ev.Reminded: _reminded, ev.Paged: _paged,
    ev.Started: _started, ev.Planned: _planned, ev.Drifted: _drifted, ev.ApplyStarted: _apply_started,
    ev.Recorded: _recorded, ev.Noted: _noted, ev.Waiting: _waiting, ev.Applied: _applied, ev.Undone: _undone,
    ev.Checked: _checked, ev.Failed: _failed, ev.Cancelled: _cancelled, ev.Lost: _lost,
    ev.NotNeeded: _not_needed, ev.Retried: _retried, ev.Skipped: _skipped, ev.Accepted: _accepted,
    ev.UndoAsked: afterwards.undo_asked, ev.HandedOver: afterwards.handed_over, ev.AdoptAsked: _adopt_asked,
    ev.Adopted: _adopted, ev.Seen: afterwards.seen, ev.Inherited: afterwards.inherited,
    ev.TakenOver: afterwards.taken_over, ev.Overdue: afterwards.overdue, ev.Lifted: afterwards.lifted,
    ev.CameBack: afterwards.came_back,    ev.Reviewed: afterwards.reviewed,
    ev.PartProposed: proposals.part_proposed, ev.WentWithout: places.went_without, ev.PartBack: places.part_back,
    ev.ClockJumped: jumped,
    ev.PartHandedOver: places.handed_over,
})  # fmt: skip
