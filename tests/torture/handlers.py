"""Handlers for the torture: ordinary actions and a check over `ports.http`, with knobs in their parameters.

They look before they act and write only over the version they have seen. What they do in which order is told to the
world (`inside`), and `reach` marks the places at which a node may be told to die.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Check,
    Ctx,
    Edit,
    Effect,
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
from bot.ports import Http, Json, Reply

WORLD = "world"
"""The target that all of them ask."""
SOON = 0.05
"""Seconds until a look that stays within the pass."""
LATE = 1.0
"""Seconds until a look that ends the pass (the node's IN_STEP is less)."""

reach: Callable[[str], None] = lambda place: None  # noqa: E731
"""Told where an action is: entered, looked, wrote, posted, leaving."""
inside: Callable[[str], None] = lambda what: None  # noqa: E731
"""Tells the world that an action was entered or left ("enter", "leave"), whatever happens to its task."""


class SetParams(Params):
    """Which documents become what, and what goes wrong on the way."""

    docs: list[str] = Field(description="paths of documents")
    to: str = Field(description="what they become")
    bound: bool = Field(True, description="whether what they are now is part of the approval")
    post: bool = Field(False, description="also makes a call that does not converge by itself")
    pause: float = Field(0.0, description="seconds spent at each document")
    settle: int = Field(0, description="looks until the change has taken effect, within a pass")
    later: int = Field(0, description="looks until the change has taken effect, each in a pass of its own")
    flaky: int = Field(0, description="failures that pass, after the first document")
    broken: int = Field(0, description="failures of unknown outcome, after the first document")
    hopeless: int = Field(0, description="failures that trying again does not mend, before anything is done")


class Made(Output):
    """What later steps may read."""

    tag: str = Field(description="what the documents became")


class DocSet(Action[SetParams]):
    """Sets documents."""

    name = "doc.set"
    needs = frozenset({"http"})
    Params = SetParams
    Output = Made

    async def plan(self, ctx: ReadCtx, p: SetParams) -> Change:
        """One edit a document that differs."""
        found = [(d, (await _read(ctx.ports.http, d))[0]) for d in p.docs]
        edits = tuple(Edit(d, now, p.to, p.bound) for d, now in found if now != p.to)
        effects = (Effect("post"),) if p.post else ()
        return Change(f"{len(edits)} documents -> {p.to}" if edits else "all set already", edits, effects)

    async def observe(self, ctx: ReadCtx, p: SetParams, targets: Collection[str]) -> Mapping[str, Value]:
        """What they are."""
        return {t: (await _read(ctx.ports.http, t))[0] for t in targets}

    async def apply(self, ctx: Ctx, p: SetParams, change: Change) -> Receipt:
        """Looks, then writes."""
        http = ctx.ports.http
        inside("enter")
        try:
            reach("entered")
            if await _turn(http, "hopeless", p.hopeless):
                raise Fatal("the world does not want this", "ask the world")
            for n, edit in enumerate(change.edits):
                await self._make(ctx, p, edit)
                if not n:
                    await self._stumble(http, p)
            if change.effects:
                await ctx.once("post", lambda: _post(ctx))
            await self._settle(http, p)
            reach("leaving")
            return Receipt(change.summary, output={"tag": p.to})
        finally:
            inside("leave")

    async def _make(self, ctx: Ctx, p: SetParams, edit: Edit) -> None:
        now, tag = await _read(ctx.ports.http, edit.target)
        reach("looked")
        await asyncio.sleep(p.pause)
        if now == edit.after:
            return
        if edit.bound and now != edit.before:
            raise Fatal(f"{edit.target} is {now!r}, neither {edit.before!r} nor {edit.after!r}", "see who writes there")
        reply = await ctx.ports.http.put(WORLD, f"/doc/{edit.target}", _plain(edit.after), if_match=tag, key=ctx.key)
        reach("wrote")
        if reply.status == 412:
            raise Retryable(f"{edit.target} has changed meanwhile", after=SOON)
        _must(reply)

    async def _stumble(self, http: Http, p: SetParams) -> None:
        if await _turn(http, "flaky", p.flaky):
            raise Retryable("try that again", after=SOON)
        if await _turn(http, "broken", p.broken):
            raise RuntimeError("something is broken")

    async def _settle(self, http: Http, p: SetParams) -> None:
        if await _turn(http, "settle", p.settle):
            raise NotYet("settling", after=SOON)
        if await _turn(http, "later", p.later):
            raise NotYet("taking its time", after=LATE)


class DocHold(DocSet):
    """Sets documents for a while."""

    name = "doc.hold"
    temporary = True


class DocDrop(DocSet):
    """Sets documents, and what was there is gone."""

    name = "doc.drop"
    destructive = True


class IsParams(Params):
    """What is expected, and how often it is not."""

    doc: str = Field(description="path of the document")
    want: str | None = Field(None, description="what it is to be; nothing: anything will do")
    bad: int = Field(0, description="looks that fail first")
    say: str = Field("ok", description="what it answers")


class Seen(Output):
    """What later steps may read."""

    ok: bool = Field(description="whether it passed")
    say: str = Field(description="as its parameters have it")


class DocIs(Check[IsParams]):
    """Whether a document is what it should be."""

    name = "doc.is"
    needs = frozenset({"http"})
    Params = IsParams
    Output = Seen

    async def run(self, ctx: ReadCtx, p: IsParams) -> Verdict:
        """Pass where it is."""
        now, _ = await _read(ctx.ports.http, p.doc)
        bad = await _turn(ctx.ports.http, "bad", p.bad)
        good = not bad and (p.want is None or now == p.want)
        status = Status.PASS if good else Status.FAIL
        return Verdict(status, f"{p.doc} is {now!r}", f"{p.want or 'anything'}", {"ok": good, "say": p.say})


def registry() -> Registry:
    """All of them."""
    return Registry.of(DocSet(), DocHold(), DocDrop(), DocIs())


async def _read(http: Http, path: str) -> tuple[Value, str | None]:
    reply = _must(await http.get(WORLD, f"/doc/{path}"))
    value = reply.json["value"] if isinstance(reply.json, dict) else None
    return value, reply.etag


async def _post(ctx: Ctx) -> Json:
    _must(await ctx.ports.http.put(WORLD, f"/post/{ctx.key}", "x", key=ctx.key))
    reach("posted")
    return "posted"


async def _turn(http: Http, what: str, times: int) -> bool:
    """Whether this is one of the first `times` asked for."""
    if not times:
        return False
    said = _must(await http.get(WORLD, f"/turn/{what}")).json
    return isinstance(said, int) and said <= times


def _plain(value: Value) -> Json:
    if not isinstance(value, str | None):
        raise Fatal(f"{value!r} is no text")
    return value


def _must(reply: Reply) -> Reply:
    if reply.status >= 300:
        raise Retryable(f"answered {reply.status}", after=SOON)
    return reply
