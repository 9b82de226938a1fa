"""Refusing writes in one database for a while, so that it holds for sessions that are open already.

default_transaction_read_only of a database counts for sessions that begin after it was set, and a role's own setting
beats it: so roles that have one get it in this database too, which beats everything but what a session asks for itself,
and older sessions are ended. Who asks for READ WRITE in so many words can still write: such a session is named. That it
holds is proven by a write of the service's reader, which must be refused.

Invariant: of settings only default_transaction_read_only is touched, for the roles that are named, and the comment.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import errors

from bot.adapters.postgres.connection import US, PgConnection, PostgresServer, one, quoted, rows
from bot.adapters.postgres.copies import copy_of, typed, unendable
from bot.adapters.postgres.markers import Copy, comment, noted
from bot.ports import Record
from bot.ports.databases import NotAllowed
from bot.ports.maintenance import EVERYBODY, Quiet, Unfit

SETTING = "default_transaction_read_only"
SINCE, UNTIL = "read-only since ", "writable since "
_SETTINGS = """
SELECT s.setdatabase <> 0, coalesce(r.rolname, ''), split_part(c, '=', 2)
FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) c LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE c LIKE 'default_transaction_read_only=%%'
  AND s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = %s))
"""
_OTHERS = """
SELECT pid, coalesce(usename, '?'), coalesce(nullif(application_name, ''), 'no name'), backend_xid IS NOT NULL,
       backend_start <= %s::timestamptz
FROM pg_stat_activity
WHERE datname = %s AND pid <> pg_backend_pid() AND coalesce(backend_type, 'client backend') = 'client backend'
  AND NOT (coalesce(application_name, '') LIKE %s AND usename = ANY (%s))
ORDER BY pid
"""

_TRIAL = b"CREATE TEMPORARY TABLE tried ()"
"""Refused to whoever may not write, before rights are looked at."""


async def look(server: PostgresServer) -> Quiet:
    """How writing stands."""
    async with server.changing() as c:  # which may see of others when they began
        settings = await _settings(c, server.target.at.database)
        copy = await copy_of(c, server.target.at.database)
        writers = await _writers(c, server, copy) if settings[EVERYBODY] == "on" else {}
    return Quiet(settings, tuple(writers.values()))


async def _settings(c: PgConnection, database: str) -> dict[str, str | None]:
    """For everybody, and for each role that has an own one, here or everywhere."""
    found: dict[str, str | None] = {EVERYBODY: None}
    for here, role, value in sorted(await rows(c, _SETTINGS, database)):
        if here:
            found[str(role)] = _said(value)
        elif role and _said(value) == "off":
            found.setdefault(str(role), None)  # it would beat the database's
    return found


def _said(value: object) -> str:
    return "on" if str(value).lower() in ("on", "true", "yes", "1", "t", "y") else "off"


def _moment(copy: Copy) -> str:
    """When what holds now was set; whoever began before is under what held then."""
    note = copy.note(SINCE) or copy.note(UNTIL)
    return note.partition("since ")[2] or "infinity"


async def _writers(c: PgConnection, server: PostgresServer, copy: Copy) -> dict[int, str]:
    """Session -> what it is and does, of those that began before, and those that write all the same. NotAllowed where
    the server does not say when others began."""
    target = server.target
    ours = [target.login(v)[0] for v in (target.reader, target.admin) if v]
    lasting = await unendable(c, copy.name)
    found: dict[int, str] = {}
    for pid, user, app, writes, before in await rows(c, _OTHERS, _moment(copy), copy.name, f"{US}%", ours):
        if before is None:
            raise NotAllowed(
                f"{server.name}: when sessions of {user} began is not shown; GRANT pg_monitor TO the admin"
            )
        if before or writes:
            does = "began before and can still write" if before else "is writing, as it asks for that by itself"
            end = ", and only a superuser can end it" if pid in lasting else ""
            found[int(pid)] = f"session {pid} of {user} ({app}) {does}{end}"
    return found


async def set_to(server: PostgresServer, record: Record, settings: Mapping[str, str | None]) -> None:
    """Sets them, and ends sessions that began before."""
    database = server.target.at.database
    async with server.changing() as c:
        now = await _settings(c, database)
        statements = [_statement(database, role, v) for role, v in settings.items() if now.get(role) != v]
        if statements:
            await record(typed(server, database, *statements))
            async with c.transaction():
                for statement in statements:
                    await c.execute(statement.encode())
        copy = await copy_of(c, database)
        held = {**now, **settings}[EVERYBODY] == "on"
        begins = SINCE if held else UNTIL
        if not copy.note(begins) and (held or statements or copy.note(SINCE)):
            await _note(c, server, record, copy, begins)
            copy = await copy_of(c, database)
        if copy.note(begins):
            await _end(c, server, record, copy)
        if not held and (copy.note(UNTIL) or copy.note(SINCE)):
            await _forget(c, server, record, copy)
    if held:
        await _tried(server)


async def _tried(server: PostgresServer) -> None:
    """Unfit where a new session can write all the same. What it tries leaves nothing behind, also where it can."""
    async with server.plain() as c:
        try:
            async with c.transaction(force_rollback=True):
                await c.execute(_TRIAL)
        except errors.ReadOnlySqlTransaction:
            return
        except errors.InsufficientPrivilege:
            pass
    user = server.target.login(server.target.reader)[0]
    raise Unfit(
        f"{server.name}: it is set read-only, and a new session of {user} can write all the same",
        f"look what sets default_transaction_read_only for {user}: a pooler, or the server's own configuration",
    )


def _statement(database: str, role: str, value: str | None) -> str:
    whose = (
        f"ALTER ROLE {quoted(role)} IN DATABASE {quoted(database)}" if role else f"ALTER DATABASE {quoted(database)}"
    )
    return f"{whose} RESET {SETTING}" if value is None else f"{whose} SET {SETTING} = {value}"


async def _note(c: PgConnection, server: PostgresServer, record: Record, copy: Copy, begins: str) -> None:
    [now] = await one(c, "SELECT clock_timestamp()::text")
    others = [n for n in copy.notes if not n.startswith((SINCE, UNTIL))]
    statement = comment(copy.name, copy.theirs, *noted(*others, f"{begins}{now}"))
    await record(typed(server, copy.name, statement))
    await c.execute(statement.encode())


async def _end(c: PgConnection, server: PostgresServer, record: Record, copy: Copy) -> None:
    """Ends the sessions that began before the moment that the comment holds, but those of superusers."""
    lasting = await unendable(c, copy.name)
    writers = await _writers(c, server, copy)
    if pids := [pid for pid, line in writers.items() if "began before" in line and pid not in lasting]:
        statement = f"SELECT pg_terminate_backend(pid, 5000) FROM unnest(ARRAY{pids}) pid"
        await record(typed(server, copy.name, statement))
        await c.execute(statement.encode())


async def _forget(c: PgConnection, server: PostgresServer, record: Record, copy: Copy) -> None:
    others = [n for n in copy.notes if not n.startswith((SINCE, UNTIL))]
    statement = comment(copy.name, copy.theirs, *noted(*others))
    await record(typed(server, copy.name, statement))
    await c.execute(statement.encode())
