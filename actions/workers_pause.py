"""Stop what may change data behind everybody's back: workers to no pods, CronJobs and ScaledJobs suspended, until it is
undone.

Invariants:
- what somebody else had paused before is no debt of ours: it is said, and left as it is in both directions;
- what KEDA scales is paused through KEDA alone, which would fight a change of its replicas; an HPA turns itself off at
  0 and needs no edit, unless it holds 0 by itself (minReplicas 0): such a 0 is no pause, so its scaling up is disabled;
- nothing is done until pods are gone and running jobs have ended, those that somebody made by hand and those that run
  removed code too: after a minute people are asked about them; an undo is done when pods are ready again;
- an autoscaler's update in flight may overwrite the pause: it is looked at once more before it counts;
- no worker is started while its template holds an image of the removed release.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import cast

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Edit,
    Fact,
    Fatal,
    Json,
    NotYet,
    Params,
    ReadCtx,
    Receipt,
    Retryable,
    Value,
    first_seen,
    first_time,
)
from bot.ports import Unreachable
from bot.ports.kubernetes import OURS, Changed, Cluster, Denied, Kind, Place, Thing, digest, value_at
from bot.ports.schedules import TOO_MANY, due

KEDA = "annotation/autoscaling.keda.sh/paused-replicas"
HELD = "annotation/autoscaling.keda.sh/paused"
"""Where somebody has told KEDA to leave the replicas as they are: then it does."""
NOT_HELD = ("0", "f", "F", "false", "FALSE", "False")
"""What KEDA reads as "not paused" there; anything else pauses."""
UP, OFF = "spec.behavior.scaleUp.selectPolicy", "Disabled"
"""What keeps an HPA from scaling up."""
JOBS_PATIENCE = 60.0
"""Seconds that running jobs are waited for before people are asked."""
SETTLED = 3.0
"""Seconds after which an autoscaler's update can no longer be in flight."""
HORIZON = timedelta(hours=1)
"""How far ahead missed runs are told."""
LONG = timedelta(hours=4)
"""A pause that long is still thought of; who misses too many runs in it is warned of."""
OLD = "before Kubernetes 1.21 it does not start again by itself then (kubernetes#45825)"


class WorkersPauseParams(Params):
    """What must not run while its workers come back."""

    banned: dict[str, list[str]] = Field({}, description="Version -> digests that no worker may come back with.")

    @property
    def bad(self) -> frozenset[str]:
        """All of those digests."""
        return frozenset(chain.from_iterable(self.banned.values()))


@dataclass(frozen=True, slots=True)
class Worker:
    """A workload of the catalogue with what scales it. None: nothing does."""

    load: Thing
    keda: Thing | None = None
    hpa: Thing | None = None

    @property
    def switch(self) -> tuple[Thing, str, Json]:
        """What pauses it: the object, its field, and the value that means paused."""
        if self.keda is not None:
            return self.keda, KEDA, "0"
        if self.load.place.kind == "scaledjob":
            return self.load, HELD, "true"
        return (self.load, "suspend", True) if self.load.place.kind == "cronjob" else (self.load, "replicas", 0)

    @property
    def waker(self) -> Thing | None:
        """The HPA that may hold it at 0 by itself, and wakes it: then 0 replicas are no pause."""
        return self.hpa if self.keda is None and self.hpa is not None and self.hpa.facts.get("min") == 0 else None

    @property
    def edits(self) -> list[Edit]:
        """What would pause it; empty where it is paused."""
        thing, field, paused = self.switch
        now = thing.fields.get(field)
        found = [] if now == paused or (field == HELD and held(thing)) else [
            Edit(thing.place.target(field), now, paused, bound=field != "replicas")
        ]  # fmt: skip
        if self.waker is not None and (policy := self.waker.fields.get(UP)) != OFF:
            found.insert(0, Edit(self.waker.place.target(UP), policy, OFF))
        return found


@dataclass(frozen=True, slots=True)
class WorkersSeen:
    """The workers of the clusters that answered; absent: catalogued and not there; lost: cluster -> why; jobs: that
    run, of these workers or with code that is removed."""

    workers: Sequence[Worker]
    absent: Sequence[str]
    lost: Mapping[str, str]
    jobs: Sequence[Thing] = ()

    def of(self, edits: Iterable[Edit]) -> list[Worker]:
        """Those that the edits pause or start."""
        places = {Place.of(e.target) for e in edits}
        return [w for w in self.workers if w.switch[0].place in places or (w.waker and w.waker.place in places)]


