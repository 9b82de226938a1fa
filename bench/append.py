"""What it costs to sign the record, and to believe it.

    make bench BENCH=append

- append: three events, as a click and what it sets free, signed; yardstick: the same without a key, in turns.
- load: a run of 600 rows that this node has not seen yet, its newest signature checked; yardstick: without a key.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import migrations
from bench import median, report
from bench.engine import ANA, two_tracks
from bot.catalogue import Release
from bot.playground.postgres import database, private_postgres
from bot.policy import Actor
from bot.run import events as ev
from bot.run.state import Run, new_run
from bot.store.log import Keys, Store
from bot.store.signing import new_key

BY = Actor.of(ANA, "bench")
EVENTS = (ev.Stopped(BY), ev.Resumed(BY), ev.CommandOffered("cho", BY))
TIMES = 200


async def figures(url: str, name: str) -> None:
    """Both, on one database."""
    await asyncio.to_thread(migrations.upgrade, url)
    own, _ = new_key()
    signing, plain = await Store.open(url, keys=Keys(own)), await Store.open(url)
    sides: dict[str, tuple[Store, list[float], list[float]]] = {"s": (signing, [], []), "p": (plain, [], [])}
    runs: dict[str, Run] = {}
    for side, (store, _, _) in sides.items():
        plan = two_tracks()
        created = ev.Created(side, plan, plan.digest, Release("2"), Release("1"), "bench", BY)
        runs[side] = await store.append(new_run(side), [created], time.time())
    for _ in range(TIMES):
        for side, (store, appends, _) in sides.items():
            start = time.perf_counter()
            runs[side] = await store.append(runs[side], EVENTS, time.time())
            appends.append(1e3 * (time.perf_counter() - start))
    for _ in range(9):
        for side, (store, _, loads) in sides.items():
            fresh = await Store.open(url, keys=store.keys)
            start = time.perf_counter()
            await fresh.load(side)
            loads.append(1e3 * (time.perf_counter() - start))
            await fresh.close()
    for store, _, _ in sides.values():
        await store.close()
    report(f"append, signed ({name})", median(sides["s"][1]), median(sides["p"][1]), "ms", 1.5, of="ratio")
    report(f"load 600 rows, believed ({name})", median(sides["s"][2]), median(sides["p"][2]), "ms", 1.5, of="ratio")


async def everything() -> None:
    """On both databases."""
    with tempfile.TemporaryDirectory() as folder, private_postgres() as server, database(server, "append") as url:
        await figures(f"sqlite:///{Path(folder) / 'bot.db'}", "SQLite")
        await figures(url, "PostgreSQL")


if __name__ == "__main__":
    asyncio.run(everything())
