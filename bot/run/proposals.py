"""What more than one person must want: who must agree, and the folds of what they say. Pure.

Invariants:
- a proposal counts as its author's yes where the author may fill a seat, and for nothing else;
- each yes is kept with the seat that it filled, as policy seated it then.
"""

from __future__ import annotations

from bot.policy import COMMANDER_AND_APPROVER, ONE_APPROVER, Gate
from bot.policy.approval import able
from bot.run import events as ev
from bot.run import places
from bot.run.replacing import replace
from bot.run.state import Proposal, Run


def proposed(run: Run, e: ev.Proposed, at: float) -> Run:
    """Somebody wants it."""
    gate = proposal_gate(run, e.what, e.step)
    counts = able(gate, e.by.roles, e.by.id in run.barred)
    seats = {e.by.id: e.role} if counts and e.role else {}
    new = Proposal(e.id, e.what, e.by, e.reason, gate, (e.by,) if counts else (), at, e.step, e.release, seats=seats,
                   barred=run.barred)  # fmt: skip
    return replace(run, proposals={**run.proposals, e.id: new})


def part_proposed(run: Run, e: ev.PartProposed, at: float) -> Run:
    """Somebody wants to go on without a part: as many people as for letting a fix through."""
    run = proposed(run, ev.Proposed(e.id, "admit", e.by, e.reason, role=e.role), at)
    return places.proposed(run, e, replace(run.proposals[e.id], what="without"))


def agreed(run: Run, e: ev.Agreed, at: float) -> Run:
    """Somebody wants it too."""
    p = run.proposals.get(e.id)
    if p is None:
        return run
    seats = {**p.seats, **e.moved, **({e.by.id: e.role} if e.role else {})}
    return replace(run, proposals={**run.proposals, e.id: replace(p, votes=(*p.votes, e.by), seats=seats)})


def unseated(run: Run) -> dict[str, Proposal]:
    """The open proposals without the yes of those who have come to command since, where commanders do not count."""
    found = {}
    for k, p in run.proposals.items():
        votes = tuple(a for a in p.votes if able(p.gate, a.roles, a.id in run.barred))
        found[k] = replace(p, votes=votes, barred=run.barred)
    return found


def without(run: Run, what: str, step: str = "") -> dict[str, Proposal]:
    """The open proposals but those for this."""
    return {k: p for k, p in run.proposals.items() if not (p.what == what and p.step == step)}


def proposal_gate(run: Run, what: str, step: str = "") -> Gate:
    """Who must agree: on a step its own approvers (else one approver), on the run commander and approver."""
    if what not in ("skip", "accept"):
        return COMMANDER_AND_APPROVER
    asked = run.decision_of(run.steps[step]) if step in run.steps else None
    return asked.spec.gate if asked is not None and asked.spec.gate is not None else ONE_APPROVER
