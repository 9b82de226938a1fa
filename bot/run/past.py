"""What waited for people and does no more: kept with how it ended, for those who look at it later. Pure.

Nothing is decided by it: a run goes on the same without it.
"""

from __future__ import annotations

from bot.run import events as ev
from bot.run.replacing import replace
from bot.run.state import Asked, Dropped, Halt, Outcome, PastHalt, PastProposal, Proposal, Run, Succession


def remembered(before: Run, after: Run, event: ev.Event, at: float) -> Run:
    """The run after an event, with every halt that began or ended by it, every proposal that ended, and who was to
    command."""
    over = Outcome(at, event.kind, getattr(event, "by", None), getattr(event, "reason", ""))
    if after.steps is not before.steps:
        began = {i: s.halt for i, s in after.steps.items() if s.halt and s.halt is not _halt(before, i)}
        resolved = {h.step for h in after.halts if h.over is None and after.steps[h.step].halt is not h.halt}
        if began or resolved:
            halts = (replace(h, over=over) if h.over is None and h.step in resolved else h for h in after.halts)
            after = replace(after, halts=(*halts, *(PastHalt(i, h) for i, h in began.items())))
    if any(_calls(after, h) for h in after.halts):
        after = replace(after, halts=tuple(replace(h, called=True) if _calls(after, h) else h for h in after.halts))
    if after.proposals is not before.proposals:
        ended = (p for i, p in before.proposals.items() if i not in after.proposals)
        gone = tuple(PastProposal(p, over, _done(p, event)) for p in ended)
        after = replace(after, past=(*after.past, *gone)) if gone else after
    if isinstance(event, ev.CommandOffered):
        return replace(after, successions=(*after.successions, Succession(event.to, event.by, at)))
    return _taken(before, after, event, at) if isinstance(event, ev.CommandTaken) else after


def _calls(run: Run, h: PastHalt) -> bool:
    """Whether people are to be asked about it from here on."""
    return h.over is None and not h.called and not run.refused(run.steps[h.step], h.halt)


def dropped(asked: Asked, differences: tuple[str, ...], why: str = "") -> Dropped | None:
    """What no longer holds of a decision that is asked anew, and why; what was dropped before, where nobody had said
    anything since."""
    spoken = asked.votes or asked.glass or differences
    return Dropped(asked.votes, asked.glass, differences, why) if spoken else asked.dropped


def _taken(before: Run, after: Run, event: ev.CommandTaken, at: float) -> Run:
    """An offer that was taken stands for itself; after a silence there was none."""
    known = after.successions
    offered = event.how == "handed over" and bool(known) and known[-1].taken is None
    last = known[-1] if offered else Succession(event.by.id, before.commander, at)
    return replace(after, successions=(*(known[:-1] if offered else known), replace(last, taken=event, taken_at=at)))


def _done(p: Proposal, event: ev.Event) -> bool:
    match event:
        case ev.Skipped() | ev.Accepted():
            return p.step == event.step and p.what == {"skipped": "skip", "accepted": "accept"}[event.kind]
        case ev.Retargeted():
            return p.what == "retarget" and p.release == event.target
        case ev.WentWithout():
            return p.what == "without" and p.part == event.part
        case ev.FixAdmitted():
            return p.what == "admit" and p.release == event.release
        case _:
            return False


def _halt(run: Run, step: str) -> Halt | None:
    return run.steps[step].halt if step in run.steps else None
