"""Put the target release back on every workload that holds an image of the removed one, in every cluster.

Images are found by digest, wherever they run: API, workers, CronJobs, canary, an idle colour. Environment variables
of the pod template that the removed release changed, and that still hold its value, travel in the same patch.

Invariants:
- one read and one patch a workload, over exactly what was approved; what others have changed since is not touched;
- clusters follow one another in waves; the next begins when every pod of the wave before runs the new template;
- what could not be reached is never taken for done: the step ends by naming it;
- what keeps pods from coming stands in the progress line; a pod that its controller never replaces is deleted only
  where people approved that, else the step ends by naming the remedy;
- what a controller of its own puts back is written again a few times, never for ever.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from pydantic import Field

from bot.contract import (
    INLINE_LIMIT,
    Action,
    Change,
    Ctx,
    Edit,
    Effect,
    Fact,
    Fatal,
    Json,
    NotYet,
    Outgoing,
    Params,
    ReadCtx,
    Receipt,
    Retryable,
    Value,
    canonical,
)
from bot.ports import Blob, Unreachable
from bot.ports.kubernetes import (
    WORKLOADS,
    Changed,
    Cluster,
    Denied,
    Hindrance,
    Kind,
    Place,
    Rollout,
    Thing,
    digest,
    value_at,
)

PATIENCE = 60.0
"""Seconds that something lasting may keep pods from running before the step gives up."""
UNBLOCK = ": delete pods that are not ready and run another template (OrderedReady replaces none of them)"
"""How the effect on a StatefulSet ends, whose place stands before it."""
ROUNDS = 3
"""How often a workload is written that somebody puts back each time."""
LOOK = 2.0
"""Seconds between two looks at a rollout."""
_RIGHTS = "give the bot the right, or lift what forbids it; then try again"

Settings = Mapping[str, Json]
Snapshots = tuple[Sequence[Settings], Settings]
"""What the outgoing releases served with, and what the target did."""
Asked = dict[Place, Thing | None]
ORDERED = "OrderedReady"
FREE = Hindrance("")
"""Nothing stands in the way."""


class ReleaseDeployParams(Params):
    """What to put in whose place."""

    release: str = Field(description="Version of the target release.")
    images: dict[str, str] = Field(description="The target's images by digest, by workload.")
    outgoing: list[Outgoing] = Field(description="The releases that have to go, with their images and settings.")
    settings: Blob | None = Field(None, description="The target's settings, as they were when it served.")

    @property
    def instead(self) -> dict[str, dict[str, str]]:
        """Digest of an outgoing image -> the target's images by workload; only where they differ."""
        found: dict[str, dict[str, str]] = {}
        for name, image in self._removed:
            if name in self.images and digest(self.images[name]) != digest(image):
                found.setdefault(digest(image), {})[name] = self.images[name]
        return found

    @property
    def orphans(self) -> frozenset[str]:
        """Digests of outgoing images that the target has none for."""
        good = {digest(image) for image in self.images.values()}
        return frozenset(digest(image) for _, image in self._removed) - good - self.instead.keys() - {""}

    @property
    def _removed(self) -> list[tuple[str, str]]:
        return [pair for release in self.outgoing for pair in release.images.items()]


@dataclass(frozen=True, slots=True)
class Seen:
    """The workloads of the clusters that answered; lost: cluster -> why it did not."""

    things: Sequence[Thing]
    lost: Mapping[str, str]


