"""Bring every workload of the target release, and the service's settings, back to where the release had them.

The step states an end for all it is about: each workload that the target's record knows or that holds an image of it
or of a removed release, in every cluster of the catalogue, with its whole pod template, and each key of the service's
ConfigMaps. Images are found by digest, wherever they run: API, workers, CronJobs, canary, an idle colour.

Invariants:
- one read and one patch a workload, over exactly what was approved; what others have set since is not touched, but
  for strange images where the target ran: they are part of the change, and named first;
- clusters follow one another in waves, each with its settings just before its workloads; the next wave begins when
  every workload of the release in the one before runs complete, whatever is left to write;
- what could not be reached is never taken for done: what can be done beside it in its wave is, then it is named, and
  the next wave waits until people go on without it;
- a pod that its controller never replaces is deleted only where people approved that;
- a value that looks like a secret is left, and named as what is not restored; the rest goes on.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Edit,
    Effect,
    Fact,
    Fatal,
    Output,
    ReadCtx,
    Receipt,
    Value,
    first_time,
)
from bot.ports import Blob, Unreachable
from bot.ports.kubernetes import Cluster, Denied, Place, Rollout, Thing
from bot.workloads import rolling
from bot.workloads.ends import Ends, names
from bot.workloads.left import RIGHTS, by_hand, short, who
from bot.workloads.params import ReleaseParams
from bot.workloads.record import WHOLE, alike, whole_templates
from bot.workloads.rolling import FREE, PATIENCE, PROMOTE, UNBLOCK, hindrance, unblocked
from bot.workloads.stated import ends as ends_of
from bot.workloads.survey import Survey, survey, workloads
from bot.workloads.unseen import Unseen, unseen

ORDERED = "OrderedReady"


class ReleaseDeployParams(ReleaseParams):
    """What to put in whose place."""

    release: str = Field(description="Version of the target release.")


class ReleaseDeployOutput(Output):
    """How it runs."""

    pods: int = Field(description="Pods that run it.")
    clusters: list[str] = Field(description="Clusters in which every workload of it runs complete.")


class ReleaseDeploy(Action[ReleaseDeployParams]):
    """Puts the target's images, pod templates and settings back, in every cluster."""

    name = "release.deploy"
    needs = frozenset({"kubernetes", "blobs", "registry", "secrets"})
    duties = frozenset({"replace", "return"})
    Params = ReleaseDeployParams
    Output = ReleaseDeployOutput

    async def plan(self, ctx: ReadCtx, p: ReleaseDeployParams) -> Change:
        ends = await _ends(ctx, p)
        seen = await survey(ctx, ends)
        if seen.lost:
            raise Unreachable.of(seen.lost)
        ends = seen.end
        beside, unlisted = await _beside(ctx, seen)
        _known(seen, ends, p, beside)
        unmade = await _not_ours_to_make(ctx, seen)
        edits, changed = await rolling.as_kept(ctx, seen.edits, unmade)
        warnings = [
            *_strange(seen),
            *_unlabelled(seen),
            *(f"{each}: not changed by this" for each in beside),
            *unlisted,
            *_gone(seen, p, unmade),
            *await _missing_maps(ctx, seen),
            *_left(seen),
            *by_hand(seen.secrets),
            *_unknown(ends, p),
        ]
        effects = tuple([e async for e in _unblocking(ctx, ends, seen, changed)])
        changed |= {unblocked(e) for e in effects}
        clusters = ctx.ports.kubernetes.clusters
        if not changed:
            facts = tuple(_facts(seen, changed, clusters))
            return Change(f"{_why_nothing(ends, p, beside)}{_but(seen, beside)}", facts=facts, warnings=tuple(warnings))

        def told() -> Change:
            where = names({place.cluster for place in changed})
            return Change(
                f"{names({place.name for place in changed})} in {where} to {p.release}{_but(seen, beside)}",
                edits,
                effects,
                facts=tuple(_facts(seen, changed, clusters)),
                warnings=(*warnings, *_warnings(seen, changed, p)),
                within=_wave_by_wave(seen, changed, clusters, lambda r: r.limit),
                lasts=_lasts(seen, changed, clusters),
            )

        return await asyncio.to_thread(told)  # of thousands of workloads: the loop goes on meanwhile

    async def observe(self, ctx: ReadCtx, p: ReleaseDeployParams, targets: Collection[str]) -> Mapping[str, Value]:
        ends = await _ends(ctx, p)
        found = await rolling.at(ctx, {Place.of(t) for t in targets})
        return {t: await rolling.seen_at(ctx, ends, found[Place.of(t)], t) for t in targets}

    async def apply(self, ctx: Ctx, p: ReleaseDeployParams, change: Change) -> Receipt:
        ends = await _ends(ctx, p)
        ours = {Place.of(e.target).cluster for e in change.edits} | {unblocked(e).cluster for e in change.effects}
        if strangers := ours - {c.name for c in ctx.ports.kubernetes.clusters}:
            raise Fatal(f"{names(strangers)}: not in the catalogue any more", "put it back there, or skip this step")
        forward = _forward(change, ends)
        done: set[str] = set()
        pods = 0
        for wave in _waves(ctx.ports.kubernetes.clusters):
            clusters = [name for name in wave if forward or name in ours]
            rolled, lost = await _wave(ctx, ends, clusters, change, forward)
            pods += await rolling.complete(ctx, rolled, change, done)
            done |= set(clusters) - lost.keys()
            if lost:
                raise Unreachable(f"{rolling.finished(done)}{Unreachable.of(lost)}", lost)
        detail = f"{change.summary}, {pods} of {pods} pods ready" if pods else change.summary
        return Receipt(detail, output={"pods": pods, "clusters": [*sorted(done)]})


