"""The one contract between the engine and every action and check.

An action says what it would change (`plan`), later makes it so (`apply`), and can look where things stand
(`observe`). The value that travels between them, `Change`, is at once the preview, what people approve, the
no-op test, the undo data and the audit line. A check reads the world and gives a `Verdict`.

Rules that every handler keeps (tests/test_contract.py holds them to it):
- `plan` and `observe` write nothing, and the same world gives the same fingerprint;
- `apply` called again with the same change converges: it looks before it acts;
- a target names object and field ("shop-worker/replicas"), and no secret value ever enters a Change.
"""

from __future__ import annotations

import enum
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from bot.ports import Blob, Ports
from bot.ports import Json as Json

Value = Annotated[Blob | Json, Field(union_mode="left_to_right")]
"""What a target holds: JSON of at most 4 KiB, or a reference to a blob. None means absent."""

INLINE_LIMIT = 4096
"""Bytes of canonical JSON above which a value belongs into `ports.blobs`."""

NAME_LIMIT = 200
"""Characters above which what a target says is no release's name."""


def release_named(said: object) -> str | None:
    """The release that a target names; None where what it says can be none."""
    return said if isinstance(said, str) and 0 < len(said) <= NAME_LIMIT and said.isprintable() else None


_UNDO = "Undo: "
"""How the summary of a change begins that puts another one back."""
NAMES = "names"
"""Key in a parameter's schema: what of the catalogue its value names, a kind of target or "service". Plans are held to
that before anything runs."""

HttpTarget = Annotated[str, Field(json_schema_extra={NAMES: "http"})]
"""Type of a parameter that names an HTTP target of the service."""
RedisTarget = Annotated[str, Field(json_schema_extra={NAMES: "redis"})]
"""Type of a parameter that names a Redis target of the service."""
ServiceName = Annotated[str, Field(min_length=1, json_schema_extra={NAMES: "service"})]
"""Type of a parameter that names a service."""


class Params(BaseModel):
    """A handler's parameters. Each field is described: the text is help, documentation and schema."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Output(BaseModel):
    """What a handler hands to later steps (`${steps.<id>.<field>}`), declared like its parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Outgoing(BaseModel):
    """A release that has to go: the one that is removed, and each target that was tried and given up. A plan hands
    all of them over as `${run.outgoing}`, oldest first."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    version: str = Field(description="Its version.")
    commit: str = Field("", description="Commit it was built from.")
    images: dict[str, str] = Field({}, description="Its images by digest, by workload.")
    settings: Blob | None = Field(None, description="Its record, as it was when it came.")
    frontend: str | None = Field(None, description="Its frontend build: prefix@sha256:….")


@dataclass(frozen=True, slots=True)
class Edit:
    """One thing that will differ.

    bound=False: `before` is saved for the undo but was not part of what people approved (replicas that an
    autoscaler moves all the time).
    """

    target: str
    before: Value
    after: Value
    bound: bool = True

    def arrived(self, now: Value) -> bool:
        """Whether a target that holds this is there. What others move all the time is, once it has left `before`."""
        return now == self.after or (not self.bound and now != self.before)


@dataclass(frozen=True, slots=True)
class Effect:
    """Something done that has no before: a post, a flush, an invalidation. `on_undo`: done again or left out."""

    what: str
    on_undo: Literal["repeat", "drop"] = "drop"


@dataclass(frozen=True, slots=True)
class Fact:
    """Something measured while planning, shown to people. Above `ceiling` (same unit) the step has drifted."""

    name: str
    value: Json
    unit: str = ""
    ceiling: float | None = None

    def allows(self, value: Json) -> bool:
        """Whether people who saw this fact agreed to that value: within the ceiling, or no worse than they saw."""
        if self.ceiling is None or not _above(value, self.ceiling) or _same(value, self.value):
            return True
        shown = self.value
        return isinstance(shown, int | float) and not isinstance(shown, bool) and not _above(value, shown)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which parts of the catalogue something is about: all but `without`, and where `only` is not empty, these alone.

    A part is a place of the catalogue or something in it: "us-1", "us-1/deployment/shop-api".
    """

    without: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()

    def holds(self, place: str) -> bool:
        """Whether a place, an object in it or an edit's target belongs to it."""
        return not self._in(place, self.without) and (not self.only or self._in(place, self.only))

    def sees(self, place: str) -> bool:
        """Whether a place, or something in it, belongs to it."""
        return self.holds(place) or (not self._in(place, self.without) and any(within(p, place) for p in self.only))

    def of(self, change: Change) -> Change:
        """What of a change belongs to it. An effect does if it names a part of `only`, where there are any."""
        if not self.without and not self.only:
            return change
        effects = tuple(e for e in change.effects if not self.only or any(p in e.what for p in self.only))
        return replace(change, edits=tuple(e for e in change.edits if self.holds(e.target)), effects=effects)

    @staticmethod
    def _in(place: str, parts: frozenset[str]) -> bool:
        return any(within(place, p) for p in parts)


