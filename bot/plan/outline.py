"""A plan file taken apart: every step with its place, its full id, and what stands before it in its track.

First half of compiling. Nothing is looked up here; what is shaped wrongly is reported and left out, its id kept in
`broken`, so that mentions of it are no mistakes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bot.contract import Json
from bot.located import Path, Report
from bot.located.shapes import Shape
from bot.located.strict import Slug, note, read_as
from bot.plan.file import (
    MAX_STEPS,
    AnyMember,
    AnyStep,
    ChooseStep,
    Item,
    LeaveOption,
    ManySteps,
    OneStep,
    OptionGate,
    PlanFile,
    PlanStep,
    Work,
)

_STEP: TypeAdapter[AnyStep] = TypeAdapter(PlanStep)
_SLUG: TypeAdapter[str] = TypeAdapter(Slug)
_FILE = Shape.later(PlanFile.model_json_schema)
_ITEM = Shape.later(lambda: TypeAdapter(Item).json_schema())

Tails = tuple[str, ...]
"""Ids of the steps that must be over before what follows."""


@dataclass(frozen=True)
class StepMention:
    """A text that names steps, where it stands, and the option whose steps it may name by their short ids."""

    text: str
    path: Path
    option: str | None = None


@dataclass(frozen=True)
class OutlinedStep:
    """One step of the file. `before`: ids in its track; `option`: the decision that it is a member of."""

    id: str
    title: str
    track: str
    path: Path
    work: Work
    before: Tails
    after: tuple[StepMention, ...]
    when: StepMention | None
    option: str | None = None
    forward: str = ""


@dataclass(frozen=True)
class FoundOption:
    """One way of a choice; `name` is `<choice>.<option>`."""

    name: str
    title: str
    path: Path
    gate: OptionGate | None
    members: tuple[str, ...]


@dataclass(frozen=True)
class FoundChoice:
    """A choice; `tails` are the last steps of its options."""

    id: str
    title: str
    path: Path
    advise: StepMention | None
    options: tuple[FoundOption, ...]
    tails: Tails
    forward: str = ""


@dataclass
class Outline:
    """The whole file, as far as its shape is right."""

    name: str = ""
    needs: tuple[str, ...] = ()
    stand_ins: dict[str, str] = field(default_factory=dict)
    steps: dict[str, OutlinedStep] = field(default_factory=dict)
    choices: dict[str, FoundChoice] = field(default_factory=dict)
    tracks: tuple[str, ...] = ()
    broken: set[str] = field(default_factory=set)


def outline(data: Json, report: Report) -> Outline:
    """Take the file apart; every mistake of shape goes into the report."""
    found = Outline()
    if not isinstance(data, dict):
        report.add((), "a plan is a mapping with `name` and `tracks`")
        return found
    tracks = data.get("tracks")
    stand_in: Json = {"any": [{"id": "any", "undo": "any"}]}
    try:  # everything but what is inside the tracks
        PlanFile.model_validate({**data, "tracks": stand_in} if tracks else data)
    except ValidationError as error:
        note(error, data, (), report, _FILE)
    found.name = str(data.get("name", ""))
    needs = data.get("needs")
    found.needs = tuple(n for n in needs if isinstance(n, str)) if isinstance(needs, list) else ()
    roles = data.get("stand_ins")
    found.stand_ins = {r: o for r, o in roles.items() if isinstance(o, str)} if isinstance(roles, dict) else {}
    walk = _Walk(found, report)
    if isinstance(tracks, dict):
        found.tracks = tuple(tracks)
        for name, items in tracks.items():
            walk.track(name, items)
    elif tracks:
        report.add(("tracks",), "must be a mapping: track -> list of steps")
    return found


def titled(name: str) -> str:
    """`pause-workers` -> "Pause workers"."""
    return name.replace("-", " ").capitalize()


class _Walk:
    def __init__(self, found: Outline, report: Report):
        self.found, self.report = found, report
        self._full = False

    def track(self, name: str, items: Json) -> None:
        path: Path = ("tracks", name)
        try:
            _SLUG.validate_python(name)
        except ValidationError as error:
            note(error, name, path, self.report, Shape({}))
        if not isinstance(items, list) or not items:
            what = "has no steps" if items in (None, []) else "must be a list of steps"
            self.report.add(path, f"track {name!r} {what}", key=True)
            return
        for i, item in enumerate(items):
            if item == []:
                self.report.add((*path, i), "an empty list; it holds steps that run side by side")
        before: Tails = ()
        for side in _side_by_side(items, path):
            before = tuple(t for at, data in side for t in self._step(name, data, at, before)) or before

    def _step(self, track: str, data: Json, path: Path, before: Tails) -> Tails:
        """What the next step waits for; nothing if this one is broken."""
        at = self.report.document.place(path)
        step = read_as(_STEP, data, path, self.report, _ITEM, f"unnamed-{at.line}-{at.column}")
        given = data.get("id") if isinstance(data, dict) else None
        if step is None or step.id != given:
            self.found.broken.add(str(given))
        if step is None:
            return ()
        after = _said(step.after, path, None)
        when = StepMention(step.when, (*path, "when")) if step.when is not None else None
        title = step.title or titled(step.id)
        if isinstance(step, ChooseStep):
            return self._choose(step, _Choosing(step.id, title, track, path, before, after, when))
        return self._keep(
            OutlinedStep(step.id, title, track, path, step, before, after, when, forward=step.forward or "")
        )

    def _choose(self, step: ChooseStep, at: _Choosing) -> Tails:
        tails: list[str] = []
        options: list[FoundOption] = []
        for name, option in step.choose.options.items():
            full, path = f"{at.id}.{name}", (*at.path, "choose", "options", name)
            first = len(self.found.steps)
            if isinstance(option, OneStep | LeaveOption):
                title = option.title or f"{at.title}: {name}"
                alone = OutlinedStep(full, title, at.track, path, option, at.before, at.after, at.when, full)
                tails += self._keep(alone)
            else:
                tails += self._members(option, replace(at, option=full), (*path, "steps"))
            members = tuple(self.found.steps)[first:]
            options.append(FoundOption(full, option.title or titled(name), path, option.gate, members))
        if self._free(at.id, at.path):
            advise = step.choose.advise
            said = StepMention(advise, (*at.path, "choose", "advise")) if advise is not None else None
            choice = FoundChoice(at.id, at.title, at.path, said, tuple(options), tuple(tails), step.forward or "")
            self.found.choices[at.id] = choice
        return tuple(tails)

    def _members(self, option: ManySteps, choice: _Choosing, path: Path) -> Tails:
        before = choice.before
        for side in _side_by_side(option.steps, path):
            before = tuple(t for at, m in side for t in self._member(choice, m, at, before)) or before
        return before

    def _member(self, choice: _Choosing, member: AnyMember, path: Path, before: Tails) -> Tails:
        if member.when is not None and choice.when is not None:
            self.report.add((*path, "when"), f"the choice {choice.id!r} has a `when`, which holds for all its steps")
        own = StepMention(member.when, (*path, "when"), choice.option) if member.when is not None else None
        after = (*choice.after, *_said(member.after, path, choice.option))
        name, title = f"{choice.option}.{member.id}", member.title or titled(member.id)
        when = choice.when or own
        forward = member.forward or ""
        return self._keep(
            OutlinedStep(name, title, choice.track, path, member, before, after, when, choice.option, forward)
        )

    def _keep(self, found: OutlinedStep) -> Tails:
        if not self._free(found.id, found.path):  # its content is still looked at, under a name nobody can mention
            found = replace(found, id=f"{found.id} ({len(self.found.steps)})")
        if len(self.found.steps) >= MAX_STEPS:
            if not self._full:
                self.report.add(found.path, f"more than {MAX_STEPS} steps; split the plan")
            self._full = True
            return ()
        self.found.steps[found.id] = found
        return (found.id,)

    def _free(self, name: str, path: Path) -> bool:
        first = self.found.steps.get(name) or self.found.choices.get(name)
        if first is None:
            return True
        line = self.report.document.place(first.path).line
        self.report.add((*path, "id"), f"{name!r} is already the id of the step in line {line}")
        return False


@dataclass(frozen=True)
class _Choosing:
    """The choice whose options are being read; `option` is the one at hand."""

    id: str
    title: str
    track: str
    path: Path
    before: Tails
    after: tuple[StepMention, ...]
    when: StepMention | None
    option: str | None = None


def _side_by_side(items: Sequence[Any], path: Path) -> Iterator[list[tuple[Path, Any]]]:
    """The items that follow one another, each as the steps that run side by side in it, with their places."""
    for i, item in enumerate(items):
        yield [((*path, i, j), s) for j, s in enumerate(item)] if isinstance(item, list) else [((*path, i), item)]


def _said(names: Sequence[str], path: Path, option: str | None) -> tuple[StepMention, ...]:
    return tuple(StepMention(n, (*path, "after", i), option) for i, n in enumerate(names))