async def _ends(ctx: ReadCtx, p: ReleaseDeployParams) -> Ends:
    return await ends_of(ctx, p.images, p.outgoing, p.settings, p.last)


async def _beside(ctx: ReadCtx, seen: Survey) -> tuple[Sequence[Unseen], Sequence[str]]:
    """What runs what is removed and is nothing that this changes; and what is not known of it."""
    try:
        return await unseen(ctx, seen), ()
    except Denied as error:
        return (), (f"whether pods of no workload run what is removed is not known: {error}; {RIGHTS}",)


async def _not_ours_to_make(ctx: ReadCtx, seen: Survey) -> Collection[Place]:
    """What is gone and the bot has no right to bring back."""
    clusters = sorted({place.cluster for place, _ in seen.gone})
    rights = await asyncio.gather(*map(ctx.ports.kubernetes.missing_rights, clusters))
    missing = {name: tuple(lacks) for name, lacks in zip(clusters, rights, strict=True)}
    return [p for p, _ in seen.gone if any(r.startswith(f"create {p.kind}s.") for r in missing[p.cluster])]


# -- workloads that need more than their template, and how long it takes ---------------------------------------------


async def _unblocking(ctx: ReadCtx, ends: Ends, seen: Survey, changed: Collection[Place]) -> AsyncIterator[Effect]:
    """What is done to Rollouts, which stop at steps, and to StatefulSets, which wait for a pod that they never
    replace."""
    for t in (d.thing for d in seen.workloads):
        if t.place.kind == "rollout" or "rollout" in t.facts:
            arrived = t.rollout is None or t.rollout.arrived
            if t.place in changed or (ends.holds(t) and not arrived):
                yield Effect(f"{t.place}{PROMOTE}", "repeat")
        if t.place.kind != "statefulset" or t.facts.get("order", ORDERED) != ORDERED or t.rollout is None:
            continue
        if t.facts.get("strategy") == "OnDelete":
            continue
        stands = ends.holds(t) and not t.rollout.complete and (await hindrance(ctx, t.place) or FREE).blocking
        if t.place in changed or stands:
            yield Effect(f"{t.place}{UNBLOCK}", "repeat")


def _lasts(seen: Survey, changed: Collection[Place], clusters: Sequence[Cluster]) -> tuple[float, float]:
    """Seconds that it takes by the workloads' own pace while all goes well, at least and at most."""
    least, most = (_wave_by_wave(seen, changed, clusters, of) for of in (lambda r: r.least, lambda r: r.lasts))
    return least, most


def _wave_by_wave(
    seen: Survey, changed: Collection[Place], clusters: Sequence[Cluster], of: Callable[[Rollout], float]
) -> float:
    """Seconds for all waves, each as long as its slowest workload."""
    return sum(_slowest(seen, changed, wave, of) for wave in _waves(clusters))


