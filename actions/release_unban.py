"""End the ban on one release: its guard is taken out of every cluster, and each is seen to take its images again.

The bot opens a run of plan `unban` for this when a newer release is registered, or when a person lifts the ban; a run
that rolls forward does it before anything else, as its own deploy would be refused.

Invariants:
- only the guards of this release are touched, other bans stay;
- a guard that somebody has changed is not taken away: people look first;
- nothing is called allowed before every cluster has taken its images in `LOOKS` trials: an ended guard goes on
  refusing for a second or two, and every API server of a cluster for itself;
- an undo refuses them again, and is not done before a trial was refused.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Edit,
    Fatal,
    Json,
    NotYet,
    Params,
    ReadCtx,
    Receipt,
    Retryable,
    ServiceName,
    Value,
)
from bot.ports import Unreachable
from bot.ports.kubernetes import Changed, Denied, Place, Thing, digest

LOOKS = 3
"""Trials, one after another, in which a cluster must take the images."""
BETWEEN = 0.7
"""Seconds between two of them."""


class ReleaseUnbanParams(Params):
    """Whose ban ends."""

    service: ServiceName = Field(description="Service whose release it is.")
    version: str = Field(description="The release whose ban ends.")
    images: dict[str, str] = Field(description="Its images by digest; guards that ban no others are taken away.")

    @property
    def digests(self) -> frozenset[str]:
        """What may be deployed again."""
        return frozenset(digest(image) for image in self.images.values())


class ReleaseUnban(Action[ReleaseUnbanParams]):
    """Takes the guards of one banned release out of every cluster."""

    name = "release.unban"
    needs = frozenset({"kubernetes"})
    Params = ReleaseUnbanParams

    async def plan(self, ctx: ReadCtx, p: ReleaseUnbanParams) -> Change:
        clusters = ctx.ports.kubernetes.clusters
        found = await asyncio.gather(*(ctx.ports.kubernetes.list(c.name, "guard") for c in clusters))
        guards = [g for things in found for g in things if _bans(g, p)]
        if altered := [str(g.place) for g in guards if g.facts.get("altered") not in (None, ["binding"])]:
            what = f"not as the bot made it: {', '.join(altered)}"
            raise Fatal(what, "find out who changed it; delete policy and binding by hand")
        if not guards:
            return Change(f"no cluster bans {p.service} {p.version}")
        where = ", ".join(g.place.cluster for g in guards)
        edits = tuple(Edit(g.place.target("rules"), g.fields["rules"], None) for g in guards)
        return Change(f"{where}: {p.service} {p.version} is no longer banned", edits)

    async def observe(self, ctx: ReadCtx, p: ReleaseUnbanParams, targets: Collection[str]) -> Mapping[str, Value]:
        found = await asyncio.gather(*(ctx.ports.kubernetes.get(Place.of(t)) for t in targets))
        return {t: thing.fields.get("rules") if thing else None for t, thing in zip(targets, found, strict=True)}

    async def apply(self, ctx: Ctx, p: ReleaseUnbanParams, change: Change) -> Receipt:
        again = [Place.of(e.target) for e in change.edits if e.after is not None]
        allowed = {Place.of(e.target).cluster for e in change.edits if e.after is None}
        try:
            for e in change.edits:
                place = Place.of(e.target)
                rules: Json = e.after if isinstance(e.after, dict) else None
                await ctx.ports.kubernetes.guard(place.cluster, place.name, rules)
            for look in range(LOOKS) if allowed else ():
                await _let_in(ctx, p, sorted(allowed), look)
            await _refused_again(ctx, again)
        except (Unreachable, Changed) as error:
            raise Retryable(str(error)) from error
        except Denied as error:
            raise Fatal(str(error), "look at what the cluster says, then try again") from error
        return Receipt(change.summary)


async def _let_in(ctx: Ctx, p: ReleaseUnbanParams, clusters: Sequence[str], look: int) -> None:
    """One trial in which every cluster takes the images; kept, so that the next pass goes on with the next one."""
    tried = False

    async def trial() -> Json:
        nonlocal tried
        tried = True
        said = await asyncio.gather(*(ctx.ports.kubernetes.refusal(c, p.images) for c in clusters))
        if refused := {c: words for c, words in zip(clusters, said, strict=True) if words}:
            text = "; ".join(f"{c} still refuses {p.version}: {words}" for c, words in refused.items())
            raise NotYet(text, after=BETWEEN, done=len(clusters) - len(refused), total=len(clusters))
        return True

    await ctx.once(f"taken in trial {look + 1}", trial)
    if tried and look + 1 < LOOKS:
        raise NotYet(f"{', '.join(clusters)} takes {p.version}; trying once more, for every API server", after=BETWEEN)


async def _refused_again(ctx: Ctx, places: Sequence[Place]) -> None:
    bites = await asyncio.gather(*(ctx.ports.kubernetes.bites(place.cluster, place.name) for place in places))
    if slow := [place.cluster for place, bit in zip(places, bites, strict=True) if not bit]:
        raise NotYet(f"{', '.join(slow)} does not refuse it yet", after=0.5, done=sum(bites), total=len(bites))


def _bans(guard: Thing, p: ReleaseUnbanParams) -> bool:
    """Whether it is a ban of this service, and bans nothing but this release's images."""
    rules = guard.fields.get("rules")
    if not isinstance(rules, dict) or rules.get("service") != p.service:
        return False
    banned = rules.get("banned")
    return isinstance(banned, list) and bool(banned) and {str(d) for d in banned} <= p.digests
