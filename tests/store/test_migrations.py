"""The schema: up, down and up again; equal to the models; append-only; two upgraders queue."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import migrations
from bot.run.state import new_run
from bot.store.database import SchemaMismatch, StoreUnavailable
from bot.store.log import Store
from bot.store.tables import metadata

AT = 1_763_900_000.0


def sync_url(url: str) -> str:
    return url.replace("+aiosqlite", "")


@pytest.fixture
def connection(migrated_url: str) -> Iterator[sa.Connection]:
    """A plain connection, as any other tool would make it."""
    engine = sa.create_engine(sync_url(migrated_url), poolclass=sa.NullPool)
    with engine.connect() as c:
        yield c


def test_up_down_up(database_url: str) -> None:
    assert migrations.current(database_url) is None
    assert migrations.upgrade(database_url) == migrations.head()
    with sa.create_engine(sync_url(database_url), poolclass=sa.NullPool).connect() as c:
        first = sorted(sa.inspect(c).get_table_names())
    assert migrations.downgrade(database_url, "base") == ""
    with sa.create_engine(sync_url(database_url), poolclass=sa.NullPool).connect() as c:
        assert sa.inspect(c).get_table_names() == ["alembic_version"]
    assert migrations.upgrade(database_url) == migrations.head() == migrations.current(database_url)
    with sa.create_engine(sync_url(database_url), poolclass=sa.NullPool).connect() as c:
        assert sorted(sa.inspect(c).get_table_names()) == first


async def test_a_full_database_can_be_taken_down(store: Store, migrated_url: str, sample: Any) -> None:
    await store.append(new_run("r1"), [sample.created()], AT, checkpoint=True)
    await store.close()
    await asyncio.to_thread(migrations.downgrade, migrated_url, "base")
    await asyncio.to_thread(migrations.upgrade, migrated_url)


def test_upgrading_again_changes_nothing(migrated_url: str) -> None:
    assert migrations.upgrade(migrated_url) == migrations.head()


def test_the_names_of_the_files_tell_the_revisions_in_their_order() -> None:
    scripts = ScriptDirectory(str(Path(migrations.__file__).parent))
    assert migrations.revisions() == tuple(script.revision for script in scripts.walk_revisions())[::-1]


def test_asking_for_the_revision_imports_no_alembic() -> None:
    code = "import sys, migrations; migrations.require(migrations.head(), 'x'); print('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_models_equal_the_migrations(connection: sa.Connection) -> None:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
    assert compare_metadata(context, metadata) == []


async def test_what_a_freeze_asks_for_is_found_without_a_look_at_ended_runs(
    store: Store, connection: sa.Connection
) -> None:
    columns = ("run", "service", "kind", "open", "seq", "due", "created", "closed")
    ended = [(f"r{i}", "shop", "rollback", False, 9, None, i, i) for i in range(2000)]
    left = [("owed", "shop", "rollback", False, 9, 5, 7000, 8000), ("now", "shop", "thaw", True, 9, None, 9000, None)]
    connection.execute(sa.insert(metadata.tables["head"]), [dict(zip(columns, r, strict=True)) for r in ended + left])
    connection.commit()
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ANALYZE head")
    asked: list[tuple[str, Any]] = []
    keep = lambda *a: asked.append((a[2], a[3]))  # noqa: E731
    sa.event.listen(sa.Engine, "before_cursor_execute", keep)
    try:
        assert [h.run for h in await store.unended("shop")] == ["now", "owed"]
        assert [h.run for h in await store.last("shop", "thaw")] == ["now"]
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", keep)
    explain = "EXPLAIN" if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    plans = [
        connection.exec_driver_sql(f"{explain} {sql}", values).all() for sql, values in asked if "FROM head" in sql
    ]
    for plan, index in zip(plans, ("head_unended", "head_kind"), strict=True):
        text = "\n".join(str(row[-1]) for row in plan)
        assert index in text and "Sort" not in text and "TEMP B-TREE" not in text


@pytest.mark.parametrize("table", ["event", "checkpoint", "signature"])
def test_the_log_cannot_be_changed(connection: sa.Connection, table: str) -> None:
    columns = {
        "event": "('r', 1, 1, 'k', '{}', 'p', 'h')",
        "checkpoint": "(1, 'r', 1, 'h', 'p', 'c')",
        "signature": "('r', 1, 'k', 's')",
    }[table]
    connection.exec_driver_sql(f"INSERT INTO {table} VALUES {columns}")
    connection.commit()
    wrong = [f"UPDATE {table} SET run = 'other'", f"DELETE FROM {table}"]
    if connection.dialect.name == "postgresql":
        wrong += [f"TRUNCATE {table}", f"TRUNCATE {table} CASCADE"]
    else:
        wrong += [f"INSERT OR REPLACE INTO {table} VALUES {columns}", f"UPDATE OR IGNORE {table} SET run = 'x'"]
    for statement in wrong:
        with pytest.raises(sa.exc.IntegrityError, match=f"{table} is append-only"):
            connection.exec_driver_sql(statement)
        connection.rollback()
    assert connection.exec_driver_sql(f"SELECT run FROM {table}").all() == [("r",)]


def test_upgraders_queue(database_url: str) -> None:
    code = f"import migrations; print(migrations.upgrade({database_url!r}))"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [(*p.communicate(timeout=60), p.returncode) for p in started]
    assert ended == [(f"{migrations.head()}\n", "", 0)] * 2


def test_an_upgrader_that_waits_too_long_says_so(database_url: str) -> None:
    engine = sa.create_engine(sync_url(database_url), poolclass=sa.NullPool)
    with engine.connect() as other:
        if other.dialect.name == "postgresql":
            other.exec_driver_sql(f"SELECT pg_advisory_lock({migrations.LOCK})")
        else:
            other.exec_driver_sql("PRAGMA journal_mode=WAL")
            other.exec_driver_sql("CREATE TABLE theirs (x)")
            other.exec_driver_sql("INSERT INTO theirs VALUES (1)")
        with pytest.raises(StoreUnavailable, match=r"lock.*Next: find"):
            migrations.upgrade(database_url, patience=0.2)
    assert migrations.current(database_url) is None


def test_a_failing_migration_leaves_nothing(database_url: str) -> None:
    engine = sa.create_engine(sync_url(database_url), poolclass=sa.NullPool)
    with engine.begin() as c:
        c.exec_driver_sql("CREATE TABLE token (x INTEGER)")  # the last one we make
    with pytest.raises(Exception, match="token"):
        migrations.upgrade(database_url)
    with engine.connect() as c:
        assert sa.inspect(c).get_table_names() == ["token"]
    assert migrations.current(database_url) is None


async def test_a_store_tells_an_older_or_newer_database(database_url: str) -> None:
    store = await Store.open(database_url)
    with pytest.raises(SchemaMismatch, match=r"no tables of ours.*needs 0005\. Next: run `rollback-bot db upgrade`"):
        await migrations.check(store.db)
    with pytest.raises(SchemaMismatch, match="rollback-bot db upgrade"):
        await store.load("r1")
    await asyncio.to_thread(migrations.upgrade, database_url)
    await migrations.check(store.db)

    await store.db.write(lambda c: c.execute(sa.text("UPDATE alembic_version SET version_num = '0999'")))
    with pytest.raises(SchemaMismatch, match=r"0999, which this version \(revision 0005\) does not know"):
        await migrations.check(store.db)
    await store.close()
    for go in (migrations.upgrade, lambda url: migrations.downgrade(url, "base")):
        with pytest.raises(SchemaMismatch, match="0999"):
            await asyncio.to_thread(go, database_url)


def test_the_package_folder_may_be_read_only(tmp_path: Path) -> None:
    copy = tmp_path / "lib%20"  # a name that a configuration file would misread
    root = Path(migrations.__file__).parents[1]
    for name in ("bot", "migrations"):
        for source in (root / name).rglob("*.py"):
            target = copy / source.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    before = {p for p in copy.rglob("*")}
    for p in before:
        p.chmod(p.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    url = f"sqlite+aiosqlite:///{tmp_path / 'x.db'}"
    code = (
        f"import sys; sys.path.insert(0, {str(copy)!r})\nimport migrations as m; print(m.__file__, m.upgrade({url!r}))"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{copy}/migrations/__init__.py {migrations.head()}\n"
    assert {p for p in copy.rglob("*")} == before


async def test_threads_of_one_process_queue_as_well(tmp_path: Path) -> None:
    urls = [f"sqlite+aiosqlite:///{tmp_path / name}.db" for name in "abcd"]
    found = await asyncio.gather(*(asyncio.to_thread(migrations.upgrade, url) for url in urls))
    assert found == [migrations.head()] * 4


async def test_a_database_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    file = tmp_path / "bot.db"
    await asyncio.to_thread(migrations.upgrade, f"sqlite:///{file}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o664)
    store = await Store.open(f"sqlite:///{file}")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    await store.close()