class ReleaseDeploy(Action[ReleaseDeployParams]):
    """Puts the target's images, and their settings, on every workload that holds a removed one."""

    name = "release.deploy"
    needs = frozenset({"kubernetes", "blobs"})
    Params = ReleaseDeployParams

    async def plan(self, ctx: ReadCtx, p: ReleaseDeployParams) -> Change:
        if not p.instead:
            return Change(f"{p.release} has the same images as what is removed")
        snapshots = await _snapshots(ctx, p)
        seen = await _survey(ctx)
        edits: list[Edit] = []
        left: list[str] = []
        for thing in seen.things:
            images, (settings, others) = list(_images(thing, p)), _settings(thing, p, snapshots)
            edits += [*images, *_unpaused(thing, [*images, *settings]), *settings]
            left += others
        changed = {Place.of(e.target) for e in edits}
        effects = tuple([e async for e in _unblocking(ctx, seen.things, changed, p)])
        changed |= {_unblocked(e) for e in effects}
        if seen.lost and not changed:
            raise Unreachable(f"{_lost(seen.lost)}; nothing else is left to do")
        if not changed:
            return Change(_why_nothing(seen.things, p), warnings=tuple(left))
        where = _names({place.cluster for place in changed})
        return Change(
            f"{_names({place.name for place in changed})} in {where} to {p.release}",
            tuple(edits),
            effects,
            facts=tuple(_facts(seen, changed, ctx.ports.kubernetes.clusters)),
            warnings=(*_warnings(seen, changed, p), *left, *_unknown(p)),
            within=_limit(seen, changed, ctx.ports.kubernetes.clusters),
        )

    async def observe(self, ctx: ReadCtx, p: ReleaseDeployParams, targets: Collection[str]) -> Mapping[str, Value]:
        found = await _now(ctx, {Place.of(t) for t in targets})
        return {t: value_at(found[Place.of(t)], t) for t in targets}

    async def apply(self, ctx: Ctx, p: ReleaseDeployParams, change: Change) -> Receipt:
        ours = {Place.of(e.target).cluster for e in change.edits} | {_unblocked(e).cluster for e in change.effects}
        known = {c.name for c in ctx.ports.kubernetes.clusters}
        if gone := ours - known:
            raise Fatal(f"{_names(gone)}: not in the catalogue any more", "put it back there, or skip this step")
        done: set[str] = set()
        lost: dict[str, str] = {}
        pods = 0
        for _, wave in groupby(ctx.ports.kubernetes.clusters, key=lambda c: c.wave):
            names = [c.name for c in wave if c.name in ours]
            away, ready = await _wave(ctx, names, change, done)
            lost, pods = lost | away, pods + ready
            done |= set(names) - lost.keys()
        if lost:
            raise Retryable(f"{_done(done)}{_lost(lost)}; try again when it is back", after=10)
        if any(e.after in p.images.values() for e in change.edits):
            await _nothing_left(ctx, p, done)
        return Receipt(f"{change.summary}, {pods} of {pods} pods ready" if pods else change.summary)


# -- what there is ---------------------------------------------------------------------------------------------------


async def _survey(ctx: ReadCtx) -> Seen:
    """The workloads of all clusters. Fatal where a cluster does not let us look."""
    names = [c.name for c in ctx.ports.kubernetes.clusters]
    answers = dict(zip(names, await asyncio.gather(*(_list(ctx, name) for name in names)), strict=True))
    lost = {name: str(answer) for name, answer in answers.items() if isinstance(answer, Unreachable)}
    return Seen([t for a in answers.values() if not isinstance(a, Unreachable) for t in a], lost)


async def _list(ctx: ReadCtx, cluster: str) -> Sequence[Thing] | Unreachable:
    try:
        found = await asyncio.gather(*(ctx.ports.kubernetes.list(cluster, kind) for kind in WORKLOADS))
    except Unreachable as error:
        return error
    except Denied as error:
        raise Fatal(str(error), _RIGHTS) from error
    return [thing for things in found for thing in things]


async def _now(ctx: ReadCtx, places: Collection[Place]) -> Asked:
    """These objects as they are: a lone one is asked for itself, several of a kind by one list. Unreachable."""
    groups: dict[tuple[str, Kind], list[Place]] = {}
    for place in sorted(places, key=str):
        groups.setdefault((place.cluster, place.kind), []).append(place)

    async def ask(cluster: str, kind: Kind, wanted: Sequence[Place]) -> Asked:
        if len(wanted) == 1:
            return {wanted[0]: await ctx.ports.kubernetes.get(wanted[0])}
        listed = {t.place: t for t in await ctx.ports.kubernetes.list(cluster, kind)}
        return {place: listed.get(place) for place in wanted}

    try:
        answers = await asyncio.gather(*(ask(*group, wanted) for group, wanted in groups.items()))
    except Denied as error:
        raise Fatal(str(error), _RIGHTS) from error
    return {place: thing for answer in answers for place, thing in answer.items()}


