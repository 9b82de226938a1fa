"""Point a service at another of its releases, and follow it until that release serves.

The pointer is a JSON document, `{"release": "2.4.0"}`. It is written over the version that was just looked at
(If-Match), so that nobody's later switch is overwritten, and a late copy of our own write is refused.
"""

from collections.abc import Collection, Mapping

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Edit,
    Fatal,
    HttpTarget,
    Json,
    NotYet,
    Params,
    ReadCtx,
    Receipt,
    Retryable,
    Value,
    release_named,
)
from bot.ports import Reply, Unreachable


class ReleaseSwitchParams(Params):
    """What to point where."""

    target: HttpTarget = Field(description="HTTP target of the catalogue that holds the pointer.")
    release: str = Field(min_length=1, description="Version that is to serve.")
    path: str = Field("/release", pattern="^/", description="Path of the pointer below the target.")
    health: str = Field("/healthz", pattern="^/", description="Path of the page that names the release which serves.")

    @property
    def pointer(self) -> str:
        """What the edit names: "shop/release"."""
        return f"{self.target}{self.path}"


class ReleaseSwitch(Action[ReleaseSwitchParams]):
    """Points a service at another of its releases and waits until that one serves."""

    name = "release.switch"
    needs = frozenset({"http"})
    duties = frozenset({"replace"})
    document = "release"
    Params = ReleaseSwitchParams

    async def plan(self, ctx: ReadCtx, p: ReleaseSwitchParams) -> Change:
        document, _ = await _look(ctx, p)
        now = document["release"]
        if now == p.release:
            return Change(f"{p.target} is on {now} already")
        return Change(f"{p.target}: {now} -> {p.release}", edits=(Edit(p.pointer, now, p.release),))

    async def observe(self, ctx: ReadCtx, p: ReleaseSwitchParams, targets: Collection[str]) -> Mapping[str, Value]:
        document, _ = await _look(ctx, p)
        return {target: document["release"] for target in targets}

    async def apply(self, ctx: Ctx, p: ReleaseSwitchParams, change: Change) -> Receipt:
        for edit in change.edits:
            document, version = await _look(ctx, p)
            now = document["release"]
            if now not in (edit.before, edit.after):
                raise Fatal(f"{p.pointer} is on {now}: somebody switched it", "ask who, then try again or undo")
            if now != edit.after:
                await _write(ctx, p, {**document, "release": str(edit.after)}, version)
            await _serving(ctx, p, edit.after)
        return Receipt(change.summary)


async def _look(ctx: ReadCtx, p: ReleaseSwitchParams) -> tuple[dict[str, Json], str | None]:
    """The document, and its version."""
    try:
        reply = await ctx.ports.http.get(p.target, p.path)
    except Unreachable as error:
        raise Retryable(str(error)) from error
    if reply.status >= 500:
        raise Retryable(f"GET {p.pointer}: answered {reply.status}")
    document = reply.json if reply.status == 200 and isinstance(reply.json, dict) else {}
    if release_named(document.get("release")) is None:
        raise Fatal(f"GET {p.pointer}: answered {reply.status}, no release", "check target and path in the plan")
    return document, reply.etag


async def _write(ctx: Ctx, p: ReleaseSwitchParams, document: Json, version: str | None) -> None:
    """One write. A lost answer is retryable, because the next attempt looks first."""
    try:
        reply = await ctx.ports.http.put(p.target, p.path, document, if_match=version, key=ctx.key)
    except Unreachable as error:
        raise Retryable(str(error)) from error
    if reply.status == 412:
        raise Retryable(f"{p.pointer} was written by somebody else just now", after=1)
    if reply.status >= 500:
        raise Retryable(f"PUT {p.pointer}: answered {reply.status}")
    if reply.status >= 300:
        raise Fatal(
            f"PUT {p.pointer}: refused ({reply.status}), {_reason(reply)}", "choose a release that the service has"
        )


async def _serving(ctx: Ctx, p: ReleaseSwitchParams, release: Value) -> None:
    """NotYet until the health page names the release; how healthy that is, is a check's question."""
    try:
        page = (await ctx.ports.http.get(p.target, p.health)).json
    except Unreachable as error:
        raise NotYet(f"waiting for {p.target} to serve {release}: {error}", after=1) from error
    serves = release_named(page.get("release")) if isinstance(page, dict) else None
    if serves != release:
        raise NotYet(f"waiting for {p.target} to serve {release}: {serves or 'no release'} serves", after=1)


def _reason(reply: Reply) -> str:
    said = reply.json.get("error") if isinstance(reply.json, dict) else None
    return str(said or reply.text or "no reason given")[:200]
