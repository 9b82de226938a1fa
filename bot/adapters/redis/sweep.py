"""Removing keys by prefix: one walk over the keyspace, with a pace that leaves the server and the database behind it to
others.

Invariants:
- SCAN and UNLINK only: no command here knows a whole database, and UNLINK gives memory back beside the server's work,
  which DEL does not and which Redis 7 does not do by itself;
- a prefix is taken by the letter: what the server takes for a pattern is escaped (`v[2]:*` would be the other
  release's keys), and what a walk brings is looked at once more before it goes;
- what is walked while keys come and go is walked to its end once; expired keys do not count (DBSIZE counts them).
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bot.adapters.redis.line import Argument, NodeConnection
from bot.ports.caches import Swept, TooMany, unfit

COUNT = 500
"""Keys that the server walks over at a time, a millisecond's work: more make others wait longer, and it no faster, as
the next walk is under way while what the last one brought is sent back."""
OFTEN = 1.0
"""Seconds between two looks at how it goes."""
RECORDED = 5.0
"""Seconds of removing that one entry in the record stands for: each is a fence as well."""
SLOWEST = 64.0
"""How many times as long as a batch took is waited behind it, at most."""
HELD = 0.5
"""Seconds for which nothing is removed while the database behind is busy."""


@dataclass(frozen=True, slots=True)
class Behind:
    """How the database behind a cache stands. words: why the flush is slower than it could be, "" where nothing of it
    makes it so; hold: whether it can bear no more misses for now."""

    words: str = ""
    hold: bool = False


Behold = Callable[[], Awaitable[Behind]]
"""Asks it."""


@dataclass(frozen=True, slots=True)
class Pacing:
    """How much of the server a flush may take. latency: seconds that an answer to others may take; share: of the time
    in which the server works for us at most, 0 to 1; rate: keys a second, 0 for any; behind: asks the database that
    answers what the cache does not, None where none is named."""

    latency: float = 0.02
    share: float = 0.5
    rate: float = 0.0
    behind: Behold | None = None


UNPACED = Pacing(latency=float("inf"), share=1.0)
"""As fast as it goes."""


def pattern(prefix: str) -> bytes:
    """What SCAN is asked for: the prefix by the letter."""
    return re.sub(rb"([*?\[\]\\])", rb"\\\1", prefix.encode()) + b"*"


class Pace:
    """How long to wait behind each batch. Pure: moments are passed in."""

    def __init__(self, pacing: Pacing) -> None:
        self._pacing = pacing
        self._base = 1 / pacing.share - 1 if pacing.share < 1 else 0.0
        self.factor = self._base
        self.why = ""

    def saw(self, answered: float, behind: str) -> None:
        """An answer to a PING took this many seconds; behind: what is to be said of the database there."""
        slow = answered > self._pacing.latency
        if slow:
            self.factor = min(SLOWEST, max(1.0, self.factor * 2))
        else:
            self.factor = max(self._base, self.factor / 2) if self.factor > self._base else self._base
        self.why = behind or (f"the server takes {answered * 1000:.0f} ms to answer" if slow else "")

    def wait(self, took: float, removed: int) -> float:
        """Seconds to wait behind a batch that took so long and removed so many."""
        least = removed / self._pacing.rate - took if self._pacing.rate else 0.0
        return max(0.0, took * self.factor, least)


async def count(line: NodeConnection, prefix: str) -> int:
    """The keys of one node that begin with it."""
    begins, found, cursor = prefix.encode(), 0, b"0"
    while True:
        answer = await line.ask("SCAN", cursor, "MATCH", pattern(prefix), "COUNT", COUNT)
        cursor, keys = bytes(answer[0]), answer[1]
        found += sum(bytes(key).startswith(begins) for key in keys)
        if cursor == b"0":
            return found


async def flush(
    line: NodeConnection, prefix: str, most: int, pacing: Pacing, together: bool, begin: Callable[[], Awaitable[None]]
) -> AsyncIterator[Swept]:
    """Removes the keys of one node. together: one command may remove many (in a cluster each has a place of its own);
    begin: called before the first is removed, and then now and again before more are. TooMany, ValueError."""
    if why := unfit(prefix):
        raise ValueError(why)
    begins, asked = prefix.encode(), pattern(prefix)
    pace, size = Pace(pacing), max(1, int(await line.ask("DBSIZE")))
    removed, sent, walked = 0, 0, 0
    looked = recorded = float("-inf")
    going: asyncio.Future[list[Any]] | None = None
    scan: asyncio.Future[list[Any]] | None = line.send([_scan(b"0", asked)])
    while scan is not None:
        began = time.monotonic()
        [(cursor, found)] = await line.answers(scan)
        keys, walked = [key for key in found if key.startswith(begins)], walked + COUNT
        if began - looked >= OFTEN:
            going, removed = None, removed + await _gone(line, going)
            while await _look(line, pace, pacing):
                yield Swept(removed, pace.why, min(1.0, walked / size))
                await asyncio.sleep(HELD)
            yield Swept(removed, pace.why, min(1.0, walked / size))
            looked = time.monotonic()
        if sent + len(keys) > most:
            removed += await _gone(line, going)
            raise TooMany(f"more than {most} keys begin with {prefix}", removed)
        if keys and time.monotonic() - recorded >= RECORDED:
            await begin()
            recorded = time.monotonic()
        # The server walks on while what it has brought is made into a command: neither waits for the other.
        scan = line.send([_scan(cursor, asked)]) if cursor != b"0" else None
        going, removed = None, removed + await _gone(line, going)
        if keys:
            going, sent = line.send(_unlinks(keys, together)), sent + len(keys)
        await asyncio.sleep(pace.wait(time.monotonic() - began, len(keys)))  # 0 as well: others here get on
    yield Swept(removed + await _gone(line, going), "", 1.0)


def _scan(cursor: bytes, asked: bytes) -> Sequence[Argument]:
    return ("SCAN", cursor, "MATCH", asked, "COUNT", COUNT)


async def _gone(line: NodeConnection, going: asyncio.Future[list[Any]] | None) -> int:
    """How many keys went, of those that were sent away."""
    return sum(await line.answers(going)) if going is not None else 0


def _unlinks(keys: Sequence[bytes], together: bool) -> list[Sequence[Argument]]:
    if together:
        return [("UNLINK", *keys)] if keys else []
    return [("UNLINK", key) for key in keys]


async def _look(line: NodeConnection, pace: Pace, pacing: Pacing) -> bool:
    """Sets the pace by how the server answers now; whether the database behind can bear nothing."""
    began = time.monotonic()
    await line.ask("PING")
    answered = time.monotonic() - began
    behind = await pacing.behind() if pacing.behind is not None else Behind()
    pace.saw(answered, behind.words)
    return behind.hold
