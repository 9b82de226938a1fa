"""What a database says of itself: its state, and every object of a schema in the server's own words. Reads only.

Invariants:
- what belongs to an extension, and Alembic's version table, are no part of a schema's shape;
- NOT NULL is told with its column, never as a constraint: PostgreSQL 18 keeps a row for it and earlier ones do not.
"""

from __future__ import annotations

from psycopg import errors

from bot.adapters.postgres.connection import PgConnection, one, quoted, rows
from bot.ports.databases import DatabaseState, TableShape

VERSIONS = "alembic_version"
"""The table that Alembic keeps its stamp in."""
_AT_WORK = """
SELECT count(*) FILTER (WHERE state IN ('active', 'fastpath function call')), count(*) FILTER (WHERE state IS NULL)
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND coalesce(backend_type, '') IN ('client backend', '')
"""
LONG = 60
"""Seconds after which an open transaction is worth naming."""

_STATE = """
SELECT current_setting('server_version'), pg_is_in_recovery(), pg_database_size(current_database()),
       EXISTS (SELECT FROM pg_db_role_setting s WHERE s.setrole = 0
               AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
               AND 'default_transaction_read_only=on' = ANY (s.setconfig)),
       EXISTS (SELECT FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE c.relname = 'event' AND c.relkind = 'r' AND a.attname IN ('run', 'seq', 'prev', 'hash')
               GROUP BY c.oid HAVING count(*) = 4)
"""
_HOLDS = """
SELECT pid, coalesce(usename, '?'), coalesce(nullif(application_name, ''), 'no name'), state,
       extract(epoch FROM clock_timestamp() - xact_start)::int
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND coalesce(backend_type, '') IN ('client backend', '')
  AND xact_start < clock_timestamp() - make_interval(secs => %s)
ORDER BY xact_start
"""
_BLOCKERS = """
SELECT pid, coalesce(usename, '?'), coalesce(nullif(application_name, ''), 'no name'), state,
       extract(epoch FROM clock_timestamp() - xact_start)::int
FROM pg_stat_activity WHERE pid = ANY (%s::int[]) ORDER BY xact_start
"""

_DESCRIBING = (
    "class", "attribute", "attrdef", "constraint", "index", "type", "enum", "description", "namespace", "inherits",
    "collation", "sequence",
)  # fmt: skip
"""Catalogs from which a comparison reads what there is."""
_MARKER = "SELECT current_database() || ' ' || concat_ws(' ', {})".format(
    ", ".join(
        f"(SELECT count(*) || '-' || coalesce(sum(hashtextextended(ctid::text || xmin::text, 0)), 0) FROM pg_{name})"
        for name in _DESCRIBING
    )
)

_OBJECTS = """
WITH ours AS (SELECT oid FROM pg_namespace WHERE nspname = %(schema)s),
rel AS (
  SELECT c.* FROM pg_class c WHERE c.relnamespace IN (SELECT oid FROM ours) AND c.relname <> 'alembic_version'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT 'table ' || relname, CASE relkind WHEN 'p' THEN 'partitioned by ' || pg_get_partkeydef(oid)
       WHEN 'f' THEN 'foreign' ELSE 'plain' END
       || CASE WHEN relpersistence = 'u' THEN ', unlogged' ELSE '' END
       || CASE WHEN relrowsecurity THEN ', row security' ELSE '' END
       || CASE WHEN relispartition THEN ', ' || pg_get_expr(relpartbound, oid) ELSE '' END
FROM rel WHERE relkind IN ('r', 'p', 'f')
UNION ALL
SELECT 'column ' || rel.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod)
       || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
       || CASE a.attidentity WHEN 'a' THEN ' identity always' WHEN 'd' THEN ' identity' ELSE '' END
       || CASE WHEN a.attgenerated <> '' THEN ' generated as ' WHEN d.oid IS NOT NULL THEN ' default ' ELSE '' END
       || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
       || CASE WHEN a.attcollation <> t.typcollation THEN ' collate ' || a.attcollation::regcollation ELSE '' END
FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE rel.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT 'constraint ' || rel.relname || '.' || c.conname,
       pg_get_constraintdef(c.oid)
FROM rel JOIN pg_constraint c ON c.conrelid = rel.oid WHERE c.contype NOT IN ('n', 't')
UNION ALL
SELECT 'index ' || rel.relname, pg_get_indexdef(rel.oid) || CASE WHEN i.indisvalid THEN '' ELSE ', INVALID' END
FROM rel JOIN pg_index i ON i.indexrelid = rel.oid
UNION ALL
SELECT CASE relkind WHEN 'm' THEN 'materialized view ' ELSE 'view ' END || relname, pg_get_viewdef(oid)
FROM rel WHERE relkind IN ('v', 'm')
UNION ALL
SELECT 'sequence ' || rel.relname, format_type(s.seqtypid, NULL) || ' by ' || s.seqincrement
FROM rel JOIN pg_sequence s ON s.seqrelid = rel.oid
UNION ALL
SELECT 'trigger ' || rel.relname || '.' || g.tgname,
       pg_get_triggerdef(g.oid) || CASE g.tgenabled WHEN 'D' THEN ', disabled' ELSE '' END
FROM rel JOIN pg_trigger g ON g.tgrelid = rel.oid WHERE NOT g.tgisinternal
UNION ALL
SELECT 'policy ' || rel.relname || '.' || p.polname,
       p.polcmd::text || ' ' || coalesce(pg_get_expr(p.polqual, p.polrelid), '')
       || ' ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '')
FROM rel JOIN pg_policy p ON p.polrelid = rel.oid
UNION ALL
SELECT 'statistics ' || s.stxname, pg_get_statisticsobjdef(s.oid)
FROM pg_statistic_ext s WHERE s.stxnamespace IN (SELECT oid FROM ours)
UNION ALL
SELECT 'type ' || t.typname, 'enum ' || string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid WHERE t.typnamespace IN (SELECT oid FROM ours) GROUP BY t.typname
UNION ALL
SELECT 'type ' || t.typname, 'domain ' || format_type(t.typbasetype, t.typtypmod)
FROM pg_type t WHERE t.typnamespace IN (SELECT oid FROM ours) AND t.typtype = 'd'
UNION ALL
SELECT 'function ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
       md5(pg_get_functiondef(p.oid))
FROM pg_proc p WHERE p.pronamespace IN (SELECT oid FROM ours) AND p.prokind IN ('f', 'p')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
"""


