"""Equal moments see the same rows, whoever writes; where a moment cannot be told, nothing is kept under it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.store import tables as t
from bot.store.log import Slot, Store
from bot.store.moment import LiteMoment


async def test_each_commit_makes_another_moment_whoever_committed(store: Store, migrated_url: str) -> None:
    before = await store.db.moment()
    await store.put_slot(Slot("r1", "root", "C1", "1.1", "abc"))
    ours = await store.db.moment()
    assert None not in (before, ours) and before != ours
    other = await Store.open(migrated_url)  # another process: nothing is shared but the database
    await other.put_slot(Slot("r2", "root", "C1", "1.1", "abc"))
    assert await store.db.moment() not in (before, ours)
    await other.close()


async def test_what_was_begun_before_and_is_committed_after_makes_another_moment(
    store: Store, migrated_url: str
) -> None:
    other = sa.create_engine(migrated_url, poolclass=sa.NullPool)
    with other.connect() as c:
        c.execute(sa.insert(t.inbox), {"key": "k", "at": 1})
        while_it_waits = await store.db.moment()
        c.commit()
    assert while_it_waits is not None and await store.db.moment() != while_it_waits


async def test_a_moment_lasts_while_nothing_is_committed(store: Store) -> None:
    for _ in range(200):  # one server of PostgreSQL may serve other tests as well
        moment = await store.db.moment()
        if moment == await store.db.moment():
            return
    pytest.fail("no two moments in a row were equal")


def test_a_file_that_is_locked_or_gone_has_no_moment_and_has_another_one_when_it_is_back(tmp_path: Path) -> None:
    file = tmp_path / "bot.db"
    moment = LiteMoment(sa.engine.make_url(f"sqlite:///{file}"))
    assert moment.now() is None and not file.exists(), "asking makes no database"
    with sqlite3.connect(file, isolation_level=None) as c:
        c.execute("CREATE TABLE x (y)")
        first = moment.now()
        assert first is not None
        c.execute("BEGIN EXCLUSIVE")
        assert moment.now() is None
        c.execute("ROLLBACK")
        assert moment.now() not in (None, first), "what happened meanwhile is not known"
    c.close()
    moment.close()
