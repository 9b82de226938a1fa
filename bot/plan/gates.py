"""Gates of a plan file -> decisions: what people decide with one click.

A gate of its own makes a decision named like its step, a group one named like the group, an option one named
`<choice>.<option>`. What the steps of a group say about their common gate must agree, and one must say who decides.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bot.located import Path, quoted
from bot.plan.file import GateStep, OptionGate, StepGate, UndoStep, UsesStep
from bot.plan.lookup import Lookup
from bot.plan.model import Decision
from bot.plan.outline import FoundChoice, FoundOption, OutlinedStep, StepMention
from bot.policy import Gate, Requirement

Placed = tuple[Decision, Path]
"""A decision, and where its gate stands."""

_SHARED = ("by", "title", "forward", "self_approval", "typed_phrase", "unless", "remind", "escalate", "lifetime")


def decisions(look: Lookup, roles: Collection[str] | None) -> list[Placed]:
    """All decisions in the order of the file. roles: those that exist; None: not checked."""
    maker = _Maker(look, roles)
    options = {o.name: (c, o) for c in look.outline.choices.values() for o in c.options}
    made: dict[str, Placed] = {}
    for f in look.outline.steps.values():
        gate = f.work.gate if isinstance(f.work, UsesStep | UndoStep | GateStep) else None
        if f.option in options:
            made.setdefault(str(f.option), maker.option(*options[str(f.option)]))
        elif gate is not None and gate.group is None:
            if f.id in maker.groups:
                maker.clash(f.id)
            made[f.id] = maker.single(f, gate)
        elif gate is not None and gate.group not in made:
            made[str(gate.group)] = maker.group(str(gate.group))
    return list(made.values())


class _Maker:
    def __init__(self, look: Lookup, roles: Collection[str] | None):
        self.look, self.report, self.roles = look, look.report, roles
        self.groups: dict[str, list[tuple[OutlinedStep, StepGate]]] = {}
        for f in look.outline.steps.values():
            gate = f.work.gate if isinstance(f.work, UsesStep | UndoStep | GateStep) else None
            if gate is not None and gate.group is not None:
                self.groups.setdefault(gate.group, []).append((f, gate))

    def clash(self, name: str) -> None:
        f = self.groups[name][0][0]
        what = f"step {name!r} has a gate of its own; name the group otherwise"
        self.report.add((*f.path, "gate", "group"), what)

    def option(self, choice: FoundChoice, o: FoundOption) -> Placed:
        path = (*o.path, "gate")
        name = o.name.removeprefix(f"{choice.id}.")
        gate = self._gate(o.gate, o.gate.by, path) if o.gate else None
        unless = self._unless(o.gate, path, o.members, o.name) if o.gate else None
        return Decision(o.name, o.title, o.members, gate, unless, choice.id, name), path if o.gate else o.path

    def single(self, f: OutlinedStep, gate: StepGate) -> Placed:
        path = (*f.path, "gate")
        if gate.by is None and not self.report.has(path):
            self.report.add(path, "'by' is missing: who decides?")
        made = self._gate(gate, gate.by or {}, path)
        unless = self._unless(gate, path, [f.id], f.option)
        title, forward = _titles(gate, f)
        return Decision(f.id, title, (f.id,), made, unless, forward=forward), path

    def group(self, name: str) -> Placed:
        members = self.groups[name]
        said: dict[str, tuple[object, Path]] = {}
        for f, gate in members:
            for key in _SHARED:
                path = (*f.path, "gate", key)
                if key not in gate.model_fields_set:
                    continue
                value, first = said.setdefault(key, (getattr(gate, key), path))
                if value != getattr(gate, key):
                    line = self.report.document.place(first).line
                    self.report.add(path, f"group {name!r} has another {key!r} in line {line}")
        path = said["by"][1][:-1] if "by" in said else (*members[0][0].path, "gate")
        if "by" not in said and not any(self.report.has((*f.path, "gate")) for f, _ in members):
            self.report.add(path, f"'by' is missing: who decides? One step of group {name!r} says it for all")
        one = StepGate.model_validate({key: value for key, (value, _) in said.items()})
        made = self._gate(one, one.by or {}, path)
        ids = tuple(f.id for f, _ in members)
        unless = self._unless(one, said["unless"][1][:-1], ids, None) if "unless" in said else None
        title, forward = _titles(one, members[0][0])
        return Decision(name, title, ids, made, unless, forward=forward), path

    def _gate(self, gate: OptionGate | StepGate, by: dict[str, int], path: Path) -> Gate:
        found: dict[str, int] = {}
        for role, count in by.items():
            held = self._held(role)
            if self.roles is not None and held not in self.roles:
                at = (*path, "by", role)
                self.report.add(at, f"no role is named {quoted(role)}", key=True, word=role, known=self.roles)
            found[held] = max(count, found.get(held, 0))
        seats = tuple(Requirement(role, count) for role, count in found.items())
        return Gate(seats, gate.self_approval, gate.typed_phrase, gate.remind, gate.escalate, gate.lifetime)

    def _held(self, role: str) -> str:
        """The role that is asked: another where the catalogue has none of this name, and the plan names a stand-in."""
        lacks = self.roles is not None and role not in self.roles
        return self.look.outline.stand_ins.get(role, role) if lacks else role

    def _unless(
        self, gate: OptionGate | StepGate, path: Path, members: Sequence[str], option: str | None
    ) -> str | None:
        if gate.unless is None:
            return None
        said = StepMention(gate.unless, (*path, "unless"), option)
        found = [self.look.boolean(gate.unless, said, m) for m in members]
        return found[0] if found else None


def _titles(gate: StepGate, first: OutlinedStep) -> tuple[str, str]:
    """What a decision is called, and in a run that rolls forward: by its gate, else by its first step."""
    return gate.title or first.title, gate.forward or ("" if gate.title else first.forward)
