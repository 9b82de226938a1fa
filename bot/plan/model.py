"""A compiled plan: steps with their edges, decisions with their gates. What a run keeps for its whole life.

Everything a person may write in several ways has one form here: tracks have become edges (`after`), grouped
gates and the options of a choice have become decisions, durations are seconds, references are checked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from bot.contract import Json, Status, canonical
from bot.policy import Gate, Person
from bot.policy.approval import unsatisfiable

REF = "$ref"
"""A reference inside compiled params: {"$ref": "steps.schema.order"}, always a whole value."""

Phase = Literal["preflight", "act", "verify"]
OnFail = Literal["halt", "ask", "continue"]


@dataclass(frozen=True, slots=True)
class Condition:
    """`${ref} == value` (or !=): the step is needed only where it holds."""

    ref: str
    equal: bool
    value: Json


@dataclass(frozen=True)
class StepSpec:
    """One step. Exactly one kind of work:

    action, check: `uses` with `params`; undo: puts back what step `undo` did (`uses` and `params` are its);
    watch: runs the checks named in `repeat` again and again for `lasting` seconds; gate: only asks people.
    Durations in seconds.
    """

    id: str
    #: What people read, and the track whose steps follow one another.
    title: str
    track: str
    kind: Literal["action", "check", "undo", "watch", "gate"]
    uses: str = ""
    params: Mapping[str, Json] | None = None
    #: Steps that must end before it acts, and the part of the run that it belongs to.
    after: tuple[str, ...] = ()
    phase: Phase = "act"
    #: Name of the decision that must be made before it acts.
    decision: str | None = None
    #: How long one application may take, and how many failures that pass are tried again.
    timeout: float = 600.0
    failures: int = 3
    #: halt: nothing new starts in the whole run; ask: only what follows waits; continue: goes on.
    on_fail: OnFail = "ask"
    #: It is not needed unless this holds.
    when: Condition | None = None
    undo: str | None = None
    #: A check is looked at again for so long, so far apart, until so many looks in a row have passed.
    within: float = 0.0
    every: float = 5.0
    passes: int = 1
    repeat: tuple[str, ...] = ()
    lasting: float = 0.0
    #: The step whose output a check compares with.
    baseline: str | None = None
    #: As its handler says of itself: a debt until undone, never without a gate, the ports that it needs.
    temporary: bool = False
    destructive: bool = False
    needs: tuple[str, ...] = ()
    #: Its title in a run the other way round (`Plan.turned`); empty where it is called the same.
    forward: str = ""
    #: What the bot counts on its action for (`bot.contract.Duty`).
    duties: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it acts on the world (and so is planned before it acts)."""
        return self.kind in ("action", "undo")

    @cached_property
    def refs(self) -> frozenset[str]:
        """Every reference it reads: in its parameters and its condition."""
        found = set(_refs(self.params))
        if self.when is not None:
            found.add(self.when.ref)
        return frozenset(found)


@dataclass(frozen=True, slots=True)
class Decision:
    """What people decide with one click: the steps it frees, and who has a say.

    gate None: nobody is asked. unless: a boolean reference; where true, nobody is asked.
    choice, option: set where this is one way among several, of which exactly one is taken.
    """

    name: str
    title: str
    members: tuple[str, ...]
    gate: Gate | None
    unless: str | None = None
    choice: str | None = None
    option: str | None = None
    forward: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """A step at which people pick a procedure. advise: the check whose output recommends one."""

    id: str
    title: str
    options: tuple[str, ...]
    advise: str | None = None
    forward: str = ""