def _slowest(seen: Survey, changed: Collection[Place], wave: Collection[str], of: Callable[[Rollout], float]) -> float:
    ours = (d.thing for d in seen.workloads if d.place in changed and d.place.cluster in wave)
    return max((of(t.rollout) for t in ours if t.rollout is not None and t.rollout.wanted), default=0.0)


def _waves(clusters: Sequence[Cluster]) -> list[list[str]]:
    return [[c.name for c in wave] for _, wave in groupby(clusters, key=lambda c: c.wave)]


# -- making it so ----------------------------------------------------------------------------------------------------


def _forward(change: Change, ends: Ends) -> bool:
    """Whether the change leads to the target, not back from it."""
    if any("/image/" in e.target for e in change.edits):
        return any(e.after in ends.images.values() for e in change.edits)
    return not any(_was_right(e, ends) for e in change.edits)


def _was_right(e: Edit, ends: Ends) -> bool:
    """Whether an edit leads away from what the target served with."""
    place = Place.of(e.target)
    name = e.target.removeprefix(place.target(""))
    if name == WHOLE:
        return e.before is not None
    return not isinstance(e.before, Blob) and alike(e.before, ends.to.at(place).get(name), name)


async def _wave(
    ctx: Ctx, ends: Ends, clusters: Sequence[str], change: Change, forward: bool
) -> tuple[list[Thing], dict[str, str]]:
    """Write what is not there yet in these clusters: what is to be waited for there, and cluster -> why it could not be
    reached. Forwards that is every workload of the release, backwards what the change is about."""
    lost: dict[str, str] = {}
    rolled: list[Thing] = []
    again = not change.is_noop and not await first_time(ctx, f"began {names(clusters)}")
    for name in clusters:
        ours = [e for e in change.edits if Place.of(e.target).cluster == name]
        waited = {place for e in change.effects if (place := unblocked(e)).cluster == name}
        changed = {Place.of(e.target) for e in ours} | waited
        try:
            there: dict[Place, Thing | None] = {t.place: t for t in await workloads(ctx, name)} if forward else {}
            there = {**await rolling.at(ctx, changed - there.keys()), **there}
            there |= {t.place: t for t in await rolling.write(ctx, ends, ours, there, again=again)}
        except Unreachable as error:
            lost[name] = str(error).removeprefix(f"{name}: ")
            continue
        rolled += [t for t in there.values() if t is not None and (t.place in changed or (forward and ends.holds(t)))]
    return rolled, lost


# -- words -----------------------------------------------------------------------------------------------------------


def _known(seen: Survey, ends: Ends, p: ReleaseDeployParams, beside: Sequence[Unseen]) -> None:
    """Fatal where nothing of the release and of what is removed runs: there is nothing to go by."""
    if not ends.instead or any(d.ours for d in seen.workloads):
        return
    if beside:
        todo = f"bring {p.release} back where that is deployed from, or skip this step"
        raise Fatal("; ".join(map(str, beside)), todo)
    images = {image for d in seen.workloads for image in d.thing.images.values()}
    found = ", ".join(sorted(images)[:4]) or "no workloads"
    raise Fatal(f"neither the removed release nor {p.release} runs: found {found}", "check which release is out there")


def _why_nothing(ends: Ends, p: ReleaseDeployParams, beside: Sequence[Unseen]) -> str:
    if not ends.instead:
        return f"{p.release} has the same images as what is removed"
    what = "no workload that the bot changes" if beside else "nothing"
    return f"{what} runs what is removed any more; {p.release} is there already"


def _facts(seen: Survey, changed: Collection[Place], clusters: Sequence[Cluster]) -> Iterator[Fact]:
    things = [d.thing for d in seen.workloads if d.place in changed]
    if things:
        yield Fact("pods", sum(t.rollout.wanted for t in things if t.rollout))
    if any(t.rollout is not None and t.rollout.settle for t in things):
        yield Fact("takes up to", math.ceil(_lasts(seen, changed, clusters)[1] / 60), "min")
    if right := sum(d.ours and d.place not in changed for d in seen.workloads):
        yield Fact("as they should be already", right, "workload" if right == 1 else "workloads")
    if seen.gone:
        yield Fact("gone", names(str(place) for place, _ in seen.gone))
    for d in seen.settings:
        yield from (Fact(f"left alone: {short(left.target)}", left.why) for left in d.left if not left.secret)


