"""`ports.caches` over Redis or Valkey, one server or a cluster.

Invariants:
- keys go by prefix, with SCAN and UNLINK; no command that empties a database is in this package;
- `record` is awaited right before each changing call; for a flush before its first, and every few seconds again;
- a command is sent once (`line`): whether one without an answer was carried out is unknown, and only the handler may
  decide to look and go on;
- whatever is recorded names keys and numbers, never a job or a value.
"""

from __future__ import annotations

import asyncio
import difflib
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from bot.adapters.redis import depths, jobs, sweep
from bot.adapters.redis.line import NodeConnection, RedisServer, reached
from bot.adapters.redis.sweep import Behind, Pacing
from bot.contract import Edit, canonical
from bot.ports import Record, Unreachable, Where, unbound
from bot.ports.caches import Cache, CacheRefused, Depth, Kinds, MovedJobs, Parked, Queue, Swept, TooMany, unfit

__all__ = ["Behind", "Pacing", "RedisCaches", "RedisEndpoint", "RedisServer"]

PORT = "caches"


@dataclass(frozen=True, slots=True)
class RedisEndpoint:
    """A server of the catalogue, and how much of it a flush may take."""

    cache: Cache
    server: RedisServer
    pacing: Pacing = field(default_factory=Pacing)


class RedisCaches:
    """Implements `bot.ports.caches.Caches`; `bind` makes the copy that an attempt may write through."""

    def __init__(self, targets: Sequence[RedisEndpoint], record: Record = unbound) -> None:
        self._targets, self._record = {t.cache.name: t for t in targets}, record

    def bind(self, record: Record) -> RedisCaches:
        """The same targets, writing through this record."""
        return RedisCaches([*self._targets.values()], record)

    @property
    def caches(self) -> Sequence[Cache]:
        """As they are catalogued."""
        return [t.cache for t in self._targets.values()]

    def where(self) -> Mapping[str, Where]:
        """Target -> which place it is: the address, whoever logs in."""
        return {
            name: Where(t.server.at, sha256(t.server.at.encode()).hexdigest()[:32], PORT)
            for name, t in self._targets.items()
        }

    async def ping(self) -> Mapping[str, str]:
        """Target -> what is wrong with it; empty where it answers and lets us in."""
        faults = await asyncio.gather(*map(self._fault, self._targets.values()))
        return dict(zip(self._targets, faults, strict=True))

    async def close(self) -> None:
        """Nothing is kept open between two calls."""

    async def _fault(self, target: RedisEndpoint) -> str:
        try:
            async with reached(target.server) as cluster:
                for line in cluster.lines:
                    await line.ask("PING")
        except (Unreachable, CacheRefused) as error:
            return str(error)
        return ""

    # -- keys ------------------------------------------------------------------------------------------------------

    async def count(self, cache: str, prefix: str) -> int:
        """See the port."""
        target = self._target(cache)
        if why := unfit(prefix):
            raise ValueError(why)
        async with reached(target.server) as cluster:
            return sum(await asyncio.gather(*(sweep.count(line, prefix) for line in cluster.lines)))

    async def flush(self, cache: str, prefix: str, most: int) -> AsyncIterator[Swept]:
        """See the port."""
        target = self._target(cache)
        if why := unfit(prefix):
            raise ValueError(why)
        removed = 0
        async with reached(target.server) as cluster:
            for n, line in enumerate(cluster.lines):
                command = _flush_command(target.server, line, prefix)
                begin = self._begin(command)
                so_far, of = 0, len(cluster.lines)
                try:
                    together = not target.server.cluster
                    async for swept in sweep.flush(line, prefix, most - removed, target.pacing, together, begin):
                        so_far = swept.removed
                        yield Swept(removed + so_far, swept.waits, (n + swept.share) / of)
                except TooMany as error:
                    raise TooMany(
                        f"{cache}: more than {most} keys begin with {prefix}", removed + error.removed
                    ) from error
                removed += so_far

    def _begin(self, command: str) -> Callable[[], Awaitable[None]]:
        async def begin() -> None:
            await self._record(command)

        return begin

    # -- jobs ------------------------------------------------------------------------------------------------------

    async def kinds(self, cache: str, queue: str) -> Kinds:
        """See the port."""
        target, found = self._queue(cache, queue)
        async with reached(target.server) as cluster:
            return await jobs.kinds(cluster.of(found.key), found)

    async def parked(self, cache: str, queue: str) -> Parked | None:
        """See the port."""
        target, found = self._queue(cache, queue)
        async with reached(target.server) as cluster:
            return await jobs.parked(cluster.of(found.key), found)

    async def park(self, cache: str, queue: str, kinds: Collection[str], owner: str) -> MovedJobs:
        """See the port."""
        target, found = self._queue(cache, queue)
        async with reached(target.server) as cluster:
            line = cluster.of(found.key)
            seen = await jobs.parked(line, found)
            names = sorted({*kinds, *(seen.kinds if seen is not None else ())})
            if seen is None or [*seen.kinds] != names:
                fields = ("kinds", canonical(names), *(() if seen is not None else ("owner", owner)))
                await self._record(f"{typed(target.server)} {shlex.join(['HSET', jobs.note(found.key), *fields])}")
                await line.ask("HSET", jobs.note(found.key), *fields)
            return await jobs.park(line, found, frozenset(kinds), self._moving(target, found, aside=True))

    async def unpark(self, cache: str, queue: str, kinds: Collection[str]) -> MovedJobs:
        """See the port."""
        target, found = self._queue(cache, queue)
        async with reached(target.server) as cluster:
            line = cluster.of(found.key)
            moved = await jobs.unpark(line, found, frozenset(kinds), self._moving(target, found, aside=False))
            seen = await jobs.parked(line, found)
            left = sorted({*(seen.kinds if seen is not None else ())} - {*kinds})
            if seen is not None and [*seen.kinds] != left:
                key = jobs.note(found.key)
                change = ["HSET", key, "kinds", canonical(left)] if left else ["UNLINK", key]
                await self._record(f"{typed(target.server)} {shlex.join(change)}")
                await line.ask(*change)
            return moved

    def _moving(self, target: RedisEndpoint, queue: Queue, *, aside: bool) -> jobs.Begin:
        there = [queue.key, jobs.aside(queue.key)]

        async def begin(many: int) -> None:
            source, goal = there if aside else there[::-1]
            words = shlex.join(["EVAL", "<move>", "2", source, goal])
            await self._record(f"{typed(target.server)} {words}  # {many} jobs, each in one step")

        return begin

    async def watch(
        self, cache: str, queue: str, at: Sequence[float], enough: Callable[[Sequence[Depth]], bool]
    ) -> Sequence[Depth]:
        """See the port."""
        target, found = self._queue(cache, queue)
        async with reached(target.server) as cluster:
            lines = [cluster.of(key) for key in (found.dead, found.done, found.taken)]
            line = cluster.of(found.key)
            seen = [await depths.depth(line, found, *lines)]
            begun = asyncio.get_running_loop().time()
            for moment in at:
                if enough(seen):
                    break
                await asyncio.sleep(max(0.0, begun + moment - asyncio.get_running_loop().time()))
                seen.append(await depths.depth(line, found, *lines))
            return seen

    # -- names -----------------------------------------------------------------------------------------------------

    def by_hand(self, edits: Sequence[Edit]) -> Sequence[str]:
        """What a person types to set jobs aside or to put them back; nothing for what is in no cache."""
        found: list[str] = []
        for edit in edits:
            cache, _, rest = edit.target.partition("/")
            if cache in self._targets:
                target, there = self._queue(cache, rest.partition("/")[0])
                found += _by_hand(typed(target.server), there, edit)
        return found

    def _target(self, name: str) -> RedisEndpoint:
        if name in self._targets:
            return self._targets[name]
        near = difflib.get_close_matches(name, self._targets, 1)
        known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(self._targets)) or 'none'}"
        raise LookupError(f"the catalogue has no Redis target {name!r}; {known}")

    def _queue(self, cache: str, name: str) -> tuple[RedisEndpoint, Queue]:
        target = self._target(cache)
        for queue in target.cache.queues:
            if queue.name == name:
                return target, queue
        known = ", ".join(q.name for q in target.cache.queues) or "none"
        raise LookupError(f"{cache} has no queue {name!r} in the catalogue; there are {known}")


