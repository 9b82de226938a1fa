"""V4: the job queues of the service are worked on, and what waits in them becomes less or is little.

Each queue of each Redis target is looked at several times within a few seconds, and no longer than it takes to see that
jobs are taken from one that is well. Little that waits is not enough: an
empty queue whose name is wrong looks the same, so somebody must be seen to take jobs. What is not known is unknown: a
server that does not answer, a stream or group that is not there, a lag that nobody can tell, too few looks, and workers
of before the rollback that have not asked for jobs since.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import Field

from bot.contract import Check, Output, Params, ReadCtx, RedisTarget, Status, Verdict
from bot.ports import Unreachable, told
from bot.ports.caches import Cache, CacheRefused, Depth, Queue

EXPECTED = "every queue is worked on, and what waits there is little or becomes less"
LEAST = 3
"""Looks that tell anything."""
SHORTEST = 0.5
"""Seconds between the first and the last of them that tell anything."""


EARLY = (0.3, 0.6)
"""Seconds after the first look at which a queue is looked at too: for one that is well, that is enough."""


class QueuesDrainingParams(Params):
    """How long to look."""

    seconds: float = Field(3.0, ge=0.1, le=30, description="Seconds within which each queue is looked at, at most.")
    looks: int = Field(4, ge=2, le=30, description="How often it is, in these seconds.")
    target: RedisTarget = Field("", description="Redis target of the catalogue; empty: all of the service's.")


class QueuesDrainingOutput(Output):
    """How they stand."""

    waiting: dict[str, int] = Field(description="Queue -> jobs that wait.")
    dead: dict[str, int] = Field(description="Queue -> jobs that failed for good.")
    faults: dict[str, str] = Field(description="Queue -> what is wrong; empty where nothing is.")
    unknown: dict[str, str] = Field(description="Cache or queue -> why nothing is known of it.")


@dataclass(frozen=True, slots=True)
class JudgedQueue:
    """What is known of one queue, and what is to be said of it."""

    status: Status
    words: str
    last: Depth | None = None


class QueuesDraining(Check[QueuesDrainingParams]):
    """Passes when every job queue is worked on, and what waits there is little or becomes less."""

    name = "queues.draining"
    needs = frozenset({"caches"})
    Params = QueuesDrainingParams
    Output = QueuesDrainingOutput

    async def run(self, ctx: ReadCtx, p: QueuesDrainingParams) -> Verdict:
        caches = [c for c in ctx.ports.caches.caches if c.queues and (not p.target or c.name == p.target)]
        if not caches:
            return Verdict(Status.PASS, "there are no job queues in the catalogue", EXPECTED, _output({}).model_dump())
        before = _dead(ctx.baseline)
        answers = await asyncio.gather(*(_of(ctx, p, c, q, before) for c in caches for q in c.queues))
        judged = dict(zip((f"{c.name}/{q.name}" for c in caches for q in c.queues), answers, strict=True))
        worst = next((s for s in _ORDER if any(j.status is s for j in judged.values())), Status.PASS)
        shown = {name: j.words for name, j in judged.items() if worst.good or not j.status.good}
        return Verdict(worst, told(shown), EXPECTED, _output(judged).model_dump())


_ORDER = (Status.FAIL, Status.UNKNOWN, Status.WARN)


async def _of(ctx: ReadCtx, p: QueuesDrainingParams, cache: Cache, queue: Queue, before: dict[str, int]) -> JudgedQueue:
    try:
        known = before.get(f"{cache.name}/{queue.name}")
        seen = await ctx.ports.caches.watch(
            cache.name, queue.name, _moments(p), lambda seen: _settled(queue, seen, known)
        )
    except (Unreachable, CacheRefused) as error:
        return JudgedQueue(Status.UNKNOWN, str(error))
    return judge(queue, seen, known)


def _moments(p: QueuesDrainingParams) -> list[float]:
    """When to look again, in seconds after the first look."""
    even = p.seconds / (p.looks - 1)
    early = [at for at in EARLY if EARLY[-1] < even]
    return [*early, *(even * n for n in range(1, p.looks))]


def _settled(queue: Queue, seen: Sequence[Depth], before: int | None) -> bool:
    """Whether to look on could only say the same: little waits, jobs are taken, and none has failed. One above its
    limit is looked at to the end (its pace is judged), and so is one with dead jobs (which may become more)."""
    last = seen[-1]
    if len(seen) < LEAST or last.waiting is None or last.waiting > queue.depth or last.dead:
        return False
    return judge(queue, seen, before).status is Status.PASS


def judge(queue: Queue, seen: Sequence[Depth], before: int | None) -> JudgedQueue:
    """What several looks at a queue tell. before: jobs that had failed for good by the baseline, None without one."""
    first, last = seen[0], seen[-1]
    if len(seen) < LEAST or last.at - first.at < SHORTEST:
        return JudgedQueue(Status.UNKNOWN, f"{len(seen)} looks in {last.at - first.at:.1f} s tell nothing", last)
    if queue.stream and not last.there:
        return JudgedQueue(Status.UNKNOWN, f"there is no stream {queue.key} with a group {queue.group}", last)
    if last.waiting is None or first.waiting is None:
        return JudgedQueue(
            Status.UNKNOWN, "how many wait is not known: too many to count, and the group's lag is null", last
        )
    found = _depth(queue, seen)
    dead = _failed(first, last, before)
    if dead is None or _rank(found) <= _rank(dead):
        return JudgedQueue(found.status, f"{found.words}; {dead.words}" if dead is not None else found.words, last)
    return JudgedQueue(dead.status, f"{dead.words}; {found.words}", last)


def _rank(judged: JudgedQueue) -> int:
    return (*_ORDER, Status.PASS).index(judged.status)


def _depth(queue: Queue, seen: Sequence[Depth]) -> JudgedQueue:
    """By what waits, and whether anybody takes it."""
    first, last = seen[0], seen[-1]
    waits, was = last.waiting or 0, first.waiting or 0
    taken = f", {last.taken} in hand" if last.taken else ""
    age = f", the oldest for {_span(last.oldest)}" if last.oldest is not None else ""
    said = f"{waits:,} wait{taken}{age}" if waits or last.taken else "empty"
    worked = _worked(seen)
    limit = queue.oldest or (2 * queue.claim if queue.stream and last.taken else 0.0)
    if waits > queue.depth:
        if waits >= was:
            return JudgedQueue(Status.FAIL, f"{said}, and it does not become less (limit {queue.depth:,})")
        pace = (was - waits) / (last.at - first.at)
        return JudgedQueue(Status.PASS, f"{said}, {pace:,.0f} fewer each second")
    if limit and last.oldest is not None and last.oldest > limit:
        status = Status.WARN if waits < was else Status.FAIL
        return JudgedQueue(status, f"{said} (limit {_span(limit)})")
    if not waits and not last.taken:
        if worked or last.takers:
            return JudgedQueue(Status.PASS, f"empty, {worked or f'{last.takers} wait for jobs'}")
        return JudgedQueue(Status.UNKNOWN, f"empty, and nobody is seen to take from {queue.key}")
    if worked:
        return JudgedQueue(Status.PASS, f"{said}, {worked}")
    if last.oldest is not None and queue.oldest:
        return JudgedQueue(Status.PASS, said)
    span = f"{last.at - first.at:.0f} s"
    if last.oldest is not None and last.oldest > 10 * (last.at - first.at):
        return JudgedQueue(Status.FAIL, f"{said}, and nothing was taken for {span}")
    return JudgedQueue(Status.UNKNOWN, f"{said}, nothing was taken for {span}, and nobody says how long one may wait")


def _worked(seen: Sequence[Depth]) -> str:
    """How it shows that jobs are done; "" where it does not."""
    first, last = seen[0], seen[-1]
    if first.done is not None and last.done is not None and last.done > first.done:
        return f"{last.done - first.done:,} done in {last.at - first.at:.0f} s"
    if any((now.waiting or 0) < (was.waiting or 0) for was, now in pairwise(seen)):
        return "jobs are taken"
    heads = [d.head for d in seen if d.head]
    if len({*heads}) > 1:
        return "jobs are taken"
    if first.takes is not None and last.takes is not None and last.takes > first.takes and not last.waiting:
        return f"{last.takes - first.takes:,} looks for jobs in {last.at - first.at:.0f} s"
    return ""


def _failed(first: Depth, last: Depth, before: int | None) -> JudgedQueue | None:
    """By the jobs that failed for good; None where none did, or nobody says."""
    if last.dead is None or not last.dead:
        return None
    if first.dead is not None and last.dead > first.dead:
        return JudgedQueue(Status.FAIL, f"{last.dead - first.dead} failed for good just now, {last.dead:,} in all")
    if before is not None:
        more = last.dead - before
        return JudgedQueue(Status.FAIL, f"{more:,} have failed for good since") if more > 0 else None
    return JudgedQueue(Status.WARN, f"{last.dead:,} have failed for good, since when is not known")


def _dead(baseline: object) -> dict[str, int]:
    """Queue -> dead jobs of an earlier look."""
    known = baseline.get("dead") if isinstance(baseline, dict) else None
    return {str(k): int(v) for k, v in known.items() if isinstance(v, int)} if isinstance(known, dict) else {}


def _output(judged: dict[str, JudgedQueue]) -> QueuesDrainingOutput:
    known = {name: j.last for name, j in judged.items() if j.last is not None}
    return QueuesDrainingOutput(
        waiting={name: d.waiting for name, d in known.items() if d.waiting is not None},
        dead={name: d.dead for name, d in known.items() if d.dead is not None},
        faults={name: j.words for name, j in judged.items() if j.status is Status.FAIL},
        unknown={name: j.words for name, j in judged.items() if j.status is Status.UNKNOWN},
    )


def _span(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
