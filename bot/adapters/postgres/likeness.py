"""Holds a database that was restored against the backup that it came from, and against the one that it is to replace.

Everything that is otherwise is said; whoever switches wants nothing to be said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bot.adapters.postgres.connection import PgConnection, PostgresServer, rows, together
from bot.adapters.postgres.properties import MAINTENANCE, missing
from bot.ports.backups import Proof

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


async def tables_of(c: PgConnection) -> Mapping[str, tuple[str, str]]:
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
        if stamp in tables and proof.stamp:
            at = tuple(sorted(str(r[0]) for r in await rows(c, f"SELECT version_num FROM {tables[stamp][1]}")))
            if at != tuple(sorted(proof.stamp)):
                found.append(f"its revision is {', '.join(at) or 'none'}, in the backup {', '.join(proof.stamp)}")
    async with server.changing(MAINTENANCE) as c:
        found += [f"not given yet: {s}" for s in await missing(c, server.target.at.database, name)]
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
    for (table, count), there in zip(known.items(), await together(server, name, jobs, asked), strict=True):
        if there != count:
            found.append(f"table {table} has {there} rows, the backup {count}")
    return found
