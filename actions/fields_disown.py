"""Give up what the bot owns of the objects that it has changed, so that who deploys them meets no conflict.

A server-side apply (Helm 4, `kubectl apply --server-side`) is refused over each field that somebody else has set last:
without this the team's next `helm upgrade` fails on the image that a rollback has put back.

Invariants:
- no field changes its value; only the bot's own entries of managedFields go, and each is looked at right before;
- a cluster that cannot be reached is named, the others are done all the same, and the step does not end well.
"""

import asyncio
from collections.abc import Collection, Mapping

from bot.contract import Action, Change, Ctx, Edit, Fatal, Params, ReadCtx, Receipt, Value
from bot.ports import Unreachable
from bot.ports.kubernetes import OURS, WRITTEN, Place, Thing
from bot.workloads.reaching import left_out, not_reached, writing


class FieldsDisownParams(Params):
    """Nothing to choose: it is about whatever the bot has written."""


class FieldsDisown(Action[FieldsDisownParams]):
    """Gives up the ownership of fields that the bot has set, and changes none of them."""

    name = "fields.disown"
    needs = frozenset({"kubernetes"})
    Params = FieldsDisownParams

    async def plan(self, ctx: ReadCtx, p: FieldsDisownParams) -> Change:
        names = [c.name for c in ctx.ports.kubernetes.clusters]
        answers = dict(zip(names, await asyncio.gather(*(_owned(ctx, name) for name in names)), strict=True))
        lost = {name: str(found) for name, found in answers.items() if isinstance(found, Unreachable)}
        things = [thing for found in answers.values() if not isinstance(found, Unreachable) for thing in found]
        if lost and not things:
            raise Unreachable(f"{'; '.join(lost.values())}; nothing is left to give up elsewhere")
        if not things:
            return Change("the bot owns no field of any workload or setting")
        edits = tuple(Edit(_target(thing.place), OURS, None) for thing in things)
        what = "1 object" if len(things) == 1 else f"{len(things)} objects"
        where = ", ".join(dict.fromkeys(thing.place.cluster for thing in things))
        return Change(
            f"{where}: {what} can be applied by their own tools again, no value changes",
            edits,
            facts=not_reached(lost),
            warnings=tuple(f"not reached: {why}" for why in lost.values()),
            reversible=False,
        )

    async def observe(self, ctx: ReadCtx, p: FieldsDisownParams, targets: Collection[str]) -> Mapping[str, Value]:
        found = await asyncio.gather(*(ctx.ports.kubernetes.get(Place.of(t)) for t in targets))
        return {
            t: OURS if thing and thing.facts.get("owned") else None for t, thing in zip(targets, found, strict=True)
        }

    async def apply(self, ctx: Ctx, p: FieldsDisownParams, change: Change) -> Receipt:
        with writing("look at what the cluster says, then try again, or skip it"):
            for n, e in enumerate(change.edits):
                await ctx.report("giving up what the bot owns", n, len(change.edits))
                await ctx.ports.kubernetes.disown(Place.of(e.target))
        if lost := left_out(change):
            raise Fatal(f"{', '.join(lost)} could not be reached", "try again when it is back, or skip it")
        return Receipt(change.summary)


async def _owned(ctx: ReadCtx, cluster: str) -> list[Thing] | Unreachable:
    try:
        lists = await asyncio.gather(*(ctx.ports.kubernetes.list(cluster, kind) for kind in WRITTEN))
    except Unreachable as error:
        return error
    return [thing for found in lists for thing in found if thing.facts.get("owned")]


def _target(place: Place) -> str:
    return place.target("managedFields")