class WorkersPause(Action[WorkersPauseParams]):
    """Pauses the service's workers and CronJobs until it is undone."""

    name = "workers.pause"
    needs = frozenset({"kubernetes"})
    duties = frozenset({"writers"})
    temporary = True
    Params = WorkersPauseParams

    async def plan(self, ctx: ReadCtx, p: WorkersPauseParams) -> Change:
        seen = await _survey(ctx, p)
        ours = [w for w in seen.workers if w.edits]
        edits = tuple(e for w in ours for e in w.edits)
        if seen.lost and not edits:
            raise Unreachable(f"{_lost(seen.lost)}; nothing else is left to pause")
        if not edits:
            absent = f"; not found: {', '.join(seen.absent)}" if seen.absent else ""
            said = "everything is paused already" if seen.workers else "there are no workers"
            return Change(said + absent, warnings=tuple(_warnings(seen, ctx.now)))
        where = ", ".join(sorted({w.load.place.cluster for w in ours}))
        return Change(
            f"pause {_named(ours)} in {where}",
            edits,
            facts=tuple(_facts(ours, seen.jobs, ctx.now)),
            warnings=tuple(_warnings(seen, ctx.now)),
        )

    async def observe(self, ctx: ReadCtx, p: WorkersPauseParams, targets: Collection[str]) -> Mapping[str, Value]:
        places = {Place.of(t) for t in targets}
        found = dict(zip(places, await asyncio.gather(*map(ctx.ports.kubernetes.get, places)), strict=True))
        return {t: value_at(found[Place.of(t)], t) for t in targets}

    async def apply(self, ctx: Ctx, p: WorkersPauseParams, change: Change) -> Receipt:
        seen = await _survey(ctx, p)
        start = [e for e in change.edits if not _pauses(e)]
        if not ctx.insisted:
            _refuse_removed(seen.of(start), p)
        missed = await ctx.once("missed", lambda: _missed(seen.of(start), ctx.now))
        await _write_all(ctx, change.edits, seen.lost)
        seen = await _survey(ctx, p)
        if start:
            await _running(seen.of(start))
            words = map(str, missed) if isinstance(missed, list) else ()
            return Receipt("; ".join([f"{_named(seen.of(start))} go on", *words]))
        await _gone(ctx, seen.of(change.edits), seen.jobs)
        _nothing_else(seen, change)
        return Receipt(f"{_named(seen.of(change.edits))} stand still")


# -- what there is ---------------------------------------------------------------------------------------------------


async def _survey(ctx: ReadCtx, p: WorkersPauseParams) -> WorkersSeen:
    """Every catalogued worker, in all clusters at once. Fatal where a cluster does not let us look."""
    clusters = [c for c in ctx.ports.kubernetes.clusters if c.workers]
    answers = await asyncio.gather(*(_look(ctx, c) for c in clusters))
    there = [a for a in answers if not isinstance(a, Unreachable)]
    found = [pair for a in there for pair in a[0]]
    jobs = [job for a in there for job in a[1] if _concerns(job, [w for w, _ in a[0] if w is not None], p)]
    lost = {c.name: str(a) for c, a in zip(clusters, answers, strict=True) if isinstance(a, Unreachable)}
    return WorkersSeen([w for w, _ in found if w is not None], [name for w, name in found if w is None], lost, jobs)


def _concerns(job: Thing, workers: Sequence[Worker], p: WorkersPauseParams) -> bool:
    """Whether a job that runs is a worker's, made by hand from it too, or runs removed code."""
    owners, images = job.facts.get("owners"), job.facts.get("images")
    mine = {f"{w.load.place.kind}/{w.load.place.name}" for w in workers}
    theirs = isinstance(owners, list) and any(owner in mine for owner in owners)
    return job.facts.get("running") is True and (theirs or _removed(images, p))


def _removed(images: Json, p: WorkersPauseParams) -> bool:
    return isinstance(images, list) and any(digest(str(image)) in p.bad for image in images)


