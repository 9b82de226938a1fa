"""B7: remove what lies in the caches and hangs together with a release, by prefix, counted first, at a pace that the
database behind survives.

What goes is data of the catalogue: each prefix of each Redis target, with the versions of the releases that go and of
the one that comes back put in (its own values are as old as its last day of service). A flush has no before, so it is
an effect; an undo does it again, since the release that returns finds the other one's values.

Invariants:
- a prefix that is walked through is noted, so that an attempt after a crash goes on with the next;
- more keys than twice what was shown are not removed: people are asked again, or the step halts;
- a cache that does not answer is owed, never passed over.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Effect,
    Fact,
    Fatal,
    Outgoing,
    Params,
    ReadCtx,
    Receipt,
    RedisTarget,
    Retryable,
    Value,
    first_value,
)
from bot.ports import Unreachable
from bot.ports.caches import CacheRefused, TooMany, prefixes

FACTOR = 2
"""How many times as many keys as were shown may go."""
FEW = 10_000
"""Keys that may go however few there were: a cache that served for a minute holds some, and removing them is quick."""
SLOWLY = 2_000
"""Keys a second that a flush removes at least, by which its time is told."""

HINT = "look at the prefix in the catalogue, and at the rights of the bot's user there (docs/caches.md)"


class CachesFlushParams(Params):
    """What hangs together with which releases."""

    release: str = Field("", description="Version of the release that comes back.")
    outgoing: list[Outgoing] = Field([], description="The releases that have to go.")
    target: RedisTarget = Field("", description="Redis target of the catalogue; empty: all of the service's.")


@dataclass(frozen=True, slots=True)
class Flush:
    """One prefix in one cache."""

    cache: str
    prefix: str

    @property
    def what(self) -> str:
        """As the effect says it."""
        return f"{self.cache}: remove all keys that begin with {self.prefix}"

    @property
    def fact(self) -> str:
        """What its keys are called when they are counted."""
        return f"keys {self.cache} {self.prefix}"


class CachesFlush(Action[CachesFlushParams]):
    """Removes the keys of the caches that hang together with a release, by prefix."""

    name = "caches.flush"
    needs = frozenset({"caches"})
    Params = CachesFlushParams

    async def plan(self, ctx: ReadCtx, p: CachesFlushParams) -> Change:
        work = _work(ctx, p)
        if not work:
            return Change("nothing to flush: no Redis target of the service names prefixes to remove")
        counts = await _counted(ctx, work)
        total = sum(counts.values())
        shown = ", ".join(f"{counts[w]:,} {w.prefix}" for w in work)
        return Change(
            f"remove {total:,} keys by prefix from {', '.join(dict.fromkeys(w.cache for w in work))}: {shown}",
            effects=tuple(Effect(w.what, "repeat") for w in work),
            facts=tuple(Fact(w.fact, counts[w], "keys", ceiling=_ceiling(counts[w])) for w in work),
            within=max(60.0, _lasts(ctx, counts)),
        )

    async def observe(self, ctx: ReadCtx, p: CachesFlushParams, targets: Collection[str]) -> Mapping[str, Value]:
        return dict.fromkeys(targets)  # it has effects only

    async def apply(self, ctx: Ctx, p: CachesFlushParams, change: Change) -> Receipt:
        work = {w.what: w for w in _work(ctx, p)}
        lacking = [e.what for e in change.effects if e.what not in work]
        if lacking:
            hint = "put it back into the catalogue, or skip the step"
            raise Fatal(f"the catalogue has changed and no longer says: {'; '.join(lacking)}", hint)
        limits = {f.name: f.ceiling for f in change.facts}
        told: list[str] = []
        for effect in change.effects:
            each = work[effect.what]
            removed = await ctx.once(effect.what, lambda w=each: _flush(ctx, w, limits.get(w.fact)))  # type: ignore[misc]
            told.append(f"{removed:,} {each.prefix}")
        left = {w: n for w, n in (await _counted(ctx, [work[e.what] for e in change.effects])).items() if n}
        again = "; ".join(f"{n:,} {w.prefix} again since" for w, n in left.items())
        return Receipt(f"removed {', '.join(told)}{f'; {again}' if again else ''}")


def _work(ctx: ReadCtx, p: CachesFlushParams) -> list[Flush]:
    """Every prefix, with the versions put in. Fatal for a target without prefixes to remove, where one is named."""
    caches = [c for c in ctx.ports.caches.caches if not p.target or c.name == p.target]
    going = [r.version for r in p.outgoing]
    found = [Flush(c.name, each) for c in caches for word in c.prefixes for each in prefixes(word, going, p.release)]
    return [*dict.fromkeys(found)]


def _lasts(ctx: ReadCtx, counts: Mapping[Flush, int]) -> float:
    """Seconds that it takes at its slowest, one prefix after the other."""
    rates = {c.name: min(c.rate, SLOWLY) if c.rate else SLOWLY for c in ctx.ports.caches.caches}
    return sum(n / rates[w.cache] for w, n in counts.items())


async def _counted(ctx: ReadCtx, work: Sequence[Flush]) -> dict[Flush, int]:
    """The keys behind each prefix. Unreachable with every cache that does not answer."""
    caches = [*dict.fromkeys(w.cache for w in work)]
    answers = await asyncio.gather(*(_of_one(ctx, [w for w in work if w.cache == name]) for name in caches))
    lost = {name: a for name, a in zip(caches, answers, strict=True) if isinstance(a, str)}
    if lost:
        raise Unreachable.of(lost)
    return {w: n for answer in answers if not isinstance(answer, str) for w, n in answer.items()}


async def _of_one(ctx: ReadCtx, work: Sequence[Flush]) -> dict[Flush, int] | str:
    """Of one cache, prefix by prefix: one walk at a time is enough for a server. Why nothing is known of it."""
    try:
        return {w: await ctx.ports.caches.count(w.cache, w.prefix) for w in work}
    except Unreachable as error:
        return str(error)
    except (CacheRefused, ValueError) as error:
        raise Fatal(
            str(error), "correct the catalogue, or the rights of the bot's user there (docs/caches.md)"
        ) from error


async def _flush(ctx: Ctx, work: Flush, limit: float | None) -> int:
    """Removes one prefix; how many keys went, those of attempts before this one as well: a command that was sent again
    counts what is left. A lost answer is retryable: the next attempt walks again."""
    try:
        there = await ctx.ports.caches.count(work.cache, work.prefix)
        first = await first_value(ctx, f"{work.what}: counted", there)
        earlier = max(0, int(str(first)) - there)
        most = int(limit) if limit is not None else _ceiling(there)
        removed = 0
        async for swept in ctx.ports.caches.flush(work.cache, work.prefix, most):
            removed = swept.removed
            slowed = f" (slowed down: {swept.waits})" if swept.waits else ""
            await ctx.report(f"{work.cache} {work.prefix}{slowed}", earlier + min(removed, there), earlier + there)
        return earlier + removed
    except Unreachable as error:
        raise Retryable(str(error)) from error
    except TooMany as error:
        hint = "look who writes them; asked again, the step shows how many there are now"
        raise Fatal(f"{error}; {error.removed:,} were removed, the rest was left", hint) from error
    except CacheRefused as error:
        raise Fatal(str(error), HINT) from error


def _ceiling(count: int) -> int:
    return max(FACTOR * count, FEW)