async def _snapshots(ctx: ReadCtx, p: ReleaseDeployParams) -> Snapshots:
    """What the outgoing releases and the target served with; nothing where it is not known."""
    outgoing = [release.settings for release in p.outgoing if release.settings is not None]
    if p.settings is None or not outgoing:
        return (), {}
    try:
        *was, to = [json.loads(await ctx.ports.blobs.get(blob)) for blob in (*outgoing, p.settings)]
    except (KeyError, ValueError) as error:
        hint = "look after what ROLLBACK_BLOBS_URL names, then try again"
        raise Fatal(f"the recorded settings of a release cannot be read: {error}", hint) from error
    return tuple(was), to


# -- what would change -----------------------------------------------------------------------------------------------


def _images(thing: Thing, p: ReleaseDeployParams) -> Iterator[Edit]:
    for field, image in thing.fields.items():
        if field.startswith("image/") and (news := p.instead.get(digest(str(image)))):
            yield Edit(thing.place.target(field), image, _chosen(thing, field, news))


def _chosen(thing: Thing, field: str, news: Mapping[str, str]) -> str:
    """The target's image for a container; by names where what was one image has become several. Fatal."""
    container = field.removeprefix("image/")
    called = {image for name, image in news.items() if name in (container, thing.place.name)}
    found = called if len(set(news.values())) > 1 else {*news.values()}
    if len(found) != 1:
        what = f"{thing.place} ({container}) runs what is several images in the target: {_names(news)}"
        raise Fatal(what, "name the workloads of the releases as they are called in the cluster")
    return found.pop()


def _unpaused(thing: Thing, edits: Sequence[Edit]) -> Iterator[Edit]:
    """A paused rollout would take the new template and never roll."""
    if edits and thing.fields.get("paused"):
        yield Edit(thing.place.target("paused"), True, None)


def _settings(thing: Thing, p: ReleaseDeployParams, snapshots: Snapshots) -> tuple[list[Edit], list[str]]:
    """What outgoing releases changed in the pod template and still stands, and what others have changed since.

    Only of workloads that run one of the releases and that the snapshots know.
    """
    ours = p.instead.keys() | {digest(image) for image in p.images.values()}
    runs = any(digest(str(v)) in ours for f, v in thing.fields.items() if f.startswith("image/"))
    root = thing.place.target("")
    was = [known for snapshot in snapshots[0] if (known := {t: v for t, v in snapshot.items() if t.startswith(root)})]
    to = {t: v for t, v in snapshots[1].items() if t.startswith(root)}
    if not (runs and was and to):
        return [], []
    edits, left = [], []
    changed = (t for t in to.keys() | set().union(*was) if any(w.get(t) != to.get(t) for w in was))
    for target in sorted(t for t in changed if t.startswith(f"{root}env/")):
        field = target.removeprefix(root)
        now, then = thing.fields.get(field), to.get(target)
        large = max(len(canonical(v).encode()) for v in (now, then)) > INLINE_LIMIT
        if now == then:
            continue
        if any(now == w.get(target) for w in was) and not large:
            edits.append(Edit(target, now, then))
        else:
            left.append(f"left alone: {target}, {'above 4 KiB' if large else _changed(thing, field)}")
    return edits, left


async def _unblocking(ctx: ReadCtx, things: Sequence[Thing], changed: Collection[Place], p: ReleaseDeployParams
                      ) -> AsyncIterator[Effect]:  # fmt: skip
    """What is done to StatefulSets whose controller waits for a pod that it never replaces."""
    good = {digest(image) for image in p.images.values()}
    for t in things:
        if t.place.kind != "statefulset" or t.facts.get("order", ORDERED) != ORDERED or t.rollout is None:
            continue
        if t.facts.get("strategy") == "OnDelete":
            continue
        there = any(digest(str(v)) in good for f, v in t.fields.items() if f.startswith("image/"))
        stands = there and not t.rollout.complete and (await _hindrance(ctx, t.place) or FREE).blocking
        if t.place in changed or stands:
            yield Effect(f"{t.place}{UNBLOCK}", "repeat")


