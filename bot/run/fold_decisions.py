"""What is asked of people, as events move it; and which decisions are open after any of them. Pure."""

from __future__ import annotations

from bot.run import afterwards
from bot.run import events as ev
from bot.run import fold_steps as steps
from bot.run.replacing import replace
from bot.run.state import Asked, Given, Run, Step, overlapping, votes_suffice


def approved(run: Run, e: ev.Approved, at: float) -> Run:
    """One more yes."""
    asked = run.asked[e.decision]
    before = (replace(g, role=e.moved.get(g.by.id, g.role)) for g in asked.votes)
    asked = replace(asked, votes=(*before, Given(e.by, e.role, at, e.fingerprints, e.young)))
    if votes_suffice(asked):
        return _release(run, asked, at)
    waiting = (replace(s, stale=s.change is not None) for s in run.members(e.decision))
    return steps.with_asked(steps.with_steps(run, *waiting), asked)


def broke_glass(run: Run, e: ev.BrokeGlass, at: float) -> Run:
    """One person has opened it alone."""
    run = afterwards.glass_broken(run, e, at)
    return _release(run, replace(run.asked[e.decision], glass=e.by, glass_young=e.young, taken=e.reason), at)


def taken(run: Run, e: ev.Taken, at: float) -> Run:
    """Nobody had to be asked."""
    return _release(run, replace(run.asked[e.decision], taken=e.why), at)


def declined(run: Run, e: ev.Declined, at: float) -> Run:
    """Somebody says not now."""
    asked = run.asked[e.decision]
    return steps.with_asked(run, replace(asked, declined=(*asked.declined, (e.by, e.reason, at))))


def reminded(run: Run, e: ev.Reminded, at: float) -> Run:
    """People were reminded: what they are shown is looked at again."""
    return _look_again(steps.with_asked(run, replace(run.asked[e.decision], reminded=at)), e.decision)


def paged(run: Run, e: ev.Paged, at: float) -> Run:
    """People were paged, likewise."""
    return _look_again(steps.with_asked(run, replace(run.asked[e.decision], paged=at)), e.decision)


def lapsed(run: Run, e: ev.Lapsed, at: float) -> Run:
    """Asked again, as the world is now; what was about to begin does not."""
    asked = run.asked[e.decision]
    own = (s for s in run.steps.values() if run.decision_of(s) is asked and s.open and not s.applying)
    acting = (s for s in own if s.attempt and s.attempt.doing in ("apply", "undo"))
    about = (replace(steps.at_rest(s, lost=0), began=None) for s in acting)
    return _look_again(steps.voided(steps.with_steps(run, *about), e.decision, why=e.why), e.decision)


def _release(run: Run, asked: Asked, at: float) -> Run:
    free = [replace(s, released=s.released or s.change) for s in run.members(asked.spec.name)]
    run = steps.with_steps(run, *(steps.finished(s, "done", at) if s.spec.kind == "gate" else s for s in free))
    waited = None if asked.opened is None else at - asked.opened
    return steps.with_asked(run, replace(asked, decided=at, opened=None, waited=waited, dropped=None))


def _look_again(run: Run, decision: str) -> Run:
    return steps.with_steps(run, *(replace(s, stale=s.change is not None) for s in run.members(decision)))


def refreshed(run: Run, at: float) -> Run:
    """Which decisions are open: every member is planned as things stand, and nobody earlier will change that. It is
    asked from the beginning as soon as it has a member that is not what everybody so far has said yes to."""
    for name, asked in run.asked.items():
        if (asked.votes or asked.decided is not None) and not _bound(run, asked):
            run = steps.voided(run, name, why=_back_again(run, name))
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
