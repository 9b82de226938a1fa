"""Makes a database beside another one from a backup: created like it, filled by pg_restore, given its rights and
settings (`properties`: pg_restore restores into a database, not the database itself), analyzed.

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
from pathlib import Path

from psycopg.conninfo import make_conninfo

from bot.adapters.backups.programs import Program, surroundings
from bot.adapters.postgres.connection import US, PostgresServer, one, options, rows, together
from bot.adapters.postgres.copies import copies, copy_of, typed
from bot.adapters.postgres.markers import beside, comment, literal, noted, restoring
from bot.adapters.postgres.properties import MAINTENANCE, creating, missing
from bot.ports import Record
from bot.ports.backups import Backup, Proof
from bot.ports.maintenance import Telling, Unfit

_STEP = re.compile(rb"pg_restore: (?:creating|executing|processing|finished item)\b")
_EMPTY = """
SELECT NOT EXISTS (SELECT FROM pg_depend WHERE objid >= 16384)
   AND NOT EXISTS (SELECT FROM pg_namespace WHERE oid >= 16384 AND nspname NOT LIKE 'pg\\_%')
   AND NOT EXISTS (SELECT FROM pg_extension WHERE oid >= 16384)
   AND NOT EXISTS (SELECT FROM pg_largeobject_metadata)
"""
"""Nothing of any kind, not only tables: what initdb makes has numbers below 16384 (FirstNormalObjectId)."""


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
    report: Telling,
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


async def _followed(child: asyncio.subprocess.Process, items: int, report: Telling) -> str:
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
        statements = await missing(c, database, name)
        if statements:
            await record(typed(server, MAINTENANCE, *statements))
            async with c.transaction():
                for statement in statements:
                    await c.execute(statement.encode())
    typed_ = ["vacuumdb", "--analyze-only", f"--jobs={jobs}", _address(server, name, "")]
    await record(shlex.join(typed_))
    async with server.changing(name) as c:
        tables = [str(row[0]) for row in await rows(c, _ANALYZED)]
    await together(server, name, jobs, [f"ANALYZE {table}" for table in tables])
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
