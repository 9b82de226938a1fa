"""Makes a database beside another one from a backup: created like it, filled by pg_restore, given its rights and
settings, compared.

What pg_restore leaves out of an archive (it restores into a database, not the database itself) is copied from the one
that it is to replace: owner, encoding, locale, connection limit, rights, settings of the database and of roles in it.

Invariants:
- pg_restore runs without a shell, in a process group of its own that ends with the call; its password is in its
  environment, never in its arguments; exit code 1 is a failure, whatever it printed;
- one that was left half restored is cleaned and filled again, after whoever still fills it was ended; what stands under
  that name without the bot's note and is not empty is somebody else's, and left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from bot.adapters.backups.programs import Program, surroundings
from bot.adapters.gathering import gathered
from bot.adapters.postgres.connection import US, Connection, PostgresServer, one, options, quoted, rows
from bot.adapters.postgres.copies import copies, copy_of, typed
from bot.adapters.postgres.markers import Copy, beside, comment, literal, noted, restoring
from bot.ports import Record
from bot.ports.backups import Backup, Proof
from bot.ports.maintenance import Report, Unfit

MAINTENANCE = "postgres"
"""The database from which others are created and renamed."""
_STEP = re.compile(rb"pg_restore: (?:creating|executing|processing|finished item)\b")
_SETTINGS = """
SELECT coalesce(r.rolname, ''), split_part(c, '=', 1), substr(c, strpos(c, '=') + 1)
FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) c LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE s.setdatabase = (SELECT oid FROM pg_database WHERE datname = %s) ORDER BY 1, 2
"""
_RIGHTS = """
SELECT coalesce(r.rolname, ''), a.privilege_type, a.is_grantable
FROM pg_database d CROSS JOIN aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE d.datname = %s ORDER BY 1, 2
"""
_EMPTY = """
SELECT NOT EXISTS (SELECT FROM pg_depend WHERE objid >= 16384)
   AND NOT EXISTS (SELECT FROM pg_namespace WHERE oid >= 16384 AND nspname NOT LIKE 'pg\\_%')
   AND NOT EXISTS (SELECT FROM pg_extension WHERE oid >= 16384)
   AND NOT EXISTS (SELECT FROM pg_largeobject_metadata)
