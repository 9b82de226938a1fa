"""End the ban on one release: its guard is taken out of every cluster, and each is seen to take its images again.

The bot opens a run of plan `unban` for this when a newer release is registered, or when a person lifts the ban; a run
that rolls forward does it before anything else, as its own deploy would be refused.

Invariants:
- only the guards of this release are touched, other bans stay;
- a guard that somebody has changed is not taken away: people look first;
- nothing is called allowed before every cluster has taken its images in trials: an ended guard goes on refusing for a
  second or two, and every API server of a cluster for itself;
- what another ban goes on refusing, because both releases have the image, is said;
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
    Params,
    ReadCtx,
    Receipt,
    ServiceName,
    Value,
)
from bot.ports.guards import GuardRules
from bot.ports.kubernetes import Place, Thing, digest
from bot.workloads.reaching import guards, writing
from bot.workloads.trials import until_let_in, until_refused


class ReleaseUnbanParams(Params):
    """Whose ban ends."""

    service: ServiceName = Field(description="Service whose release it is.")
    version: str = Field(description="The release whose ban ends.")
    images: dict[str, str] = Field(description="Its images by digest.")

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
        every = [g for things in found for g in things]
        guards = [g for g in every if _bans(g, p)]
        if altered := [str(g.place) for g in guards if g.facts.get("altered") not in (None, ["binding"])]:
            what = f"not as the bot made it: {', '.join(altered)}"
            raise Fatal(what, "find out who changed it; delete policy and binding by hand")
        if not guards:
            return Change(f"no cluster bans {p.service} {p.version}")
        where = ", ".join(g.place.cluster for g in guards)
        edits = tuple(Edit(g.place.target("rules"), g.fields["rules"], None) for g in guards)
        return Change(f"{where}: {p.service} {p.version} is no longer banned", edits, warnings=_others(every, p))

    async def observe(self, ctx: ReadCtx, p: ReleaseUnbanParams, targets: Collection[str]) -> Mapping[str, Value]:
        found = await asyncio.gather(*(ctx.ports.kubernetes.get(Place.of(t)) for t in targets))
        return {t: thing.fields.get("rules") if thing else None for t, thing in zip(targets, found, strict=True)}

    async def apply(self, ctx: Ctx, p: ReleaseUnbanParams, change: Change) -> Receipt:
        again, gone = guards(change)
        with writing("look at what the cluster says, then try again"):
            for e in change.edits:
                place = Place.of(e.target)
                await ctx.ports.kubernetes.guard(place.cluster, place.name, again.get(place))
            remarks = await until_let_in(ctx, gone)
            await until_refused(ctx, again, {})
        return Receipt("; ".join([change.summary, *remarks]))


def _bans(guard: Thing, p: ReleaseUnbanParams) -> bool:
    """Whether it is the ban of this release; one of an older version of the bot does not say whose it is, and is
    this one's where it bans nothing but its images."""
    rules = GuardRules.read(guard.fields.get("rules"))
    if rules is None or rules.service != p.service or not rules.banned:
        return False
    return rules.version == p.version if rules.version else frozenset(rules.banned) <= p.digests


def _others(guards: Sequence[Thing], p: ReleaseUnbanParams) -> tuple[str, ...]:
    """Bans of other releases that go on refusing an image of this one."""
    found: dict[str, None] = {}
    for g in guards:
        rules = GuardRules.read(g.fields.get("rules"))
        if rules is None or rules.service != p.service or _bans(g, p):
            continue
        if shared := p.digests.intersection(rules.banned):
            which = rules.version or g.place.name
            found[f"{which} is still banned and has {len(shared)} of its images: those go on being refused"] = None
    return (*found,)
