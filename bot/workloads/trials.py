"""Whether guards refuse, and whether they refuse no more: what freeze, ban, thaw and unban all end by.

A guard that stands proves nothing, and one that is gone may go on refusing: only a trial tells. Other people's policies
may answer a trial in their own words; then nothing is known yet.

Invariants:
- nothing is called refused before a trial was refused in our guard's name, and nothing let in before one passed;
- there is an end to both: after `PATIENCE` people are told what was seen, and a guard that has been gone for `GRACE`
  cannot be what refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from bot.contract import Ctx, Fatal, NotYet, ReadCtx, first_seen
from bot.ports import Json, Unreachable
from bot.ports.kubernetes import Place, Thing, Trial, standing

PATIENCE = timedelta(seconds=30)
"""How long a guard may take to bite; 1.25 s were measured, and 0.7 s more until every API server follows."""
GRACE = timedelta(seconds=6)
"""How long one may go on refusing after its end; 1.7 s were measured, and 0.7 s more."""
LOOKS = 3
"""Trials, one after another, that must pass: each API server of a cluster follows by itself."""
BETWEEN = 0.7
"""Seconds between two of them."""
OFF = (
    "is ValidatingAdmissionPolicy switched off in its API server, or the namespace's label kubernetes.io/metadata.name"
    " gone? Mend that and try again, or go on without it"
)


async def standing_since(ctx: ReadCtx, ours: Mapping[Place, Json]) -> dict[Place, datetime]:
    """Of these guards (place -> rules) those that are in force, and since when. Clusters that cannot be reached are
    left out: who plans tells of them."""

    async def one(place: Place) -> Thing | None:
        try:
            return await ctx.ports.kubernetes.get(place)
        except Unreachable:
            return None

    found = await asyncio.gather(*map(one, ours))
    return {
        place: datetime.fromisoformat(str(thing.facts["since"])) if "since" in thing.facts else ctx.now
        for (place, rules), thing in zip(ours.items(), found, strict=True)
        if thing is not None and standing(thing, None) == rules
    }


async def until_refused(ctx: Ctx, guards: Mapping[Place, Json], since: Mapping[Place, datetime]) -> None:
    """NotYet until each guard (place -> rules) refuses a trial. since: from when those stand that were not put there
    now. Fatal after `PATIENCE`, with what was seen instead; Unreachable and Denied of the port pass through."""
    if not guards:
        return
    began = await first_seen(ctx, "put") if guards.keys() - since.keys() else max(since.values())
    seen = await _try(ctx, guards)
    slow = {place: trial for place, trial in seen.items() if not trial.refused}
    if not slow:
        return
    if ctx.now - began >= PATIENCE:
        raise _gave_up(slow)
    text = "; ".join(_not_yet(place, trial) for place, trial in slow.items())
    after = 0.5 if ctx.now - began < timedelta(seconds=3) else 2.0
    raise NotYet(text, after=after, done=len(seen) - len(slow), total=len(seen))


async def until_let_in(ctx: Ctx, guards: Mapping[Place, Json]) -> Sequence[str]:
    """NotYet until what the guards (place -> the rules they had) refused is taken in `LOOKS` trials; what is to be
    said all the same, a line for each where others refuse the trial."""
    if not guards:
        return ()
    since = await first_seen(ctx, "taken away")
    over = ctx.now - since >= GRACE
    remarks: dict[str, None] = {}
    for look in range(LOOKS):
        fresh = False

        async def passes() -> Json:
            nonlocal fresh
            fresh = True
            seen = await _try(ctx, guards)
            held = {p: t for p, t in seen.items() if t.refused or (t.refused is None and not over)}
            if held:
                text = "; ".join(f"{p.cluster} still refuses: {t.words}" for p, t in held.items())
                raise NotYet(text, after=BETWEEN, done=len(seen) - len(held), total=len(seen))
            return [f"{p.cluster}: others refuse a trial ({t.words}); {p.name} is gone"
                    for p, t in seen.items() if t.refused is None]  # fmt: skip

        said = await ctx.once(f"taken in trial {look + 1}", passes)
        remarks |= dict.fromkeys(str(line) for line in said) if isinstance(said, list) else {}
        if fresh and look + 1 < LOOKS:
            where = ", ".join(dict.fromkeys(p.cluster for p in guards))
            raise NotYet(f"{where} takes it; trying once more, for every API server", after=BETWEEN)
    return [*remarks]


async def _try(ctx: Ctx, guards: Mapping[Place, Json]) -> dict[Place, Trial]:
    trial = ctx.ports.kubernetes.trial
    seen = await asyncio.gather(*(trial(p.cluster, p.name, rules) for p, rules in guards.items()))
    return dict(zip(guards, seen, strict=True))


def _not_yet(place: Place, trial: Trial) -> str:
    if trial.refused is None:
        return f"{place.cluster}: whether it refuses is not known yet; {trial.words}"
    return f"{place.cluster} does not refuse yet"


def _gave_up(slow: Mapping[Place, Trial]) -> Fatal:
    lines = []
    for place, trial in slow.items():
        seen = "a trial passed: it refuses nothing" if trial.refused is False else f"no trial could tell: {trial.words}"
        lines.append(f"{place.cluster}: {place.name} stands, and {seen}")
    nothing = any(trial.refused is False for trial in slow.values())
    return Fatal("; ".join(lines), OFF if nothing else "it stays; try again later, or go on without knowing (skip)")
