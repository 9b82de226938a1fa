"""What a way over revisions would take with it, asked of the live database: what goes along, what stands in the way,
how many rows hold something. Reads only.

Invariants:
- a count has the session's statement timeout; what does not end in it is None, never 0;
- a value that nobody wrote (the default of a column that was added later) is no loss;
- what a script drops and the database does not have under that name is unread: something may have been renamed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from psycopg import Error, errors

from bot.adapters.postgres.catalog import counted
from bot.adapters.postgres.connection import PgConnection, quoted, rows
from bot.adapters.postgres.statements import Constraint, Done, Gone, Made, Opaque, Touched, read
from bot.ports.databases import Loss, RevisionStep, Route, Toll

_ATTRIBUTE = """
SELECT a.attnum, a.atthasmissing, (a.attmissingval::text::text[])[1], pg_get_expr(d.adbin, d.adrelid), a.attgenerated
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = to_regclass(%s) AND a.attname = %s AND NOT a.attisdropped
"""
_DEPENDENTS = """
SELECT DISTINCT d.deptype, pg_describe_object(d.classid, d.objid, d.objsubid),
       coalesce(c.relname, con.conname, r.relname)
FROM pg_depend d
LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
LEFT JOIN pg_constraint con ON d.classid = 'pg_constraint'::regclass AND con.oid = d.objid
LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
LEFT JOIN pg_class r ON r.oid = w.ev_class
LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(%s) AND d.refobjsubid = ANY (%s::int[])
  AND d.deptype IN ('a', 'n') AND NOT (d.classid = 'pg_class'::regclass AND d.objid = d.refobjid)
  AND NOT (f.oid IS NOT NULL AND f.adnum = d.refobjsubid) AND coalesce(con.contype, 'c') <> 'n'
  AND coalesce(c.relkind, 'r') NOT IN ('t', 'c') AND d.classid <> 'pg_type'::regclass