"""
"""Nothing of any kind, not only tables: what initdb makes has numbers below 16384 (FirstNormalObjectId)."""
_LISTS = frozenset({"search_path", "session_preload_libraries", "local_preload_libraries", "temp_tablespaces",
                    "datestyle", "synchronous_standby_names", "unix_socket_directories"})  # fmt: skip
"""Settings that hold a list: its parts are quoted one by one already."""


async def settings_of(c: Connection, database: str) -> Mapping[tuple[str, str], str]:
    """Role ("": everybody) and setting -> value, in that database."""
    return {(str(role), str(name)): str(value) for role, name, value in await rows(c, _SETTINGS, database)}


async def rights_of(c: Connection, database: str) -> frozenset[tuple[str, str, bool]]:
    """Role ("": everybody), what it may do to the database, and whether it may hand that on."""
    return frozenset((str(r), str(p), bool(g)) for r, p, g in await rows(c, _RIGHTS, database))


def creating(live: Copy, name: str) -> str:
    """The statement that creates a database like another."""
    row = live.row
    parts = [
        f"CREATE DATABASE {quoted(name)} TEMPLATE template0 OWNER {quoted(live.owner)}",
        f"ENCODING {literal(row['encoding'])}",
        f"LC_COLLATE {literal(row['datcollate'])} LC_CTYPE {literal(row['datctype'])}",
    ]
    locale = str(row.get("datlocale") or row.get("daticulocale") or "")
    if row.get("datlocprovider") == "i":
        parts.append(f"LOCALE_PROVIDER icu ICU_LOCALE {literal(locale)}")
        if row.get("daticurules"):
            parts.append(f"ICU_RULES {literal(row['daticurules'])}")
    elif row.get("datlocprovider") == "b":
        parts.append(f"LOCALE_PROVIDER builtin BUILTIN_LOCALE {literal(locale)}")
    elif row.get("datlocprovider") == "c":
        parts.append("LOCALE_PROVIDER libc")
    if row["tablespace"] != "pg_default":  # naming that one takes a right which nobody needs otherwise
        parts.append(f"TABLESPACE {quoted(str(row['tablespace']))}")
    parts.append(f"CONNECTION LIMIT {row['datconnlimit']}")
    return " ".join(parts)


def setting(database: str, role: str, name: str, value: str | None) -> str:
    """The statement that sets it, or (None) takes it back."""
    whose = (
        f"ALTER ROLE {quoted(role)} IN DATABASE {quoted(database)}" if role else f"ALTER DATABASE {quoted(database)}"
    )
    said = ".".join(quoted(part) for part in name.split("."))
    if value is None:
        return f"{whose} RESET {said}"
    return f"{whose} SET {said} TO {value if name.lower() in _LISTS and value else literal(value)}"


async def made(server: PostgresServer, record: Record, backup: Backup, proof: Proof) -> tuple[str, bool]:
    """The name of the database beside, created and marked; and whether it is whole already. Unfit."""
    database = server.target.at.database
    name = beside(database, proof.digest)
    note = restoring(database, backup.name, proof.digest)
    async with server.changing(MAINTENANCE, statement_timeout="120000") as c:
        there = {copy.name: copy for copy in await copies(c, database, name)}
        if name in there and there[name].note("restored ") and there[name].digest == proof.digest:
            return name, True
        if name not in there:
            statement = creating(there[database], name)
            await record(typed(server, MAINTENANCE, statement))
            await c.execute(statement.encode())
        elif not there[name].notes:
            await _empty(server, name)
        if name not in there or not there[name].notes:
            statement = comment(name, *noted(note))
            await record(typed(server, MAINTENANCE, statement))
            await c.execute(statement.encode())
        elif there[name].digest != proof.digest:
            raise Unfit(f"database {name} was restored from something else", "rename it by hand, then try again")
    return name, False


async def _empty(server: PostgresServer, name: str) -> None:
    async with server.changing(name) as c:
        [empty] = await one(c, _EMPTY)
    if not empty:
        raise Unfit(f"there is a database {name} that the bot has not made", "rename it by hand, then try again")


async def filled(
    server: PostgresServer,
    record: Record,
    name: str,
    path: Path,
    program: Program,
    proof: Proof,
    jobs: int,
    report: Report,
) -> None:
    """Lets pg_restore fill it. Unfit with its words where it fails."""
    async with server.changing(name) as c:
        [others] = await one(c, _OTHERS_COUNT, name)
        if others:  # of a bot that was killed, most likely: its pg_restore goes on alone, and fills what looked empty
            statement = _END.format(literal(name))
            await record(typed(server, name, statement))
            await c.execute(statement.encode())
        [empty] = await one(c, _EMPTY)
    parallel = [f"--jobs={jobs}"] if proof.format in ("custom", "directory") and jobs > 1 else []
    clean = [] if empty else ["--clean", "--if-exists"]
    how = [*parallel, "--exit-on-error", "--verbose", *clean, str(path)]
    user, password = server.target.login(server.target.admin)
    await record(shlex.join([program.path, f"--dbname={_address(server, name, '')}", *how]))
    child = await asyncio.create_subprocess_exec(
        program.path, f"--dbname={_address(server, name, user)}", *how,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
        env={**surroundings(), **({"PGPASSWORD": password} if password else {})}, start_new_session=True, limit=1 << 20,
    )  # fmt: skip
    try:
        words = await _followed(child, proof.items, report)
        code = await child.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        await child.wait()
    if code != 0:
        raise Unfit(f"pg_restore failed: {words or f'exit code {code}'}", f"look at database {name}, which stays")


_OTHERS_COUNT = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
_END = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = {} AND pid <> pg_backend_pid()"


def _address(server: PostgresServer, database: str, user: str) -> str:
    target = server.target
    given = {"default_transaction_read_only": "off", "statement_timeout": "0", "lock_timeout": "0"}
    return make_conninfo(
        host=target.host, port=target.port, dbname=database, user=user or None, application_name=f"{US} restore",
        connect_timeout=max(2, int(target.timeout)), options=options(given), **target.tls_options,
    )  # fmt: skip


async def _followed(child: asyncio.subprocess.Process, items: int, report: Report) -> str:
    """Reads what pg_restore says of its progress; its complaint, where it has one."""
    done, words, told = 0, "", 0.0
    loop = asyncio.get_running_loop()
    assert child.stderr is not None  # noqa: S101
    while line := await child.stderr.readline():
        done += bool(_STEP.match(line))
        if (b"error:" in line or b"fatal:" in line) and not words:
            words = line.decode(errors="replace").strip().removeprefix("pg_restore: ")[:500]
        if loop.time() - told >= 1:
            told = loop.time()
            await report("restoring", min(done, items), items)
    return words


async def furnished(server: PostgresServer, record: Record, name: str, backup: Backup, proof: Proof, jobs: int) -> None:
    """Gives it what belongs to a database and not into an archive, and statistics, and notes that it is whole."""
    database = server.target.at.database
    async with server.changing(MAINTENANCE) as c:
        statements = await _missing(c, database, name)
        if statements:
            await record(typed(server, MAINTENANCE, *statements))
            async with c.transaction():
                for statement in statements:
                    await c.execute(statement.encode())
    typed_ = ["vacuumdb", "--analyze-only", f"--jobs={jobs}", _address(server, name, "")]
    await record(shlex.join(typed_))
    async with server.changing(name) as c:
        tables = [str(row[0]) for row in await rows(c, _ANALYZED)]
    await _together(server, name, jobs, [f"ANALYZE {table}" for table in tables])
    async with server.changing(MAINTENANCE) as c:
        copy = await copy_of(c, name)
        statement = comment(name, *noted(restoring(database, backup.name, proof.digest, done=True)))
        if copy.digest == proof.digest:
            await record(typed(server, MAINTENANCE, statement))
            await c.execute(statement.encode())


_ANALYZED = """
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
ORDER BY pg_relation_size(c.oid) DESC
"""
"""What people's queries read, the longest first; the catalog's own statistics come by themselves."""


async def _together(server: PostgresServer, name: str, jobs: int, statements: Sequence[str]) -> list[Any]:
    """What each statement answers (None: nothing), over so many connections at a time, in the order given."""
    found: list[Any] = [None] * len(statements)
    todo = deque(enumerate(statements))

    async def work() -> None:
        async with server.changing(name, statement_timeout="0") as c:
            while todo:
                i, statement = todo.popleft()
                answer = await c.execute(statement.encode())
                row = await answer.fetchone() if answer.description else None
                found[i] = row[0] if row is not None else None

    await gathered(work() for _ in range(min(jobs, len(statements))))
    return found


async def _missing(c: Connection, database: str, name: str) -> list[str]:
    """The statements that give one database the settings and rights of another."""
    wanted, there = await settings_of(c, database), await settings_of(c, name)
    found = [setting(name, role, key, None) for role, key in there if (role, key) not in wanted]
    found += [setting(name, role, key, v) for (role, key), v in wanted.items() if there.get((role, key)) != v]
    rights, now = await rights_of(c, database), await rights_of(c, name)
    for role, what, _ in sorted(now - rights):
        found.append(f"REVOKE {what} ON DATABASE {quoted(name)} FROM {_whom(role)}")
    for role, what, on in sorted(rights - now):
        found.append(
            f"GRANT {what} ON DATABASE {quoted(name)} TO {_whom(role)}{' WITH GRANT OPTION' if on and role else ''}"
        )
    return found


def _whom(role: str) -> str:
    return quoted(role) if role else "PUBLIC"


# -- comparing ---------------------------------------------------------------------------------------------------------

_TABLES = """
SELECT n.nspname || '.' || c.relname, pg_get_userbyid(c.relowner),
       quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""
