"""A small world for the engine's tests: documents over the HTTP port, handlers that change them, and plans by hand.

The documents live in memory and obey the port's contract (versions, If-Match, record before each write); the
handlers are ordinary ones. Knobs on the world make the next calls slow, flaky or wrong.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Check,
    Ctx,
    Edit,
    Effect,
    Fact,
    Fatal,
    NotYet,
    Output,
    Params,
    ReadCtx,
    Receipt,
    Retryable,
    Status,
    Value,
    Verdict,
)
from bot.handlers.registry import Registry
from bot.plan.model import Decision, Plan, StepSpec
from bot.policy import Gate, Person, Requirement
from bot.ports import Blob, Json, Ports, Record, Reply, Unreachable
from bot.run.state import Run
from bot.testing import ports


@dataclass
class World:
    """Documents by name, every write in order, and knobs: fail (name, or "get <name>" -> exceptions to raise first),
    hold (name -> event to wait for inside apply), settle (name -> looks until a write is in effect)."""

    docs: dict[str, Json] = field(default_factory=dict)
    writes: list[tuple[str, Json, str | None]] = field(default_factory=list)
    fail: dict[str, list[Exception]] = field(default_factory=dict)
    hold: dict[str, asyncio.Event] = field(default_factory=dict)
    entered: Counter[str] = field(default_factory=Counter)
    settle: dict[str, int] = field(default_factory=dict)
    facts: dict[str, int] = field(default_factory=dict)
    plans: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    """Name -> writes of it that are taken and do nothing."""
    hidden: set[str] = field(default_factory=set)
    """Names that a plan does not see, as a workload that has lost its label."""

    def ports(self, run: Run, record: Record) -> Ports:
        """As wiring makes them."""
        return ports(http=_Docs(self, record), blobs=_NoBlobs())


@dataclass(frozen=True)
class _Docs:
    world: World
    record: Record

    async def get(self, target: str, path: str) -> Reply:
        if waiting := self.world.fail.get(f"get {path}"):
            raise waiting.pop(0)
        value = self.world.docs.get(path)
        return Reply(200, {"etag": _tag(value)}, json.dumps(value), value)

    async def put(
        self, target: str, path: str, body: Json, *, if_match: str | None = None, key: str | None = None
    ) -> Reply:
        await self.record(f"put {path} {json.dumps(body)}")
        if if_match is not None and if_match != _tag(self.world.docs.get(path)):
            return Reply(412, {}, "changed meanwhile")
        if self.world.dropped[path] > 0:
            self.world.dropped[path] -= 1
            return Reply(200, {"etag": _tag(body)}, "")
        self.world.docs[path] = body
        self.world.writes.append((path, body, key))
        return Reply(200, {"etag": _tag(body)}, "")


class _NoBlobs:
    async def put(self, data: bytes, type: str) -> Blob:
        raise KeyError("no blobs here")

    async def get(self, blob: Blob) -> bytes:
        raise KeyError(blob.digest)


def _tag(value: Json) -> str:
    return json.dumps(value)


class SetParams(Params):
    """Which documents become what."""

    docs: list[str] = Field(description="names of documents")
    to: Json = Field(description="what they become")
    bound: bool = Field(True, description="whether what they are now is part of the approval")
    once: bool = Field(False, description="also makes a call that does not converge by itself")


class Written(Output):
    """What later steps may read."""

    docs: int = Field(description="how many documents it set")


class DocSet(Action[SetParams]):
    """Sets documents."""

    name = "doc.set"
    needs = frozenset({"http"})
    Params = SetParams
    Output = Written
    world: ClassVar[World]

    async def plan(self, ctx: ReadCtx, p: SetParams) -> Change:
        """One edit a document that differs."""
        world = self.world
        world.plans[p.docs[0]] += 1
        edits = []
        for d in [d for d in p.docs if d not in world.hidden]:
            now = (await ctx.ports.http.get("docs", d)).json
            if now != p.to:
                edits.append(Edit(d, now, p.to, p.bound))
        facts = tuple(Fact(d, world.facts[d], "rows", 10.0) for d in p.docs if d in world.facts)
        effects = (Effect("post"),) if p.once and edits else ()
        words = ", ".join(e.target for e in edits)
        return Change(f"{words} -> {p.to}" if edits else "all set already", tuple(edits), effects, facts)

    async def observe(self, ctx: ReadCtx, p: SetParams, targets: Collection[str]) -> Mapping[str, Value]:
        """What they are."""
        return {t: (await ctx.ports.http.get("docs", t)).json for t in targets}

    async def apply(self, ctx: Ctx, p: SetParams, change: Change) -> Receipt:
        """Looks, then writes."""
        world = self.world
        for e in change.edits:
            world.entered[e.target] += 1
            if e.target in world.hold:
                await ctx.report(f"holding {e.target}")
                await world.hold[e.target].wait()
            if waiting := world.fail.get(e.target):
                raise waiting.pop(0)
            if (await ctx.ports.http.get("docs", e.target)).json != e.after:
                await ctx.ports.http.put("docs", e.target, e.after if isinstance(e.after, str) else None, key=ctx.key)
            if world.settle.get(e.target, 0) > 0:
                world.settle[e.target] -= 1
                raise NotYet(f"{e.target} is settling", after=0.01, done=0, total=1)
        if change.effects:

            async def post() -> Json:
                await ctx.ports.http.put("docs", f"post/{ctx.key}", "x")
                return "posted"

            await ctx.once("post", post)
        return Receipt(change.summary, output={"docs": len(change.edits)})


class DocHold(DocSet):
    """Sets documents for a while."""

    name = "doc.hold"
    temporary = True


class DocDrop(DocSet):
    """Sets documents, and what was there is gone."""

    name = "doc.drop"
    destructive = True


class IsParams(Params):
    """What is expected."""

    doc: str = Field(description="name of the document")
    want: Json = Field(description="what it is to be")


class DocIs(Check[IsParams]):
    """Whether a document is what it should be."""

    name = "doc.is"
    needs = frozenset({"http"})
    Params = IsParams
    world: ClassVar[World]

    async def run(self, ctx: ReadCtx, p: IsParams) -> Verdict:
        """Pass where it is."""
        if waiting := self.world.fail.get(f"check {p.doc}"):
            raise waiting.pop(0)
        now = (await ctx.ports.http.get("docs", p.doc)).json
        status = Status.PASS if now == p.want else Status.FAIL
        return Verdict(status, f"{p.doc} is {now}", f"{p.want}", {"now": now})


def registry(world: World) -> Registry:
    """The handlers, bound to one world."""
    return Registry.of(
        *(type(k.__name__, (k,), {"world": world, "__doc__": k.__doc__})() for k in (DocSet, DocHold, DocDrop, DocIs))
    )


# -- plans -----------------------------------------------------------------------------------------------------------


def put(id: str, *docs: str, to: Json = "new", after: Collection[str] = (), **spec: Any) -> StepSpec:
    """A step that sets documents (its own id, where none is named)."""
    params: dict[str, Json] = {"docs": list(docs) or [id], "to": to}
    params |= {k: spec.pop(k) for k in ("bound", "once") if k in spec}
    uses = str(spec.pop("uses", "doc.set"))
    return StepSpec(
        id, id, "main", "action", uses, params, tuple(after), temporary=uses == "doc.hold",
        destructive=uses == "doc.drop", needs=("http",), **spec,
    )  # fmt: skip


def check(id: str, doc: str, want: Json = "new", after: Collection[str] = (), **spec: Any) -> StepSpec:
    """A step that checks a document."""
    params: dict[str, Json] = {"doc": doc, "want": want}
    return StepSpec(id, id, "main", "check", "doc.is", params, tuple(after), needs=("http",), **spec)


def undo(id: str, of: StepSpec, after: Collection[str] = (), **spec: Any) -> StepSpec:
    """A step that undoes another."""
    before = (of.id, *after)
    return StepSpec(id, id, "main", "undo", of.uses, of.params, before, undo=of.id, needs=("http",), **spec)


def start(after: Collection[str] = ()) -> StepSpec:
    """The commander's own gate."""
    return StepSpec("start", "Start", "main", "gate", after=tuple(after), decision="start")