@dataclass(frozen=True)
class Plan:
    """A whole procedure. `steps` are in an order that respects every edge."""

    name: str
    steps: tuple[StepSpec, ...]
    decisions: tuple[Decision, ...] = ()
    choices: tuple[Choice, ...] = ()

    @cached_property
    def by_id(self) -> Mapping[str, StepSpec]:
        """Step id -> step."""
        return {s.id: s for s in self.steps}

    @cached_property
    def decision(self) -> Mapping[str, Decision]:
        """Decision name -> decision."""
        return {d.name: d for d in self.decisions}

    @cached_property
    def before(self) -> Mapping[str, frozenset[str]]:
        """Step id -> every step that comes before it, directly or not."""
        found: dict[str, frozenset[str]] = {}
        for s in self.steps:
            found[s.id] = frozenset(s.after).union(*(found[a] for a in s.after))
        return found

    @cached_property
    def behind(self) -> Mapping[str, frozenset[str]]:
        """Step id -> every step that comes after it, directly or not."""
        return {s.id: frozenset(t for t, b in self.before.items() if s.id in b) for s in self.steps}

    def passes(self, step: str, status: Status) -> bool:
        """Whether what a check has seen is a pass there. A warning is one, but not where writers wait for it."""
        return status is Status.PASS if step in self._strict else status.good

    @cached_property
    def _strict(self) -> frozenset[str]:
        """Checks, other than preflight, that come before whatever lets loose what writes data by itself."""
        undos = [s.id for s in self.steps if s.kind == "undo" and "writers" in s.duties]
        waited = frozenset[str]().union(*(self.before[i] for i in undos))
        return frozenset(s.id for s in self.steps if s.id in waited and not s.changes and s.phase != "preflight")

    @cached_property
    def planned_ahead(self) -> frozenset[str]:
        """Acting steps that are planned before their turn: decided by people, or on the way to one that is."""
        asked = {s.id for s in self.steps if s.decision and s.changes}
        return frozenset(s.id for s in self.steps if s.changes and (s.id in asked or self.behind[s.id] & asked))

    @cached_property
    def on_target(self) -> frozenset[str]:
        """Steps that depend on which release is restored, directly or because they follow one that does."""
        own: set[str] = set()
        for s in self.steps:  # in order: what it reads has been looked at before it
            if any(r.startswith("target.") or r in OF_TARGET or step_of(r) in own for r in s.refs):
                own.add(s.id)
        acting = {i for i in own if self.by_id[i].phase != "preflight"}
        return frozenset(own.union(*(self.behind[i] for i in acting)))

    def impossible(
        self, people: Collection[Person], barred: frozenset[str], decided: Iterable[str] = ()
    ) -> dict[str, str]:
        """Decision -> why nobody can pass it; empty is the proof that all can be passed. decided: those that were."""
        done = set(decided)
        gates = {d.name: d.gate for d in self.decisions if d.gate is not None and d.name not in done}
        return unsatisfiable(gates, people, barred)

    @property
    def turned(self) -> Plan:
        """The same procedure, as it is called in a run the other way round: forward where this one goes back."""
        return replace(
            self, steps=tuple(map(_turned, self.steps)), decisions=tuple(map(_turned, self.decisions)),
            choices=tuple(map(_turned, self.choices)),
        )  # fmt: skip

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical form, "sha256:<hex>"."""
        return "sha256:" + hashlib.sha256(canonical(to_json(self)).encode()).hexdigest()


_Titled = TypeVar("_Titled", StepSpec, Decision, Choice)


def _turned(titled: _Titled) -> _Titled:
    return replace(titled, title=titled.forward, forward=titled.title) if titled.forward else titled


OF_TARGET = ("run.banned", "run.outgoing")
"""What else depends on which release is restored."""


_PLAIN: TypeAdapter[Any] = TypeAdapter(Any)
"""Writes what it is given as it finds it; a schema of all of a plan takes 10 ms at each start."""


def to_json(plan: Plan) -> Json:
    """The plan as plain JSON, as kept in the record."""
    return _PLAIN.dump_python(plan, mode="json")  # type: ignore[no-any-return]


def step_of(ref: str) -> str | None:
    """The step whose output a reference reads; None for every other."""
    head, _, rest = ref.partition(".")
    return rest.rpartition(".")[0] if head == "steps" else None


def resolve(params: Mapping[str, Json], values: Callable[[str], Json]) -> dict[str, Json]:
    """Compiled parameters with every reference replaced by its value.

    `values` is called with a reference ("target.version"); its LookupError is raised again, naming the reference.
    """
    return {k: _resolved(v, values) for k, v in params.items()}


def _resolved(value: Json, values: Callable[[str], Json]) -> Json:
    if isinstance(value, Mapping) and set(value) == {REF}:
        ref = str(value[REF])
        try:
            return values(ref)
        except LookupError as error:
            raise LookupError(f"${{{ref}}}: {error.args[0] if error.args else 'no value'}") from error
    if isinstance(value, Mapping):
        return {k: _resolved(v, values) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(v, values) for v in value]
    return value


def _refs(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        if set(value) == {REF}:
            yield str(value[REF])
        else:
            for v in value.values():
                yield from _refs(v)
    elif isinstance(value, list | tuple):
        for v in value:
            yield from _refs(v)
