"""Fills a database with runs that have ended: `python bench/ended_runs.py <database> <runs> <releases>`.

A program of its own, and only of what has been there for long, so that an older build can fill its own database with
the same history: its own store writes, its own tests' harness plays the run.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import sqlalchemy as sa

import migrations
from bot.catalogue import Release
from bot.releases.register import ReleaseRegister
from bot.run import events as ev
from bot.run.events import encode
from bot.store import tables as t
from bot.store.chain import ZERO, event_hash
from bot.store.log import Store
from bot.store.rows import us
from tests.run.played import CHO, Play, act, check, gate, plan, undo

HOUR = 3600.0
"""Seconds between two runs."""


def played() -> list[ev.Event]:
    """A rollback with a freeze and ten steps, from its opening to "verified"."""
    freeze = replace(act("freeze", {"guard": "on"}, temporary=True, decision="go"), uses="deploys.freeze")
    steps = [act(f"s{i}", after=[f"s{i - 1}"] if i else ["freeze"], decision="go") for i in range(10)]
    last = check("serves", ["s9"], phase="verify")
    play = Play(plan(freeze, *steps, last, undo("thaw", freeze, ["serves"]),
                     decisions=[gate("go", "freeze", *(s.id for s in steps))]))  # fmt: skip
    for _ in range(20):
        play.look()
        if play.run.asked["go"].opened is not None:
            break
        play.go_all()
    play.approve("go", CHO)
    play.go_all()
    if play.run.closed is None:
        raise RuntimeError("the run that is to be history has not ended")
    return [m.event for m in play.moments]


async def fill(url: str, runs: int, releases: int) -> None:
    """The same run over and over, and releases beside it."""
    await asyncio.to_thread(migrations.upgrade, url)
    store = await Store.open(url)
    ledger, (created, *more) = ReleaseRegister(store, time.time), played()
    if not isinstance(created, ev.Created):
        raise TypeError(f"a run begins with {created}")
    begin = time.time() - HOUR * runs
    for i in range(releases):
        await ledger.record(
            "shop", Release(f"2.{i}.0", images={"api": f"x/api@sha256:{i:064x}"}), by="ci", at=begin + i
        )
    written = [encode(e) for e in more]
    for first in range(0, runs, 100):
        many = range(first, min(first + 100, runs))
        rows = [r for i in many for r in _rows(i, [encode(_removing(created, i % releases)), *written], begin)]
        heads = [_head(i, len(more) + 1, begin) for i in many]
        for table, values in ((t.event, rows), (t.head, heads)):
            await store.db.write(partial(_insert, table, values))
    await store.close()


def _insert(table: sa.Table, rows: list[dict[str, object]], c: sa.Connection) -> None:
    c.execute(sa.insert(table), rows)


def _removing(created: ev.Created, i: int) -> ev.Created:
    return replace(created, removed=Release(f"2.{i}.0"))


def _rows(i: int, events: Sequence[tuple[str, str]], begin: float) -> Iterator[dict[str, object]]:
    """The rows of a run, all at one moment."""
    run, at, prev = f"shop-{i:06x}", us(begin + HOUR * i), ZERO
    for seq, (kind, body) in enumerate(events, 1):
        hash_ = event_hash(prev, run, seq, at, kind, body)
        yield {"run": run, "seq": seq, "at": at, "kind": kind, "body": body, "prev": prev, "hash": hash_}
        prev = hash_


def _head(i: int, seq: int, begin: float) -> dict[str, object]:
    at = us(begin + HOUR * i)
    return {"run": f"shop-{i:06x}", "service": "shop", "kind": "rollback", "open": False, "seq": seq, "due": None,
            "created": at, "closed": at, "shown": seq}  # fmt: skip


if __name__ == "__main__":
    asyncio.run(fill(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