START = Decision("start", "Start", ("start",), Gate((Requirement("commander"),), self_approval=True))


def plan(*steps: StepSpec, decisions: Collection[Decision] = ()) -> Plan:
    """A plan of these steps."""
    own = [START] if any(s.kind == "gate" for s in steps) else []
    return Plan("test", steps, (*own, *decisions))


def gate(name: str, *members: str, gate: Gate | None = None) -> Decision:
    """A decision by one approver."""
    return Decision(name, name, members, gate or Gate((Requirement("approver"),)))


ANA = Person("ana", "ana", frozenset({"commander"}))
BEN = Person("ben", "ben", frozenset({"approver", "dba"}))
CHO = Person("cho", "cho", frozenset({"approver"}))
DEE = Person("dee", "dee", frozenset({"commander", "dba"}))
EVE = Person("eve", "eve", kind="stranger")
CREW = (ANA, BEN, CHO, DEE)


class Crew:
    """A directory of the people above. left: those who are no members any more; away: it does not answer."""

    def __init__(self) -> None:
        self.left: set[str] = set()
        self.away = False

    async def everyone(self) -> tuple[Person, ...]:
        """All of them."""
        return CREW

    async def person(self, id: str) -> Person:
        """One of them, or a stranger."""
        return next((p for p in CREW if p.id == id), Person(id, id, kind="stranger"))

    async def still(self, id: str) -> Person:
        """One of them, as things stand."""
        if self.away:
            raise Unreachable("the directory does not answer")
        person = await self.person(id)
        return replace(person, kind="deactivated") if id in self.left else person


__all__ = [
    "ANA",
    "BEN",
    "CHO",
    "CREW",
    "DEE",
    "EVE",
    "Crew",
    "Fatal",
    "Retryable",
    "World",
    "check",
    "gate",
    "plan",
    "put",
    "registry",
    "start",
    "undo",
]
