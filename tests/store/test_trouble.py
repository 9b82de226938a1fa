"""A database that is read-only, full, locked, gone or damaged: a plain message, and nothing half written."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

import migrations
from bot.run import events as ev
from bot.run.state import new_run
from bot.store.database import Lite
from bot.store.log import Store, StoreUnavailable
from tests.fixtures.stores import ending

AT = 1_763_900_000.0


@pytest.fixture
def lite_url(tmp_path: Path) -> str:
    url = f"sqlite+aiosqlite:///{tmp_path / 'bot.db'}"
    migrations.upgrade(url)
    return url


@pytest.fixture
def pg_url(pg_database: str) -> str:
    migrations.upgrade(pg_database)
    return pg_database


@pytest.fixture
def admin(pg_url: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Another session."""
    with psycopg.connect(pg_url.replace("+psycopg", ""), autocommit=True) as connection:
        yield connection


async def refused(url: str, sample: Any, text: str) -> None:
    """An append is refused with this message, and leaves nothing."""
    store = await Store.open(url, patience=0.2)
    before = await store.load("r1")
    with pytest.raises(StoreUnavailable, match=text) as e:
        await store.append(before, [ev.Stopped(sample.ana)] * 3, AT, key="k", checkpoint=True)
    assert "Next: " in str(e.value)
    assert "secret" not in str(e.value)
    assert await store.load("r1") == before
    assert not await store.seen("k")
    await store.close()


@pytest.fixture
async def started(request: pytest.FixtureRequest, sample: Any) -> str:
    """A database that holds one run."""
    url = str(request.getfixturevalue(request.param))
    store = await Store.open(url)
    await store.append(new_run("r1"), [sample.created()], AT)
    await store.close()
    return url


lite = pytest.mark.parametrize("started", ["lite_url"], indirect=True)
postgres = pytest.mark.parametrize("started", ["pg_url"], indirect=True)


@lite
async def test_a_read_only_file(started: str, sample: Any) -> None:
    path = started.removeprefix("sqlite+aiosqlite:///")
    await refused(f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true", sample, "is read-only.*writable")


@lite
async def test_a_full_disk(started: str, sample: Any, caplog: pytest.LogCaptureFixture) -> None:
    store = await Store.open(started)
    with contextlib.closing(sqlite3.connect(started.removeprefix("sqlite+aiosqlite:///"))) as file:
        file.execute("VACUUM")  # no page is left over from what its making took
    pages = await store.db.read(lambda c: c.scalar(sa.text("PRAGMA page_count")))
    assert isinstance(store.db, Lite)

    @sa.event.listens_for(store.db._reads, "checkout")
    def _limit(connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    run = await store.load("r1")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match=r"is full.*Nothing was written.*free space"):
            await store.append(run, [ev.Stopped(sample.ana, "x" * 9000)], AT, key="k", checkpoint=True)
        assert await store.load("r1") == run and not await store.seen("k")
    pages *= 2
    await store.append(run, [ev.Stopped(sample.ana, "x" * 9000)], AT)
    told = [r.message for r in caplog.records if r.name == "bot.store.database"]
    assert len(told) == 2 and "is not possible" in told[0] and "(3 failed)" in told[1], "reading ends no such outage"
    await store.close()


@lite
async def test_a_file_that_another_process_locks(started: str, sample: Any) -> None:
    with sqlite3.connect(started.removeprefix("sqlite+aiosqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        await refused(started, sample, "is locked by another process.*only one bot")
    other.close()


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"nowhere/bot.db cannot be opened.*folder exists"):
        await Store.open(f"sqlite+aiosqlite:///{tmp_path}/nowhere/bot.db")


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "bot.db").write_text("minutes of the last meeting " * 100)
    with pytest.raises(StoreUnavailable, match=r"is damaged, or is no database.*newest backup"):
        await Store.open(f"sqlite+aiosqlite:///{tmp_path}/bot.db")


@postgres
async def test_a_read_only_server(started: str, sample: Any, admin: psycopg.Connection[tuple[Any, ...]]) -> None:
    admin.execute(f"ALTER DATABASE {admin.info.dbname} SET default_transaction_read_only = on".encode())
    await refused(started, sample, "is read-only.*point ROLLBACK_DATABASE_URL at the primary")
    with pytest.raises(StoreUnavailable, match="is read-only"):
        migrations.downgrade(started, "base")


@postgres
async def test_a_table_that_another_session_locks(
    started: str, sample: Any, admin: psycopg.Connection[tuple[Any, ...]]
) -> None:
    with admin.transaction():
        admin.execute("LOCK TABLE event IN SHARE MODE")
        await refused(started, sample, "lock that another session.*pg_stat_activity")


@postgres
async def test_a_server_that_drops_its_connections_is_found_again(
    started: str, sample: Any, admin: psycopg.Connection[tuple[Any, ...]]
) -> None:
    store = await Store.open(started)
    run = await store.load("r1")
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database()"
    )
    await store.append(run, [ev.Stopped(sample.ana)], AT)

    run = await store.load("r1")
    ending(store.db, lambda: lambda c: c.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())")))
    with pytest.raises(StoreUnavailable, match="being shut down"):
        await store.append(run, [ev.Resumed(sample.ana)], AT)
    assert (await store.load("r1")).seq == 2
    await store.close()


async def test_a_server_that_is_not_there() -> None:
    with pytest.raises(StoreUnavailable, match=r"Cannot reach .* 'x' at 127.0.0.1:1: .*Next: ") as e:
        await Store.open("postgresql+psycopg://bot:secret@127.0.0.1:1/x")
    assert "secret" not in str(e.value)


async def test_a_database_that_does_not_exist(pg_database: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"'absent'.*does not exist.*that the database exists"):
        await Store.open(sa.make_url(pg_database).set(database="absent").render_as_string(hide_password=False))


async def test_both_ways_to_name_a_file_mean_the_same(lite_url: str, sample: Any) -> None:
    for url in (lite_url, lite_url.replace("+aiosqlite", "")):
        store = await Store.open(url)
        assert await store.heads() == [] and "+" not in str(store.db.url)
        await store.close()


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("mysql://u:secret@h/d", "begins with mysql://"),
        ("postgresql+psycopg2://u:secret@h/d", r"begins with postgresql\+psycopg2://"),
        ("sqlite+aiosqlite://", "names no file"),
        ("sqlite://", "names no file"),
        ("sqlite+aiosqlite:///:memory:", "names no file"),
        ("not a url secret", "is not a URL"),
    ],
)
async def test_a_bad_url_says_what_a_good_one_looks_like(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as e:
        await Store.open(url)
    assert "postgresql://" in str(e.value) and "secret" not in str(e.value)