def _strange(seen: Survey) -> Iterator[str]:
    for d in seen.workloads:
        for e in d.strange:
            name = e.target.removeprefix(d.place.target(""))
            yield f"{d.place} runs {e.before}, which is neither release's, {who(d.thing, name)}: this ends it"


def _unlabelled(seen: Survey) -> Iterator[str]:
    for place in seen.unlabelled:
        yield f"{place} does not carry the service's label, and runs what is removed: it is part of this"


def _gone(seen: Survey, p: ReleaseDeployParams, unmade: Collection[Place]) -> Iterator[str]:
    whole = (e.target for e in (seen.edits if seen.gone else ()) if e.target.endswith(f"/{WHOLE}"))
    back = {Place.of(target) for target in whole}
    for place, _ in seen.gone:
        if place in back and place in unmade:
            what = f"{p.release} had it, and the bot may not create a {place.kind} there (docs/kubernetes.md)"
            todo = (
                "bring it back from Git (kubectl apply -f …), or give the bot the right; nothing is verified without it"
            )
            yield f"{place} is gone: {what}; {todo}"
        elif place in back:
            yield f"{place} is gone: it comes back as {p.release} had it"
        else:
            yield f"{place} is gone: {p.release} had it, but not all of it is recorded; bring it back from Git"


def _but(seen: Survey, beside: Sequence[Unseen]) -> str:
    """What is not done by this, so that nothing says that all is restored."""
    differ = sum(not left.unknown for left in seen.secrets)
    words = [f"{names({each.name for each in beside})}, under what the bot does not change"] if beside else []
    words += [f"{differ} with a secret, by hand"] if differ else []
    words += ["those with secrets, not known"] if len(seen.secrets) > differ else []
    return f", but for {' and '.join(words)}" if words else ""


def _left(seen: Survey) -> Iterator[str]:
    for d in seen.workloads:
        yield from (f"left alone: {left.target}, {left.why}" for left in d.left if not left.secret)


def _unknown(ends: Ends, p: ReleaseDeployParams) -> Iterator[str]:
    if not ends.to.places:
        yield (
            f"what {p.release} served with is not recorded: only images go back, settings stay as they are, and a "
            "workload that is gone is not missed"
        )
        return
    if not any(whole_templates(fields) for _, fields in ends.to.workloads):
        yield f"of the pod templates of {p.release} only images and variables are recorded: the rest stays as it is"
    if unknown := [r.version for r in p.outgoing if r.settings is None]:
        yield (
            f"what {names(unknown)} came with is not recorded: a setting is taken for its own where whoever put its "
            "images there has set it"
        )


def _warnings(seen: Survey, changed: Collection[Place], p: ReleaseDeployParams) -> Iterator[str]:
    replaced = {d.place.cluster for d in seen.workloads if d.place in changed}
    if alone := {place.cluster for place in changed if place.kind == "configmap"} - replaced:
        yield f"no pod is replaced in {names(alone)}: what reads its settings at its start keeps the old ones"
    for d in seen.workloads:
        t = d.thing
        for container in d.orphans:
            what = f"{t.place} ({container}) runs an image of the removed release"
            yield f"{what} that {p.release} has none for: left as it is"
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


async def _missing_maps(ctx: ReadCtx, seen: Survey) -> list[str]:
    """ConfigMaps that come back into a template and are not there any more."""
    wanted: dict[Place, str] = {}
    for d in seen.workloads:
        for e in d.edits:
            wanted |= {Place(d.place.cluster, "configmap", name): str(d.place) for name in _maps(e.after)}
    try:
        found = await asyncio.gather(*map(ctx.ports.kubernetes.get, wanted))
    except (Denied, Unreachable) as error:
        return [f"whether {names(map(str, wanted))} is there is not known: {error}"]
    return [
        f"{place} is gone, and {of} reads it in this release: its pods cannot start before somebody brings it back"
        for (place, of), thing in zip(wanted.items(), found, strict=True)
        if thing is None
    ]


def _maps(value: Value) -> Iterator[str]:
    """Names of the ConfigMaps that a part of a pod template needs."""
    if isinstance(value, list):
        for each in value:
            yield from _maps(each)
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("configMapRef", "configMapKeyRef", "configMap") and isinstance(inner, dict):
                yield from () if inner.get("optional") else (str(inner.get("name")),)
            elif key == "configmap" and isinstance(inner, str) and not value.get("optional"):
                yield inner
            else:
                yield from _maps(inner)