def typed(server: RedisServer, line: NodeConnection | None = None) -> str:
    """How a person reaches the server: `redis-cli` with where it is and who logs in; the password by its variable."""
    host, port = line.node if line is not None else (server.host, server.port)
    words = ["redis-cli", "-h", host, "-p", str(port)]
    words += ["-c"] if server.cluster else ["-n", str(server.db)]
    words += ["--tls"] if server.trust is not None else []
    words += ["--user", server.username] if server.username else []
    return (f'REDISCLI_AUTH="${server.variable}" ' if server.variable else "") + shlex.join(words)


def _flush_command(server: RedisServer, line: NodeConnection, prefix: str) -> str:
    """A walk and a removal, as two programs do it."""
    here = typed(server, line)
    found = f"{here} --scan --pattern {shlex.quote(sweep.pattern(prefix).decode())}"
    one = "-n 1 -d '\\n'" if server.cluster else "-d '\\n'"
    return f"{found} | xargs {one} {here} unlink" if not server.variable else f"{found} | xargs {one} env {here} unlink"


def _by_hand(cli: str, queue: Queue, edit: Edit) -> list[str]:
    """Commands for one queue; in words where there is none (a kind is not told apart by a command)."""
    here, there, note = (shlex.quote(k) for k in (queue.key, jobs.aside(queue.key), jobs.note(queue.key)))
    if edit.after is not None or queue.stream:
        way = f"aside from {queue.key} to {jobs.aside(queue.key)}"
        back = f"back from {jobs.aside(queue.key)} to {queue.key}"
        return [f"# {queue.key}: move the jobs of {_kinds(edit)} {way if edit.after is not None else back}"]
    source, goal = ("LEFT", "RIGHT") if queue.take == "right" else ("RIGHT", "LEFT")
    return [f'until [ -z "$({cli} LMOVE {there} {here} {source} {goal})" ]; do :; done', f"{cli} UNLINK {note}"]


def _kinds(edit: Edit) -> str:
    value = edit.after if edit.after is not None else edit.before
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