def within(place: str, part: str) -> bool:
    """Whether a place, an object or a target is the part, or lies in it."""
    return place == part or place.startswith(f"{part}/")


@dataclass(frozen=True, slots=True)
class Change:
    """What a step would do, or did. Neither edits nor effects: nothing to do, and `summary` says why.

    within: seconds that it may take by what it changes (a rollout has a pace and a deadline of its own), where that is
    longer than the step's timeout; lasts: seconds that it takes while all goes well, at least and at most, where what
    it changes says so. Neither is part of what is approved.
    """

    summary: str
    edits: tuple[Edit, ...] = ()
    effects: tuple[Effect, ...] = ()
    facts: tuple[Fact, ...] = ()
    warnings: tuple[str, ...] = ()
    reversible: bool = True
    within: float = 0.0
    lasts: tuple[float, float] = (0.0, 0.0)

    @property
    def is_noop(self) -> bool:
        """Whether there is nothing to do."""
        return not self.edits and not self.effects

    @property
    def targets(self) -> frozenset[str]:
        """The targets that would differ afterwards."""
        return frozenset(e.target for e in self.edits)

    def fingerprint(self, handler: str, where: str = "") -> str:
        """What an approval binds: 32 hex digits of SHA-256 over handler, edits (before only where bound),
        effects, ceilings and reversibility; not over prose or measured facts. where: digest of the places that it
        reaches, where these are known."""
        bound = {
            **({"where": where} if where else {}),
            "handler": handler,
            "edits": sorted(_edit_key(e) for e in self.edits),
            "effects": sorted([e.what, e.on_undo] for e in self.effects),
            "ceilings": sorted([f.name, float(f.ceiling)] for f in self.facts if f.ceiling is not None),
            "reversible": self.reversible,
        }
        return hashlib.sha256(canonical(bound).encode()).hexdigest()[:32]

    def beyond(self, approved: Change, there: Collection[str] = ()) -> tuple[str, ...]:
        """In which ways this newly planned change goes beyond the approved one; empty if it is covered.

        Covered is: every edit and effect was approved (fewer is fine: the rest is done already), every fact
        with an approved ceiling is known and at or below it, or no worse than what was shown (where anything is left
        to do), and nothing has become irreversible. there: targets of edits that stand at their `after` already.
        """
        idle = not self.effects and self.targets <= {*there}
        known = {e.target: e for e in approved.edits}
        found: list[str] = []
        for e in self.edits:
            was = known.get(e.target)
            if was is None:
                found.append(f"{e.target}: now also {_show(e.before)} -> {_show(e.after)}")
            elif not _same(e.after, was.after):
                found.append(f"{e.target}: would become {_show(e.after)}, approved was {_show(was.after)}")
            elif was.bound and not _same(e.before, was.before):
                found.append(f"{e.target}: is {_show(e.before)} now, was {_show(was.before)} when approved")
        found += [f"now also: {e.what}" for e in self.effects if e not in approved.effects]
        measured = {f.name: f for f in self.facts}
        limits = {f.name: f for f in approved.facts if f.ceiling is not None}
        for name, limit in limits.items():
            now = measured.get(name)
            if limit.ceiling is None or idle or (now is not None and limit.allows(now.value)):
                continue
            counted = now is not None and now.value is not None
            seen = f"{_show(now.value)} {now.unit}".strip() if now is not None and counted else "not known"
            found.append(f"{name}: {seen} now, the limit shown was {limit.ceiling:g}")
        found += [
            f"{f.name}: a limit of {f.ceiling:g} that was not shown"
            for f in self.facts
            if f.ceiling is not None and f.name not in limits
        ]
        if approved.reversible and not self.reversible:
            found.append("can no longer be undone")
        return tuple(found)

    def missing_from(self, fresh: Change) -> tuple[Edit, ...]:
        """The edits of this change that a fresh plan no longer holds: done, or out of its sight."""
        return tuple(e for e in self.edits if e.target not in fresh.targets)

    def strayed(self, fresh: Change, seen: Mapping[str, Value]) -> tuple[str, ...]:
        """In which ways what a fresh plan no longer holds is not done, a line each. seen: target -> where it stands.

        An edit that is missing from a new plan counts as done only where its target stands at `after`.
        """
        return tuple(
            f"{e.target}: is {_show(seen.get(e.target))}, and would stay so; approved was {_show(e.before)} -> "
            f"{_show(e.after)}"
            for e in self.missing_from(fresh)
            if not e.arrived(seen.get(e.target))
        )

    def whole(self, fresh: Change) -> Change:
        """A fresh plan, with what of this change is done already: all that is to be waited for, in this one's order."""
        new = {e.target: e for e in fresh.edits}
        ours = [new.pop(e.target, e) for e in self.edits]
        return replace(fresh, edits=(*ours, *new.values()))

    def on_top_of(self, earlier: Iterable[Change]) -> Change:
        """This change as it will be once `earlier` ones are in place: where they leave a target, it starts."""
        left = {e.target: e.after for c in earlier for e in c.edits}
        edits = (replace(e, before=left[e.target]) if e.target in left else e for e in self.edits)
        return replace(self, edits=tuple(e for e in edits if e.before != e.after or not e.bound))

    def undo_from(self, seen: Mapping[str, Value], leave: Collection[str] = ()) -> tuple[Change, dict[str, Value]]:
        """What is left to undo of this change, and the targets that others have changed since (with what is there).

        seen: target -> where it stands. At `before`: undone already. At `after`: to be undone. Elsewhere: somebody
        else's by now, not touched. `leave`: targets that people said to leave as they are.
        """
        ours = [e for e in self.edits if e.target not in leave]
        todo = tuple(e for e in ours if seen.get(e.target) == e.after and e.after != e.before)
        elsewhere = {e.target: seen.get(e.target) for e in ours if seen.get(e.target) not in (e.before, e.after)}
        back = replace(self, edits=todo).inverted()
        if back.is_noop and not elsewhere:
            back = replace(back, summary=f"{self.summary}: undone already")
        return back, elsewhere

    def inverted(self) -> Change:
        """The change that puts every `before` back, in reverse order; effects only where marked `repeat`."""
        return replace(
            self,
            summary=self.summary if self.is_noop else f"{_UNDO}{self.summary}",
            edits=tuple(replace(e, before=e.after, after=e.before) for e in reversed(self.edits)),
            effects=tuple(e for e in self.effects if e.on_undo == "repeat"),
            facts=(),
            warnings=(),
        )

    def once_back(self, detail: str) -> str:
        """What its handler says once this, the inverse of a change, is done: no longer what is to be undone, but how
        it stands ("as before api in prod to 2.3.9", where the plan was "Undo: api in prod to 2.3.9")."""
        if not self.summary.startswith(_UNDO) or not detail.startswith(self.summary):
            return detail
        return f'as before "{self.summary.removeprefix(_UNDO)}"{detail.removeprefix(self.summary)}'


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `apply` did, in one line, with evidence to keep, links to show and the declared output."""

    detail: str
    evidence: Mapping[str, Json] = field(default_factory=dict)
    links: tuple[tuple[str, str], ...] = ()
    output: Mapping[str, Json] = field(default_factory=dict)


class Status(enum.StrEnum):
    """A check's outcome. UNKNOWN (no samples, no answer) is never a pass."""

    PASS = "pass"  # noqa: S105
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"

    @property
    def good(self) -> bool:
        """Whether a run may go on without asking people."""
        return self in (Status.PASS, Status.WARN)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check saw against what it wanted, both in words with units; `data` for later steps and baselines."""

    status: Status
    observed: str
    expected: str
    data: Mapping[str, Json] = field(default_factory=dict)


class NotYet(Exception):
    """Not an error: the change is taking effect, come back. Bounded by the step's timeout.

    after: seconds until the next look; done of total: progress, where it can be counted.
    """

    def __init__(self, message: str, *, after: float = 5.0, done: int | None = None, total: int | None = None):
        super().__init__(message)
        self.after, self.done, self.total = after, done, total


class Retryable(Exception):
    """Failed for a reason that passes; converging again is safe. Burns one of the step's `failures`.

    after: seconds to wait before the next attempt.
    """

    def __init__(self, message: str, *, after: float = 5.0):
        super().__init__(message)
        self.after = after


class Fatal(Exception):
    """Trying again is useless; `hint` says what a person should do next."""

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.hint = hint


class ReadCtx(Protocol):
    """What `plan`, `observe` and checks get."""

    @property
    def ports(self) -> Ports:
        """The ports named in `needs`; any other raises."""
        ...

    @property
    def now(self) -> datetime:
        """The moment of this look, aware, in UTC."""
        ...

    @property
    def baseline(self) -> Mapping[str, Json] | None:
        """The output of the step named by `baseline`, where the plan names one."""
        ...


class Ctx(ReadCtx, Protocol):
    """What `apply` gets in addition."""

    @property
    def key(self) -> str:
        """run/step/application: the same over attempts, another for an undo and where people have approved something
        else half-way; give it to the vendor."""
        ...

    @property
    def insisted(self) -> str:
        """A person's reason to have it taken back although this handler refused to (Fatal); empty otherwise. It is
        for conditions that protect (health, a removed release), never for what is not known."""
        ...

    async def report(self, text: str, done: int | None = None, total: int | None = None) -> None:
        """Show progress. Disposable: the last line wins, nothing is logged."""
        ...

    async def once(self, name: str, fn: Callable[[], Awaitable[Json]]) -> Json:
        """Call `fn` unless this application has recorded its result under `name`; for calls that do not converge."""
        ...


async def first_time(ctx: Ctx, name: str) -> bool:
    """Whether this is marked for the first time in this application, whatever crashed in between."""
    marked = False

    async def mark() -> Json:
        nonlocal marked
        marked = True
        return True

    await ctx.once(name, mark)
    return marked


async def first_value(ctx: Ctx, name: str, value: Json) -> Json:
    """What this application has recorded under `name`: this value, if nothing was."""

    async def said() -> Json:
        return value

    return await ctx.once(name, said)


async def first_seen(ctx: Ctx, name: str) -> datetime:
    """When this was seen first in this application: now, if it never was."""
    return datetime.fromisoformat(str(await first_value(ctx, name, ctx.now.isoformat())))


P = TypeVar("P", bound=Params)


class Handler(Generic[P]):
    """What actions and checks have in common."""

    name: ClassVar[str]
    """`<noun>.<verb>`; the module is the name with an underscore for the dot."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """The ports it uses; it is handed no other."""
    Params: type[P]
    Output: ClassVar[type[Output] | None] = None


Duty = Literal["freeze", "thaw", "ban", "hold", "replace", "return", "writers", "learn"]
"""What the bot counts on an action for, whatever it is called:

