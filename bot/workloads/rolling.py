"""Writing approved edits and waiting until pods run them: over exactly what was approved, cluster by cluster.

Invariants:
- one patch an object, over what was seen; what stands neither at `before` nor at `after` stops the step;
- the settings of a cluster are written just before its workloads;
- what keeps pods from coming stands in the progress line; a pod that its controller never replaces is deleted only
  where people approved that, else the step ends by naming the remedy;
- what a controller of its own puts back is written again a few times, never for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

from bot.contract import (
    Change,
    Ctx,
    Edit,
    Effect,
    Fatal,
    Json,
    NotYet,
    ReadCtx,
    Retryable,
    Value,
    first_seen,
    first_time,
)
from bot.ports import Blob, Unreachable
from bot.ports.kubernetes import IMAGE, Changed, Denied, Hindrance, Kind, Place, Rollout, Thing, value_at
from bot.workloads.ends import Ends, made, names, order
from bot.workloads.large import kept, whole
from bot.workloads.left import RIGHTS, short, who
from bot.workloads.record import WHOLE, conceal, is_secret

PATIENCE = 60.0
"""Seconds that something lasting may keep pods from running before the step gives up."""
UNBLOCK = ": delete pods that are not ready and run another template (OrderedReady replaces none of them)"
"""How the effect on a StatefulSet ends, whose place stands before it."""
ROUNDS = 3
"""How often a workload is written that somebody puts back each time."""
PROMOTE = ": lift a pause, and skip the steps of its canary and their analyses, so that all pods are replaced at once"
"""How the effect on an Argo Rollout ends."""
PIECE = 500
"""Edits after which others get their turn."""
LOOK = 2.0
"""Seconds between two looks at a rollout."""
FREE = Hindrance("")
"""Nothing stands in the way."""


# -- what there is -----------------------------------------------------------------------------------------------------


async def at(ctx: ReadCtx, places: Collection[Place]) -> Mapping[Place, Thing | None]:
    """These objects as they are: a lone one is asked for itself, several of a kind by one list. Unreachable, Fatal."""
    groups: dict[tuple[str, Kind], list[Place]] = {}
    for place in sorted(places, key=str):
        groups.setdefault((place.cluster, place.kind), []).append(place)

    async def ask(cluster: str, kind: Kind, wanted: Sequence[Place]) -> Mapping[Place, Thing | None]:
        if len(wanted) == 1 or kind == "configmap":
            return dict(zip(wanted, await asyncio.gather(*map(ctx.ports.kubernetes.get, wanted)), strict=True))
        listed = {t.place: t for t in await ctx.ports.kubernetes.list(cluster, kind)}
        rest = [place for place in wanted if place not in listed]  # gone, or without the service's label
        alone = dict(zip(rest, await asyncio.gather(*map(ctx.ports.kubernetes.get, rest)), strict=True))
        return {place: listed.get(place) or alone[place] for place in wanted}

    try:
        answers = await asyncio.gather(*(ask(*group, wanted) for group, wanted in groups.items()))
    except Denied as error:
        raise Fatal(str(error), RIGHTS) from error
    return {place: thing for answer in answers for place, thing in answer.items()}


async def as_kept(ctx: ReadCtx, edits: Iterable[Edit], leave: Collection[Place]) -> tuple[tuple[Edit, ...], set[Place]]:
    """Edits as a change holds them, and the objects that they are of. leave: objects that are left out. Of thousands of
    edits others get their turn in between."""
    found: list[Edit] = []
    changed: set[Place] = set()
    for n, e in enumerate(edits, 1):
        if (place := Place.of(e.target)) not in leave:
            changed.add(place)
            found.append(Edit(e.target, await kept(ctx, e.before), await kept(ctx, e.after)))
        if not n % PIECE:
            await asyncio.sleep(0)
    return tuple(found), changed


# -- writing -----------------------------------------------------------------------------------------------------------


async def write(
    ctx: Ctx, ends: Ends, edits: Collection[Edit], there: Mapping[Place, Thing | None], *, again: bool
) -> list[Thing]:
    """The objects after one patch each, settings first. again: an earlier pass wrote them. Unreachable, Retryable,
    Fatal."""
    by_place: dict[Place, list[Edit]] = {}
    for e in edits:
        by_place.setdefault(Place.of(e.target), []).append(e)
    found: list[Thing] = []
    for place, ours in by_place.items():
        thing = there.get(place)
        if thing is None and all(e.target.endswith(f"/{WHOLE}") for e in ours):
            thing = Thing(place, "")
        if thing is None:
            raise Fatal(f"{place} is gone", "somebody deleted it; undo or skip this step")
        for e in ours:
            if (now := await seen_at(ctx, ends, thing, e.target)) not in (e.before, e.after):
                raise Fatal(_elsewhere(thing, e, now), "ask who, then try again or undo")
        found.append(thing)
    found.sort(key=lambda thing: thing.place.kind != "configmap")
    return [await _write(ctx, ends, thing, by_place[thing.place], again=again) for thing in found]


async def _write(ctx: Ctx, ends: Ends, thing: Thing, edits: Sequence[Edit], *, again: bool) -> Thing:
    todo = [e for e in edits if await seen_at(ctx, ends, thing, e.target) != e.after]
    if not todo:
        return thing
    root = thing.place.target("")
    fields: dict[str, Json] = {e.target.removeprefix(root): await whole(ctx, e.after) for e in todo}
    known = (ends.to.at(thing.place), *(record.at(thing.place) for record in ends.was))
    fresh = {name.split("/")[1] for name in fields if name.startswith("env/") and name not in thing.fields}
    for container in sorted(fresh):
        fields.setdefault(f"order/{container}", order(thing, f"order/{container}", todo, known))
    try:
        written = await ctx.ports.kubernetes.write(thing, fields)
    except Changed as error:
        raise Retryable(str(error), after=1) from error
    except Denied as error:
        raise Fatal(f"{thing.place}: {error}", RIGHTS) from error
    if again:
        await _no_war(ctx, thing, next(iter(fields)))
    return written


async def _no_war(ctx: Ctx, thing: Thing, field: str) -> None:
    """Fatal where this workload, written in an earlier pass, has been put back too often."""
    n = 1
    while not await first_time(ctx, f"{thing.place} put back {n}"):
        n += 1
    if n % ROUNDS == 0:
        owner = thing.facts.get("owner")
        said = f"its owner {owner} puts it back" if owner else f"it is put back each time, {who(thing, field)}"
        where = f"change {owner}" if owner else "end what writes it"
        raise Fatal(f"{thing.place}: {said}, {n} times so far", f"{where}, then try again")


async def seen_at(ctx: ReadCtx, ends: Ends, thing: Thing | None, target: str) -> Value:
    """Where a target stands: the target's image under whatever name it goes, large values by reference."""
    if thing is not None and target == thing.place.target(WHOLE):
        return await kept(ctx, conceal(WHOLE, _whole_at(ends, thing), ctx.ports.secrets))
    now = value_at(thing, target)
    if isinstance(now, str) and "/image/" in target:
        return ends.named(now) or now
    field = target.removeprefix(thing.place.target("")) if thing is not None else ""
    return await kept(ctx, conceal(field, now, ctx.ports.secrets))


