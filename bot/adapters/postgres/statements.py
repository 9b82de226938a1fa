"""What a migration's SQL does to what is there: which objects go, which rows are touched, and which statements cannot
be told. By PostgreSQL's own grammar (pglast). Pure.

Invariants:
- a statement of which it is not known that it takes nothing away is opaque, and named by its author's words;
- what Alembic writes into its own table, and what begins and ends transactions, is no part of a migration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bot.adapters.postgres.catalog import VERSIONS

SHOWN = 120
"""Characters of a statement that are shown."""


@dataclass(frozen=True, slots=True)
class Gone:
    """An object that a statement drops. kind: table, column, constraint, index, view, type, ...; table: of a column or
    constraint; schema: "" where the statement says none; cascade: with all that depends on it."""

    kind: str
    name: str
    table: str = ""
    schema: str = ""
    cascade: bool = False

    def __str__(self) -> str:
        return f"{self.kind} {self.table}.{self.name}" if self.table else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Made:
    """An object that a statement adds; alike. For a label of an enum: kind "label", table: the type."""

    kind: str
    name: str
    table: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.table}.{self.name}" if self.table else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Touched:
    """Rows that a statement removes or writes over. where: the condition as SQL, "" for all of them."""

    verb: str
    table: str
    schema: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A rule that what is there must meet, or the statement fails. broken: the condition of rows that do not meet it,
    "" where that cannot be told."""

    said: str
    table: str
    schema: str = ""
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Opaque:
    """A statement that cannot be read for what it takes away, in its author's words."""

    said: str


Done = Gone | Made | Touched | Constraint | Opaque

_HARMLESS = frozenset({
    "TransactionStmt", "VariableSetStmt", "GrantStmt", "GrantRoleStmt", "CommentStmt", "RenameStmt", "AlterOwnerStmt",
    "CreateSchemaStmt", "CreateFunctionStmt", "CreateTrigStmt", "CreatePolicyStmt", "CreateExtensionStmt", "LockStmt",
    "AlterObjectSchemaStmt", "CreateStatsStmt", "AlterDefaultPrivilegesStmt", "InsertStmt",
})  # fmt: skip
"""Nodes of PostgreSQL's grammar that take nothing away which could not be put back from the record of the schema."""
_KINDS = {
    "OBJECT_TABLE": "table", "OBJECT_VIEW": "view", "OBJECT_MATVIEW": "materialized view", "OBJECT_INDEX": "index",
    "OBJECT_SEQUENCE": "sequence", "OBJECT_TYPE": "type", "OBJECT_DOMAIN": "type", "OBJECT_FUNCTION": "function",
    "OBJECT_TRIGGER": "trigger", "OBJECT_POLICY": "policy", "OBJECT_STATISTIC_EXT": "statistics",
    "OBJECT_PROCEDURE": "function", "OBJECT_FOREIGN_TABLE": "table",
}  # fmt: skip
_OF_TABLES = ("trigger", "policy")
_ALTERED = frozenset({
    "AT_ColumnDefault", "AT_DropNotNull", "AT_ValidateConstraint", "AT_AddIndex", "AT_SetStatistics", "AT_SetStorage",
    "AT_EnableRowSecurity", "AT_DisableRowSecurity", "AT_ForceRowSecurity", "AT_NoForceRowSecurity", "AT_EnableTrig",
    "AT_DisableTrig", "AT_SetRelOptions", "AT_ResetRelOptions", "AT_ReplicaIdentity", "AT_ChangeOwner",
    "AT_AddIdentity", "AT_DropIdentity", "AT_AttachPartition", "AT_SetLogged", "AT_ClusterOn",
})  # fmt: skip


def read(sql: str) -> tuple[Done, ...]:
    """What the statements do, in their order. What is no SQL is opaque as a whole."""
    from pglast import parse_sql
    from pglast.parser import ParseError

    if not sql.strip():
        return ()
    try:
        found = parse_sql(sql)
    except (ParseError, RecursionError) as error:
        return (Opaque(f"no SQL that PostgreSQL knows ({str(error)[:SHOWN]})"),)
    done: list[Done] = []
    for raw in found:
        start = raw.stmt_location or 0
        text = sql[start : start + raw.stmt_len] if raw.stmt_len else sql[start:]
        done += _of(raw.stmt, _shown(text))
    return tuple(done)


