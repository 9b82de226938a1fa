"""The databases of a server as its catalog lists them, and how a person would type what is done to them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from bot.adapters.postgres.connection import PgConnection, PostgresServer, rows
from bot.adapters.postgres.markers import OURS, Copy

_COPIES = """
SELECT to_jsonb(d) || jsonb_build_object('encoding', pg_encoding_to_char(d.encoding), 'tablespace', t.spcname),
       r.rolname,
       CASE WHEN %(sized)s AND has_database_privilege(d.oid, 'CONNECT') THEN pg_database_size(d.oid) ELSE 0 END,
       coalesce(shobj_description(d.oid, 'pg_database'), '')
FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba JOIN pg_tablespace t ON t.oid = d.dattablespace
WHERE d.datname = ANY (%(names)s) OR shobj_description(d.oid, 'pg_database') LIKE %(ours)s
"""

_UNENDABLE = """
SELECT a.pid, a.usename, coalesce(nullif(a.application_name, ''), a.backend_type)
FROM pg_stat_activity a JOIN pg_roles r ON r.rolname = a.usename
WHERE a.datname = ANY (%s) AND a.pid <> pg_backend_pid() AND r.rolsuper
  AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
  AND coalesce(a.backend_start <= clock_timestamp() - make_interval(secs => %s), true)
ORDER BY 1
"""


async def copies(c: PgConnection, *names: str, sized: bool = False) -> Sequence[Copy]:
    """Those of these names, and those of which the bot has noted something."""
    given = {"names": list(names), "ours": f"%{OURS}%", "sized": sized}
    cursor = await c.execute(_COPIES.encode(), given)
    return [Copy(row, str(owner), int(size), str(text)) for row, owner, size, text in await cursor.fetchall()]


async def copy_of(c: PgConnection, name: str) -> Copy:
    """The database of this name. LookupError where there is none."""
    for copy in await copies(c, name):
        if copy.name == name:
            return copy
    raise LookupError(f"there is no database {name!r} on the server")


async def sessions(c: PgConnection, *names: str) -> int:
    """How many sessions there are in these, this one left out."""
    found = await rows(
        c, "SELECT count(*) FROM pg_stat_activity WHERE datname = ANY (%s) AND pid <> pg_backend_pid()", [*names]
    )
    return int(found[0][0])


async def unendable(c: PgConnection, *names: str, lasting: float = 0.0) -> Mapping[int, str]:
    """Sessions in these that only a superuser can end -> which each is: pg_signal_backend does not reach them.
    lasting: seconds for which they have been there, or it is not shown for how long."""
    found = await rows(c, _UNENDABLE, [*names], lasting)
    return {int(pid): f"session {pid} of {user} ({what})" for pid, user, what in found}


def reached(server: PostgresServer, database: str) -> str:
    """The address as psql takes it, without a password."""
    target = server.target
    user = "${" + (target.admin or target.reader) + "%%:*}"
    return f'"host={target.host} port={target.port} dbname={database} user={user}"'


def typed(server: PostgresServer, database: str, *statements: str) -> str:
    """The command that a person would type."""
    return " ".join(["psql", reached(server, database), *(f"-c {shlex.quote(s)}" for s in statements)])
