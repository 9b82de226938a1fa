"""What the names in a plan stand for: steps, outputs of steps, releases, the service. Every miss gets a guess."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from bot.catalogue import BESIDE, FRONTEND, KINDS, Channels, Release, Service
from bot.contract import Action, AnyAction, AnyCheck, Json, Outgoing
from bot.handlers.registry import Registry
from bot.located import Path, Report, quoted
from bot.located.shapes import Shape
from bot.plan.file import Uses
from bot.plan.outline import Outline, OutlinedStep, StepMention
from bot.plan.refs import ROOTS, compared, parse, whole

RELEASE = Shape.later(lambda: TypeAdapter(Release).json_schema())
CHANNELS = Shape.later(lambda: TypeAdapter(Channels).json_schema())
_HAS = Shape({"properties": {kind: {"type": "boolean"} for kind in (*KINDS, *BESIDE, FRONTEND)}})


@dataclass(frozen=True, slots=True)
class OfRun:
    """What a run is and what is decided in its course: rollback, forward, ...; when people chose to meet, "" where they
    did not; digests that the freeze lets pass; version -> digests that stay out; the releases that have to go."""

    purpose: str
    meeting: str
    admitted: list[str]
    banned: dict[str, list[str]]
    outgoing: list[Outgoing]


RUN = Shape.later(lambda: TypeAdapter(OfRun).json_schema())

Read = tuple[str, Shape | None]
"""A reference in its full form, and the shape of its value where that is known."""


@dataclass
class Lookup:
    """Looks names up and keeps the edges that follow: `edges[step][earlier]` is where the file says so, if it does."""

    outline: Outline
    registry: Registry
    service: Service | None
    services: Collection[str] | None
    report: Report
    edges: dict[str, dict[str, Path | None]] = field(default_factory=dict)

    def fits(self) -> None:
        """Whether the service has what the plan is for."""
        for n, kind in enumerate(self.outline.needs):
            if kind not in _HAS.keys:
                what = f"there is no kind of target {quoted(kind)}"
                self.report.add(("needs", n), what, word=kind, known=_HAS.keys)
            elif self.service is not None and kind not in self.service.kinds:
                self.report.add(("needs", n), f"service {self.service.name!r} has no {kind}, which this plan is for")

    def link(self, later: str, earlier: Iterable[str], path: Path | None) -> None:
        """`later` waits for these."""
        known = self.edges.setdefault(later, {})
        for e in earlier:
            known[e] = known.get(e) or path

    def handler(self, name: str, path: Path) -> AnyAction | AnyCheck | None:
        """The handler of this name."""
        found = self.registry.get(name)
        if found is None:
            self.report.add(path, f"no action or check is named {quoted(name)}", word=name, known=self.registry.names)
        return found

    def named(self, kind: str, word: str, path: Path, *, key: bool = False) -> None:
        """Whether the catalogue has this: kind as a parameter's type says it (bot.contract.NAMES)."""
        if kind == "service":
            if self.services is not None and word not in self.services:
                self.report.add(path, f"no service is named {quoted(word)}", key=key, word=word, known=self.services)
            return
        if self.service is None:
            return
        fitting = [name for name, target in self.service.targets.items() if hasattr(target, kind)]
        if word not in fitting:
            there = "is no" if word in self.service.targets else "is not in the catalogue as"
            what = f"{quoted(word)} {there} {kind} target of service {self.service.name!r}"
            has = f", which has {', '.join(fitting)}" if fitting else ", which has none"
            self.report.add(path, what + has, key=key, word=word, known=fitting)

    def after(self, said: StepMention) -> tuple[str, ...]:
        """The steps meant by a name in `after`: one, or the last ones of a choice."""
        choice = self.outline.choices.get(said.text)
        if choice is not None and said.option not in {o.name for o in choice.options}:
            return choice.tails
        step = self.step(said, needed=False)
        return (step.id,) if step else ()

    def step(self, said: StepMention, *, needed: bool = True) -> OutlinedStep | None:
        """The step of this name; short names of the own option first.

        needed: the step must have run; so a step of an option cannot be meant from outside it.
        """
        known = self.outline
        found = known.steps.get(f"{said.option}.{said.text}") if said.option else None
        found = found or known.steps.get(said.text)
        if found is None:
            self._missing(said)
        elif found.option is not None and found.option != said.option and (needed or said.option is not None):
            self.report.add(said.path, f"{found.id!r} only runs where option {found.option!r} is chosen")
            return None
        return found

    def read(self, text: str, said: StepMention, reader: str) -> Read | None:
        """What `${text}` stands for; `reader` then waits for the step that it comes from."""
        ref = parse(text)
        rest = text.partition(".")[2]
        if ref.root not in ROOTS:
            what = f"a reference begins with {', '.join(ROOTS)}; not with {quoted(ref.root)}"
            self.report.add(said.path, what, word=ref.root, known=ROOTS)
            return None
        if ref.root in ("target", "removed"):
            return self._field(text, rest, "a release", RELEASE, said)
        if ref.root == "service":
            return self._of_service(text, rest, said)
        if ref.root == "run":
            return self._field(text, rest, "a run", RUN, said)
        if not ref.step or not ref.field:
            self.report.add(said.path, f"{quoted(text)} names no field; write steps.<id>.<field>")
            return None
        step = self.step(StepMention(ref.step, said.path, said.option))
        if step is None:
            return None
        self.link(reader, [step.id], said.path)
        output = self.output(step)
        if output is None:
            if self.known(step):
                self.report.add(said.path, f"{step.id!r} has no output")
            return None
        full = f"steps.{step.id}.{ref.field}"
        return self._field(full, ref.field, f"the output of {step.id!r}", output, said)

    def boolean(self, text: str, said: StepMention, reader: str) -> str | None:
        """The full form of a text that is one reference to a yes or no."""
        inner = whole(text)
        if inner is None:
            self.report.add(said.path, f'must be one reference, "${{...}}", not {quoted(text)}')
            return None
        found = self.read(inner, said, reader)
        if found is None:
            return None
        ref, shape = found
        if shape is not None and shape.kinds != {"boolean"}:
            self.report.add(said.path, f"${{{ref}}} is {shape.words}; it must be true or false")
        return ref

    def comparison(self, said: StepMention, reader: str) -> tuple[str, bool, Json] | None:
        """`${ref} == value` as (ref, True, value), the value typed like the reference."""
        parts = compared(said.text)
        if parts is None:
            wanted = '"${reference} == value" or "${reference} != value"'
            self.report.add(said.path, f"must be {wanted}, not {quoted(said.text)}")
            return None
        found = self.read(parts[0], said, reader)
        if found is None:
            return None
        ref, shape = found
        if shape is not None and ref.startswith("service."):  # another service may have another value
            shape = shape.widened
        values = _literals(parts[2], shape)
        if shape is not None and not values:
            known = [str(m) for m in shape.members or ()]
            what = f"${{{ref}}} is {shape.words}, never {parts[2]}"
            self.report.add(said.path, what, word=parts[2], known=known)
            return None
        return ref, parts[1], values[0]

    def output(self, step: OutlinedStep) -> Shape | None:
        """The shape of what a step hands out."""
        handler = self.registry.get(step.work.uses) if isinstance(step.work, Uses) else None
        if handler is None or handler.Output is None:
            return None
        return Shape.of(handler.Output.model_json_schema(mode="serialization"))

    def known(self, step: OutlinedStep) -> bool:
        """Whether the step's handler is known; what follows from an unknown one is no fault of its own."""
        return not isinstance(step.work, Uses) or self.registry.get(step.work.uses) is not None

    def action(self, step: OutlinedStep) -> AnyAction | None:
        """The step's handler if it is an action."""
        handler = self.registry.get(step.work.uses) if isinstance(step.work, Uses) else None
        return handler if isinstance(handler, Action) else None

    def _missing(self, said: StepMention) -> None:
        known = self.outline
        if said.text.split(".")[0] in known.broken or said.text in known.broken:
            return
        if said.text in known.choices:
            self.report.add(said.path, f"{said.text!r} is a choice; name a step")
            return
        own = [i.removeprefix(f"{said.option}.") for i in known.steps if said.option and i.startswith(said.option)]
        names = [*known.steps, *known.choices, *own]
        self.report.add(said.path, f"no step is named {quoted(said.text)}", word=said.text, known=names)

    def _field(self, full: str, name: str, of: str, shape: Shape, said: StepMention) -> Read | None:
        if name not in shape.keys:
            what = f"{of} has {', '.join(sorted(shape.keys))}; not {quoted(name)}"
            self.report.add(said.path, what, word=name, known=shape.keys)
            return None
        return full, shape.at(name)

    def _of_service(self, full: str, rest: str, said: StepMention) -> Read | None:
        if rest == "name":
            return full, Shape({"type": "string"})
        head, _, name = rest.partition(".")
        if head == "channels" and name:
            return self._field(full, name, "a service's channels", CHANNELS, said)
        if head == "has" and name:
            return self._field(full, name, "what a service may have", _HAS, said)
        if head != "limits" or not name:
            what = (
                "of a service there are only service.name, service.has.<kind>, service.limits.<name> and "
                "service.channels.<use>"
            )
            self.report.add(said.path, what, word=rest, known=["name", "has", "limits", "channels"])
            return None
        if self.service is None:
            return full, None
        if name not in self.service.limits:
            what = f"service {self.service.name!r} has no limit {quoted(name)}"
            self.report.add(said.path, what, word=name, known=self.service.limits)
            return None
        return full, Shape.value(self.service.limits[name])


def _literals(text: str, shape: Shape | None) -> list[Json]:
    """What a bare or quoted word can mean for a value of this shape, most likely first."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        meant: list[Json] = [text[1:-1]]
    else:
        words: dict[str, Json] = {"true": True, "false": False, "null": None}
        meant = [words[text]] if text in words else []
        meant += _numbers(text)
        meant.append(text)
    if shape is None:
        return meant
    return [m for m in meant if Shape.value(m).fits(shape)]


def _numbers(text: str) -> list[Json]:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", text):
        return []
    return [float(text) if "." in text else int(text)]