def _whole_at(ends: Ends, thing: Thing) -> Json:
    """All of an object: as the record has it where it runs the record's images, else as it is; None: it is gone."""
    if not thing.version:
        return None
    fields = ends.to.at(thing.place)
    same = all(ends.digest(image) == ends.digest(fields.get(name)) for name, image in thing.fields.items()
               if name.startswith(IMAGE))  # fmt: skip
    return made(ends, fields) if same else thing.whole


def _elsewhere(thing: Thing, e: Edit, now: Value) -> str:
    changed = who(thing, e.target.removeprefix(thing.place.target("")))
    if thing.place.kind == "configmap":
        return f"{short(e.target)}: {changed}"
    seen = "a secret" if not isinstance(now, Blob) and is_secret(now) else now
    return f"{e.target} is {seen}, neither {e.before} nor {e.after}; {changed}"


# -- waiting -----------------------------------------------------------------------------------------------------------


async def complete(ctx: Ctx, things: Iterable[Thing], change: Change, done: Collection[str]) -> int:
    """How many pods run the new template; NotYet with live numbers before all do, Fatal where one will not.

    Of a change that holds nothing the end is only looked at, with no patience that could run out.
    """
    rolling = [(t, t.rollout) for t in things if t.rollout is not None and not t.fields.get("paused")]
    waiting = [(t, r) for t, r in rolling if not r.complete]
    if not waiting:
        return sum(r.wanted for _, r in rolling)
    seen = [t.place for t, r in waiting if r.seen]
    there = dict.fromkeys(t.place for t, _ in waiting) | dict(
        zip(seen, await asyncio.gather(*(hindrance(ctx, place) for place in seen)), strict=True)
    )
    await _unblock(ctx, there, change)
    await _promote(ctx, [t for t, r in waiting if r.seen and not r.arrived], change)
    judged = [] if change.is_noop else waiting
    failed = [(t, r) for t, r in judged if r.failed or await _lasts(ctx, t.place, there[t.place])]
    if failed and await _gives_up(ctx, {t.place.cluster for t, _ in failed}):
        words = [_failure(t.place, r, there[t.place]) for t, r in failed]
        nodes = sorted({n for t, _ in failed for n in (there[t.place] or FREE).nodes})
        hint = "repair the cause and try again, or undo"
        if nodes and all((there[t.place] or FREE).nodes for t, _ in failed):
            hint = f"accept it as it is where {', '.join(nodes)} may stay behind, or try again when it is back"
        raise Fatal(f"{finished(done)}{'; '.join(words)}", hint)
    wanted, ready = sum(r.wanted for _, r in rolling), sum(min(r.fresh, r.wanted) for _, r in rolling)
    where = names({t.place.cluster for t, _ in waiting})
    said = (h.why if place.name in h.why else f"{place.name}: {h.why}" for place, h in there.items() if h is not None)
    why = next((f"; {words}" for words in said), "")
    raise NotYet(f"{ready} of {wanted} pods ready, {where}{why}", after=LOOK, done=ready, total=wanted)


