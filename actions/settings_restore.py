"""Put back what the removed release changed in the service's ConfigMaps, key by key.

Which keys go back and which are left alone is decided as `release.deploy` decides it (`bot/workloads/ends.py`). It is
for plans that deploy nothing: pods that read their settings only at their start are that action's business, which
replaces them.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Edit,
    Fact,
    Fatal,
    Json,
    Outgoing,
    Params,
    ReadCtx,
    Receipt,
    Retryable,
    Value,
)
from bot.ports import Blob, Unreachable
from bot.ports.kubernetes import WORKLOADS, Changed, Denied, Place, Thing, digest, value_at
from bot.workloads.large import kept, whole
from bot.workloads.left import RIGHTS, Left, by_hand, short, who
from bot.workloads.record import DATA, conceal, without_secrets
from bot.workloads.stated import ends


class SettingsRestoreParams(Params):
    """Between which two releases."""

    settings: Blob | None = Field(None, description="The target's settings, as they were when it served.")
    outgoing: list[Outgoing] = Field(description="The releases that have to go, with their images and settings.")


class SettingsRestore(Action[SettingsRestoreParams]):
    """Restores the keys of ConfigMaps that the removed release changed."""

    name = "settings.restore"
    needs = frozenset({"kubernetes", "blobs", "secrets"})
    duties = frozenset({"return"})
    Params = SettingsRestoreParams

    async def plan(self, ctx: ReadCtx, p: SettingsRestoreParams) -> Change:
        known = [release.settings for release in p.outgoing if release.settings is not None]
        if p.settings is None or not known:
            which = "target" if p.settings is None else "removed release"
            said = f"the settings that the {which} served with are not recorded"
            return Change(f"{said}: nothing is restored", warnings=(f"{said}; compare them by hand",))
        end = await ends(ctx, {}, [r for r in p.outgoing if r.settings is not None], p.settings, None)
        maps, lost = await _maps(ctx)
        edits: list[Edit] = []
        left: list[Fact] = []
        hidden: list[Left] = []
        for thing in maps:
            if not any(record.at(thing.place) for record in end.was):
                continue
            found = end.settings(thing, ())
            edits += [Edit(e.target, await kept(ctx, e.before), await kept(ctx, e.after)) for e in found.edits]
            hidden += [field for field in found.left if field.secret]
            left += [Fact(f"left alone: {short(f.target)}", f.why) for f in found.left if not f.secret]
        warnings = [f"{name} cannot be reached ({why}): not part of this" for name, why in lost.items()]
        warnings += by_hand(hidden)
        if lost and not edits:
            raise Unreachable("; ".join(f"{name} could not be reached ({why})" for name, why in lost.items()))
        if not edits:
            said = "nothing else is to be restored" if left or hidden else "no setting differs between the two releases"
            return Change(said, facts=tuple(left), warnings=tuple(warnings))
        if not await _restarts(ctx, p, {Place.of(e.target).cluster for e in edits}):
            warnings.append("no pod is replaced by this: what reads its settings at its start keeps the old ones")
        keys = list(dict.fromkeys(e.target.split("/", 4)[4] for e in edits))
        count = f"{', '.join(keys[:6])}{f' and {len(keys) - 6} more' if len(keys) > 6 else ''}"
        where = ", ".join(sorted({Place.of(e.target).cluster for e in edits}))
        but = f", but for {len(hidden)} that may hold secrets, by hand" if hidden else ""
        return Change(f"restore {count} in {where}{but}", tuple(edits), facts=tuple(left), warnings=tuple(warnings))

    async def observe(self, ctx: ReadCtx, p: SettingsRestoreParams, targets: Collection[str]) -> Mapping[str, Value]:
        found = await _now(ctx, targets)
        return {t: await _seen(ctx, found[Place.of(t)], t) for t in targets}

    async def apply(self, ctx: Ctx, p: SettingsRestoreParams, change: Change) -> Receipt:
        try:
            there = await _now(ctx, change.targets)
            for place, thing in there.items():
                ours = [e for e in change.edits if Place.of(e.target) == place]
                await _write(ctx, place, thing, ours)
        except Unreachable as error:
            raise Retryable(str(error)) from error
        return Receipt(change.summary)


# -- what there is ---------------------------------------------------------------------------------------------------


async def _maps(ctx: ReadCtx) -> tuple[list[Thing], dict[str, str]]:
    """The service's ConfigMaps, and cluster -> why it could not be reached."""
    found: list[Thing] = []
    lost: dict[str, str] = {}
    for cluster in ctx.ports.kubernetes.clusters:
        try:
            things = await ctx.ports.kubernetes.list(cluster.name, "configmap") if cluster.settings else []
            found += [without_secrets(thing, ctx.ports.secrets) for thing in things]
        except Unreachable as error:
            lost[cluster.name] = str(error)
        except Denied as error:
            raise Fatal(str(error), RIGHTS) from error
    return found, lost


async def _now(ctx: ReadCtx, targets: Collection[str]) -> Mapping[Place, Thing | None]:
    places = sorted({Place.of(t) for t in targets}, key=str)
    try:
        return dict(zip(places, await asyncio.gather(*map(ctx.ports.kubernetes.get, places)), strict=True))
    except Denied as error:
        raise Fatal(str(error), RIGHTS) from error


async def _restarts(ctx: ReadCtx, p: SettingsRestoreParams, clusters: Collection[str]) -> bool:
    """Whether workloads there still hold a removed image, so that their pods will be replaced."""
    bad = {digest(image) for release in p.outgoing for image in release.images.values()} - {""}
    asked = [(cluster, kind) for cluster in clusters for kind in WORKLOADS]
    try:
        lists: Sequence[Sequence[Thing]] = await asyncio.gather(*(ctx.ports.kubernetes.list(*a) for a in asked))
    except (Unreachable, Denied):
        return True  # not known: nothing is claimed
    return any(digest(str(v)) in bad for things in lists for t in things for v in t.fields.values())


# -- what differs ----------------------------------------------------------------------------------------------------


def _changed(thing: Thing, target: str) -> str:
    return who(thing, target.removeprefix(thing.place.target("")))


def _key(target: str) -> str:
    return target.rpartition("/")[2]


async def _seen(ctx: ReadCtx, thing: Thing | None, target: str) -> Value:
    return await kept(ctx, conceal(f"{DATA}{_key(target)}", value_at(thing, target), ctx.ports.secrets))


# -- making it so ----------------------------------------------------------------------------------------------------


async def _write(ctx: Ctx, place: Place, thing: Thing | None, edits: Sequence[Edit]) -> None:
    """One request a ConfigMap, over exactly what was approved."""
    if thing is None:
        raise Fatal(f"{place} is gone", "somebody deleted it; undo or skip this step")
    todo: dict[str, Json] = {}
    for e in edits:
        now = await _seen(ctx, thing, e.target)
        if now not in (e.before, e.after):
            raise Fatal(f"{short(e.target)}: {_changed(thing, e.target)}", "ask who, then try again or undo")
        if now != e.after:
            todo[e.target.removeprefix(place.target(""))] = await whole(ctx, e.after)
    if not todo:
        return
    try:
        await ctx.ports.kubernetes.write(thing, todo)
    except Changed as error:
        raise Retryable(str(error), after=1) from error
    except Denied as error:
        raise Fatal(f"{place}: {error}", RIGHTS) from error