def _unblocked(effect: Effect) -> Place:
    """The StatefulSet that an effect is about."""
    return Place.of(effect.what.removesuffix(UNBLOCK))


def _limit(seen: Seen, changed: Collection[Place], clusters: Sequence[Cluster]) -> float:
    """Seconds after which all waves are late by the workloads' own terms."""
    return sum(_slowest(seen, changed, names, lambda r: r.limit) for names in _waves(clusters))


def _slowest(seen: Seen, changed: Collection[Place], names: Collection[str], of: Callable[[Rollout], float]) -> float:
    ours = (t for t in seen.things if t.place in changed and t.place.cluster in names)
    return max((of(t.rollout) for t in ours if t.rollout is not None and t.rollout.wanted), default=0.0)


def _waves(clusters: Sequence[Cluster]) -> list[list[str]]:
    return [[c.name for c in wave] for _, wave in groupby(clusters, key=lambda c: c.wave)]


def _facts(seen: Seen, changed: Collection[Place], clusters: Sequence[Cluster]) -> Iterator[Fact]:
    yield Fact("pods", sum(t.rollout.wanted for t in seen.things if t.rollout and t.place in changed))
    if any(t.rollout is not None and t.rollout.settle for t in seen.things if t.place in changed):
        lasts = sum(_slowest(seen, changed, names, lambda r: r.lasts) for names in _waves(clusters))
        yield Fact("takes up to", math.ceil(lasts / 60), "min")
    if seen.lost:
        yield Fact("not reached", _names(seen.lost))


def _warnings(seen: Seen, changed: Collection[Place], p: ReleaseDeployParams) -> Iterator[str]:
    for cluster, why in seen.lost.items():
        yield f"{cluster} cannot be reached ({why}): not part of this, it is asked for when it is back"
    for t in seen.things:
        if any(digest(str(v)) in p.orphans for f, v in t.fields.items() if f.startswith("image/")):
            yield f"{t.place} runs an image of the removed release that {p.release} has none for: left as it is"
        if t.place not in changed or t.rollout is None:
            continue
        if owner := t.facts.get("owner"):
            yield f"{t.place} belongs to {owner}, which may put it back: then change it there"
        if t.rollout.settle >= PATIENCE:
            yield (f"{t.place}: each pod must be ready for {t.rollout.settle:g} s before it counts, "
                   f"{t.rollout.at_once} at a time")  # fmt: skip
        if t.fields.get("paused"):
            yield f"{t.place}: its rollout was paused by somebody; this lets it go on"
        elif t.facts.get("strategy") == "OnDelete":
            yield f"{t.place}: its pods change only when somebody deletes them (OnDelete)"
        elif not t.rollout.complete:
            yield f"{t.place}: a rollout is unfinished already ({t.rollout.updated} of {t.rollout.wanted} pods updated)"


def _unknown(p: ReleaseDeployParams) -> Iterator[str]:
    unknown = [r.version for r in p.outgoing if r.settings is None] if p.settings is not None else [p.release]
    if unknown:
        what = "served with are not recorded: environment variables stay as they are"
        yield f"the settings that {_names(unknown)} {what}"


def _why_nothing(things: Sequence[Thing], p: ReleaseDeployParams) -> str:
    wanted = {digest(image) for image in p.images.values()}
    images = {str(i) for t in things for f, i in t.fields.items() if f.startswith("image/")}
    if any(digest(i) in wanted for i in images):
        return f"nothing runs what is removed any more; {p.release} is there already"
    found = ", ".join(sorted(images)[:4]) or "no workloads"
    raise Fatal(f"neither the removed release nor {p.release} runs: found {found}", "check which release is out there")


# -- making it so ----------------------------------------------------------------------------------------------------


async def _wave(ctx: Ctx, clusters: Sequence[str], change: Change, done: Collection[str]) -> tuple[dict[str, str], int]:
    """Write what is not there yet in these clusters, and wait until it runs: cluster -> why it could not be reached,
    and how many pods are ready."""
    lost: dict[str, str] = {}
    things: list[Thing] = []
    again = not await _fresh(ctx, f"began {_names(clusters)}")
    for name in clusters:
        ours = [e for e in change.edits if Place.of(e.target).cluster == name]
        try:
            things += await _written(ctx, ours, again=again)
            written = {t.place for t in things}
            waited = {_unblocked(e) for e in change.effects}
            there = await _now(ctx, {place for place in waited - written if place.cluster == name})
            things += [thing for thing in there.values() if thing is not None]
        except Unreachable as error:
            lost[name] = str(error)
    return lost, await _complete(ctx, things, change, done)