async def hindrance(ctx: ReadCtx, place: Place) -> Hindrance | None:
    """What keeps the newest template from running, as far as can be seen."""
    try:
        return await ctx.ports.kubernetes.hindrance(place, ctx.now)
    except (Unreachable, Denied):
        return None


def unblocked(effect: Effect) -> Place:
    """The workload that an effect is about."""
    return Place.of(effect.what.partition(": ")[0])


async def _promote(ctx: Ctx, waiting: Sequence[Thing], change: Change) -> None:
    """Let Rollouts go over their steps, where people approved that; only after they have seen the new template, which
    would wipe it."""
    approved = {unblocked(e) for e in change.effects if e.what.endswith(PROMOTE)}
    for t in waiting:
        if t.place in approved:
            try:
                await ctx.ports.kubernetes.promote(t.place)
            except (Unreachable, Changed) as error:
                raise Retryable(str(error), after=LOOK) from error
            except Denied as error:
                name = t.facts.get("rollout") or t.place.name
                raise Fatal(f"{t.place}: {error}", f"kubectl argo rollouts promote {name} --full") from error


async def _unblock(ctx: Ctx, there: Mapping[Place, Hindrance | None], change: Change) -> None:
    """Delete the pods that their controller never replaces, where people approved that."""
    approved = {unblocked(e) for e in change.effects if e.what.endswith(UNBLOCK)}
    for place, found in there.items():
        for pod in (found or FREE).blocking if place in approved else ():
            try:
                await ctx.ports.kubernetes.delete_pod(place, pod)
            except (Unreachable, Changed) as error:
                raise Retryable(str(error), after=LOOK) from error
            except Denied as error:
                raise Fatal(f"{place}: {error}", f"kubectl delete pod {pod}; or give the bot the right") from error


async def _lasts(ctx: Ctx, place: Place, found: Hindrance | None) -> bool:
    """Whether something that does not pass by itself has been there for longer than is usual."""
    if found is None or not found.lasting:
        return False
    return (ctx.now - await first_seen(ctx, f"stuck {place}")).total_seconds() >= PATIENCE


async def _gives_up(ctx: Ctx, clusters: Collection[str]) -> bool:
    """Once: whoever tries again has repaired something, and what was repaired gets the step's whole time to show."""
    return await first_time(ctx, f"gave up on {names(clusters)}")


def _failure(place: Place, r: Rollout, found: Hindrance | None) -> str:
    why = " — ".join(word for word in (r.failed, found.why if found is not None else "") if word)
    ready = min(r.updated, r.ready) if found is not None and found.nodes else r.fresh  # none is ready there
    return f"{place}: {ready} of {r.wanted} pods ready, {why}"


# -- words -------------------------------------------------------------------------------------------------------------


def finished(clusters: Collection[str]) -> str:
    """What begins a sentence about the rest."""
    return f"{names(clusters)} done; " if clusters else ""