async def state(c: PgConnection, schema: str) -> DatabaseState:
    """How the database stands."""
    server, replica, size, read_only, bot = await one(c, _STATE)
    return DatabaseState(
        str(server).split()[0], await stamp(c, schema), int(size), replica, read_only,
        tuple(_session(row) for row in await rows(c, _HOLDS, LONG)), bot,
    )  # fmt: skip


async def stamp(c: PgConnection, schema: str) -> tuple[str, ...] | None:
    """The rows of the version table; None where there is no such table."""
    [there] = await one(c, "SELECT to_regclass(%s) IS NOT NULL", f"{quoted(schema)}.{VERSIONS}")
    if not there:
        return None
    found = await rows(c, f"SELECT version_num FROM {quoted(schema)}.{VERSIONS} ORDER BY 1")
    return tuple(str(row[0]) for row in found)


async def shape(c: PgConnection, schema: str) -> TableShape:
    """Object -> what it is."""
    cursor = await c.execute(_OBJECTS.encode(), {"schema": schema})
    return {str(name): str(said) for name, said in await cursor.fetchall()}


async def marker(c: PgConnection) -> str:
    """Changes whenever anything does that says what tables, columns, types, indexes, constraints or comments there are,
    in any schema: by the rows of the system's catalog and who wrote each."""
    [found] = await one(c, _MARKER)
    return str(found)


async def holders(c: PgConnection, pids: list[int]) -> tuple[str, ...]:
    """Who these sessions are, a line each."""
    return tuple(_session(row) for row in await rows(c, _BLOCKERS, pids))


async def waits_for(c: PgConnection, names: str) -> list[int]:
    """The sessions that those wait for whose application's name begins so."""
    found = await rows(
        c,
        "SELECT DISTINCT unnest(pg_blocking_pids(pid)) FROM pg_stat_activity WHERE application_name LIKE %s",
        f"{names}%",
    )
    return [int(row[0]) for row in found]


async def counted(c: PgConnection, query: str) -> tuple[int, ...] | None:
    """The numbers of the query's one row; None where it did not end in its time, or a lock kept it from beginning."""
    try:
        return tuple(int(n) for n in await one(c, query))
    except (errors.QueryCanceled, errors.LockNotAvailable):
        return None


def _session(row: tuple[object, ...]) -> str:
    pid, user, app, state, age = row
    since = f"{age} s" if age is not None else "an unknown time"
    return f"session {pid} of {user} ({app}), {state or 'state not shown to us'}, in a transaction for {since}"


async def at_work(c: PgConnection) -> tuple[int, int]:
    """Sessions of others in this database that are at work, and those of which we are not shown whether they are (other
    users', without pg_read_all_stats)."""
    [(busy, hidden)] = await rows(c, _AT_WORK)
    return int(str(busy)), int(str(hidden))
