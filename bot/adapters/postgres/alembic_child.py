"""The program in which a release's migrations run: a process of its own, in the release's own environment, told line by
line on its standard input and answering line by line.

It is started by its path, knows nothing of the bot, and imports the standard library, Alembic and SQLAlchemy alone, as
those are what the release's environment has. The release's scripts and its env.py run in here and nowhere else.

Invariants:
- one revision a command, so that each has a transaction of its own and its stamp is read in between;
- nothing else that asks for the same lock migrates meanwhile. The lock is held on a connection of its own: any
  statement on Alembic's connection before it is configured makes Alembic roll everything back and exit well;
- whoever started it is gone: it ends, and the server rolls back what was under way;
- what scripts print goes to standard error: answers alone are on standard output.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any

LOCK = 0x726F6C6C7570
"""Advisory lock of whoever moves a schema."""


def main() -> int:
    """Answers commands until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    commands: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_hear, args=(commands,), daemon=True).start()
    folder = Path.cwd()
    sys.path.insert(0, str(folder))
    scripts = _Scripts(folder)
    while True:
        command = json.loads(commands.get())
        try:
            said: dict[str, Any] = {"ok": getattr(scripts, f"do_{command.pop('do')}")(**command)}
        except BaseException as error:
            said = {"error": type(error).__name__, "said": _said(error), "state": _state(error)}
        answers.write(json.dumps(said) + "\n")
        answers.flush()


def _hear(commands: queue.Queue[str]) -> None:
    for line in sys.stdin:
        commands.put(line)
    os._exit(0)  # whoever started this is gone, or is done with it


def _said(error: BaseException) -> str:
    """In one line, without the server's advice: it is CASCADE as a rule."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return "; ".join(line.strip() for line in lines if line.strip() and not line.startswith("HINT:"))[:1000]


def _state(error: BaseException) -> str:
    original = getattr(error, "orig", None)
    return str(getattr(original, "sqlstate", None) or getattr(original, "pgcode", None) or "")


class _Scripts:
    """The migrations in a folder, by its alembic.ini or pyproject.toml."""

    def __init__(self, folder: Path) -> None:
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        ini, toml = folder / "alembic.ini", folder / "pyproject.toml"
        plain = ini.exists()
        self.config = Config(ini if plain else None, toml_file=None if plain else toml, stdout=sys.stderr)
        url = os.environ.get("ROLLBACK_MIGRATE_URL", "")
        if url:
            self.config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
        self.script = ScriptDirectory.from_config(self.config)
        self.url = url
        self._lock: Any = None

    # -- reading ---------------------------------------------------------------------------------------------------

    def do_walk(self, at: list[str], to: str, direction: str) -> dict[str, Any]:
        """Every step that Alembic would take, with the stamp that each leaves and the SQL that it sends."""
        from alembic.runtime.migration import HeadMaintainer

        class Heads(HeadMaintainer):
            def _insert_version(self, version: str) -> None:
                self.heads.add(version)

            def _delete_version(self, version: str) -> None:
                self.heads.remove(version)

            def _update_version(self, from_: str, to_: str) -> None:
                self.heads.remove(from_)
                self.heads.add(to_)

        for known in (*at, *([] if to == "base" else [to])):
            self.script.get_revision(known)  # CommandError names one that is not there
        walk: Any = self.script._downgrade_revs if direction == "down" else self.script._upgrade_revs
        steps: list[Any] = list(walk(to, tuple(at)))
        heads = Heads(None, tuple(at))  # type: ignore[arg-type]
        found, inverse = [], {}
        for step in steps:
            heads.update_to_step(step)
            revision = step.revision
            below = revision._normalized_down_revisions
            sql, why = self._sql(revision, direction)
            back, _ = self._sql(revision, "up" if direction == "down" else "down")
            if back is not None:
                inverse[revision.revision] = back
            found.append({
                "revision": revision.revision, "below": "+".join(below) or "base", "stamp": sorted(heads.heads),
                "title": (revision.doc or "").strip(), "sql": sql, "why": why,
                "depends": bool(revision._normalized_resolved_dependencies),
            })  # fmt: skip
        return {"steps": found, "inverse": inverse, "heads": sorted(self.script.get_heads())}

    def do_standing(self, at: list[str], revisions: list[str]) -> dict[str, str]:
        """Revision -> itself where it is in force, else the one below; the version table holds `at`."""
        known = {r.revision for r in self.script.revision_map._get_ancestor_nodes(
            self.script.get_revisions(tuple(at)), include_dependencies=True, check=False)} if at else set()  # fmt: skip
        below = {r: "+".join(self.script.get_revision(r)._normalized_down_revisions) or "base" for r in revisions}
        return {r: r if r in known else below[r] for r in revisions}

    def _sql(self, revision: Any, direction: str) -> tuple[str | None, str]:
        """What one revision sends; None and why where that cannot be told without a database."""
        from alembic.operations import Operations
        from alembic.runtime.environment import EnvironmentContext

        out = io.StringIO()
        move = revision.module.downgrade if direction == "down" else revision.module.upgrade
        try:
            with EnvironmentContext(self.config, self.script, as_sql=True) as env:
                env.configure(dialect_name="postgresql", literal_binds=True, output_buffer=out)
                with Operations.context(env.get_context()):
                    move()
        except Exception as error:
            if isinstance(error, AttributeError) and "NoneType" in str(error):
                return None, "its script reads the database before it decides"
            return None, f"its script cannot be read without a database ({type(error).__name__}: {error})"[:300]
        return out.getvalue(), ""

    # -- moving ----------------------------------------------------------------------------------------------------

    def do_lock(self) -> bool:
        """Whether nobody else migrates; from here on until this process ends nobody else does."""
        import sqlalchemy as sa

        if self._lock is None:
            engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
            held = engine.connect()
            if not held.execute(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK}).scalar():
                held.close()
                return False
            self._lock = held
        return True

    def do_move(self, to: str, direction: str) -> str:
        """One command of Alembic's."""
        from alembic import command

        if self._lock is None:
            raise RuntimeError("moved without the lock")
        (command.downgrade if direction == "down" else command.upgrade)(self.config, to)
        return to

    # -- comparing -------------------------------------------------------------------------------------------------

    def do_compare(self) -> dict[str, Any]:
        """What the models of the release's env.py say, and what differs of it by Alembic's own comparison."""
        from alembic.autogenerate import compare_metadata
        from alembic.runtime.environment import EnvironmentContext

        found: dict[str, Any] = {"models": False, "differs": [], "tables": {}, "enums": {}}

        def look(_: Any, context: Any) -> list[Any]:
            metadata = context.opts.get("target_metadata")
            if metadata is not None:
                context.opts |= {"compare_type": True, "compare_server_default": True}
                context._user_compare_type = context._user_compare_server_default = True
                found["models"] = True
                found["differs"] = [_difference(d) for d in _each(compare_metadata(context, metadata))]
                found["tables"], found["enums"] = _expected(metadata)
            return []

        with EnvironmentContext(self.config, self.script, fn=look, as_sql=False):
            self.script.run_env()
        return found


