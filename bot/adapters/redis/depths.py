"""How deep a queue is, who takes from it, and how long its oldest job waits.

Invariants:
- what is counted is jobs that exist: a consumer group's lag is no such count. It is null behind a deleted entry or for
  a group that was made in the middle, and counts entries that a trim has removed (XINFO, Redis 7 and Valkey 8);
- what was delivered and not acknowledged is not done;
- what a server does not let us see is None, never 0.
"""

from __future__ import annotations

import hashlib
from typing import Any

from bot.adapters.redis.jobs import document, found, group, moment, parsed
from bot.adapters.redis.line import NodeConnection
from bot.ports.caches import CacheRefused, Depth, Queue

COUNTED = 20_000
"""Jobs of a stream that are counted one by one; of more the group's lag is taken, where it is known."""
PAGE = 1000
POPS = frozenset({
    "blpop", "brpop", "blmove", "brpoplpush", "blmpop", "lpop", "rpop", "lmove", "rpoplpush", "lmpop",
})  # fmt: skip
"""Commands that take a job from a list."""
ALIVE = 60.0
"""Seconds without a command after which a client is not counted as one that takes jobs."""


async def depth(
    line: NodeConnection, queue: Queue, extras: NodeConnection, done: NodeConnection, taken: NodeConnection
) -> Depth:
    """How the queue stands now. extras, done, taken: lines to its dead jobs, its counter and what workers are at, where
    it has them. CacheRefused where its key is of another type."""
    seconds, micros = await line.ask("TIME")
    now = int(seconds) + int(micros) / 1e6
    dead = await _size(extras, queue.dead) if queue.dead else None
    counter = await _counter(done, queue.done) if queue.done else None
    if queue.stream:
        return await _stream(line, queue, now, dead, counter)
    waiting = int(await line.ask("LLEN", queue.key))
    head = await line.ask("LINDEX", queue.key, -1 if queue.take == "right" else 0) if waiting else None
    since = moment(found(parsed(head), queue.at)) if head is not None and queue.at else None
    return Depth(
        now, waiting > 0, waiting, await _size(taken, queue.taken) or 0 if queue.taken else 0, _mark(head),
        max(0.0, now - since) if since is not None else None, dead, counter, await _clients(line), await _takes(line),
    )  # fmt: skip


async def _stream(line: NodeConnection, queue: Queue, now: float, dead: int | None, counter: int | None) -> Depth:
    known = await group(line, queue)
    if known is None:
        return Depth(now, False, None, dead=dead, done=counter)
    last, pending = known["last-delivered-id"], int(known["pending"])
    waiting = await _behind(line, queue, last, known.get("lag"))
    first = await line.ask("XRANGE", queue.key, b"(" + last, "+", "COUNT", 1)
    heads = [(first[0][0], document(first[0][1] or ()))] if first else []
    if pending and (summary := await line.ask("XPENDING", queue.key, queue.group)) and summary[1]:
        kept = await line.ask("XRANGE", queue.key, summary[1], summary[1])
        heads.insert(0, (summary[1], document(kept[0][1] or ()) if kept else None))
    oldest = None
    if heads:
        entry, body = heads[0]
        since = moment(found(body, queue.at)) if queue.at and body is not None else int(entry.partition(b"-")[0]) / 1000
        oldest = max(0.0, now - since) if since is not None else None
    read = known.get("entries-read")
    finished = int(read) - pending if counter is None and read is not None else counter
    return Depth(
        now, True, waiting, pending, _mark(heads[0][0]) if heads else "", oldest, dead, finished,
        await _consumers(line, queue),
    )  # fmt: skip


async def _behind(line: NodeConnection, queue: Queue, last: bytes, lag: Any) -> int | None:
    """The jobs behind the last that was delivered; None where there are too many to count and nobody says."""
    counted, begin = 0, b"(" + last
    while counted < COUNTED:
        page = await line.ask("XRANGE", queue.key, begin, "+", "COUNT", PAGE)
        counted += len(page)
        if len(page) < PAGE:
            return counted
        begin = b"(" + page[-1][0]
    return max(counted, int(lag)) if lag is not None else None


async def _consumers(line: NodeConnection, queue: Queue) -> int:
    """Consumers of the group that have asked for jobs not long ago."""
    said = await line.ask("XINFO", "CONSUMERS", queue.key, queue.group)
    idle = [dict(zip(each[::2], each[1::2], strict=False)).get(b"idle", 0) for each in said]
    return sum(int(ms) / 1000 <= ALIVE for ms in idle)


async def _clients(line: NodeConnection) -> int | None:
    """Clients of the same database that take jobs from lists, or wait for some; None where we may not see them."""
    try:
        said = bytes(await line.ask("CLIENT", "LIST", "TYPE", "normal")).decode(errors="replace")
        own = bytes(await line.ask("CLIENT", "INFO")).decode(errors="replace")
    except CacheRefused:
        return None
    database = _words(own).get("db")
    clients = [_words(row) for row in said.splitlines()]
    return sum(c.get("db") == database and c.get("cmd", "") in POPS and _lives(c) for c in clients)


def _lives(client: dict[str, str]) -> bool:
    """Whether it is blocked in what it does, or did it not long ago."""
    return "b" in client.get("flags", "") or float(client.get("idle", "inf")) <= ALIVE


def _words(row: str) -> dict[str, str]:
    return {name: value for name, _, value in (word.partition("=") for word in row.split())}


async def _takes(line: NodeConnection) -> int | None:
    """How often anybody has taken from a list since the server counts; None where we may not see it."""
    try:
        said = bytes(await line.ask("INFO", "commandstats")).decode(errors="replace")
    except CacheRefused:
        return None
    rows = (row.partition(":") for row in said.splitlines())
    calls = {name.removeprefix("cmdstat_"): rest for name, _, rest in rows if name.startswith("cmdstat_")}
    return sum(int(_words(calls[pop].replace(",", " "))["calls"]) for pop in POPS & calls.keys())


async def _size(line: NodeConnection, key: str) -> int | None:
    """How many lie under a key, whatever it is; 0 where it is not there."""
    kind = bytes(await line.ask("TYPE", key)).decode()
    sizes = {"list": "LLEN", "stream": "XLEN", "zset": "ZCARD", "set": "SCARD", "hash": "HLEN"}
    if kind == "none":
        return 0
    return int(await line.ask(sizes[kind], key)) if kind in sizes else None


async def _counter(line: NodeConnection, key: str) -> int | None:
    """The number that stands under a key; None where there is none."""
    said = await line.ask("GET", key)
    return int(said) if said is not None and bytes(said).lstrip(b"-").isdigit() else None


def _mark(head: bytes | None) -> str:
    """What tells a job from another, and not what is in it."""
    return hashlib.sha256(head).hexdigest()[:16] if head is not None else ""
