"""Clocks that are wrong: what a run has written down of the time, set right. Pure.

A node's clock may have been ahead, and is put back; or it jumps ahead. Neither may strand anything, nor take time away
from a step or a decision.

Invariants:
- nothing that has happened lies in the future for longer than `AHEAD`: it has happened now at the latest, and what was
  to come then comes as much later than now as it was to come later than that;
- a jump ahead is nobody's time: what began before it is as old after it as it was before;
- both are events: what they set right stays so, and every node that folds them agrees.
"""

from __future__ import annotations

from bot.run import events as ev
from bot.run.replacing import replace
from bot.run.state import Asked, BrokenGlass, Debt, Jump, Part, Run, Step

AHEAD = 30.0
"""Seconds by which clocks of nodes may differ, without a word about it."""
LONG = 86400.0
"""Seconds from which on a promise of people is set right too: it was given as a time of the day, which is right where a
clock was wrong by minutes."""


def set_right(run: Run, now: float) -> Run:
    """The run, as if nothing in it had been written by a clock that was ahead of `now`."""
    if run.at <= now + AHEAD:
        return run
    wrong = run.at - now

    def was(moment: float) -> float:
        return min(moment, now)

    def has(moment: float | None) -> float | None:
        return None if moment is None else was(moment)

    def comes(moment: float) -> float:
        return max(now, moment - wrong) if moment > now else moment

    def promised(moment: float | None) -> float | None:
        return comes(moment) if moment is not None and wrong > LONG else moment

    def step(s: Step) -> Step:
        return replace(s, began=has(s.began), ended=has(s.ended), wake=comes(s.wake))

    def asked(a: Asked) -> Asked:
        votes = tuple(replace(v, at=was(v.at)) for v in a.votes)
        return replace(a, votes=votes, opened=has(a.opened), reminded=has(a.reminded), paged=has(a.paged),
                       decided=has(a.decided))  # fmt: skip

    def debt(d: Debt) -> Debt:
        return replace(d, since=was(d.since), until=promised(d.until), reminded=has(d.reminded), missed=has(d.missed))

    def part(p: Part) -> Part:
        return replace(p, since=was(p.since), until=promised(p.until), reminded=has(p.reminded), back=has(p.back))

    def review(r: BrokenGlass) -> BrokenGlass:
        return replace(r, at=was(r.at), reminded=has(r.reminded))

    return replace(
        run,
        at=now,
        created_at=was(run.created_at),
        commander_seen=was(run.commander_seen),
        restored=has(run.restored),
        closed_at=has(run.closed_at),
        back_at=has(run.back_at),
        jumped=None,
        steps={k: step(s) for k, s in run.steps.items()},
        asked={k: asked(a) for k, a in run.asked.items()},
        debts={k: debt(d) for k, d in run.debts.items()},
        parts={k: part(p) for k, p in run.parts.items()},
        reviews={k: review(r) for k, r in run.reviews.items()},
    )


def sooner(e: ev.Event, by: float) -> ev.Event:
    """What was made by a clock that was ahead by this, and is written down by one that is right: a wait is as long as
    it was meant."""
    if isinstance(e, ev.Waiting):
        return replace(e, until=e.until - by)
    return replace(e, retry_at=e.retry_at - by) if isinstance(e, ev.Failed) and e.retry_at is not None else e


def jumped(run: Run, e: ev.ClockJumped, at: float) -> Run:
    """What is under way has not grown older by a jump of the clock; going back has been set right before any fold."""
    if e.by < 0:
        return run

    def later(moment: float | None) -> float | None:
        return None if moment is None else moment + e.by

    def asked(a: Asked) -> Asked:
        if a.opened is None and a.decided is None and not a.votes:
            return a
        votes = tuple(replace(v, at=v.at + e.by) for v in a.votes)
        return replace(a, votes=votes, opened=later(a.opened), decided=later(a.decided))

    begun = {k: replace(s, began=later(s.began)) for k, s in run.steps.items() if s.open and s.began is not None}
    steps, questions = {**run.steps, **begun}, {k: asked(a) for k, a in run.asked.items()}
    return replace(run, steps=steps, asked=questions, commander_seen=run.commander_seen + e.by,
                   jumped=Jump(at, e.by, e.node))  # fmt: skip