def _each(found: list[Any]) -> list[Any]:
    """Those of one column come as a list of their own."""
    return [d for each in found for d in (each if isinstance(each, list) else [each])]


def _difference(found: Any) -> dict[str, Any]:
    """Of ("add_table", Table), ("modify_type", schema, table, ...), in words; more: only the database has it."""
    return {"said": _in_words(found), "more": str(found[0]).startswith("remove_")}


def _in_words(found: Any) -> str:
    what, *rest = found
    if str(what).startswith("modify_"):
        return f"{what.removeprefix('modify_')} of {rest[1]}.{rest[2]}: {rest[-2]!r} there, {rest[-1]!r} in the models"
    verb, _, kind = str(what).partition("_")
    named = next((getattr(r, "name", None) for r in reversed(rest) if getattr(r, "name", None)), "?")
    table = next((r for r in rest if isinstance(r, str)), "")
    return f"{kind.replace('_', ' ')} {table + '.' if table else ''}{named} is {_VERBS.get(verb, verb)}"


_VERBS = {"add": "missing", "remove": "there and in no model"}


def _expected(metadata: Any) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """What Alembic does not compare: primary keys, identities, generated columns, named checks, whether an index is a
    partial one; labels of enums."""
    import sqlalchemy as sa

    tables: dict[str, Any] = {}
    enums: dict[str, list[str]] = {}
    for table in metadata.sorted_tables:
        checks = {
            str(c.name): _text(c.sqltext) for c in table.constraints if isinstance(c, sa.CheckConstraint) and c.name
        }
        tables[table.name] = {
            "key": [c.name for c in table.primary_key.columns],
            "identity": [c.name for c in table.columns if c.identity is not None],
            "generated": [c.name for c in table.columns if c.computed is not None],
            "checks": {name: text for name, text in checks.items() if not name.startswith("_unnamed_")},
            "partial": {
                str(i.name): i.dialect_options["postgresql"]["where"] is not None for i in table.indexes if i.name
            },
        }
        for column in table.columns:
            if isinstance(column.type, sa.Enum) and column.type.name and column.type.native_enum:
                enums[column.type.name] = [str(label) for label in column.type.enums]
    return tables, enums


def _text(expression: Any) -> str:
    """As SQL; "" where it cannot be told."""
    from sqlalchemy.dialects import postgresql

    try:
        dialect: Any = postgresql.dialect
        return str(expression.compile(dialect=dialect(), compile_kwargs={"literal_binds": True}))
    except Exception:
        return ""


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
