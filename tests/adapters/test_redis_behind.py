"""A flush leaves the database behind the cache alive: real PostgreSQL, real Valkey, wired as in production."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from threading import Thread

import psycopg
import pytest

from bot.adapters.postgres import PostgresDatabases
from bot.adapters.redis import Behind, Pacing
from bot.targets.factory import _behind
from tests.fixtures.service_database import Place
from tests.fixtures.valkey import Served, fill, one_server


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with one_server() as served:
        yield served


async def recorded(command: str) -> None:
    """An attempt that may write."""


def at_work(db: Place, many: int, stack: ExitStack) -> list[psycopg.Connection[tuple[object, ...]]]:
    """So many sessions of somebody else's that are in the middle of something, until the stack ends."""
    found = []
    for _ in range(many):
        c = stack.enter_context(psycopg.connect(db.info("shop_app"), autocommit=True))
        work = Thread(target=_slow, args=(c,))
        work.start()
        stack.callback(work.join)
        stack.callback(c.cancel_safe)
        found.append(c)
    return found


def _slow(c: psycopg.Connection[tuple[object, ...]]) -> None:
    with suppress(psycopg.Error):
        c.execute("SELECT pg_sleep(60)")


def superuser(db: Place, statement: str) -> None:
    with psycopg.connect(db.url.replace("+psycopg", "", 1), autocommit=True) as c:
        c.execute(statement.encode())


async def seen(databases: PostgresDatabases, many: int) -> tuple[int, int]:
    """What is at work, once so many are."""
    found = (0, 0)
    for _ in range(200):
        found = await databases.at_work("db")
        if sum(found) == many:
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(f"never {many} sessions: {found}")


async def test_sessions_at_work_are_counted_and_those_that_are_not_shown_are_told(db: Place) -> None:
    """To a role without the right PostgreSQL shows neither a session's state nor of what type it is."""
    with ExitStack() as stack:
        at_work(db, 2, stack)
        assert await seen(db.databases, 2) == (0, 2)
        told = await _behind("db", 1, db.databases)()
        assert told == Behind("whether 2 sessions of db are at work is not shown to us")
        superuser(db, "GRANT pg_read_all_stats TO shop_reader")
        try:
            assert await seen(db.databases, 2) == (2, 0)
            assert await _behind("db", 1, db.databases)() == Behind("db has 2 sessions at work, above 1", hold=True)
            assert await _behind("db", 2, db.databases)() == Behind()
        finally:
            superuser(db, "REVOKE pg_read_all_stats FROM shop_reader")


async def test_nothing_is_removed_while_the_database_is_busy_and_all_once_it_is_not(db: Place, server: Served) -> None:
    fill(server.port, [b"shop:2.4.1:%d" % n for n in range(500)])
    superuser(db, "GRANT pg_read_all_stats TO shop_reader")
    try:
        paced = Served(server.server, pacing=Pacing(behind=_behind("db", 1, db.databases)))
        waits: list[str] = []
        with ExitStack() as stack:
            at_work(db, 2, stack)
            await seen(db.databases, 2)
            async for swept in paced.adapter.bind(recorded).flush("cache", "shop:2.4.1:", 1000):
                waits.append(swept.waits)
                if len(waits) == 2:
                    assert await server.adapter.count("cache", "shop:2.4.1:") == 500
                    stack.close()
        assert waits[:2] == ["db has 2 sessions at work, above 1"] * 2
        assert await server.adapter.count("cache", "shop:2.4.1:") == 0
    finally:
        superuser(db, "REVOKE pg_read_all_stats FROM shop_reader")


async def test_a_database_that_cannot_be_asked_holds_the_flush(db: Place) -> None:
    away = db.like(port=1, host="127.0.0.1", timeout=0.5)
    told = await _behind("db", 5, away)()
    assert told.hold
    assert "db, which answers what the cache does not, cannot be asked" in told.words
