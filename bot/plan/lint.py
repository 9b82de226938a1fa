"""What is wrong with a plan although it compiles: for the people, the wiring and the promises around it.

Refused are: a destructive step that nobody is asked about, a temporary step that is not always undone, a port that
this bot does not have, a decision that the people who exist could never take, a watch over nothing; and what could
never be decided in one go: all steps of a decision are planned before any of them acts, so nothing among them may wait
for what one of them does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from bot.located import Fault, nearest
from bot.plan.compile import Compiled
from bot.plan.model import Decision, Plan, StepSpec, step_of
from bot.policy import Person
from bot.policy.approval import unsatisfiable


@dataclass(frozen=True, slots=True)
class LintFinding:
    """What is wrong with a step, or with the gate of a decision, by its name."""

    name: str
    message: str
    guess: str | None = None
    gate: bool = False


def lint(
    plan: Plan | Compiled, *, ports: Collection[str], people: Collection[Person] | None, barred: Collection[str] = ()
) -> list[Fault]:
    """Everything that is wrong, in the order of the file; without a file (a bare `Plan`) places are 1:1.

    ports: names that this wiring has; people: those who exist, with their roles (None: not looked at); barred: ids
    that may not approve.
    """
    bare = plan.plan if isinstance(plan, Compiled) else plan
    found = [
        *_ungated(bare),
        *_never_undone(bare),
        *_lacking(bare, ports),
        *(_closed_gates(bare, people, barred) if people is not None else ()),
        *_unwatched(bare),
        *(f for d in bare.decisions for f in _undecidable(bare, d)),
    ]
    if isinstance(plan, Compiled):
        faults = [plan.fault(f.name, f.message, f.guess, gate=f.gate) for f in found]
    else:
        faults = [Fault(plan.name, 1, 1, f.name, f.message, f.guess) for f in found]
    return sorted(faults, key=lambda f: (f.line, f.column))


def _ungated(plan: Plan) -> Iterator[LintFinding]:
    for s in plan.steps:
        asked = plan.decision.get(s.decision or "")
        if not s.destructive:
            continue
        if asked is None or asked.gate is None:
            yield LintFinding(s.id, f"{s.id!r} destroys data ({s.uses}) and nobody is asked; give it a gate")
        elif asked.unless is not None:
            yield LintFinding(s.id, f"{s.id!r} destroys data ({s.uses}); its gate must not have `unless`")


def _never_undone(plan: Plan) -> Iterator[LintFinding]:
    for s in plan.steps:
        if not s.temporary:
            continue
        undos = [u for u in plan.steps if u.undo == s.id]
        always = [u for u in undos if u.when in (None, s.when)]
        if not undos:
            yield LintFinding(s.id, f"{s.id!r} is temporary and never undone; add a step with `undo: {s.id}`")
        elif not always:
            yield LintFinding(s.id, f"{s.id!r} is temporary, but {undos[0].id!r} undoes it only under a condition")
        elif not _reached(plan, s, always):
            only = ", ".join(repr(u.decision) for u in always)
            yield LintFinding(s.id, f"{s.id!r} is temporary, but undone only in {only}; undo it in every option")


def _reached(plan: Plan, s: StepSpec, undos: list[StepSpec]) -> bool:
    """Whether one of these runs whichever options are chosen (given that of `s` is)."""
    inside = {d.name for u in undos if (d := _option(plan, u)) is not None}
    if any(_option(plan, u) in (None, _option(plan, s)) for u in undos):
        return True
    return any(all(f"{c.id}.{o}" in inside for o in c.options) for c in plan.choices)


def _option(plan: Plan, s: StepSpec) -> Decision | None:
    found = plan.decision.get(s.decision or "")
    return found if found is not None and found.choice is not None else None


def _lacking(plan: Plan, ports: Collection[str]) -> Iterator[LintFinding]:
    for s in plan.steps:
        for port in s.needs if s.kind in ("action", "check") else ():
            if port not in ports:
                what = f"{s.uses} needs port {port!r}, which this bot does not have"
                yield LintFinding(s.id, what, nearest(port, ports))


def _closed_gates(plan: Plan, people: Collection[Person], barred: Collection[str]) -> Iterator[LintFinding]:
    gates = {d.name: d.gate for d in plan.decisions if d.gate is not None}
    for name, why in unsatisfiable(gates, people, barred).items():
        yield LintFinding(name, f"nobody could take decision {name!r}: it {why}", gate=True)


def _unwatched(plan: Plan) -> Iterator[LintFinding]:
    verified = any(s.kind == "check" and s.phase == "verify" for s in plan.steps)
    for s in plan.steps:
        if s.kind == "watch" and not verified:
            yield LintFinding(
                s.id, "no check has `phase: verify`, so the run is never restored and never closes itself"
            )


def _undecidable(plan: Plan, d: Decision) -> Iterator[LintFinding]:
    """What keeps this decision from ever being opened: its steps, and those between them, cannot all be planned."""
    members = frozenset(d.members)
    later = {s.id for s in plan.steps if plan.before[s.id] & members}
    known_late = members | later  # what these give is known only once a member has acted
    for s in plan.steps:
        between = s.id in later and bool(plan.behind[s.id] & members)
        if s.id not in members and not between:
            continue
        where = f"decision {d.name!r}"
        if s.kind == "gate" and len(members) > 1:
            yield LintFinding(
                s.id, f"{s.id!r} only asks people, amid the steps of {where}; put it before or behind them"
            )
        elif s.kind in ("check", "watch") and s.id in members:
            yield LintFinding(s.id, f"{s.id!r} is a check, of which there is nothing to decide; put it behind {where}")
        elif s.undo in known_late:
            yield LintFinding(
                s.id, f"{s.id!r} undoes {s.undo!r}, which has not acted when {where} is made; put it behind"
            )
        elif s.changes:
            for ref in sorted(r for r in s.refs if step_of(r) in known_late):
                what = f"{s.id!r} reads ${{{ref}}}, which is not known when {where} is made; let it be decided later"
                yield LintFinding(s.id, what)