- freeze: while its debt stands new releases are refused, and CI is told so; thaw: it lifts what ended runs have left of
  that; ban: it keeps a removed release out;
- hold: what it has put has to go on standing while it is a debt, and somebody looks whether it does;
- replace: its first effect is what takes the removed release away; return: what it has changed may not come back after
  the run, and its change says what is not restored;
- writers: it holds back what writes data by itself: no check that its undo waits for passes with a warning;
- learn: what happened is gone over because of it, also where the run was given up before its turn.
"""


class Action(Handler[P], ABC):
    """One thing the bot can do to the world, and undo."""

    duties: ClassVar[frozenset[Duty]] = frozenset()
    """What is counted on it for beyond its own step."""

    temporary: ClassVar[bool] = False
    """A debt until undone: the run cannot close while it stands."""
    destructive: ClassVar[bool] = False
    """Never without a gate."""
    document: ClassVar[str | None] = None
    """The field that its edits set, of the JSON document over HTTP that their targets name; "" where a target ends with
    the field itself ("shop/maintenance/read_only"); None: they are no such fields. By it people are told what to type
    without the bot."""

    @abstractmethod
    async def plan(self, ctx: ReadCtx, p: P) -> Change:
        """What `apply` would change now. Reads only."""

    @abstractmethod
    async def observe(self, ctx: ReadCtx, p: P, targets: Collection[str]) -> Mapping[str, Value]:
        """Where these targets stand now. Reads only."""

    @abstractmethod
    async def apply(self, ctx: Ctx, p: P, change: Change) -> Receipt:
        """Make it so, forwards or back: each edit of `change` to its `after`, looking before acting.

        Where an Output is declared it is also called for a change that holds nothing (done already, or by hand), on
        ports that only read: it then only says what there is.
        """


class Check(Handler[P], ABC):
    """One question about the world. An exception is `unknown`, never a pass."""

    @abstractmethod
    async def run(self, ctx: ReadCtx, p: P) -> Verdict:
        """Look once; polling, repeated passes and baselines belong to the plan."""


AnyAction = Action[Any]
AnyCheck = Check[Any]


def merged(first: Iterable[Edit], then: Iterable[Edit]) -> tuple[Edit, ...]:
    """Undo data of one application over its attempts: by target, the first `before` and the last `after`."""
    by_target = {e.target: e for e in first}
    for e in then:
        was = by_target.get(e.target)
        by_target[e.target] = replace(e, before=was.before) if was else e
    return tuple(by_target.values())


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8 kept, NaN refused; blobs as objects."""
    return _CANONICAL.encode(value)


def _blob(value: object) -> dict[str, Json]:
    if isinstance(value, Blob):
        return {"digest": value.digest, "size": value.size, "type": value.type}
    raise TypeError(f"{type(value).__name__} has no place in JSON")


_CANONICAL = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_blob
)  # fmt: skip


def _edit_key(e: Edit) -> list[Any]:
    return [e.target, canonical(e.after), e.bound, canonical(e.before) if e.bound else ""]


def _same(one: Value, other: Value) -> bool:
    return one == other and canonical(one) == canonical(other)  # Python takes true for 1


def _above(value: Json, ceiling: float) -> bool:
    return not isinstance(value, int | float) or isinstance(value, bool) or value > ceiling


def _show(value: Value) -> str:
    if value is None:
        return "absent"
    if isinstance(value, Blob):
        return f"{value.digest[:19]}… ({value.size} bytes)"
    return value if isinstance(value, str) else canonical(value)
