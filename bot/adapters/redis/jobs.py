"""Jobs in lists and streams: of which kind they are, and how they are moved aside and back.

Invariants:
- a job is moved by the server in one step (a script): whatever breaks off, it stands in exactly one of both places. It
  is written to its new place first, so that a server without memory refuses before anything is taken away;
- nothing here is repeated by itself: the caller looks again, and what was moved is no longer there to be moved;
- order is kept: what stands aside lies as it lay in the queue, and comes back in front of what waits;
- a stream's job that a worker may still be at is left: set aside it would be done twice. One that was delivered and is
  older than the time after which workers take over from each other has nobody any more.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.adapters.redis.line import NodeConnection, pairs, slot_of
from bot.ports import Json
from bot.ports.caches import CacheRefused, Kinds, MovedJobs, Parked, Queue

PAGE = 500
"""Jobs that are read at a time."""
BATCH = 100
"""Jobs that one script moves: as long as it works, the server answers nobody else."""
PASSES = 20
"""Walks over a queue after which what is still found came in the meantime."""
ORIGIN = b"rollback-bot:id"
"""Field of a stream's job that stands aside: the id that it had."""

_LIST = """
local n = 0
for i = 3, #ARGV do
  redis.call(ARGV[2] == 'left' and 'LPUSH' or 'RPUSH', KEYS[2], ARGV[i])
  if redis.call('LREM', KEYS[1], ARGV[1], ARGV[i]) == 1 then
    n = n + 1
  else
    redis.call(ARGV[2] == 'left' and 'LPOP' or 'RPOP', KEYS[2])
  end
end
return n
"""
_ASIDE = """
local n = 0
for i = 4, #ARGV do
  local found = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])
  local ours = false
  if #found == 1 then
    if ARGV[3] == 'taken' then
      ours = #redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[2], ARGV[i], ARGV[i], 1) == 1
    else
      for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
        local name, last
        for k = 1, #group, 2 do
          if group[k] == 'name' then name = group[k + 1] end
          if group[k] == 'last-delivered-id' then last = group[k + 1] end
        end
        ours = ours or (name == ARGV[1] and last == ARGV[2])
      end
    end
  end
  if ours then
    local fields = found[1][2]
    fields[#fields + 1] = 'rollback-bot:id'
    fields[#fields + 1] = ARGV[i]
    redis.call('XADD', KEYS[2], '*', unpack(fields))
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    redis.call('XDEL', KEYS[1], ARGV[i])
    n = n + 1
  end
end
return n
"""
_BACK = """
local n = 0
for i = 1, #ARGV do
  local found = redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i])
  if #found == 1 then
    local fields, kept = found[1][2], {}
    for k = 1, #fields, 2 do
      if fields[k] ~= 'rollback-bot:id' then
        kept[#kept + 1] = fields[k]
        kept[#kept + 1] = fields[k + 1]
      end
    end
    redis.call('XADD', KEYS[2], '*', unpack(kept))
    redis.call('XDEL', KEYS[1], ARGV[i])
    n = n + 1
  end
end
if redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('UNLINK', KEYS[1])
end
return n
"""

Begin = Callable[[int], Awaitable[None]]
"""Called right before so many jobs are moved."""


def aside(key: str) -> str:
    """Where the jobs of a queue stand aside: in a cluster, on the same node."""
    beside = f"{key}:parked"
    return beside if slot_of(beside) == slot_of(key) else f"{{{key}}}:parked"


def note(key: str) -> str:
    """Where it is written whose they are."""
    return f"{aside(key)}:note"


# -- reading -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Job:
    """A job that waits. id: its bytes in a list, its id in a stream; kind: None where it cannot be read."""

    id: bytes
    kind: str | None


def found(document: Json, pointer: str) -> Json:
    """What a JSON Pointer (RFC 6901) leads to; None where it leads nowhere. Text on the way that is JSON itself is
    read: the fields of a stream are text."""
    here = document
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(here, str):
            here = parsed(here.encode())
        if isinstance(here, dict):
            here = here.get(part)
        elif isinstance(here, list) and part.isdigit() and int(part) < len(here):
            here = here[int(part)]
        else:
            return None
    return here


def parsed(raw: bytes) -> Json:
    """What JSON says; None where it is none."""
    try:
        value: Json = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return value