"""
_OF_TABLE = """
SELECT 'n', 'constraint ' || conname || ' on table ' || conrelid::regclass, conname
FROM pg_constraint WHERE contype = 'f' AND confrelid = to_regclass(%s) AND conrelid <> confrelid
UNION
SELECT DISTINCT 'n', 'view ' || r.relname, r.relname
FROM pg_depend d JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
JOIN pg_class r ON r.oid = w.ev_class
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(%s) AND r.oid <> d.refobjid
"""
_LABELLED = """
SELECT c.oid::regclass::text, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE t.typname = %s AND n.nspname = %s AND c.relkind IN ('r', 'p') AND NOT a.attisdropped AND NOT c.relispartition
"""
_PLACE = "SELECT to_regclass(%s) IS NOT NULL"


@dataclass
class _Counting:
    """The toll, as it adds up."""

    c: PgConnection
    schema: str
    gone: set[str] = field(default_factory=set)
    losses: dict[str, Loss] = field(default_factory=dict)
    along: dict[str, None] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)
    unread: dict[str, None] = field(default_factory=dict)
    stays: dict[str, None] = field(default_factory=dict)
    unfit: dict[str, int | None] = field(default_factory=dict)
    foreign: dict[str, int | None] = field(default_factory=dict)
    idle: list[str] = field(default_factory=list)
    hidden: dict[str, None] = field(default_factory=dict)

    def table(self, name: str, schema: str = "") -> str:
        """Its name as SQL."""
        return f"{quoted(schema or self.schema)}.{quoted(name)}"


async def toll(c: PgConnection, schema: str, route: Route) -> Toll:
    """What going this way would cost now."""
    counting = _Counting(c, schema)
    for step in route.steps:
        await _step(counting, step, route)
    n = counting
    return Toll(
        tuple(n.losses.values()), tuple(n.along), tuple(n.refused), tuple(n.unread), tuple(n.stays), n.unfit,
        tuple(n.idle), n.foreign, tuple(n.hidden),
    )  # fmt: skip


async def _step(n: _Counting, step: RevisionStep, route: Route) -> None:
    other = route.inverse.get(step.revision)
    if step.sql is None:
        n.unread[f"revision {step.revision}: {step.why}"] = None
        n.hidden |= dict.fromkeys(str(d) for d in read(other or "") if isinstance(d, Made))
        return
    done = read(step.sql)
    if route.direction == "down":
        made = [d for d in read(other) if isinstance(d, Made | Touched | Gone | Opaque)] if other is not None else []
        if made and not done:
            n.idle.append(step.revision)
        _stays(n, [d for d in made if isinstance(d, Made)], done)
        for label in (d for d in made if isinstance(d, Made) and d.kind == "label"):
            await _labelled(n, label)
    touched: set[str] = set()
    for each in done:
        if isinstance(each, Touched):
            touched.add(each.table)
        match each:
            case Gone():
                n.gone.add(each.name)
                await _gone(n, each, done)
            case Touched():
                await _touched(n, each)
            case Constraint():
                await _rule(n, each, mended=each.table in touched)
            case Opaque():
                n.unread[each.said] = None
            case Made():
                pass


def _stays(n: _Counting, made: list[Made], done: Iterable[Done]) -> None:
    """What was made going up and is not dropped going down, by itself or with its table."""
    gone = {(d.kind, d.name) for d in done if isinstance(d, Gone)}
    tables = {d.name for d in done if isinstance(d, Gone) and d.kind == "table"}
    for m in made:
        if (m.kind, m.name) not in gone and m.table not in tables and m.name and m.kind != "index":
            n.stays[str(m)] = None


async def _labelled(n: _Counting, label: Made) -> None:
    """Rows with a value of an enum that the older release does not know."""
    for table, column in await rows(n.c, _LABELLED, label.table, n.schema):
        said = f"{table}.{column} = '{label.name}'"
        value = label.name.replace("'", "''")
        query = f"SELECT count(*) FROM {table} WHERE {quoted(column)} = '{value}'"
        found = await counted(n.c, query)
        if found is None or found[0]:
            n.foreign[said] = found[0] if found is not None else None


async def _gone(n: _Counting, gone: Gone, done: Iterable[Done]) -> None:
    if gone.kind == "table":
        await _table(n, gone)
    elif gone.kind == "column":
        await _column(n, gone)
    elif gone.kind in ("materialized view", "sequence"):
        n.along[str(gone)] = None
    elif gone.kind not in ("index", "constraint", "view", "type", "trigger", "policy", "statistics", "function"):
        n.unread[str(gone)] = None


async def _table(n: _Counting, gone: Gone) -> None:
    place = n.table(gone.name, gone.schema)
    [[there]] = await rows(n.c, _PLACE, place)
    if not there:
        n.unread[f"{gone} is dropped and not there now"] = None
        return
    _dependents(n, await rows(n.c, _OF_TABLE, place, place), gone)
    found = await counted(n.c, f"SELECT count(*), pg_total_relation_size('{_literal(place)}') FROM {place}")
    many, size = found if found is not None else (None, None)
    n.losses.setdefault(str(gone), Loss(str(gone), many, size, f"SELECT * FROM {place}"))


async def _column(n: _Counting, gone: Gone) -> None:
    place, column = n.table(gone.table, gone.schema), quoted(gone.name)
    if gone.table in n.gone:
        return
    found = await rows(n.c, _ATTRIBUTE, place, gone.name)
    if not found:
        n.unread[f"{gone} is dropped and not there now"] = None
        return
    number, added, missing, default, generated = found[0]
    _dependents(n, await rows(n.c, _DEPENDENTS, place, [number]), gone)
    if generated:
        return
    written = f"{column} IS NOT NULL"
    if added and missing is not None:
        written += f" AND {column}::text IS DISTINCT FROM '{_literal(missing)}'"
    elif default is not None and _constant(default):
        written += f" AND {column} IS DISTINCT FROM {default}"
    sums = f"SELECT count(*), coalesce(sum(pg_column_size({column})), 0) FROM {place} WHERE {written}"
    counts = await counted(n.c, sums)
    many, size = counts if counts is not None else (None, None)
    export = f"SELECT {await _key(n, place)}{column} FROM {place} WHERE {written}"
    n.losses.setdefault(str(gone), Loss(str(gone), many, size, export))


async def _key(n: _Counting, place: str) -> str:
    """The columns of its primary key, so that an exported value can be put back: "id, "; "" where there is none."""
    found = await rows(
        n.c,
        "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey) "
        "WHERE i.indrelid = to_regclass(%s) AND i.indisprimary ORDER BY a.attnum",
        place,
    )
    return "".join(f"{quoted(str(row[0]))}, " for row in found)


def _dependents(n: _Counting, found: Iterable[tuple[object, ...]], gone: Gone) -> None:
    """deptype "a" goes along silently; "n" stands in the way, unless CASCADE takes it or it was dropped before."""
    for kind, said, name in found:
        if name in n.gone:
            continue
        what = str(said).removeprefix("rule _RETURN on ")
        goes = kind == "a" or gone.cascade
        (n.along if goes else n.refused)[f"{what}, with {gone}"] = None
        if goes:
            n.gone.add(str(name))


async def _touched(n: _Counting, touched: Touched) -> None:
    place = n.table(touched.table, touched.schema)
    where = f" WHERE {touched.where}" if touched.where else ""
    said = f"{touched.verb} {touched.table}{where}"
    if touched.table in n.gone:
        return
    try:
        found = await counted(n.c, f"SELECT count(*) FROM {place}{where}")
    except Error:
        n.unread[said] = None  # it speaks of what an earlier statement makes
        return
    if found is None or found[0]:
        many = found[0] if found is not None else None
        n.losses.setdefault(said, Loss(said, many, None, f"SELECT * FROM {place}{where}"))


async def _rule(n: _Counting, rule: Constraint, *, mended: bool) -> None:
    """mended: an earlier statement of the script writes to its table, and may make it hold."""
    if not rule.broken:
        if not mended:
            n.unfit[rule.said] = None
        return
    place = n.table(rule.table, rule.schema)
    try:
        found = await counted(n.c, f"SELECT count(*) FROM {place} WHERE {rule.broken}")
    except (errors.UndefinedColumn, errors.UndefinedTable, errors.UndefinedFunction):
        found = None
    if found is None or found[0]:
        n.foreign[rule.said] = found[0] if found is not None else None
        if not mended:
            n.unfit[rule.said] = n.foreign[rule.said]


def _constant(default: str) -> bool:
    """Whether a default is the same for every row."""
    from pglast import ast, parse_sql

    [raw] = parse_sql(f"SELECT {default}")
    select = raw.stmt
    value = select.targetList[0].val if isinstance(select, ast.SelectStmt) and select.targetList else None
    while isinstance(value, ast.TypeCast):
        value = value.arg
    return isinstance(value, ast.A_Const)


def _literal(text: str) -> str:
    return text.replace("'", "''")
