"""B3, seen again: whatever was paused still is. People rescale, deploys and autoscalers do too.

Asked before each step that could destroy data. Every catalogued worker counts, whoever paused it, and every pod that
runs one of their images: those that are still ending, and jobs that somebody started by hand. A cluster that does not
answer is unknown, never paused, and so is one in which none of the workers is there.
"""

import asyncio

from pydantic import Field

from bot.contract import Check, Output, Params, ReadCtx, Status, Verdict
from bot.ports import Unreachable, told
from bot.ports.kubernetes import Cluster, Denied, Place, Pod, Thing

KEDA = "annotation/autoscaling.keda.sh/paused-replicas"
HELD = "annotation/autoscaling.keda.sh/paused"
NOT_HELD = (None, "0", "f", "F", "false", "FALSE", "False")
"""What KEDA reads as "not paused" there; anything else pauses."""
UP, OFF = "spec.behavior.scaleUp.selectPolicy", "Disabled"
"""What keeps an HPA from scaling up."""
EXPECTED = "every worker at 0 replicas, every CronJob suspended, no job and no pod of theirs running"


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
        words += [told(unreachable)] if unreachable else []
        seen = WorkersPausedOutput(running=running, unreachable=unreachable)
        fine = f"{sum(len(c.workers) for c in clusters)} workers paused"
        return Verdict(status, "; ".join(words) or fine, EXPECTED, seen.model_dump())


async def _running(ctx: ReadCtx, cluster: Cluster) -> dict[str, str] | str:
    """Worker -> how it runs; or why nothing is known."""
    places = [Place.of(f"{cluster.name}/{worker}") for worker in cluster.workers]
    try:
        scalers, hpas, loads, pods = await asyncio.gather(
            ctx.ports.kubernetes.list(cluster.name, "scaledobject"),
            ctx.ports.kubernetes.list(cluster.name, "hpa"),
            asyncio.gather(*map(ctx.ports.kubernetes.get, places)),
            ctx.ports.kubernetes.every_pod(cluster.name),
        )
    except (Unreachable, Denied) as error:
        return str(error)
    there = [load for load in loads if load is not None]
    if not there:
        return f"{cluster.name}: none of {', '.join(cluster.workers)} is there"
    keda, waking = ({t.facts.get("target"): t for t in found} for found in (scalers, hpas))
    aims = [(t, f"{t.place.kind}/{t.place.name}") for t in there]
    found = {str(t.place): _how(t, keda.get(aim), waking.get(aim)) for t, aim in aims}
    still = [load for load in there if not found[str(load.place)]]  # of the others it is told already
    found |= {f"{cluster.name}/pod/{pod.name}": _of(pod) for pod in pods if any(_runs(pod, load) for load in still)}
    return {place: how for place, how in found.items() if how}


def _runs(pod: Pod, load: Thing) -> bool:
    """Whether a pod is of a worker: made for it, or for a job or by hand from its image."""
    kind, _, name = pod.owner.partition("/")
    if load.place.kind == "cronjob" and name in _jobs(load):
        return False  # told with the CronJob
    if kind == "replicaset":
        return name.rpartition("-")[0] == load.place.name and load.place.kind in ("deployment", "rollout")
    if kind not in ("job", ""):
        return (kind, name) == (load.place.kind, load.place.name)
    return bool({*load.images.values()} & {*pod.images})


def _jobs(load: Thing) -> list[str]:
    jobs = load.facts.get("active")
    return [*map(str, jobs)] if isinstance(jobs, list) else []


def _of(pod: Pod) -> str:
    made = f"of {pod.owner}" if pod.owner else "made by hand"
    return f"a pod {made} {'is ending' if pod.phase == 'Terminating' else 'runs'}"


def _how(load: Thing, scaler: Thing | None, hpa: Thing | None) -> str:
    """How it runs, in words; empty where it is paused."""
    if load.place.kind == "scaledjob":
        return f"not paused{_by(load, HELD)}" if load.fields.get(HELD) in NOT_HELD else ""
    if load.place.kind == "cronjob":
        names = ", ".join(_jobs(load))
        running = [f"job {names} runs"] if names else []
        resumed = [] if load.fields.get("suspend") is True else [f"not suspended{_by(load, 'suspend')}"]
        return ", ".join(resumed + running)
    found = []
    if (n := load.fields.get("replicas")) != 0:
        found.append(f"{n} replicas{_by(load, 'replicas')}")
    idle = scaler is None or (scaler.fields.get(HELD) not in NOT_HELD and KEDA not in scaler.fields)
    if scaler is None and hpa is not None and hpa.facts.get("min") == 0 and hpa.fields.get(UP) != OFF:
        found.append("its autoscaler holds 0 by itself and may start it")
    if scaler is not None and not idle and scaler.fields.get(KEDA) != "0":
        found.append(f"KEDA may start it{_by(scaler, KEDA)}")
    return ", ".join(found)


def _by(thing: Thing, field: str) -> str:
    """Who changed it last, where the cluster knows."""
    who = thing.by.get(field)
    return f", changed by {who.manager} at {who.at:%H:%M} UTC" if who is not None else ""
