"""A plan file -> a `Plan`: one form for everything, or every mistake with its place and a guess.

Invariants:
- `compile_plan` raises nothing but `Faults`, whatever the text is;
- in a compiled plan every step, role, handler and reference that is mentioned exists, parameters have the right
  types, and no step waits for itself;
- a mention is an edge: who reads, undoes, repeats or compares with a step waits for it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache

from pydantic import ValidationError

from bot.catalogue import Service
from bot.contract import NAMES, Action, AnyAction, AnyCheck, Json, Params
from bot.handlers.registry import Registry
from bot.located import Document, Fault, Path, Report, dotted
from bot.located.shapes import Shape
from bot.located.strict import note
from bot.located.yamltree import read
from bot.plan.file import GateStep, LeaveOption, UndoMember, Uses, UsesStep, WatchStep
from bot.plan.gates import decisions
from bot.plan.lookup import Lookup
from bot.plan.model import REF, Choice, Condition, OnFail, Phase, Plan, StepSpec
from bot.plan.order import circles, ordered
from bot.plan.outline import FoundChoice, OutlinedStep, StepMention, outline
from bot.plan.refs import mappings, replaced, texts, whole

CHECK_ONLY = ("within", "every", "passes")


@dataclass(frozen=True)
class Compiled:
    """A plan, and where in its file each step (by id) and the gate of each decision (by name) stands."""

    plan: Plan
    document: Document
    steps: Mapping[str, Path]
    gates: Mapping[str, Path]

    def fault(self, name: str, message: str, guess: str | None = None, *, gate: bool = False) -> Fault:
        """Something that is wrong with a step, or with the gate of a decision, at its place."""
        path = (self.gates if gate else self.steps).get(name, ())
        place = self.document.place(path)
        return Fault(self.document.source, place.line, place.column, dotted(path), message, guess)


def compile_plan(
    text: str | bytes,
    *,
    source: str,
    registry: Registry,
    service: Service | None,
    roles: Collection[str] | None,
    services: Collection[str] | None = None,
) -> Plan:
    """Compile a plan file called `source`. Raises Faults with everything that is wrong with it.

    service: whose limits may be read and whose targets be named (None: any, unchecked). roles, services: the names of
    those that exist (None: not checked).
    """
    found = compile_file(text, source=source, registry=registry, service=service, roles=roles, services=services)
    return found.plan


def compile_file(
    text: str | bytes,
    *,
    source: str,
    registry: Registry,
    service: Service | None,
    roles: Collection[str] | None,
    services: Collection[str] | None = None,
) -> Compiled:
    """Like `compile_plan`, and keeps the places, for faults that are found later."""
    document = read(text, source)
    report = Report(document)
    found = outline(document.data, report)
    look = Lookup(found, registry, service, services, report)
    look.fits()
    compiler = _Compiler(look)
    specs = {f.id: compiler.spec(f) for f in found.steps.values()}
    choices = tuple(_choice(look, c) for c in found.choices.values())
    asked = decisions(look, roles)
    _check_order(look, specs)
    if not report.clean:
        raise report.faults
    sequence = ordered(list(specs), look.edges)
    rank = {i: n for n, i in enumerate(sequence)}
    decision = {m: d.name for d, _ in asked for m in d.members}
    steps = tuple(
        replace(specs[i], after=tuple(sorted(look.edges[i], key=rank.__getitem__)), decision=decision.get(i))
        for i in sequence
    )
    plan = Plan(found.name, steps, tuple(d for d, _ in asked), choices)
    paths = {f.id: f.path for f in found.steps.values()}
    return Compiled(plan, document, paths, {d.name: path for d, path in asked})


class _Compiler:
    """Makes one StepSpec at a time; edges go to the lookup, mistakes into the report."""

    def __init__(self, look: Lookup):
        self.look, self.report, self.outline = look, look.report, look.outline
        self._params: dict[str, dict[str, Json]] = {}

    def spec(self, f: OutlinedStep) -> StepSpec:
        self.look.link(f.id, f.before, None)
        for said in f.after:
            self.look.link(f.id, self.look.after(said), said.path)
        if isinstance(f.work, Uses):
            spec = self._uses(f, f.work)
        elif isinstance(f.work, UndoMember):
            spec = self._undo(f, f.work)
        elif isinstance(f.work, WatchStep):
            spec = self._watch(f, f.work)
        else:
            spec = StepSpec(f.id, f.title, f.track, "gate")
        if not isinstance(f.work, GateStep | LeaveOption):
            w = f.work
            spec = replace(spec, timeout=w.timeout, failures=w.failures, on_fail=_on_fail(spec.phase, w.on_fail))
        return replace(spec, when=self._when(f), forward=f.forward)

    def _when(self, f: OutlinedStep) -> Condition | None:
        parts = self.look.comparison(f.when, f.id) if f.when else None
        return Condition(*parts) if parts else None

    def _uses(self, f: OutlinedStep, work: Uses) -> StepSpec:
        handler = self.look.handler(work.uses, (*f.path, "uses"))
        if handler is None:
            return StepSpec(f.id, f.title, f.track, "check")
        spec = StepSpec(
            f.id, f.title, f.track, "check", uses=work.uses, params=self.params(f, work, handler),
            needs=tuple(sorted(handler.needs)), baseline=self._baseline(f, work),
        )  # fmt: skip
        phase: Phase = work.phase if isinstance(work, UsesStep) else "act"
        if isinstance(handler, Action):
            for key in CHECK_ONLY:
                if key in work.model_fields_set:
                    self.report.add((*f.path, key), f"{key!r} is for checks; {work.uses} is an action", key=True)
            if phase != "act":
                self.report.add((*f.path, "phase"), f"a {phase} step must be a check; {work.uses} is an action")
            return replace(
                spec, kind="action", temporary=handler.temporary, destructive=handler.destructive,
                duties=tuple(sorted(handler.duties)),
            )  # fmt: skip
        _enough(self.report, f, work.passes, work.every, work.within, "within")
        if phase == "preflight":
            self._preflight(f, work)
        return replace(spec, phase=phase, within=work.within, every=work.every, passes=work.passes)

    def _preflight(self, f: OutlinedStep, work: Uses) -> None:
        if isinstance(work, UsesStep) and work.gate is not None:
            self.report.add((*f.path, "gate"), "a preflight step asks nobody", key=True)
        if "on_fail" in work.model_fields_set and work.on_fail != "continue":
            what = "a preflight step never halts the run; what needs it is blocked"
            self.report.add((*f.path, "on_fail"), what)

    def _baseline(self, f: OutlinedStep, work: Uses) -> str | None:
        if work.baseline is None:
            return None
        said = StepMention(work.baseline, (*f.path, "baseline"), f.option)
        step = self.look.step(said)
        if step is None:
            return None
        self.look.link(f.id, [step.id], said.path)
        if self.look.output(step) is None and self.look.known(step):
            self.report.add(said.path, f"{step.id!r} has no output to compare with")
        return step.id

    def _undo(self, f: OutlinedStep, work: UndoMember) -> StepSpec:
        spec = StepSpec(f.id, f.title, f.track, "undo")
        said = StepMention(work.undo, (*f.path, "undo"), f.option)
        undone = self.look.step(said, needed=False)
        if undone is None:
            return spec
        self.look.link(f.id, [undone.id], said.path)
        action = self.look.action(undone)
        if action is None or not isinstance(undone.work, Uses):
            if self.look.known(undone):
                self.report.add(said.path, f"only an action can be undone; {undone.id!r} is {_kind(undone)}")
            return spec
        return replace(
            spec, undo=undone.id, uses=undone.work.uses, params=self.params(undone, undone.work, action),
            needs=tuple(sorted(action.needs)), destructive=action.destructive, duties=tuple(sorted(action.duties)),
        )  # fmt: skip

    def _watch(self, f: OutlinedStep, work: WatchStep) -> StepSpec:
        spec = StepSpec(f.id, f.title, f.track, "watch", phase="verify")
        path: Path = (*f.path, "repeat")
        if work.repeat not in self.outline.tracks:
            what = f"no track is named {work.repeat!r}"
            self.report.add(path, what, word=work.repeat, known=self.outline.tracks)
            return spec
        _enough(self.report, f, work.passes, work.every, work.for_, "for")
        repeat = [s for s in self.outline.steps.values() if s.track == work.repeat and self._repeatable(s)]
        if not repeat and not self.report.has(("tracks", work.repeat)):
            self.report.add(path, f"track {work.repeat!r} has no check to repeat")
        self.look.link(f.id, [s.id for s in repeat], path)
        needs = {n for s in repeat if isinstance(s.work, Uses) for n in self._needs(s.work)}
        return replace(
            spec, repeat=tuple(s.id for s in repeat), lasting=work.for_, every=work.every, passes=work.passes,
            needs=tuple(sorted(needs)),
        )  # fmt: skip

    def _repeatable(self, f: OutlinedStep) -> bool:
        check = isinstance(f.work, UsesStep) and f.work.uses in self.look.registry.checks
        return check and isinstance(f.work, UsesStep) and f.work.phase != "preflight"

    def _needs(self, work: Uses) -> Collection[str]:
        handler = self.look.registry.get(work.uses)
        return handler.needs if handler else ()

    def params(self, f: OutlinedStep, work: Uses, handler: AnyAction | AnyCheck) -> dict[str, Json]:
        """The parameters with `{"$ref": ...}` in place of references, checked against the handler's."""
        if f.id not in self._params:
            self._params[f.id] = _Params(self.look, f, handler).compiled(work.with_)
        return self._params[f.id]