def kind_of(queue: Queue, document: Json) -> str | None:
    """The kind of a job; None where it cannot be read."""
    kind = found(document, queue.kind) if queue.kind else None
    return kind if isinstance(kind, str) and 0 < len(kind) <= 200 and kind.isprintable() else None


def moment(value: Json) -> float | None:
    """Seconds since the epoch of what a job says: seconds, milliseconds, or a time of RFC 3339 with its zone."""
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
        else:
            return at.timestamp() if at.tzinfo is not None else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e14:
        return None
    return value / 1000 if value > 1e11 else float(value)


def document(fields: Sequence[bytes]) -> Json:
    """A stream's job, its fields by name."""
    return {n.decode(errors="replace"): v.decode(errors="replace") for n, v in zip(fields[::2], fields[1::2])}  # noqa: B905


async def in_list(line: NodeConnection, queue: Queue, key: str) -> AsyncIterator[list[Job]]:
    """The jobs of a list by pages, those that are next to be taken first. Where some of a page were moved away, or
    taken, the next one begins by so much earlier."""
    start, before = 0, int(await line.ask("LLEN", key))
    while start < before:
        if queue.take == "left":
            page = await line.ask("LRANGE", key, start, start + PAGE - 1)
        else:
            page = (await line.ask("LRANGE", key, -start - PAGE, -start - 1))[::-1]
        if not page:
            return
        yield [Job(raw, kind_of(queue, parsed(raw))) for raw in page]
        after = int(await line.ask("LLEN", key))
        start += max(0, len(page) - max(0, before - after))
        before = after


async def in_stream(
    line: NodeConnection, queue: Queue, key: str, after: bytes | None = None
) -> AsyncIterator[list[Job]]:
    """The jobs of a stream behind an id, by pages; all of them where none is given."""
    begin = b"(" + after if after else b"-"
    while entries := await line.ask("XRANGE", key, begin, "+", "COUNT", PAGE):
        yield [Job(entry, kind_of(queue, document(fields or ()))) for entry, fields in entries]
        begin = b"(" + entries[-1][0]


async def group(line: NodeConnection, queue: Queue) -> dict[str, Any] | None:
    """The consumer group of a stream, as the server tells of it; None where stream or group is missing. CacheRefused
    where the key is no stream."""
    try:
        groups = [pairs(g) for g in await line.ask("XINFO", "GROUPS", queue.key)]
    except CacheRefused as error:
        if "no such key" in str(error).lower():
            return None
        raise
    return next((g for g in groups if g["name"] == queue.group.encode()), None)


async def others(line: NodeConnection, queue: Queue) -> list[str]:
    """Other groups that read the same stream."""
    if not await line.ask("EXISTS", queue.key):
        return []
    groups = [pairs(g)["name"].decode(errors="replace") for g in await line.ask("XINFO", "GROUPS", queue.key)]
    return sorted(name for name in groups if name != queue.group)


async def taken(line: NodeConnection, queue: Queue, idle: float) -> AsyncIterator[list[bytes]]:
    """The ids of jobs that were delivered, not done, and not touched for so many seconds, by pages."""
    begin = b"-"
    while True:
        page = await line.ask(
            "XPENDING", queue.key, queue.group, "IDLE", int(idle * 1000), begin, "+", PAGE
        )  # fmt: skip
        if not page:
            return
        yield [entry[0] for entry in page]
        begin = b"(" + page[-1][0]


async def kinds(line: NodeConnection, queue: Queue) -> Kinds:
    """What waits in a queue."""
    counts: Counter[str] = Counter()
    held: Counter[str] = Counter()
    unread = 0
    if not queue.stream:
        async for page in in_list(line, queue, queue.key):
            unread += sum(job.kind is None for job in page)
            counts.update(job.kind for job in page if job.kind is not None)
        return Kinds(dict(counts), unread)
    known = await group(line, queue)
    if known is None:
        return Kinds({})
    async for page in in_stream(line, queue, queue.key, known["last-delivered-id"]):
        unread += sum(job.kind is None for job in page)
        counts.update(job.kind for job in page if job.kind is not None)
    idle = {entry async for ids in taken(line, queue, queue.claim) for entry in ids}
    async for ids in taken(line, queue, 0):
        for job in await _read(line, queue, ids):
            unread += job.kind is None
            if job.kind is not None:
                (counts if job.id in idle else held)[job.kind] += 1
    return Kinds(dict(counts), unread, dict(held))


