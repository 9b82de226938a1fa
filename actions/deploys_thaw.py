"""Lift the freeze that an ended run has left in the clusters, when a commander says so.

What a run has frozen it lifts itself (`undo: freeze`). This is for one that was aborted and handed its freeze over:
nothing can be undone in an ended run.

Invariants: only this service's freeze is lifted, never a ban; one that somebody has changed is left to people; nothing
is called lifted before every cluster has taken a trial.
"""

import asyncio
from collections.abc import Collection, Mapping

from pydantic import Field

from bot.contract import Action, Change, Ctx, Edit, Fatal, Params, ReadCtx, Receipt, ServiceName, Value
from bot.ports.kubernetes import Place
from bot.workloads.reaching import guards, writing
from bot.workloads.trials import until_let_in, until_refused


class DeploysThawParams(Params):
    """Whose freeze to lift."""

    service: ServiceName = Field(description="Service that takes new releases again.")


class DeploysThaw(Action[DeploysThawParams]):
    """Lifts the freeze that an ended run has left behind."""

    name = "deploys.thaw"
    needs = frozenset({"kubernetes"})
    duties = frozenset({"thaw"})
    Params = DeploysThawParams

    async def plan(self, ctx: ReadCtx, p: DeploysThawParams) -> Change:
        places = [Place(c.name, "guard", f"rollback-freeze-{p.service}") for c in ctx.ports.kubernetes.clusters]
        found = await asyncio.gather(*map(ctx.ports.kubernetes.get, places))
        there = [thing for thing in found if thing is not None]
        if altered := [str(t.place) for t in there if t.facts.get("altered") not in (None, ["binding"])]:
            what = f"not as the bot made it: {', '.join(altered)}"
            raise Fatal(what, "find out who changed it; delete policy and binding by hand")
        edits = tuple(Edit(t.place.target("rules"), r, None) for t in there if (r := t.fields.get("rules")) is not None)
        if not edits:
            return Change(f"no cluster refuses new releases of {p.service}")
        where = ", ".join(Place.of(e.target).cluster for e in edits)
        return Change(f"{where}: {p.service} takes new releases again", edits)

    async def observe(self, ctx: ReadCtx, p: DeploysThawParams, targets: Collection[str]) -> Mapping[str, Value]:
        found = await asyncio.gather(*(ctx.ports.kubernetes.get(Place.of(t)) for t in targets))
        return {t: thing.fields.get("rules") if thing else None for t, thing in zip(targets, found, strict=True)}

    async def apply(self, ctx: Ctx, p: DeploysThawParams, change: Change) -> Receipt:
        put, gone = guards(change)
        with writing("look at what the cluster says, then try again"):
            for e in change.edits:
                place = Place.of(e.target)
                await ctx.ports.kubernetes.guard(place.cluster, place.name, put.get(place))
            remarks = await until_let_in(ctx, gone)
            await until_refused(ctx, put, {})
        return Receipt("; ".join([change.summary, *remarks]))