def _shown(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    said = " ".join(line for line in lines if line and not line.startswith("--"))
    return said if len(said) <= SHOWN else said[: SHOWN - 1] + "…"


def _of(node: Any, said: str) -> Iterator[Done]:
    kind = type(node).__name__
    match kind:
        case "DropStmt":
            yield from _dropped(node, said)
        case "AlterTableStmt":
            yield from _altered(node, said)
        case "DeleteStmt" | "UpdateStmt":
            yield from _touched(node, said)
        case "TruncateStmt":
            yield from (Touched("TRUNCATE", r.relname, r.schemaname or "") for r in node.relations)
        case "CreateStmt":
            yield Made("table", node.relation.relname)
        case "IndexStmt":
            yield Made("index", node.idxname or "")
            if node.unique:
                yield Constraint(said, node.relation.relname, node.relation.schemaname or "")
        case "ViewStmt":
            yield Made("view", node.view.relname)
        case "CreateEnumStmt" | "CreateDomainStmt" | "CompositeTypeStmt":
            names = getattr(node, "typeName", None) or getattr(node, "domainname", None)
            yield Made("type", names[-1].sval if isinstance(names, tuple) else node.typevar.relname)
        case "CreateSeqStmt":
            yield Made("sequence", node.sequence.relname)
        case "AlterEnumStmt" if node.newVal and not node.oldVal:
            yield Made("label", node.newVal, node.typeName[-1].sval)
        case _ if kind not in _HARMLESS:
            yield Opaque(said)


def _dropped(node: Any, said: str) -> Iterator[Done]:
    kind = _KINDS.get(node.removeType.name)
    if kind is None:
        yield Opaque(said)
        return
    cascade = node.behavior.name == "DROP_CASCADE"
    for each in node.objects:
        names = _names(each)
        table = names.pop(-2) if kind in _OF_TABLES and len(names) > 1 else ""
        yield Gone(kind, names[-1], table, names[-2] if len(names) > 1 else "", cascade)


def _names(each: Any) -> list[str]:
    """Of an object in DROP, the last one its own."""
    each = getattr(each, "names", None) or getattr(each, "objname", None) or each
    return [part.sval for part in each]


def _altered(node: Any, said: str) -> Iterator[Done]:
    table, schema = node.relation.relname, node.relation.schemaname or ""
    for cmd in node.cmds:
        what = cmd.subtype.name
        cascade = cmd.behavior.name == "DROP_CASCADE"
        match what:
            case "AT_DropColumn":
                yield Gone("column", cmd.name, table, schema, cascade)
            case "AT_DropConstraint":
                yield Gone("constraint", cmd.name, table, schema, cascade)
            case "AT_AddColumn":
                yield Made("column", cmd.def_.colname, table)
                yield from _added(cmd.def_, table, schema)
            case "AT_SetNotNull":
                yield Constraint(f"{table}.{cmd.name} not null", table, schema, f"{_quoted(cmd.name)} IS NULL")
            case "AT_AddConstraint":
                yield Made("constraint", cmd.def_.conname or "", table)
                yield _rule(cmd.def_, table, schema, said)
            case "AT_DropExpression" | "AT_AlterColumnType":
                yield Opaque(said)
            case _ if what not in _ALTERED:
                yield Opaque(said)


def _added(column: Any, table: str, schema: str) -> Iterator[Constraint]:
    """A column that must hold something, and gets nothing: it cannot be added while there are rows."""
    kinds = {c.contype.name for c in column.constraints or ()}
    if kinds & {"CONSTR_NOTNULL", "CONSTR_PRIMARY"} and not kinds & {
        "CONSTR_DEFAULT", "CONSTR_IDENTITY", "CONSTR_GENERATED",
    }:  # fmt: skip
        yield Constraint(f"{table}.{column.colname} comes back not null and without a default", table, schema, "true")


def _rule(constraint: Any, table: str, schema: str, said: str) -> Constraint:
    from pglast.stream import RawStream

    name = f"{constraint.conname or 'a constraint'} on {table}"
    if constraint.contype.name == "CONSTR_CHECK" and not constraint.skip_validation:
        try:
            return Constraint(name, table, schema, f"NOT ({RawStream()(constraint.raw_expr)})")
        except RecursionError:
            return Constraint(name, table, schema)
    return Constraint(said if constraint.conname is None else name, table, schema)


def _touched(node: Any, said: str) -> Iterator[Done]:
    from pglast.stream import RawStream

    if node.relation.relname == VERSIONS:
        return
    alone = not (getattr(node, "usingClause", None) or getattr(node, "fromClause", None) or node.withClause)
    if not alone:
        yield Opaque(said)
        return
    try:
        where = RawStream()(node.whereClause) if node.whereClause is not None else ""
    except RecursionError:
        yield Opaque(said)
        return
    verb = "DELETE" if type(node).__name__ == "DeleteStmt" else "UPDATE"
    yield Touched(verb, node.relation.relname, node.relation.schemaname or "", where)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