@cache
def _shape(params: type[Params]) -> Shape:
    """Made once in a process, as it takes 10 ms."""
    return Shape.of(params.model_json_schema())


class _Params:
    """The parameters of one step."""

    def __init__(self, look: Lookup, f: OutlinedStep, handler: AnyAction | AnyCheck):
        self.look, self.report, self.found, self.handler = look, look.report, f, handler
        self.path: Path = (*f.path, "with")
        params: type[Params] = handler.Params
        self.wanted = _shape(params)

    def compiled(self, given: dict[str, Json]) -> dict[str, Json]:
        if self.report.has(self.path):
            return {}
        refs: dict[Path, Json] = {at: None for at, mapping in mappings(given) if REF in mapping}
        for at in refs:
            self.report.add((*self.path, *at, REF), 'a reference is written "${...}"', key=True)
        refs |= {at: self._ref(at, text) for at, text in texts(given) if "${" in text}
        self._validate(given, refs)
        self._name(given, refs)
        done = replaced(given, refs)
        return done if isinstance(done, dict) else {}

    def _ref(self, at: Path, text: str) -> Json:
        path = (*self.path, *at)
        inner = whole(text)
        if inner is None:
            self.report.add(path, f'a reference is a whole value, "${{...}}" and nothing else, not {text[:60]!r}')
            return None
        found = self.look.read(inner, StepMention(text, path, self.found.option), self.found.id)
        if found is None:
            return None
        ref, have = found
        want = self._shape(at)
        if have and not have.fits(want):
            name = dotted(at)
            self.report.add(path, f"${{{ref}}} is {have.words}; {name} must be {want.words}")
        for kind in want.marks(NAMES):
            for value in (have.members if have else None) or ():
                self.look.named(kind, str(value), path)
        return {REF: ref}

    def _name(self, given: dict[str, Json], refs: Mapping[Path, Json]) -> None:
        """What the values name of the catalogue, where they are written out."""
        for at, text in texts(given):
            for kind in self._shape(at).marks(NAMES) if at not in refs else ():
                self.look.named(kind, text, (*self.path, *at))
        for at, mapping in mappings(given):
            for kind in self._shape(at).of_keys(NAMES):
                for word in mapping:
                    self.look.named(kind, word, (*self.path, *at, word), key=True)

    def _shape(self, at: Path) -> Shape:
        """What is wanted there; anything, where nothing is known of it."""
        want: Shape | None = self.wanted
        for part in at:
            want = want.at(part) if want else None
        return want or Shape({})

    def _validate(self, given: dict[str, Json], refs: Mapping[Path, Json]) -> None:
        """What the handler itself says, but what it says about references, whose values it has not seen."""

        def skip(kind: str, at: Path) -> bool:
            inside = any(at[: len(r)] == r for r in refs) and kind != "extra_forbidden"
            around = any(r[: len(at)] == at for r in refs) and kind in ("value_error", "assertion_error")
            return inside or around

        try:
            self.handler.Params.model_validate(given)
        except ValidationError as error:
            note(error, given, self.path, self.report, self.wanted, skip)
        except Exception as error:  # a validator that cannot live with what it was given
            if not refs:
                what = f"{self.handler.name} cannot read these: {type(error).__name__}: {error}"
                self.report.add(self.path, what)


