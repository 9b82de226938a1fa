"""Make a service read-only for a while, so that nothing is written while its data is worked on.

Two ways, together or alone: a maintenance page over HTTP (a document with `read_only`), which asks the service to
refuse politely, and its databases, which refuse whatever the service does, in sessions that are open already as well.

Temporary: the run owes the undo. What somebody else had made read-only before us is left to them (nothing to do, so
nothing to undo). Of the document only `read_only` is touched; a notice that people edit meanwhile stays.
"""

from collections.abc import Collection, Mapping

from pydantic import Field

from bot.contract import Action, Change, Ctx, Edit, Fatal, HttpTarget, Json, Params, ReadCtx, Receipt, Retryable, Value
from bot.ports import Unreachable
from bot.ports.databases import NotAllowed
from bot.ports.maintenance import Unfit

FIELD = "read_only"
"""What of a database the edit names: "db/read_only" for everybody, "db/read_only/app" for a role that has a setting of
its own."""


class ServiceQuiesceParams(Params):
    """What to make read-only."""

    target: HttpTarget = Field("", description="HTTP target of the catalogue that holds the switch; empty: none.")
    path: str = Field("/maintenance", pattern="^/", description="Path of the document with `read_only`.")
    databases: bool | None = Field(
        None, description="Whether every database of the service refuses writes; left out: unless a target is named."
    )

    @property
    def switch(self) -> str:
        """What the edit names: "shop/maintenance/read_only"."""
        return f"{self.target}{self.path}/read_only"

    @property
    def refuse(self) -> bool:
        """Whether databases are meant."""
        return not self.target if self.databases is None else self.databases


class ServiceQuiesce(Action[ServiceQuiesceParams]):
    """Makes a service read-only until it is undone."""

    name = "service.quiesce"
    needs = frozenset({"http", "databases", "maintenance"})
    temporary = True
    document = ""
    Params = ServiceQuiesceParams

    async def plan(self, ctx: ReadCtx, p: ServiceQuiesceParams) -> Change:
        edits, words = [], []
        if p.target:
            now, _ = await _look(ctx, p)
            if now["read_only"]:
                words.append(f"{p.target} is read-only already, which is not ours to lift")
            else:
                words.append(f"{p.target}: read-only, writes are refused")
                edits.append(Edit(p.switch, False, True))
        for database in ctx.ports.databases.databases if p.refuse else ():
            found = await _closing(ctx, database.name)
            edits += found
            words.append(
                f"{database.name} refuses writes, its sessions begin anew"
                if found
                else f"{database.name} refuses writes already, which is not ours to lift"
            )
        return Change("; ".join(words) or "this service has no database to make read-only", edits=tuple(edits))

    async def observe(self, ctx: ReadCtx, p: ServiceQuiesceParams, targets: Collection[str]) -> Mapping[str, Value]:
        found: dict[str, Value] = {}
        for target in targets:
            if p.target and target == p.switch:
                now, _ = await _look(ctx, p)
                found[target] = now["read_only"]
            else:
                name, _, role = _parts(target)
                found[target] = (await _quiet(ctx, name)).get(role)
        return found

    async def apply(self, ctx: Ctx, p: ServiceQuiesceParams, change: Change) -> Receipt:
        wanted: dict[str, dict[str, str | None]] = {}
        for edit in change.edits:
            if p.target and edit.target == p.switch:
                now, version = await _look(ctx, p)
                if now["read_only"] != edit.after:
                    await _write(ctx, p, {**now, "read_only": bool(edit.after)}, version)
            else:
                name, _, role = _parts(edit.target)
                wanted.setdefault(name, {})[role] = None if edit.after is None else str(edit.after)
        for name, settings in wanted.items():
            await _set(ctx, name, settings)
        return Receipt(change.summary)


def _parts(target: str) -> tuple[str, str, str]:
    """Database, field and role of an edit."""
    name, _, rest = target.partition("/")
    field, _, role = rest.partition("/")
    return name, field, role


async def _closing(ctx: ReadCtx, name: str) -> list[Edit]:
    """What is to be set in a database: for everybody, and for each role that would write all the same."""
    now = await _quiet(ctx, name)
    ours = {role: f"{name}/{FIELD}/{role}" if role else f"{name}/{FIELD}" for role in now}
    return [Edit(ours[role], value, "on") for role, value in now.items() if value != "on"]


async def _quiet(ctx: ReadCtx, name: str) -> Mapping[str, str | None]:
    try:
        return (await ctx.ports.maintenance.quiet(name)).settings
    except NotAllowed as error:
        raise Fatal(str(error), "give the admin login the rights of docs/databases.md") from error


async def _set(ctx: Ctx, name: str, settings: Mapping[str, str | None]) -> None:
    """Sets them, and sees that they hold."""
    try:
        await ctx.ports.maintenance.set_quiet(name, settings)
        now = await ctx.ports.maintenance.quiet(name)
    except (Unreachable, Unfit) as error:
        raise Retryable(f"{error}; {error.hint}" if isinstance(error, Unfit) else str(error), after=2) from error
    except NotAllowed as error:
        raise Fatal(str(error), "give the admin login the rights of docs/databases.md") from error
    if now.writers and "on" in settings.values():
        more = f"; and {len(now.writers) - 3} more" if len(now.writers) > 3 else ""
        raise Retryable(f"{name} refuses writes, but {'; '.join(now.writers[:3])}{more}; stop what runs it", after=2)


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