async def _look(
    ctx: ReadCtx, cluster: Cluster
) -> tuple[list[tuple[Worker | None, str]], Sequence[Thing]] | Unreachable:
    places = [Place.of(f"{cluster.name}/{worker}") for worker in cluster.workers]
    kinds: tuple[Kind, ...] = ("scaledobject", "hpa", "job")
    try:
        lists, loads = await asyncio.gather(
            asyncio.gather(*(ctx.ports.kubernetes.list(cluster.name, kind) for kind in kinds)),
            asyncio.gather(*map(ctx.ports.kubernetes.get, places)),
        )
    except Unreachable as error:
        return error
    except Denied as error:
        raise Fatal(f"{cluster.name}: {error}", "give the bot the right to read it, then try again") from error
    keda, hpas = ({t.facts.get("target"): t for t in things if not _idle(t)} for things in lists[:2])
    aims = [f"{place.kind}/{place.name}" for place in places]
    found: list[tuple[Worker | None, str]] = [
        (Worker(load, keda.get(aim), hpas.get(aim)) if load is not None else None, f"{cluster.name}/{aim}")
        for aim, load in zip(aims, loads, strict=True)
    ]
    return found, lists[2]


def held(scaler: Thing) -> bool:
    """Whether the annotation `paused` pauses it, as KEDA reads it."""
    value = scaler.fields.get(HELD)
    return value is not None and value not in NOT_HELD


def _idle(scaler: Thing) -> bool:
    """Whether it scales nothing, by somebody's wish."""
    return held(scaler) and KEDA not in scaler.fields


def _facts(ours: Sequence[Worker], jobs: Sequence[Thing], now: datetime) -> Iterator[Fact]:
    yield Fact("pods", sum(w.load.rollout.wanted for w in ours if w.load.rollout is not None))
    if jobs:
        yield Fact("jobs that are waited for", ", ".join(sorted(job.place.name for job in jobs)))
    for w in ours:
        if w.waker is not None:
            yield Fact(f"{w.load.place} autoscaler", "may hold 0 by itself: its scaling up is disabled")
        elif w.hpa is not None and w.keda is None:
            yield Fact(f"{w.load.place} autoscaler", f"{w.hpa.facts.get('min')} to {w.hpa.facts.get('max')}, off at 0")
    missed: dict[tuple[str, str], list[str]] = {}
    for w in ours:
        if times := _due(w.load, now, now + HORIZON):
            missed.setdefault((w.load.place.name, _runs(times)), []).append(w.load.place.cluster)
    for (name, runs), clusters in missed.items():
        yield Fact(f"{name} in {', '.join(clusters)} misses within 1 h", runs)


def _warnings(seen: WorkersSeen, now: datetime) -> Iterator[str]:
    for cluster, why in seen.lost.items():
        yield f"{cluster} cannot be reached ({why}): its workers go on, and this step stops there"
    for name in seen.absent:
        yield f"{name} is catalogued and not there: what it did may run under another name"
    for w in seen.workers:
        thing, field, _ = w.switch
        if not w.edits:
            yield f"{w.load.place} is paused already{_before_us(thing, field)}"
            continue
        times = _due(w.load, now, now + LONG)
        if len(times) > TOO_MANY:
            yield f"{w.load.place} misses more than {TOO_MANY} runs after {times[-1]:%H:%M} UTC: {OLD}"


def _before_us(thing: Thing, field: str) -> str:
    """By whom, and who starts it again."""
    by = thing.by.get(field)
    if by is not None and by.manager == OURS:
        return f" by the bot, at {by.at:%H:%M} UTC: the run that paused it starts it again"
    who = f", by {by.manager} at {by.at:%H:%M} UTC" if by is not None else ""
    return f"{who}: left alone, and not started afterwards"


def _due(load: Thing, since: datetime, until: datetime) -> Sequence[datetime]:
    """When it would have run; nothing where that cannot be computed."""
    schedule, zone = load.facts.get("schedule"), load.facts.get("time_zone")
    if not isinstance(schedule, str):
        return ()
    try:
        return due(schedule, zone if isinstance(zone, str) else None, since, until)
    except ValueError:
        return ()