def _choice(look: Lookup, c: FoundChoice) -> Choice:
    names = tuple(o.name.removeprefix(f"{c.id}.") for o in c.options)
    step = look.step(c.advise) if c.advise else None
    if c.advise is None or step is None:
        return Choice(c.id, c.title, names, forward=c.forward)
    for o in c.options:
        for member in o.members:
            look.link(member, [step.id], c.advise.path)
    if look.known(step) and (look.action(step) is not None or look.output(step) is None):
        look.report.add(c.advise.path, f"{step.id!r} cannot advise; it must be a check that has an output")
    return Choice(c.id, c.title, names, step.id, c.forward)


def _on_fail(phase: Phase, given: OnFail) -> OnFail:
    return "continue" if phase == "preflight" else given


def _kind(f: OutlinedStep) -> str:
    if isinstance(f.work, Uses):
        return "a check"
    return "an undo" if isinstance(f.work, UndoMember) else "neither action nor check"


def _enough(report: Report, f: OutlinedStep, passes: int, every: float, lasting: float, key: str) -> None:
    """Whether so many looks fit into the time."""
    needed = (passes - 1) * every
    if needed > lasting:
        what = f"{passes} passes, one every {every:g} s, take {needed:g} s; {key!r} is {lasting:g} s"
        report.add((*f.path, "passes"), what)


def _check_order(look: Lookup, specs: Mapping[str, StepSpec]) -> None:
    """No circles, and nothing that acts before a preflight step."""
    unique = [i for i in specs if " " not in i]  # not the second of one name
    for circle in circles(unique, {i: [a for a in look.edges[i] if a in unique] for i in unique}):
        pairs = list(zip(circle, [*circle[1:], circle[0]], strict=True))
        said = (look.edges[a][b] for a, b in pairs)
        path = next((p for p in said if p is not None), look.outline.steps[circle[0]].path)
        words = ", ".join(f"{a} waits for {b}" for a, b in pairs)
        look.report.add(path, f"a circle: {words}")
    for spec in specs.values():
        for earlier in look.edges[spec.id] if spec.phase == "preflight" else ():
            if specs[earlier].phase != "preflight" and look.known(look.outline.steps[earlier]):
                path = look.edges[spec.id][earlier] or look.outline.steps[spec.id].path
                look.report.add(path, f"a preflight step cannot wait for {earlier!r}, which is none")