_GRANTED = """
SELECT DISTINCT r.rolname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN aclexplode(c.relacl) a JOIN pg_roles r ON r.oid = a.grantee
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND a.grantee <> c.relowner
"""
_SEQUENCES = "SELECT schemaname || '.' || sequencename, last_value FROM pg_sequences"
_INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"


async def tables_of(c: Connection) -> Mapping[str, tuple[str, str]]:
    """Table ("public.orders") -> its owner, and its name in SQL."""
    return {str(name): (str(owner), str(sql)) for name, owner, sql in await rows(c, _TABLES)}


async def unlike(server: PostgresServer, name: str, proof: Proof, stamp: str, jobs: int) -> Sequence[str]:
    """In which ways the database of this name is not what the backup holds, or lacks what the live one has."""
    async with server.changing() as c:
        live = await tables_of(c)
        granted = {str(r[0]) for r in await rows(c, _GRANTED)}
        held = {str(r[0]) for r in await rows(c, "SELECT extname FROM pg_extension")}
    async with server.changing(name, statement_timeout="0") as c:
        tables = await tables_of(c)
        found = _of_tables(live, tables)
        found += await _counted(server, name, tables, proof.rows, jobs)
        there = {str(n): v for n, v in await rows(c, _SEQUENCES)}
        found += [
            f"sequence {seq} stands at {there.get(seq)}, in the backup at {at}"
            for seq, at in proof.sequences.items()
            if there.get(seq) != at
        ]
        extensions = {str(r[0]) for r in await rows(c, "SELECT extname FROM pg_extension")}
        found += [f"extension {e} is missing" for e in proof.extensions if e in held and e not in extensions]
        if lost := granted - {str(r[0]) for r in await rows(c, _GRANTED)}:
            found.append(f"nothing is granted to {', '.join(sorted(lost))}, who had rights in tables")
        found += [f"index {r[0]} is not valid" for r in await rows(c, _INVALID)]
        if f"{stamp}" in tables and proof.stamp:
            at = tuple(sorted(str(r[0]) for r in await rows(c, f"SELECT version_num FROM {tables[stamp][1]}")))
            if at != tuple(sorted(proof.stamp)):
                found.append(f"its revision is {', '.join(at) or 'none'}, in the backup {', '.join(proof.stamp)}")
    async with server.changing(MAINTENANCE) as c:
        found += [f"not given yet: {s}" for s in await _missing(c, server.target.at.database, name)]
    return found


def _of_tables(live: Mapping[str, tuple[str, str]], there: Mapping[str, tuple[str, str]]) -> list[str]:
    both = live.keys() & there.keys()
    others = [t for t in sorted(both) if live[t][0] != there[t][0]]
    if not others:
        return []
    first = others[0]
    return [
        f"{len(others)} of {len(both)} tables have another owner ({first}: {there[first][0]}, not {live[first][0]})"
    ]


async def _counted(
    server: PostgresServer,
    name: str,
    tables: Mapping[str, tuple[str, str]],
    wanted: Mapping[str, int | None],
    jobs: int,
) -> list[str]:
    """Where there are other rows than the backup holds."""
    found = [f"table {table} is missing" for table in wanted if table not in tables]
    known = {table: count for table, count in wanted.items() if table in tables and count is not None}
    asked = [f"SELECT count(*) FROM {tables[table][1]}" for table in known]
    for (table, count), there in zip(known.items(), await _together(server, name, jobs, asked), strict=True):
        if there != count:
            found.append(f"table {table} has {there} rows, the backup {count}")
    return found
