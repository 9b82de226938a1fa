"""Removing a million keys by prefix from 1.2 million, against `redis-cli --scan --pattern | xargs redis-cli unlink`.

    make bench BENCH=data ARGS=flush

Both work on the same server, filled anew each time, in turns; keys of 50 bytes, because the length of keys decides how
many of them xargs puts into one command. While they work another client asks PING all the time: what it waits for an
answer is what customers would.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from bench import median, report
from bench.schema import downgrade
from bot.adapters.redis import RedisCaches, RedisEndpoint, RedisServer
from bot.adapters.redis.line import NodeConnection, opened
from bot.adapters.redis.sweep import UNPACED
from bot.playground.valkey import binary, private_valkey
from bot.ports.caches import Cache

TURNS = 3
GOES, STAYS = 1_000_000, 200_000
PREFIX = "shop:2.4.1:"
PAGE = 5_000


def _key(prefix: str, n: int) -> bytes:
    return f"{prefix}{n:0{50 - len(prefix)}d}".encode()


async def fill(server: RedisServer) -> None:
    """The keys that go, among those that stay."""
    value = b"v" * 100
    async with opened(server) as line:
        await line.ask("FLUSHALL")  # of the bench's own server
        for prefix, many in ((PREFIX, GOES), ("shop:sessions:", STAYS)):
            for first in range(0, many, PAGE):
                keys = (_key(prefix, n) for n in range(first, first + PAGE))
                await line.ask("MSET", *(part for key in keys for part in (key, value)))


async def pings(server: RedisServer, waits: list[float]) -> None:
    """Asks all the time, until cancelled, and notes how long each answer took."""
    async with opened(server) as line:
        while True:
            begun = time.perf_counter()
            await line.ask("PING")
            waits.append(time.perf_counter() - begun)
            await asyncio.sleep(0.001)


async def ours(server: RedisServer) -> None:
    """As the bot does it when nothing slows it down."""

    async def recorded(command: str) -> None:
        """What is recorded costs the engine's bench."""

    caches = RedisCaches([RedisEndpoint(Cache("cache", (PREFIX,)), server, UNPACED)], recorded)
    async for _ in caches.flush("cache", PREFIX, 2 * GOES):
        pass


async def theirs(server: RedisServer, cli: str) -> None:
    """As a person does it."""
    here = shlex.join([cli, "-h", server.host, "-p", str(server.port)])
    command = f"{here} --scan --pattern '{PREFIX}*' | xargs {here} unlink"
    child = await asyncio.create_subprocess_exec("sh", "-c", command, stdout=asyncio.subprocess.DEVNULL)
    if await child.wait():
        raise RuntimeError(f"{command}: exit code {child.returncode}")


async def timed(server: RedisServer, flush: Callable[[], Awaitable[None]]) -> tuple[float, float, float]:
    """Seconds that it took, what an answer took meanwhile (the 99th of 100), and seconds of work of the server and of
    whoever asked it: these hold on a busy machine as well."""
    await fill(server)
    waits: list[float] = []
    async with opened(server) as line:
        asking = asyncio.create_task(_apart(server, waits))
        await asyncio.sleep(0.2)
        waits.clear()
        worked = await _worked(line)
        begun = time.perf_counter()
        await flush()
        took = time.perf_counter() - begun
        worked = await _worked(line) - worked
        asking.cancel()
        left = int(await line.ask("DBSIZE"))
    if left != STAYS:
        raise RuntimeError(f"{left} keys are left, not {STAYS}")
    return took, sorted(waits)[int(len(waits) * 0.99)], worked


async def _worked(line: NodeConnection) -> float:
    """Seconds of CPU so far: the server's main thread, this process, and its children that have ended."""
    said = bytes(await line.ask("INFO", "cpu")).decode().splitlines()
    known = dict(row.split(":", 1) for row in said if ":" in row)
    server = sum(float(known[f"used_cpu_{kind}_main_thread"]) for kind in ("sys", "user"))
    return server + sum(os.times()[:4])


async def _apart(server: RedisServer, waits: list[float]) -> None:
    """The same in a process of its own: one that shares our loop would measure the loop."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.data", "pings", server.host, str(server.port), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    try:
        while row := await child.stdout.readline():
            waits.append(float(row))
    finally:
        child.kill()
        await child.wait()


async def _print_pings(server: RedisServer) -> None:
    waits: list[float] = []
    task = asyncio.create_task(pings(server, waits))
    while not task.done():
        await asyncio.sleep(0.05)
        sys.stdout.write("".join(f"{w:.6f}\n" for w in waits))
        sys.stdout.flush()
        waits.clear()


async def flush() -> None:
    """The figures of issue 12's goals."""
    cli = shutil.which("redis-cli") or str(binary("valkey-cli"))
    with private_valkey() as place:
        server = RedisServer("127.0.0.1", int(place.rpartition(":")[2]), timeout=60.0)
        mine: list[tuple[float, ...]] = []
        yours: list[tuple[float, ...]] = []
        for _ in range(TURNS):
            yours.append(await timed(server, lambda: theirs(server, cli)))
            mine.append(await timed(server, lambda: ours(server)))
    report(f"1,000,000 keys by prefix ({cli.rpartition('/')[2]})", *_medians(mine, yours, 0), "s", 0.45, of="ratio")
    waited, they_waited = _medians(mine, yours, 1)
    report("  CPU of server and client", *_medians(mine, yours, 2), "s", None)
    report("  a PING meanwhile, p99", 1000 * waited, 1000 * they_waited, "ms", 0.6, of="ratio")


def _medians(mine: Sequence[tuple[float, ...]], yours: Sequence[tuple[float, ...]], of: int) -> tuple[float, float]:
    return median([m[of] for m in mine]), median([y[of] for y in yours])


PARTS: dict[str, Callable[[], Awaitable[None]]] = {"flush": flush, "downgrade": downgrade}

if __name__ == "__main__":
    asked = sys.argv[1:]
    if asked[:1] == ["pings"]:
        asyncio.run(_print_pings(RedisServer(asked[1], int(asked[2]), timeout=60.0)))
    else:
        for name in asked or PARTS:
            asyncio.run(PARTS[name]())  # type: ignore[arg-type]
