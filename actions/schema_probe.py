"""Try the older release on the newer schema before it serves anybody: one pod of it that gets no traffic, asked through
the API server for those journeys of customers that only read.

What it passes is a proof for keeping the schema; whatever else comes of it proves nothing, and is told. It fails for
nothing: people decide about the schema all the same. The pod is taken away whatever came of it, and ends by itself.
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from pydantic import Field

from bot.contract import (
    Action,
    Change,
    Ctx,
    Effect,
    Fatal,
    Json,
    NotYet,
    Output,
    ReadCtx,
    Receipt,
    Retryable,
    Value,
    first_seen,
)
from bot.ports import Blob, Reply, Unreachable
from bot.ports.databases import NotAllowed
from bot.ports.journeys import Journey
from bot.ports.kubernetes import IMAGE, Changed, Denied, Place, Pod
from bot.workloads.params import ReleaseParams
from bot.workloads.stated import ends
from bot.workloads.survey import survey

STARTS = timedelta(seconds=120)
"""What a pod is given to come up; one that takes longer proves nothing."""
NAMED = 40
"""Characters of the workload's name in the pod's."""


class SchemaProbeParams(ReleaseParams):
    """What to try, and how it is made."""

    version: str = Field(description="The release to be run.")


class SchemaProbeOutput(Output):
    """What was seen."""

    passed: str = Field(description="What it passed, in words: a proof that it works on the schema. Empty: none.")


@dataclass(frozen=True)
class ProbeSpec:
    """place: the workload that it is made of; port: where it is asked; walks: (journey, its target)."""

    place: Place
    port: int
    walks: tuple[tuple[str, str], ...]

    def effect(self, version: str) -> Effect:
        """All that it does."""
        names = ", ".join(dict.fromkeys(name for name, _ in self.walks))
        return Effect(f"{self.place}: start one pod of {version} beside it, without traffic, walk {names}, remove it")


class SchemaProbe(Action[SchemaProbeParams]):
    """Starts a pod of the release that gets no traffic, and walks what only reads on it."""

    name = "schema.probe"
    needs = frozenset({"databases", "kubernetes", "journeys", "blobs", "registry", "secrets"})
    Params = SchemaProbeParams
    Output = SchemaProbeOutput

    async def plan(self, ctx: ReadCtx, p: SchemaProbeParams) -> Change:
        trial = _trial(ctx)
        if isinstance(trial, str):
            return Change(f"not tried: {trial}")
        return Change(
            f"try {p.version} in {trial.place.cluster} on the schema as it is, without traffic",
            effects=(trial.effect(p.version),),
            within=2 * STARTS.total_seconds(),
            lasts=(2.0, 60.0),
        )

    async def observe(self, ctx: ReadCtx, p: SchemaProbeParams, targets: Collection[str]) -> Mapping[str, Value]:
        return dict.fromkeys(targets)  # it has effects only

    async def apply(self, ctx: Ctx, p: SchemaProbeParams, change: Change) -> Receipt:
        trial = _trial(ctx)
        if isinstance(trial, str) or change.is_noop:
            return Receipt(change.summary, output={"passed": ""})
        digest = hashlib.sha256(ctx.key.encode()).hexdigest()[:8]
        name = f"{trial.place.name[:NAMED]}-probe-{digest}"
        found = await ctx.once("tried", partial(_tried, ctx, p, trial, name))
        said, passed = (str(found["said"]), bool(found["passed"])) if isinstance(found, dict) else ("", False)
        left = await _removed(ctx, trial, name)
        return Receipt(f"{said}{left}", output={"passed": said if passed else ""})


def _trial(ctx: ReadCtx) -> ProbeSpec | str:
    """What can be tried, in the first cluster that lets it be; or why nothing can."""
    offered = [c for c in ctx.ports.kubernetes.clusters if c.probe]
    if not offered:
        return "no cluster of the catalogue names a `probe`"
    reading = {n: j for n, j in ctx.ports.journeys.catalogued.items() if j.reads}
    if not reading:
        return "no journey of the catalogue only reads"
    for cluster in offered:
        kind, _, rest = cluster.probe.partition("/")
        workload, _, port = rest.rpartition(":")
        walks = tuple((name, t) for name, j in reading.items() if (t := _way(j, cluster.name)))
        if walks:
            return ProbeSpec(Place.of(f"{cluster.name}/{kind}/{workload}"), int(port), walks)
    return f"no journey that only reads leads into {', '.join(c.name for c in offered)}"


def _way(journey: Journey, cluster: str) -> str:
    """The target by which a journey is walked in that cluster; "" for none."""
    return next((t for t in journey.targets if journey.ways.get(t) == cluster), "")


async def _tried(ctx: Ctx, p: SchemaProbeParams, trial: ProbeSpec, name: str) -> Json:
    """What came of it. NotYet while the pod starts."""
    began = await first_seen(ctx, "trial began")
    try:
        pod = await ctx.ports.kubernetes.probed(trial.place.cluster, name)
        if pod is None:
            await _start(ctx, p, trial, name)
            raise NotYet(f"a pod of {p.version} starts in {trial.place.cluster}", after=1)
        if why := _down(pod):
            words = await ctx.ports.kubernetes.logs(trial.place.cluster, name)
            last = words.strip().splitlines()[-1:]
            return _found(f"{p.version} does not come up on this schema: {why}{f' ({last[0][:300]})' if last else ''}")
        if not pod.ready:
            if ctx.now - began > STARTS:
                return _found(
                    f"a pod of {p.version} was not ready after {STARTS.seconds} s: {pod.waiting or pod.phase}"
                )
            raise NotYet(f"a pod of {p.version} starts in {trial.place.cluster}", after=1)
        return await _walked(ctx, p, trial, name)
    except (Unreachable, Retryable) as error:
        if ctx.now - began <= STARTS:
            raise NotYet(f"{error}: it is looked again", after=2) from error
        return _found(f"not known: {error}")
    except (Denied, Changed, Fatal, LookupError) as error:
        return _found(f"could not be tried: {error}")


async def _start(ctx: Ctx, p: SchemaProbeParams, trial: ProbeSpec, name: str) -> None:
    """The pod, made as the deploy will make those that serve."""
    seen = await survey(ctx, await ends(ctx, p.images, p.outgoing, p.settings, p.last))
    thing = await ctx.ports.kubernetes.get(trial.place)
    if thing is None:
        raise LookupError(f"there is no {trial.place}")
    target = trial.place.target("")
    fields = {e.target.removeprefix(target): e.after for e in seen.edits if e.target.startswith(target)}
    plain = {field: value for field, value in fields.items() if not isinstance(value, Blob)}
    if not any(field.startswith(IMAGE) for field in plain):
        raise LookupError(f"no image of {p.version} is one of {trial.place}")
    await ctx.ports.kubernetes.probe(thing, plain, name)


def _down(pod: Pod) -> str:
    """Why it will never be ready; empty while it may."""
    if pod.phase in ("Failed", "Succeeded") or pod.restarts:
        return pod.waiting or f"it ended ({pod.phase})"
    return pod.waiting if "Pull" in pod.waiting or "Error" in pod.waiting else ""


async def _walked(ctx: Ctx, p: SchemaProbeParams, trial: ProbeSpec, name: str) -> Json:
    """What the journeys show on a pod that is ready."""
    cluster = trial.place.cluster
    steps = 0

    async def through(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        if method.upper() != "GET":
            raise Unreachable(f"{method} is no reading")
        return await ctx.ports.kubernetes.through(cluster, name, trial.port, path, headers)

    for n, (journey, target) in enumerate(trial.walks):
        await ctx.report(f"{p.version} in {cluster} walks {journey}", n, len(trial.walks))
        walk = await ctx.ports.journeys.walk(journey, target, through)
        if walk.away:
            return _found(f"not known: {journey} of {p.version} on this schema: {walk.away}")
        if walk.miss is not None:
            m = walk.miss
            return _found(f"{p.version} on this schema: {journey}, {m.request}: {m.came}, expected {m.expected}")
        steps += walk.done
    now = await ctx.ports.kubernetes.probed(cluster, name)
    if now is None or not now.ready or _down(now):
        return _found(f"a pod of {p.version} did not stay ready on this schema")
    stamps = await _stamps(ctx)
    names = ", ".join(dict.fromkeys(journey for journey, _ in trial.walks))
    asked = f"{steps} request{'s' * (steps != 1)} of {names}"
    return _found(f"a pod of {p.version} without traffic in {cluster} passed {asked} on {stamps}", passed=True)


async def _stamps(ctx: ReadCtx) -> str:
    """The revisions that the databases are at: "0042"."""
    found: list[str] = []
    for database in ctx.ports.databases.databases:
        try:
            found += (await ctx.ports.databases.state(database.name)).stamp or () if database.scripts else ()
        except NotAllowed:
            continue
    return ", ".join(found) or "the schema as it is"


async def _removed(ctx: Ctx, trial: ProbeSpec, name: str) -> str:
    """Takes the pod away; what is to be said where that fails."""
    try:
        await ctx.ports.kubernetes.end_probe(trial.place.cluster, name)
    except (Unreachable, Retryable, Denied, Changed) as error:
        return f"; the pod {name} could not be removed ({error}), and ends by itself"
    return ""


def _found(said: str, *, passed: bool = False) -> Json:
    return {"said": said, "passed": passed}
