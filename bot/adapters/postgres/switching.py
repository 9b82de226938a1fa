"""Two databases exchange a name, with the sessions of whoever uses it.

A rename waits for every session to end and, while it waits, holds up each login to the server: so first nobody new is
let in (which superusers are not either), then sessions are ended, and then both names change in one transaction.

Invariants:
- what crashed in between has left the service's database closed, with a note of what for: the same call goes on, and
  taking it back opens it again;
- what was set read-only for the step (`quiet`) goes on with the name, not with the old database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC

from bot.adapters.postgres import quiet
from bot.adapters.postgres.connection import PgConnection, PostgresServer, one, quoted, rows
from bot.adapters.postgres.copies import copies, sessions, typed, unendable
from bot.adapters.postgres.markers import Copy, comment, cut, noted
from bot.adapters.postgres.properties import MAINTENANCE, setting, settings_of
from bot.ports import Record
from bot.ports.maintenance import Unfit

CLOSED = "closed for "
"""How the note of one begins that is to lose its name."""
LASTING = "end it as a superuser, as the admin login may not; then try again"
"""What to do about sessions of superusers."""
PATIENCE = 5.0
"""Seconds in which sessions must have ended."""
_END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({}) AND pid <> pg_backend_pid()"


async def switch(server: PostgresServer, record: Record, label: str, why: str) -> None:
    """The database of this label takes the name."""
    name = server.target.at.database
    async with server.changing(MAINTENANCE, statement_timeout="15000") as c:
        there = await copies(c, name)
        live = next((copy for copy in there if copy.name == name), None)
        if live is None:
            raise Unfit(f"no database has the name {name}", "rename the right one to it by hand, then look again")
        if live.label == label:
            await _open(c, server, record, live)
            return
        coming = _coming(there, live, label)
        await _let_go(c, live.name, coming.name)
        statements = await _exchange(c, live, coming, why)  # all that can be asked before anybody is kept out
        await _close(c, server, record, live, label)
        await _ended(c, server, record, live.name, coming.name)
        await _together(c, server, record, statements)


async def _let_go(c: PgConnection, *names: str) -> None:
    """No superuser is in these any more. Unfit, before anybody is kept out."""
    end = time.monotonic() + PATIENCE
    while left := await unendable(c, *names):
        if time.monotonic() > end:
            raise Unfit(f"{', '.join(left.values())} keeps {names[0]} from being renamed", LASTING)
        await asyncio.sleep(0.1)


async def _exchange(c: PgConnection, live: Copy, coming: Copy, why: str) -> list[str]:
    """The statements by which two databases exchange their names."""
    [now] = await one(c, "SELECT clock_timestamp()")
    name, since = live.name, f"{now.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    aside = await _aside(c, name, f"_{now.astimezone(UTC):%Y%m%d_%H%M%S}_{why}")
    return [
        *await _carried(c, live, coming),
        f"ALTER DATABASE {quoted(name)} RENAME TO {quoted(aside)}",
        f"ALTER DATABASE {quoted(coming.name)} RENAME TO {quoted(name)}",
        comment(name, live.theirs, *noted(*_origin(coming), *_quiet(live))),
        comment(aside, live.theirs, *noted(*_origin(live), f"{_word(live)} of {name} since {since}")),
        f"ALTER DATABASE {quoted(aside)} ALLOW_CONNECTIONS true",
    ]


async def _aside(c: PgConnection, name: str, end: str) -> str:
    """A name that nothing has."""
    taken = {str(row[0]) for row in await rows(c, "SELECT datname FROM pg_database")}
    tries = (cut(name, f"{end}{f'_{n}' if n > 1 else ''}") for n in range(1, len(taken) + 2))
    return next(free for free in tries if free not in taken)


def _coming(there: Sequence[Copy], live: Copy, label: str) -> Copy:
    """The one of this label: the newest of those that had the name, or were restored for it. Unfit."""
    fit = [copy for copy in there if copy.label == label and copy.oid != live.oid and not copy.note("undone")]
    own = [copy for copy in fit if copy.of(live.name)]
    if not own:
        raise Unfit(f"no database on the server is {label!r}", "look for it by hand: the bot has deleted none")
    return max(own, key=lambda copy: copy.aside)


def _origin(copy: Copy) -> list[str]:
    """What stays noted of it wherever it goes."""
    return [n for n in copy.notes if n.startswith("restored for ")]


def _quiet(live: Copy) -> list[str]:
    """Since when it has been read-only, which goes on with the name."""
    return [n for n in live.notes if n.startswith((quiet.SINCE, quiet.UNTIL))]


def _word(live: Copy) -> str:
    """Whether it is one that was there before, or one that is taken back."""
    return "undone" if _origin(live) else "kept"


async def _open(c: PgConnection, server: PostgresServer, record: Record, live: Copy) -> None:
    """Lets everybody in again, where it was closed and has kept its name."""
    if live.open and not live.note(CLOSED):
        return
    others = [n for n in live.notes if not n.startswith(CLOSED)]
    statements = [
        f"ALTER DATABASE {quoted(live.name)} ALLOW_CONNECTIONS true",
        comment(live.name, live.theirs, *noted(*others)),
    ]
    await _together(c, server, record, statements)


async def _close(c: PgConnection, server: PostgresServer, record: Record, live: Copy, label: str) -> None:
    if not live.open and live.note(CLOSED):
        return
    statements = [
        f"ALTER DATABASE {quoted(live.name)} ALLOW_CONNECTIONS false",
        comment(live.name, live.theirs, *noted(*live.notes, f"{CLOSED}{label}")),
    ]
    await _together(c, server, record, statements)


async def _together(c: PgConnection, server: PostgresServer, record: Record, statements: list[str]) -> None:
    """In one transaction, and one message to the server."""
    whole = "; ".join(["BEGIN", *statements, "COMMIT"])
    await record(typed(server, MAINTENANCE, whole))
    await c.execute(whole.encode())


async def _ended(c: PgConnection, server: PostgresServer, record: Record, *names: str) -> None:
    """Nobody is in these any more. Unfit."""
    if not await sessions(c, *names):
        return
    listed = ", ".join("'" + n.replace("'", "''") + "'" for n in names)
    statement = _END.format(listed)
    await record(typed(server, MAINTENANCE, statement))
    await c.execute(statement.encode())
    end = time.monotonic() + PATIENCE
    while left := await sessions(c, *names):  # the server itself would look every 0.1 s only
        if time.monotonic() > end:
            raise Unfit(f"{left} sessions of {names[0]} do not end", "end them by hand, then try again")
        await asyncio.sleep(0.005)


async def _carried(c: PgConnection, live: Copy, coming: Copy) -> list[str]:
    """What makes the one that comes as read-only as the one that goes."""
    now, there = await settings_of(c, live.name), await settings_of(c, coming.name)
    keys = {key for key in (*now, *there) if key[1] == quiet.SETTING}
    return [setting(coming.name, *key, now.get(key)) for key in sorted(keys) if now.get(key) != there.get(key)]