async def _missed(start: Sequence[Worker], now: datetime) -> list[Json]:
    """What of CronJobs that are about to go on was missed, and what becomes of it."""
    found: list[Json] = []
    for w in start:
        last = w.load.facts.get("last_schedule")
        times = _due(w.load, datetime.fromisoformat(last), now) if isinstance(last, str) else ()
        if not times:
            continue
        patience = w.load.facts.get("starting_deadline")
        late = isinstance(patience, int) and times[-1] + timedelta(seconds=patience) < now
        if len(times) > TOO_MANY:
            found.append(f"{w.load.place} missed more than {TOO_MANY} runs; see that it starts: {OLD}")
        else:
            newest = "it starts now" if len(times) == 1 else "the newest starts now, the others are lost"
            what = "lost" if late else newest
            found.append(f"{w.load.place} missed {_runs(times)}: {what}")
    return found


# -- making it so ----------------------------------------------------------------------------------------------------


def _pauses(edit: Edit) -> bool:
    """Whether it pauses, rather than starts."""
    field = edit.target.split("/", 3)[3]
    return edit.after == {"replicas": 0, "suspend": True, KEDA: "0", HELD: "true", UP: OFF}.get(field)


def _refuse_removed(start: Sequence[Worker], p: WorkersPauseParams) -> None:
    for w in start:
        images = [*w.load.images.values()]
        images += _images_within(w.load.fields.get("spec.jobTargetRef.template.spec"))
        if held := [i for i in images if digest(i) in p.bad]:
            raise Fatal(
                f"{w.load.place} still holds {held[0]}, which is removed: not started",
                "put the target release on it first and try again; or restore once more, saying why it must start so",
            )


def _images_within(pod: Json) -> list[str]:
    """Of a pod's template, as the API has it."""
    lists = [pod.get("initContainers"), pod.get("containers")] if isinstance(pod, dict) else []
    found = [c.get("image") for each in lists if isinstance(each, list) for c in each if isinstance(c, dict)]
    return [str(image) for image in found if image]


async def _write_all(ctx: Ctx, edits: Iterable[Edit], lost: Mapping[str, str]) -> None:
    """Whatever can be reached; then Retryable if that was not everything."""
    silent: dict[str, str] = {}
    for edit in edits:
        cluster = Place.of(edit.target).cluster
        if cluster in lost:  # its templates were not looked at
            silent[cluster] = lost[cluster]
            continue
        try:
            await _write(ctx, edit)
        except Unreachable as error:
            silent[cluster] = str(error)
    if silent:
        raise Retryable(f"{_lost(silent)}; everything else is done", after=10)


async def _write(ctx: Ctx, edit: Edit) -> None:
    """What is left to do of an edit. An autoscaler may come in between: then it is read again and written over."""
    for last in (False, False, True):
        try:
            return await _write_over(ctx, edit)
        except Changed as error:
            if last or edit.bound:
                raise Retryable(str(error), after=1) from error


async def _write_over(ctx: Ctx, edit: Edit) -> None:
    """One request over what was seen. What others scaled up meanwhile is left to them when it is started again."""
    place = Place.of(edit.target)
    field = edit.target.removeprefix(f"{place}/")
    try:
        thing = await ctx.ports.kubernetes.get(place)
        if thing is None and _pauses(edit):
            return
        if thing is None:
            raise Fatal(f"{place} is gone", "somebody deleted it; accept that it is not started again")
        now = thing.fields.get(field)
        if now == edit.after or (not _pauses(edit) and edit.arrived(now)):
            return
        if edit.bound and now != edit.before:
            raise Fatal(f"{edit.target} is {now}: somebody else changed it", "ask who, then try again or undo")
        await ctx.ports.kubernetes.write(thing, {field: cast(Json, edit.after)})
    except Denied as error:
        raise Fatal(f"{place}: {error}", "give the bot the right, or lift what forbids it; then try again") from error