async def _written(ctx: Ctx, edits: Sequence[Edit], *, again: bool) -> list[Thing]:
    """The workloads of one cluster after one patch each. again: an earlier pass wrote them. Unreachable, Retryable,
    Fatal."""
    by_place: dict[Place, list[Edit]] = {}
    for e in edits:
        by_place.setdefault(Place.of(e.target), []).append(e)
    there = await _now(ctx, by_place)
    for place, thing in there.items():
        if thing is None:
            raise Fatal(f"{place} is gone", "somebody deleted it; undo or skip this step")
        for e in by_place[place]:
            if value_at(thing, e.target) not in (e.before, e.after):
                raise Fatal(_elsewhere(thing, e), "ask who, then try again or undo")
    known = ((thing, by_place[place]) for place, thing in there.items() if thing is not None)
    return [await _write(ctx, thing, ours, again=again) for thing, ours in known]


async def _write(ctx: Ctx, thing: Thing, edits: Sequence[Edit], *, again: bool) -> Thing:
    todo = {e.target.removeprefix(thing.place.target("")): _json(e.after) for e in edits
            if value_at(thing, e.target) != e.after}  # fmt: skip
    if not todo:
        return thing
    try:
        written = await ctx.ports.kubernetes.write(thing, todo)
    except Changed as error:
        raise Retryable(str(error), after=1) from error
    except Denied as error:
        raise Fatal(f"{thing.place}: {error}", _RIGHTS) from error
    if again:
        await _no_war(ctx, thing, next(iter(todo)))
    return written


async def _no_war(ctx: Ctx, thing: Thing, field: str) -> None:
    """Fatal where this workload, written in an earlier pass, has been put back too often."""
    n = 1
    while not await _fresh(ctx, f"{thing.place} put back {n}"):
        n += 1
    if n % ROUNDS == 0:
        owner = thing.facts.get("owner")
        who = f"its owner {owner} puts it back" if owner else f"it is put back each time, {_changed(thing, field)}"
        where = f"change {owner}" if owner else "end what writes it"
        raise Fatal(f"{thing.place}: {who}, {n} times so far", f"{where}, then try again")


async def _fresh(ctx: Ctx, name: str) -> bool:
    """Whether this is marked for the first time in this application."""
    marked = False

    async def mark() -> Json:
        nonlocal marked
        marked = True
        return True

    await ctx.once(name, mark)
    return marked


def _changed(thing: Thing, field: str) -> str:
    by = thing.by.get(field)
    return f"changed by {by.manager} at {by.at:%H:%M} UTC" if by is not None else "changed by somebody else"


def _elsewhere(thing: Thing, e: Edit) -> str:
    who = _changed(thing, e.target.removeprefix(thing.place.target("")))
    return f"{e.target} is {value_at(thing, e.target)}, neither {e.before} nor {e.after}; {who}"


