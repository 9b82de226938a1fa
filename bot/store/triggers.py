"""The triggers that keep the log append-only: which are missing, and put back.

They keep honest programs and slips of the hand from changing what was written; whoever owns the tables can switch them
off, which is why that is looked for.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

KEYS: Mapping[str, str] = {
    "event": "run = NEW.run AND seq = NEW.seq",
    "checkpoint": "n = NEW.n",
    "signature": "run = NEW.run AND seq = NEW.seq AND key = NEW.key",
}
"""Append-only table -> what a new row must not have in common with one that is there."""
FUNCTION = "rollback_bot_append_only"


def missing(c: sa.Connection) -> list[str]:
    """Names of those that are not there, are switched off, or refuse nothing."""
    if c.dialect.name == "sqlite":
        there = c.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%RAISE(ABORT%'"))
    else:
        there = c.execute(_THERE, {"function": FUNCTION})
    return sorted(_wanted(c).keys() - set(there.scalars()))


def put_back(c: sa.Connection) -> list[str]:
    """Makes those that are missing; their names."""
    lost = missing(c)
    if lost and c.dialect.name == "postgresql":
        c.exec_driver_sql(_REFUSE)
    for name in lost:
        for statement in _wanted(c)[name]:
            c.exec_driver_sql(statement)
    return lost


def _wanted(c: sa.Connection) -> dict[str, tuple[str, ...]]:
    """Name -> statements that make it, whatever is there by that name."""
    if c.dialect.name == "postgresql":
        return {
            f"{table}_append_only": (
                f"DROP TRIGGER IF EXISTS {table}_append_only ON {table}",
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {FUNCTION}()",
            )
            for table in KEYS
        }
    found: dict[str, tuple[str, ...]] = {}
    for table, same in KEYS.items():
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        there = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608
        whens = {"update": "UPDATE", "delete": "DELETE", "replace": "INSERT"}
        for what, when in whens.items():
            name, only = f"{table}_no_{what}", f" WHEN {there}" if what == "replace" else ""
            made = f"CREATE TRIGGER {name} BEFORE {when} ON {table}{only} {refuse}"
            found[name] = (f"DROP TRIGGER IF EXISTS {name}", made)
    return found


_THERE = sa.text(
    "SELECT t.tgname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgenabled IN ('O', 'A') "
    "AND p.proname = :function AND p.prosrc LIKE '%RAISE EXCEPTION%' "
    "AND t.tgrelid IN (to_regclass('event'), to_regclass('checkpoint'), to_regclass('signature'))"
)
_REFUSE = f"""
CREATE OR REPLACE FUNCTION {FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$
""".replace("%", "%%")
