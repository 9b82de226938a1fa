"""`bot.ports.Databases` over PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from psycopg import errors

from bot.adapters.postgres import by_hand, catalog, compared
from bot.adapters.postgres.connection import US, DatabaseTarget, PostgresServer
from bot.adapters.postgres.scripts import LOCKED_OUT, READING, Child, ChildError, Scripts
from bot.adapters.postgres.toll import toll
from bot.contract import Edit
from bot.ports import Record, Unreachable, Where, unbound
from bot.ports.databases import (
    BadScripts,
    Blocked,
    Database,
    DatabaseState,
    Direction,
    Loss,
    NotAllowed,
    RevisionStep,
    Route,
    SchemaDifference,
    ScriptFailed,
    TableShape,
    Toll,
)

EXPORT = 256 * 1024 * 1024
"""Bytes of one export; more is not kept by the bot."""
EXPORTING = 600.0
"""Seconds that one export may take."""
_LOOK = 0.5
"""Seconds between two looks at who is in the way."""


class PostgresDatabases:
    """The databases of one service; `bind` makes the copy that an attempt may change something through."""

    def __init__(
        self,
        targets: Sequence[DatabaseTarget],
        record: Record = unbound,
        *,
        _servers: Mapping[str, PostgresServer] | None = None,
        _scripts: Mapping[str, Scripts] | None = None,
    ) -> None:
        self._targets = {t.at.name: t for t in targets}
        self.servers = _servers or {n: PostgresServer(t) for n, t in self._targets.items()}
        self._scripts = _scripts or {n: Scripts(t) for n, t in self._targets.items()}
        self.record = record

    def bind(self, record: Record) -> PostgresDatabases:
        """The same databases, changing something only after `record`."""
        return PostgresDatabases([*self._targets.values()], record, _servers=self.servers, _scripts=self._scripts)

    # -- for wiring --------------------------------------------------------------------------------------------------

    @property
    def named(self) -> Mapping[str, Where]:
        """Target -> which place it is, as far as that is known without asking."""
        return {name: server.named for name, server in self.servers.items()}

    async def where(self) -> Mapping[str, Where]:
        """Target -> which place it is."""
        found = await asyncio.gather(*(server.where() for server in self.servers.values()))
        return dict(zip(self.servers, found, strict=True))

    def hold(self, places: Mapping[str, Where]) -> None:
        """From here on changes are made where these are, or nowhere."""
        for name, server in self.servers.items():
            server.hold(places[name].digest if name in places else "")

    async def ping(self) -> Mapping[str, str]:
        """Target -> what is wrong with it; empty where both logins are let in. Reads only."""
        faults = await asyncio.gather(*map(self._fault, self._targets))
        return dict(zip(self._targets, faults, strict=True))

    async def _fault(self, name: str) -> str:
        server = self.servers[name]
        try:
            async with server.reading() as c:
                await catalog.stamp(c, self._targets[name].at.schema)
            if self._targets[name].admin:
                async with server.changing():
                    pass
        except (Unreachable, NotAllowed) as error:
            return str(error)
        return ""

    async def close(self) -> None:
        """No connection outlives its call."""

    def by_hand(self, edits: Sequence[Edit]) -> list[str]:
        """What a person types to make them so."""
        return by_hand.commands(self._targets, edits)

    # -- the port: looking -------------------------------------------------------------------------------------------

    @property
    def databases(self) -> Sequence[Database]:
        """See the port."""
        return [t.at for t in self._targets.values()]

    async def state(self, name: str) -> DatabaseState:
        """See the port."""
        target = self._target(name)
        async with self.servers[name].reading() as c:
            return await catalog.state(c, target.at.schema)

    async def at_work(self, name: str) -> tuple[int, int]:
        """Sessions of others in the database that are at work, and those of which the server does not show us whether
        they are. Unreachable, NotAllowed."""
        self._target(name)
        async with self.servers[name].reading() as c:
            return await catalog.at_work(c)

    async def shape(self, name: str) -> TableShape:
        """See the port."""
        target = self._target(name)
        async with self.servers[name].reading() as c:
            return await catalog.shape(c, target.at.schema)

    async def route(self, name: str, scripts: str, to: str) -> Route:
        """See the port."""
        return await self._scripts[name].walk(scripts, await self._stamp(name), to)

    async def standing(self, name: str, scripts: str, revisions: Sequence[str]) -> Mapping[str, str]:
        """See the port."""
        return await self._scripts[name].standing(scripts, await self._stamp(name), revisions)

    async def _stamp(self, name: str) -> tuple[str, ...]:
        target = self._target(name)
        async with self.servers[name].reading() as c:
            return self._stamped(name, await catalog.stamp(c, target.at.schema))

    def _stamped(self, name: str, found: tuple[str, ...] | None) -> tuple[str, ...]:
        if not found:
            lacks = "no version table" if found is None else "an empty version table"
            schema = self._target(name).at.schema
            raise BadScripts(f"{name} has {lacks} in schema {schema}: at which revision it is is not known")
        return found

    async def toll(self, name: str, route: Route) -> Toll:
        """See the port."""
        target = self._target(name)
        async with self.servers[name].reading() as c:
            return await toll(c, target.at.schema, route)

    async def count(self, name: str, query: str) -> int | None:
        """See the port."""
        self._target(name)
        _one_select(query)
        async with self.servers[name].reading() as c:
            try:
                found = await catalog.counted(c, f"SELECT count(*) FROM ({query.strip().rstrip(';')}) AS found")
            except errors.ProgrammingError as error:
                raise ValueError(str(error.diag.message_primary or error)) from error
            return found[0] if found is not None else None

    async def differences(self, name: str, scripts: str) -> Sequence[SchemaDifference] | None:
        """See the port."""
        target = self._target(name)
        async with self.servers[name].reading() as c:
            self._stamped(name, await catalog.stamp(c, target.at.schema))
            marker, shape = await catalog.marker(c), await catalog.shape(c, target.at.schema)
        said = await self._scripts[name].compared(scripts, marker)
        return compared.differences(said, shape) if said["models"] else None

    async def export(self, name: str, loss: Loss) -> bytes:
        """See the port."""
        self._target(name)
        data = bytearray()
        copying = f"COPY ({loss.export}) TO STDOUT (FORMAT csv, HEADER)".encode()
        async with (
            self.servers[name].reading(limit=EXPORTING) as c, c.cursor() as cursor, cursor.copy(copying) as copy,
        ):  # fmt: skip
            async for chunk in copy:
                data += chunk
                if len(data) > EXPORT:
                    raise ValueError(f"{loss.what}: more than {EXPORT // 1024 // 1024} MiB; dump it by hand first")
        return bytes(data)

    # -- the port: changing ------------------------------------------------------------------------------------------

    async def migrate(self, name: str, scripts: str, step: RevisionStep, direction: Direction) -> None:
        """See the port."""
        target = self._target(name)
        folder = self._scripts[name].folder(scripts)
        to = step.below if direction == "down" else step.revision
        app = f"{US} {step.revision}"
        async with self.servers[name].changing() as _:  # the place is the approved one, and the admin may come in
            pass
        async with self._scripts[name].child(folder, reading=False, app=app) as child:
            if not await child.ask(READING, do="lock"):
                raise Blocked(f"{name}: something else migrates its schema")
            await self.record(by_hand.moved(target, to, direction, folder))
            await self._moved(name, child, to, direction, app)

    async def _moved(self, name: str, child: Child, to: str, direction: Direction, app: str) -> None:
        moving = asyncio.create_task(child.ask(None, do="move", to=to, direction=direction))
        seen: tuple[str, ...] = ()
        try:
            while not (await asyncio.wait({moving}, timeout=_LOOK))[0]:
                seen = await self._in_the_way(name, app) or seen
            await moving
        except ChildError as error:
            if error.state == LOCKED_OUT:
                raise Blocked(f"{name}: {error}", seen) from error
            raise ScriptFailed(f"{name}: {error.kind}: {error}") from error
        finally:
            moving.cancel()

    async def _in_the_way(self, name: str, app: str) -> tuple[str, ...]:
        try:
            async with self.servers[name].changing() as c:  # which may see of others since when they are at it
                pids = await catalog.waits_for(c, app)
                return await catalog.holders(c, pids) if pids else ()
        except (Unreachable, NotAllowed):
            return ()

    def _target(self, name: str) -> DatabaseTarget:
        if name in self._targets:
            return self._targets[name]
        raise LookupError(f"the catalogue has no database {name!r}; there are {', '.join(self._targets) or 'none'}")


def _one_select(query: str) -> None:
    """ValueError unless it is one SELECT."""
    from pglast import parse_sql
    from pglast.parser import ParseError

    try:
        kinds = [type(raw.stmt).__name__ for raw in parse_sql(query)]
    except (ParseError, RecursionError) as error:
        raise ValueError(f"no SQL that PostgreSQL knows ({error})") from error
    if kinds != ["SelectStmt"]:
        raise ValueError("must be one SELECT, which finds what is wrong")