async def _complete(ctx: Ctx, things: Sequence[Thing], change: Change, done: Collection[str]) -> int:
    """How many pods run the new template; NotYet with live numbers before all do, Fatal where one will not."""
    rolling = [(t, t.rollout) for t in things if t.rollout is not None and not t.fields.get("paused")]
    waiting = [(t, r) for t, r in rolling if not r.complete]
    if not waiting:
        return sum(r.wanted for _, r in rolling)
    seen = [t.place for t, r in waiting if r.seen]
    there = dict.fromkeys(t.place for t, _ in waiting) | dict(
        zip(seen, await asyncio.gather(*(_hindrance(ctx, place) for place in seen)), strict=True)
    )
    await _unblock(ctx, there, change)
    failed = [(t, r) for t, r in waiting if r.failed or await _lasts(ctx, t.place, there[t.place])]
    if failed and await _gives_up(ctx, {t.place.cluster for t, _ in failed}):
        words = [_failure(t.place, r, there[t.place]) for t, r in failed]
        nodes = sorted({n for t, _ in failed for n in (there[t.place] or FREE).nodes})
        hint = "repair the cause and try again, or undo"
        if nodes and all((there[t.place] or FREE).nodes for t, _ in failed):
            hint = f"accept it as it is where {', '.join(nodes)} may stay behind, or try again when it is back"
        raise Fatal(f"{_done(done)}{'; '.join(words)}", hint)
    wanted, ready = sum(r.wanted for _, r in rolling), sum(min(r.fresh, r.wanted) for _, r in rolling)
    where = _names({t.place.cluster for t, _ in waiting})
    said = (h.why if place.name in h.why else f"{place.name}: {h.why}" for place, h in there.items() if h is not None)
    why = next((f"; {words}" for words in said), "")
    raise NotYet(f"{ready} of {wanted} pods ready, {where}{why}", after=LOOK, done=ready, total=wanted)


async def _hindrance(ctx: ReadCtx, place: Place) -> Hindrance | None:
    """What keeps the newest template from running, as far as can be seen."""
    try:
        return await ctx.ports.kubernetes.hindrance(place, ctx.now)
    except (Unreachable, Denied):
        return None


async def _unblock(ctx: Ctx, there: Mapping[Place, Hindrance | None], change: Change) -> None:
    """Delete the pods that their controller never replaces, where people approved that."""
    approved = {_unblocked(e) for e in change.effects}
    for place, hindrance in there.items():
        for pod in (hindrance or FREE).blocking if place in approved else ():
            try:
                await ctx.ports.kubernetes.delete_pod(place, pod)
            except (Unreachable, Changed) as error:
                raise Retryable(str(error), after=LOOK) from error
            except Denied as error:
                raise Fatal(f"{place}: {error}", f"kubectl delete pod {pod}; or give the bot the right") from error


async def _lasts(ctx: Ctx, place: Place, hindrance: Hindrance | None) -> bool:
    """Whether something that does not pass by itself has been there for longer than is usual."""
    if hindrance is None or not hindrance.lasting:
        return False
    return (ctx.now - await _first(ctx, f"stuck {place}")).total_seconds() >= PATIENCE


async def _gives_up(ctx: Ctx, clusters: Collection[str]) -> bool:
    """Once: whoever tries again has repaired something, and what was repaired gets the step's whole time to show."""
    return await _first(ctx, f"gave up on {_names(clusters)}") == ctx.now


async def _first(ctx: Ctx, what: str) -> datetime:
    """When this was seen first."""

    async def now() -> Json:
        return ctx.now.isoformat()

    return datetime.fromisoformat(str(await ctx.once(what, now)))


def _failure(place: Place, r: Rollout, hindrance: Hindrance | None) -> str:
    why = " — ".join(word for word in (r.failed, hindrance.why if hindrance is not None else "") if word)
    ready = min(r.updated, r.ready) if hindrance is not None and hindrance.nodes else r.fresh  # none is ready there
    return f"{place}: {ready} of {r.wanted} pods ready, {why}"


async def _nothing_left(ctx: ReadCtx, p: ReleaseDeployParams, done: Collection[str]) -> None:
    """Forwards only: nothing of the removed release may run, wherever it came from meanwhile."""
    seen = await _survey(ctx)
    if seen.lost:
        raise Fatal(f"{_names(done)} on {p.release}; {_lost(seen.lost)}", "try again when it is back")
    if left := [str(t.place) for t in seen.things if any(_images(t, p))]:
        raise Fatal(f"the removed release still runs as {_names(left)}", "try again: it is planned and asked for anew")


# -- words -----------------------------------------------------------------------------------------------------------


def _json(value: Value) -> Json:
    if isinstance(value, Blob):
        raise Fatal("a variable above 4 KiB is not carried by this step", "put it back by hand, then adopt the step")
    return value


def _done(clusters: Collection[str]) -> str:
    return f"{_names(clusters)} done; " if clusters else ""


def _lost(lost: Mapping[str, str]) -> str:
    return "; ".join(f"{name} could not be reached ({why})" for name, why in sorted(lost.items()))


def _names(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
