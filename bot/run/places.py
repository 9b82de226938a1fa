"""Parts of the catalogue that a run goes on without, and what becomes of them: the folds. Pure.

One decision serves every step: from then on no step sees the part. What each was done without is kept with it, so
when the part is back exactly that is done: planned again for the part alone, asked for once, in the plan's order.

Invariants:
- a step that ended without a part owes it (`Step.without`) until it has ended well for that part too;
- nothing is left out but by a decision, or by a step whose plan says that it goes on whatever comes; both are named;
- checks that ended without a part look again once it is back, at everything.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.run import events as ev
from bot.run.afterwards import cleared
from bot.run.replacing import replace
from bot.run.state import Part, Proposal, Run, Step

PLACED = "kubernetes"
"""The port behind which there are several places. A step that declares none of its needs is taken for one, too."""
ENDED_WELL = ("done", "adopted", "accepted")


def placed(s: Step) -> bool:
    """Whether what the step does depends on which places it sees."""
    return s.spec.kind != "gate" and s.spec.phase != "preflight" and (not s.spec.needs or PLACED in s.spec.needs)


# -- leaving out -------------------------------------------------------------------------------------------------------


def proposed(run: Run, e: ev.PartProposed, proposal: Proposal) -> Run:
    """Somebody wants to go on without it."""
    return replace(run, proposals={**run.proposals, e.id: replace(proposal, part=e.part, why=e.why)})


def went_without(run: Run, e: ev.WentWithout, at: float) -> Run:
    """Whatever stood still for the part alone goes on; what is at work begins again without it."""
    parts = {**run.parts, e.part: Part(e.part, e.why, at, e.by, e.reason)}
    waiting = {k: p for k, p in run.proposals.items() if p.part != e.part}
    run = replace(run, parts=parts, proposals=waiting)
    steps = {i: _without(run, s, e.part) if s.open else s for i, s in run.steps.items()}
    return replace(run, steps=steps)


def _without(run: Run, s: Step, part: str) -> Step:
    if s.halt is not None and s.halt.parts and set(s.halt.parts) <= run.left_out:
        s = cleared(replace(s, halt=None))
    if s.attempt is not None and not s.attempt.cancel and placed(s):
        s = replace(s, attempt=replace(s.attempt, cancel=f"goes on without {part}"))
    return replace(s, replan=s.applying, stale=s.change is not None and not s.applying, wake=0.0)


def lost(run: Run, parts: Mapping[str, str], at: float) -> Run:
    """A step that goes on whatever comes has ended without these: they are owed, though nobody has decided so."""
    new = {p: Part(p, why, at, back=at) for p, why in parts.items() if p not in run.parts}
    return replace(run, parts={**run.parts, **new})


def handed_over(run: Run, e: ev.PartHandedOver, at: float) -> Run:
    """What a part is owed is a named person's."""
    part = replace(run.parts[e.part], owner=e.to, until=e.until, reminded=None)
    return replace(run, parts={**run.parts, e.part: part})


# -- ending without it, and with it ------------------------------------------------------------------------------------


def ended(run: Run, s: Step) -> Step:
    """A step that has ended well: what it was done without, it owes."""
    if not placed(s):
        return s
    unseen = s.attempt.without if s.attempt is not None else run.left_out
    if s.only:
        return replace(s, without=(s.without - s.only) | (unseen & s.only), only=frozenset())
    return replace(s, without=unseen | (s.without if s.applying else frozenset()))  # as begun, and as ended


# -- it is back --------------------------------------------------------------------------------------------------------


def part_back(run: Run, e: ev.PartBack, at: float) -> Run:
    """Everything that was done without it is to be done for it."""
    parts = {**run.parts, e.part: replace(run.parts[e.part], back=at)}
    again = frozenset({e.part})
    steps = {i: _again(replace(s, end="done"), again) if s.end == "failed" and e.part in s.without else s
             for i, s in run.steps.items()}  # fmt: skip
    watched = {i: cleared(s) for i, s in steps.items() if s.spec.kind == "watch" and s.open and s.began is not None}
    return caught_up(replace(run, parts=parts, steps={**steps, **watched}))


def caught_up(run: Run) -> Run:
    """Every step that has ended without what is there again is open again: for that alone, a check for everything."""
    if not run.parts or run.over:
        return run
    steps = {}
    for i, s in run.steps.items():
        if (back := s.without - run.left_out) and s.end in ENDED_WELL:
            steps[i] = _again(s, back)
    return replace(run, steps={**run.steps, **steps}) if steps else run


def _again(s: Step, parts: frozenset[str]) -> Step:
    only = parts if s.spec.changes else frozenset[str]()
    return Step(
        s.spec, application=s.application + 1, n=s.n, made=s.made, commands=s.commands, without=s.without, only=only
    )
