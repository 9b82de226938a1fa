"""B3, seen again: whatever was paused still is. People rescale, deploys and autoscalers do too.

Asked before each step that could destroy data. Every catalogued worker counts, whoever paused it; one that is not there
cannot run. A cluster that does not answer is unknown, never paused.
"""

import asyncio

from pydantic import Field

from bot.contract import Check, Output, Params, ReadCtx, Status, Verdict
from bot.ports import Unreachable
from bot.ports.kubernetes import Cluster, Denied, Place, Thing

KEDA = "annotation/autoscaling.keda.sh/paused-replicas"
HELD = "annotation/autoscaling.keda.sh/paused"
EXPECTED = "every worker at 0 replicas, every CronJob suspended, no job running"


class WorkersPausedParams(Params):
    """Nothing: the catalogue names the workers."""


class WorkersPausedOutput(Output):
    """Who runs, and who could not be asked."""

    running: dict[str, str] = Field(description="Worker -> how it runs, and who changed it if that is known.")
    unreachable: dict[str, str] = Field(description="Cluster -> why nothing is known of it.")


class WorkersPaused(Check[WorkersPausedParams]):
    """Passes when no catalogued worker of any cluster runs."""

    name = "workers.paused"
    needs = frozenset({"kubernetes"})
    Params = WorkersPausedParams
    Output = WorkersPausedOutput

    async def run(self, ctx: ReadCtx, p: WorkersPausedParams) -> Verdict:
        clusters = [c for c in ctx.ports.kubernetes.clusters if c.workers]
        answers = await asyncio.gather(*(_running(ctx, c) for c in clusters))
        running, unreachable = dict[str, str](), dict[str, str]()
        for cluster, answer in zip(clusters, answers, strict=True):
            if isinstance(answer, str):
                unreachable[cluster.name] = answer
            else:
                running |= answer
        status = Status.FAIL if running else Status.UNKNOWN if unreachable else Status.PASS
        words = [f"{place}: {how}" for place, how in running.items()]
        words += [f"{cluster}: {why}" for cluster, why in unreachable.items()]
        seen = WorkersPausedOutput(running=running, unreachable=unreachable)
        fine = f"{sum(len(c.workers) for c in clusters)} workers paused"
        return Verdict(status, "; ".join(words) or fine, EXPECTED, seen.model_dump())


async def _running(ctx: ReadCtx, cluster: Cluster) -> dict[str, str] | str:
    """Worker -> how it runs; or why nothing is known."""
    places = [Place.of(f"{cluster.name}/{worker}") for worker in cluster.workers]
    try:
        scalers, loads = await asyncio.gather(
            ctx.ports.kubernetes.list(cluster.name, "scaledobject"),
            asyncio.gather(*map(ctx.ports.kubernetes.get, places)),
        )
    except (Unreachable, Denied) as error:
        return str(error)
    by_target = {t.facts.get("target"): t for t in scalers}
    found = {str(t.place): _how(t, by_target.get(f"{t.place.kind}/{t.place.name}")) for t in loads if t is not None}
    return {place: how for place, how in found.items() if how}


def _how(load: Thing, scaler: Thing | None) -> str:
    """How it runs, in words; empty where it is paused."""
    if load.place.kind == "cronjob":
        jobs = load.facts.get("active")
        names = ", ".join(map(str, jobs)) if isinstance(jobs, list) else ""
        running = [f"job {names} runs"] if names else []
        resumed = [] if load.fields.get("suspend") is True else [f"not suspended{_by(load, 'suspend')}"]
        return ", ".join(resumed + running)
    found = []
    if (n := load.fields.get("replicas")) != 0:
        found.append(f"{n} replicas{_by(load, 'replicas')}")
    idle = scaler is None or (scaler.fields.get(HELD) == "true" and KEDA not in scaler.fields)
    if scaler is not None and not idle and scaler.fields.get(KEDA) != "0":
        found.append(f"KEDA may start it{_by(scaler, KEDA)}")
    return ", ".join(found)


def _by(thing: Thing, field: str) -> str:
    """Who changed it last, where the cluster knows."""
    who = thing.by.get(field)
    return f", changed by {who.manager} at {who.at:%H:%M} UTC" if who is not None else ""
