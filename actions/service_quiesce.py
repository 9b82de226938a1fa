"""Make a service read-only for a while, so that nothing is written while its data is worked on.

Temporary: the run owes the undo. What somebody else had made read-only before us is left to them (nothing to do, so
nothing to undo). Of the document only `read_only` is touched; a notice that people edit meanwhile stays.
"""

from collections.abc import Collection, Mapping

from pydantic import Field

from bot.contract import Action, Change, Ctx, Edit, Fatal, HttpTarget, Json, Params, ReadCtx, Receipt, Retryable, Value
from bot.ports import Unreachable


class ServiceQuiesceParams(Params):
    """What to make read-only."""

    target: HttpTarget = Field(description="HTTP target of the catalogue that holds the switch.")
    path: str = Field("/maintenance", pattern="^/", description="Path of the document with `read_only`.")

    @property
    def switch(self) -> str:
        """What the edit names: "shop/maintenance/read_only"."""
        return f"{self.target}{self.path}/read_only"


class ServiceQuiesce(Action[ServiceQuiesceParams]):
    """Makes a service read-only until it is undone."""

    name = "service.quiesce"
    needs = frozenset({"http"})
    temporary = True
    Params = ServiceQuiesceParams

    async def plan(self, ctx: ReadCtx, p: ServiceQuiesceParams) -> Change:
        now, _ = await _look(ctx, p)
        if now["read_only"]:
            return Change(f"{p.target} is read-only already, which is not ours to lift")
        return Change(f"{p.target}: read-only, writes are refused", edits=(Edit(p.switch, False, True),))

    async def observe(self, ctx: ReadCtx, p: ServiceQuiesceParams, targets: Collection[str]) -> Mapping[str, Value]:
        now, _ = await _look(ctx, p)
        return {target: now["read_only"] for target in targets}

    async def apply(self, ctx: Ctx, p: ServiceQuiesceParams, change: Change) -> Receipt:
        for edit in change.edits:
            now, version = await _look(ctx, p)
            if now["read_only"] != edit.after:
                await _write(ctx, p, {**now, "read_only": bool(edit.after)}, version)
        return Receipt(change.summary)


async def _look(ctx: ReadCtx, p: ServiceQuiesceParams) -> tuple[dict[str, Json], str | None]:
    """The document, and its version."""
    try:
        reply = await ctx.ports.http.get(p.target, p.path)
    except Unreachable as error:
        raise Retryable(str(error)) from error
    if reply.status >= 500:
        raise Retryable(f"GET {p.target}{p.path}: answered {reply.status}")
    document = reply.json if reply.status == 200 and isinstance(reply.json, dict) else {}
    if not isinstance(document.get("read_only"), bool):
        raise Fatal(
            f"GET {p.target}{p.path}: answered {reply.status}, no read_only", "check target and path in the plan"
        )
    return document, reply.etag


async def _write(ctx: Ctx, p: ServiceQuiesceParams, document: Json, version: str | None) -> None:
    """One write. A lost answer is retryable, because the next attempt looks first."""
    try:
        reply = await ctx.ports.http.put(p.target, p.path, document, if_match=version, key=ctx.key)
    except Unreachable as error:
        raise Retryable(str(error)) from error
    if reply.status == 412 or reply.status >= 500:
        raise Retryable(f"PUT {p.target}{p.path}: answered {reply.status}", after=1)
    if reply.status >= 300:
        raise Fatal(f"PUT {p.target}{p.path}: refused ({reply.status}) {reply.text[:200]}", "look at the service's log")
