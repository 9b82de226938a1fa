"""What goes wrong on purpose while a story is played (`--trouble`): the bot dies, kill -9, in the middle of what it
does to the database, and is started again.

    schema-down     while the migration waits for a lock that somebody's report holds; the report ends afterwards
    schema-restore  while pg_restore fills the new database, or as soon as there is one
    schema-keep     between the decision and the deploy

Invariants: it waits for a state of the world, never for a time; where that never comes the story fails.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import psycopg

from bot.playground.demo.live import Live
from bot.playground.demo.stage import HERE, DemoFailed, Stage
from bot.playground.shop.data import Data

Trouble = Callable[[Stage, Live], Awaitable[None]]
PATIENCE = 240.0
"""Seconds in which its moment must come, on a busy machine too."""
_READ_ONLY = """
SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
WHERE d.datname = current_database() AND 'default_transaction_read_only=on' = ANY (s.setconfig)
"""
_WAITS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass"
_BESIDE = "SELECT count(*) FROM pg_database WHERE datname LIKE '%\\_restore\\_%'"


async def _killed_behind_a_lock(stage: Stage, live: Live) -> None:
    data = _data(stage)
    await _until(data, "the database to take no writes", _READ_ONLY)
    report = await psycopg.AsyncConnection.connect(data.dsn("admin"))
    try:
        await report.execute("SELECT count(*) FROM orders")
        live.tell("a report", "has read the orders, and leaves its transaction open")
        await _until(data, "the migration to wait for the lock", _WAITS)
        await _killed(stage, live, "while the migration waits for a lock")
        await _until(data, "the migration to wait for the lock again", _WAITS)
    finally:
        await report.close()
    live.tell("a report", "has ended")


async def _killed_while_it_restores(stage: Stage, live: Live) -> None:
    await _until(_data(stage), "a database beside the shop's", _BESIDE, "postgres")
    await _killed(stage, live, "while a new database is filled from the backup")


async def _killed_after_the_decision(stage: Stage, live: Live) -> None:
    await stage.workspace.driver.wait_for_text(HERE, "Database schema: keep", timeout=PATIENCE)
    await _killed(stage, live, "just after people have decided about the schema")


TROUBLES: dict[str, Trouble] = {
    "rollback": _killed_after_the_decision,
    "schema-keep": _killed_after_the_decision,
    "schema-down": _killed_behind_a_lock,
    "schema-restore": _killed_while_it_restores,
}
"""Story -> what can go wrong in it."""


def _data(stage: Stage) -> Data:
    if stage.shop.data is None:
        raise DemoFailed("this shop has no database to be in trouble with")
    return stage.shop.data


async def _until(data: Data, what: str, query: str, database: str = "") -> None:
    """Returns once the database counts something. DemoFailed."""
    end = time.monotonic() + PATIENCE
    async with await psycopg.AsyncConnection.connect(data.dsn("admin", database), autocommit=True) as c:
        while (found := await (await c.execute(query.encode())).fetchone()) is None or not found[0]:
            if time.monotonic() > end:
                raise DemoFailed(f"waited {PATIENCE:.0f} s in vain for {what}")
            await asyncio.sleep(0.02)


async def _killed(stage: Stage, live: Live, when: str) -> None:
    await stage.kill()
    live.tell("the bot", f"dies, kill -9, {when}")
    await stage.serve()
    live.tell("the bot", "is started again")
