"""V1, seen from inside: in every cluster every workload that should run the release runs it, complete and as it served,
and nothing runs what is banned: no workload, no job, no pod that somebody made by hand. What a health page cannot say.

What is meant to run is what the release's record knows, and whatever holds an image of it. Nothing found in a cluster
is a failure, no pod that is meant to run is unknown, and so is a cluster that does not answer.
"""

import asyncio
from collections.abc import Iterable, Sequence

from pydantic import Field

from bot.contract import Check, Outgoing, Output, ReadCtx, Status, Verdict
from bot.ports import Unreachable, told
from bot.ports.kubernetes import Denied, Pod, digest
from bot.workloads.ends import Difference, Ends
from bot.workloads.left import by_hand
from bot.workloads.params import ReleaseParams
from bot.workloads.stated import ends
from bot.workloads.survey import Survey, survey

EXPECTED = "every pod runs it, in every cluster"


class ReleaseRunningParams(ReleaseParams):
    """What must run, and what must not."""

    outgoing: list[Outgoing] = Field([], description="The releases that had to go, with their images and records.")
    banned: dict[str, list[str]] = Field({}, description="Version -> digests that must be nowhere.")


class ReleaseRunningOutput(Output):
    """How it runs."""

    pods: int = Field(description="Pods that are ready and run it.")
    wanted: int = Field(description="Pods that should be.")
    faults: dict[str, str] = Field(description="Workload, pod or cluster -> what is wrong; empty where nothing is.")


class ReleaseRunning(Check[ReleaseRunningParams]):
    """Passes when the release runs complete and as it served in every cluster, and nothing runs what is banned."""

    name = "release.running"
    needs = frozenset({"kubernetes", "blobs", "registry", "secrets"})
    Params = ReleaseRunningParams
    Output = ReleaseRunningOutput

    async def run(self, ctx: ReadCtx, p: ReleaseRunningParams) -> Verdict:
        clusters = [c.name for c in ctx.ports.kubernetes.clusters]
        if not clusters:
            words = "no cluster is catalogued, so nothing is known of its workloads"
            return Verdict(Status.UNKNOWN, words, EXPECTED, _output([], {}).model_dump())
        end = await ends(ctx, p.images, p.outgoing, p.settings, p.last)
        seen = await survey(ctx, end)
        end = seen.end
        there = [name for name in clusters if name not in (seen.lost or {})]
        pods = dict(zip(there, await asyncio.gather(*(_pods(ctx, name) for name in there)), strict=True))
        silent = {**(seen.lost or {}), **{name: a for name, a in pods.items() if isinstance(a, str)}}
        faults = {str(d.place): why for d in seen.workloads if (why := _fault(d, end, p))}
        faults |= {str(d.place): _unlike(d) for d in seen.settings if d.edits}
        faults |= {str(place): "gone, the release had it" for place, _ in seen.gone}
        for name, found in pods.items():
            faults |= {} if isinstance(found, str) else dict(_left_over(name, found, p))
        holders = {name: [d for d in _holders(seen, end) if d.place.cluster == name] for name in there}
        faults |= {name: "nothing there holds an image of it" for name, held in holders.items() if not held}
        empty = {
            name: "0 of 0 pods: none of it is meant to run"
            for name, held in holders.items()
            if held and not _wanted(held)
        }
        ran = [d for held in holders.values() for d in held]
        output = _output(ran, faults | silent | empty)
        apart = "; ".join(by_hand(seen.secrets))
        good = Status.WARN if apart else Status.PASS
        status = Status.FAIL if faults else Status.UNKNOWN if silent or empty else good
        words = told(output.faults)
        fine = f"{output.pods} of {output.wanted} pods in {', '.join(clusters)}{'; ' if apart else ''}{apart}"
        return Verdict(status, words or fine, EXPECTED, output.model_dump())


def _holders(seen: Survey, end: Ends) -> list[Difference]:
    return [d for d in seen.workloads if end.holds(d.thing)]


def _fault(d: Difference, end: Ends, p: ReleaseRunningParams) -> str:
    """What is wrong with one workload; empty where nothing is."""
    images = {name: end.digest(image) for name, image in d.thing.images.items()}
    if bad := [version for version, digests in p.banned.items() if {*images.values()} & {*digests}]:
        return f"still holds {', '.join(bad)}"
    if d.edits:
        return _unlike(d)
    r = d.thing.rollout
    if r is not None and not r.complete and end.holds(d.thing):
        return r.failed or f"{r.fresh} of {r.wanted} pods ready"
    return ""


def _unlike(d: Difference) -> str:
    """Which fields are not as the release served with them."""
    root = d.place.target("")
    return f"not as it served: {', '.join(sorted(e.target.removeprefix(root) for e in d.edits))}"


async def _pods(ctx: ReadCtx, cluster: str) -> Sequence[Pod] | str:
    """The pods of a cluster; or why nothing is known."""
    try:
        return await ctx.ports.kubernetes.every_pod(cluster)
    except (Unreachable, Denied) as error:
        return str(error).removeprefix(f"{cluster}: ")


def _must_go(p: ReleaseRunningParams) -> dict[str, set[str]]:
    """Version -> digests that no pod may run: banned ones, and those of outgoing releases that the target has not."""
    kept = {digest(image) for image in p.images.values()} | {""}
    gone = {r.version: {digest(image) for image in r.images.values()} - kept for r in p.outgoing}
    return {**gone, **{version: {*digests} | gone.get(version, set()) for version, digests in p.banned.items()}}


def _left_over(cluster: str, pods: Iterable[Pod], p: ReleaseRunningParams) -> Iterable[tuple[str, str]]:
    """Pods that run what is banned or had to go, whatever made them."""
    must_go = _must_go(p)
    for pod in pods:
        runs = {digest(image) for image in (*pod.images, *pod.runs.values())}
        if bad := [version for version, digests in must_go.items() if runs & digests]:
            made = f" ({pod.owner})" if pod.owner else " (made by hand)"
            yield f"{cluster}/pod/{pod.name}", f"still runs {', '.join(bad)}{made}"


def _wanted(held: Iterable[Difference]) -> int:
    return sum(d.thing.rollout.wanted for d in held if d.thing.rollout is not None)


def _output(held: Sequence[Difference], faults: dict[str, str]) -> ReleaseRunningOutput:
    rollouts = [d.thing.rollout for d in held if d.thing.rollout is not None]
    pods, wanted = sum(r.fresh for r in rollouts), sum(r.wanted for r in rollouts)
    return ReleaseRunningOutput(pods=pods, wanted=wanted, faults=faults)
