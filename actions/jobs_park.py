"""Set aside the jobs that the release which comes back cannot read, before its workers fall over them; until the undo
puts them back.

Which kinds it reads, the release says (`jobs`), or the queue in the catalogue (`kinds`). Where neither does nothing is
moved, and that is said: to guess would park what can be done, or leave what cannot.

Invariants:
- temporary: the run owes the undo, with a named owner once it ends; beside the jobs it is written for which run they
  stand there;
- each job is moved in one step of the server, so no crash loses or doubles one; what was begun is gone on with;
- a job whose kind cannot be read is left, and told; so is one that a worker may still be at, which is waited for.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Edit,
    Fact,
    Fatal,
    NotYet,
    Params,
    ReadCtx,
    Receipt,
    RedisTarget,
    Retryable,
    Value,
)
from bot.ports import Unreachable
from bot.ports.caches import CacheRefused, Kinds, Parked, Queue

FACTOR = 2
"""How many times as many jobs as were shown may be set aside."""
FEW = 100
"""Jobs that may be however few there were."""
AGAIN = 2.0
"""Seconds until workers are looked at again that may still be at a job."""


class JobsParkParams(Params):
    """What can be read."""

    release: str = Field(description="Version of the release that must be able to read what is left.")
    jobs: list[str] | None = Field(None, description="Kinds of jobs that it reads; nothing: the catalogue says.")
    target: RedisTarget = Field("", description="Redis target of the catalogue; empty: all of the service's.")


@dataclass(frozen=True, slots=True)
class QueueSeen:
    """A queue of a cache, and what is known of it. reads: kinds that the release reads, None where nobody says."""

    cache: str
    queue: Queue
    reads: frozenset[str] | None
    kinds: Kinds
    parked: Parked | None

    @property
    def target(self) -> str:
        """What the edit names."""
        return f"{self.cache}/{self.queue.name}/parked"

    @property
    def strange(self) -> Mapping[str, int]:
        """Kind -> jobs that cannot be read."""
        return self.kinds.strange(self.reads) if self.reads is not None else {}

    @property
    def edit(self) -> Edit | None:
        """What would stand aside, beside what does; None where nothing is to be moved that was not begun already."""
        now = [*self.parked.kinds] if self.parked is not None else []
        then = sorted({*now, *self.strange})
        return Edit(self.target, [*now] or None, [*then]) if then != now else None

    @property
    def warnings(self) -> list[str]:
        """What people should know of it."""
        name = f"{self.cache}/{self.queue.name}"
        found = (
            [f"{name}: nobody says which kinds of jobs it reads, so none is set aside"] if self.reads is None else []
        )
        if self.reads is not None and self.kinds.unread:
            found.append(f"{name}: {self.kinds.unread} jobs whose kind cannot be read are left")
        return found


class JobsPark(Action[JobsParkParams]):
    """Sets aside the jobs that a release cannot read, until it is undone."""

    name = "jobs.park"
    needs = frozenset({"caches"})
    temporary = True
    Params = JobsParkParams

    async def plan(self, ctx: ReadCtx, p: JobsParkParams) -> Change:
        seen = await _survey(ctx, p)
        warnings = tuple(w for s in seen for w in s.warnings)
        if not seen:
            return Change("there are no job queues in the catalogue")
        edits = tuple(s.edit for s in seen if s.edit is not None)
        if not edits:
            known = [s for s in seen if s.reads is not None]
            said = (
                f"{p.release} reads every kind of job that waits"
                if known
                else f"not known which kinds of jobs {p.release} reads"
            )
            return Change(said, warnings=warnings)
        strange = {s.target: s.strange for s in seen if s.edit is not None}
        shown = "; ".join(f"{t.rpartition('/')[0]}: {_listed(kinds)}" for t, kinds in strange.items())
        total = sum(n for kinds in strange.values() for n in kinds.values())
        return Change(
            f"set aside {total:,} jobs that {p.release} cannot read: {shown}",
            edits,
            facts=tuple(
                Fact(f"jobs {t}", sum(kinds.values()), "jobs", ceiling=_ceiling(sum(kinds.values())))
                for t, kinds in strange.items()
            ),
            warnings=warnings,
        )

    async def observe(self, ctx: ReadCtx, p: JobsParkParams, targets: Collection[str]) -> Mapping[str, Value]:
        return {t: await _standing(ctx, t) for t in targets}

    async def apply(self, ctx: Ctx, p: JobsParkParams, change: Change) -> Receipt:
        owner = ctx.key.partition("/")[0]
        told: list[str] = []
        try:
            for edit in change.edits:
                cache, queue = _named(edit.target)
                aside, back = _kinds(edit.after) - _kinds(edit.before), _kinds(edit.before) - _kinds(edit.after)
                if aside:
                    told.append(await _park(ctx, cache, queue, aside, owner))
                if back:
                    moved = await ctx.ports.caches.unpark(cache, queue, back)
                    told.append(f"{cache}/{queue}: {moved.jobs:,} jobs put back")
        except Unreachable as error:  # the next attempt looks first, and a job stands in one place in any case
            raise Retryable(str(error)) from error
        except (CacheRefused, LookupError) as error:
            raise Fatal(str(error), "look at the queue in the catalogue, and at docs/caches.md") from error
        return Receipt("; ".join(told) or change.summary)


async def _park(ctx: Ctx, cache: str, queue: str, kinds: Collection[str], owner: str) -> str:
    """Sets them aside; NotYet while workers may still be at some, or more have come."""
    moved = await ctx.ports.caches.park(cache, queue, kinds, owner)
    await ctx.report(f"{cache}/{queue}: {moved.jobs:,} set aside")
    if moved.held:
        words = f"{cache}/{queue}: a worker has taken {moved.held} of these jobs and may still be at them"
        raise NotYet(words, after=AGAIN)
    left = await ctx.ports.caches.kinds(cache, queue)
    if more := sum(left.counts.get(kind, 0) for kind in kinds):
        raise NotYet(f"{cache}/{queue}: {more} more have come", after=AGAIN)
    there = await ctx.ports.caches.parked(cache, queue)
    return f"{cache}/{queue}: {there.jobs if there is not None else 0:,} jobs stand aside for {owner}"


async def _standing(ctx: ReadCtx, target: str) -> Value:
    """The kinds that stand aside; None where nothing does."""
    cache, queue = _named(target)
    found = await ctx.ports.caches.parked(cache, queue)
    return [*found.kinds] or None if found is not None else None


async def _survey(ctx: ReadCtx, p: JobsParkParams) -> list[QueueSeen]:
    """Every queue of every cache. Unreachable with each cache that does not answer, Fatal where one refuses."""
    caches = [c for c in ctx.ports.caches.caches if c.queues and (not p.target or c.name == p.target)]
    answers = await asyncio.gather(*(_look(ctx, p, c.name, c.queues) for c in caches))
    if lost := {c.name: a for c, a in zip(caches, answers, strict=True) if isinstance(a, str)}:
        raise Unreachable.of(lost)
    return [s for answer in answers if not isinstance(answer, str) for s in answer]


async def _look(ctx: ReadCtx, p: JobsParkParams, cache: str, queues: Collection[Queue]) -> list[QueueSeen] | str:
    try:
        found = []
        for queue in queues:
            reads = p.jobs if p.jobs is not None else queue.kinds.get(p.release)
            parked = await ctx.ports.caches.parked(cache, queue.name)
            kinds = await ctx.ports.caches.kinds(cache, queue.name) if reads is not None else Kinds({})
            found.append(QueueSeen(cache, queue, frozenset(reads) if reads is not None else None, kinds, parked))
        return found
    except Unreachable as error:
        return str(error)
    except CacheRefused as error:
        raise Fatal(str(error), "look at the queue in the catalogue, and at docs/caches.md") from error


def _named(target: str) -> tuple[str, str]:
    """Cache and queue of an edit's target."""
    cache, queue, _ = target.split("/")
    return cache, queue


def _kinds(value: Value) -> frozenset[str]:
    return frozenset(map(str, value)) if isinstance(value, list) else frozenset()


def _listed(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {kind}" for kind, n in kinds.items())


def _ceiling(count: int) -> int:
    return max(FACTOR * count, FEW)