async def _gone(ctx: Ctx, workers: Sequence[Worker], jobs: Sequence[Thing]) -> None:
    """NotYet until no pod of theirs is left and no job runs; Fatal where only jobs are left that do not end."""
    left = await asyncio.gather(*(_alive(ctx, w) for w in workers))
    pods = {str(w.load.place): n for w, n in zip(workers, left, strict=True) if n}
    told = [await _told(ctx, job) for job in sorted(jobs, key=lambda job: str(job.place))]
    if jobs and not pods and await _waited(ctx, "jobs", JOBS_PATIENCE):
        names = " ".join(sorted(f"job/{job.place.name}" for job in jobs))
        raise Fatal(
            f"still running after {JOBS_PATIENCE:g} s: {', '.join(told)}",
            f"try again to wait on; kubectl delete {names} ends them; or accept that they run",
        )
    if pods or jobs:
        words = [f"{_count(n, 'pod')} of {place}" for place, n in pods.items()] + told
        raise NotYet(f"waiting for {', '.join(words)}", after=2)
    scaled = [w.load.place.name for w in workers if w.hpa is not None and w.keda is None]
    if scaled and not await _waited(ctx, "stood still", SETTLED):
        raise NotYet(f"looking again whether {', '.join(scaled)} stays at 0", after=SETTLED)


async def _told(ctx: Ctx, job: Thing) -> str:
    """ "job settle-29", with what keeps it where that is only a sidecar."""
    try:
        pods = await ctx.ports.kubernetes.pods(job.place)
    except (Unreachable, Denied):
        pods = []
    kept = sorted({name for pod in pods if pod.ended for name in pod.running})
    return f"job {job.place.name}" + (f" (its work has ended, only {', '.join(kept)} still runs)" if kept else "")


async def _waited(ctx: Ctx, what: str, seconds: float) -> bool:
    """Whether this has been so for that long; whoever tries again after a Fatal waits that long once more."""
    n = 0
    while True:
        mark = f"{what} {n}"
        if ctx.now - await first_seen(ctx, mark) < timedelta(seconds=seconds):
            return False
        if await first_time(ctx, f"{mark} over"):
            return True
        n += 1


async def _alive(ctx: Ctx, w: Worker) -> int:
    if w.load.place.kind in ("cronjob", "scaledjob"):
        return 0
    wanted = w.load.fields.get("replicas")
    try:
        pods = await ctx.ports.kubernetes.pods(w.load.place)
    except Unreachable as error:
        raise Retryable(str(error)) from error
    alive = sum(pod.phase not in ("Succeeded", "Failed") for pod in pods)
    return max(alive, wanted if isinstance(wanted, int) else 0)


async def _running(workers: Sequence[Worker]) -> None:
    """NotYet until their pods are ready. One that KEDA may keep at 0 is done when KEDA has it back."""
    for w in workers:
        rollout, least = w.load.rollout, w.keda.facts.get("min") if w.keda is not None else 1
        least = w.keda.facts.get("idle", least) if w.keda is not None else least
        if rollout is None or w.waker is not None or (w.keda is not None and not least):
            continue
        if rollout.failed:
            raise Fatal(f"{w.load.place} does not come up: {rollout.failed}", "look at its pods, then try again")
        if not rollout.complete or not rollout.wanted:
            raise NotYet(
                f"{rollout.ready} of {rollout.wanted} pods of {w.load.place} ready",
                after=2, done=rollout.ready, total=rollout.wanted,
            )  # fmt: skip


def _nothing_else(seen: WorkersSeen, change: Change) -> None:
    """What was not approved, and runs: found here rather than by its damage."""
    if seen.lost:
        raise Fatal(
            f"{change.summary}: done; {_lost(seen.lost)}: workers there go on",
            "try again when it is back, or skip the rest with a reason",
        )
    if left := [str(w.load.place) for w in seen.workers if w.edits]:
        raise Fatal(f"not paused: {', '.join(left)}", "somebody started it meanwhile; try again, it is asked for anew")


# -- words -----------------------------------------------------------------------------------------------------------


def _runs(times: Sequence[datetime]) -> str:
    """ "1 run, 14:30 UTC"."""
    when = f"{times[0]:%H:%M}" if len(times) == 1 else f"{times[0]:%H:%M} to {times[-1]:%H:%M}"
    return f"{_count(len(times), 'run')}, {when} UTC"


def _lost(lost: Mapping[str, str]) -> str:
    return "; ".join(f"{cluster} could not be reached ({why})" for cluster, why in sorted(lost.items()))


def _named(workers: Iterable[Worker]) -> str:
    """ "shop-settle, shop-worker", however many clusters have them."""
    return ", ".join(sorted({w.load.place.name for w in workers}))


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