async def _read(line: NodeConnection, queue: Queue, ids: Sequence[bytes]) -> list[Job]:
    """Jobs of a stream by id, those that are still there."""
    answers = await line.ask_all([("XRANGE", queue.key, entry, entry) for entry in ids])
    return [Job(a[0][0], kind_of(queue, document(a[0][1] or ()))) for a in answers if a]


async def parked(line: NodeConnection, queue: Queue) -> Parked | None:
    """What stands aside; None where nothing was set aside."""
    said = pairs(await line.ask("HGETALL", note(queue.key)))
    if not said:
        return None
    names = parsed(said.get("kinds", b"[]"))
    jobs = int(await line.ask("XLEN" if queue.stream else "LLEN", aside(queue.key)))
    return Parked(tuple(map(str, names)) if isinstance(names, list) else (), said.get("owner", b"").decode(), jobs)


# -- moving ------------------------------------------------------------------------------------------------------------


async def park(line: NodeConnection, queue: Queue, names: Collection[str], begin: Begin) -> MovedJobs:
    """Sets the jobs of these kinds aside. CacheRefused where others read the stream: they would lose them."""
    moved, held = 0, 0
    for _ in range(PASSES):
        if queue.stream:
            more, held = await _park_stream(line, queue, names, begin)
        else:
            more = await _park_list(line, queue, names, begin)
        moved += more
        if not more:
            return MovedJobs(moved, held)
    return MovedJobs(moved, held)


async def _park_list(line: NodeConnection, queue: Queue, names: Collection[str], begin: Begin) -> int:
    moved = 0
    end = "-1" if queue.take == "right" else "1"
    side = "left" if queue.take == "right" else "right"  # behind those that wait longer already
    async for page in in_list(line, queue, queue.key):
        ours = [job.id for job in page if job.kind in names]
        for batch in _batches(ours):
            await begin(len(batch))
            moved += int(await line.ask("EVAL", _LIST, 2, queue.key, aside(queue.key), end, side, *batch))
    return moved


async def _park_stream(line: NodeConnection, queue: Queue, names: Collection[str], begin: Begin) -> tuple[int, int]:
    """How many were moved, and how many a worker may still be at."""
    if theirs := await others(line, queue):
        raise CacheRefused(f"{queue.key} is read by {', '.join(theirs)} as well, from whom its jobs would be taken")
    known = await group(line, queue)
    if known is None:
        return 0, 0
    moved, last = 0, known["last-delivered-id"]
    async for ids in taken(line, queue, queue.claim):
        ours = [job.id for job in await _read(line, queue, ids) if job.kind in names]
        moved += await _aside(line, queue, ours, begin, str(int(queue.claim * 1000)), "taken")
    async for page in in_stream(line, queue, queue.key, last):
        ours = [job.id for job in page if job.kind in names]
        moved += await _aside(line, queue, ours, begin, last, "waiting")
    held = 0
    async for ids in taken(line, queue, 0):
        held += sum(job.kind in names for job in await _read(line, queue, ids))
    return moved, held


async def _aside(
    line: NodeConnection, queue: Queue, ids: Sequence[bytes], begin: Begin, known: str | bytes, how: str
) -> int:  # fmt: skip
    moved = 0
    for batch in _batches(ids):
        await begin(len(batch))
        moved += int(await line.ask("EVAL", _ASIDE, 2, queue.key, aside(queue.key), queue.group, known, how, *batch))
    return moved


async def unpark(line: NodeConnection, queue: Queue, names: Collection[str], begin: Begin) -> MovedJobs:
    """Puts the jobs of these kinds back: in a list in front of what waits, in a stream as new ones."""
    moved, side = 0, queue.take
    if queue.stream:
        async for page in in_stream(line, queue, aside(queue.key)):
            for batch in _batches([job.id for job in page if job.kind in names]):
                await begin(len(batch))
                moved += int(await line.ask("EVAL", _BACK, 2, aside(queue.key), queue.key, *batch))
        return MovedJobs(moved)
    jobs = [job async for page in in_list(line, queue, aside(queue.key)) for job in page if job.kind in names]
    end = "1" if queue.take == "right" else "-1"  # those that waited longest come last, and so to the front
    for batch in _batches([job.id for job in reversed(jobs)]):
        await begin(len(batch))
        moved += int(await line.ask("EVAL", _LIST, 2, aside(queue.key), queue.key, end, side, *batch))
    return MovedJobs(moved)


def _batches(ids: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [ids[i : i + BATCH] for i in range(0, len(ids), BATCH)]
