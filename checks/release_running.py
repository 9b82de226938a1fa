"""V1, seen from inside: every workload that holds an image of the target runs it, complete, in every cluster, and none
holds an image that is banned. What a health page of one cluster cannot say.

Nothing found in a cluster is a failure, not a pass; a cluster that does not answer is unknown.
"""

import asyncio
from collections.abc import Sequence

from pydantic import Field

from bot.contract import Check, Output, Params, ReadCtx, Status, Verdict
from bot.ports import Unreachable
from bot.ports.kubernetes import WORKLOADS, Denied, Thing, digest

EXPECTED = "every pod runs it, in every cluster"


class ReleaseRunningParams(Params):
    """What must run, and what must not."""

    images: dict[str, str] = Field(description="Images by digest of the release that must run, by workload.")
    banned: dict[str, list[str]] = Field({}, description="Version -> digests that must be nowhere.")


class ReleaseRunningOutput(Output):
    """How it runs."""

    pods: int = Field(description="Pods that are ready and run it.")
    wanted: int = Field(description="Pods that should be.")
    faults: dict[str, str] = Field(description="Workload, or cluster -> what is wrong there; empty where nothing is.")


class ReleaseRunning(Check[ReleaseRunningParams]):
    """Passes when the release runs complete in every cluster and nothing banned does."""

    name = "release.running"
    needs = frozenset({"kubernetes"})
    Params = ReleaseRunningParams
    Output = ReleaseRunningOutput

    async def run(self, ctx: ReadCtx, p: ReleaseRunningParams) -> Verdict:
        clusters = [c.name for c in ctx.ports.kubernetes.clusters]
        if not clusters:
            return Verdict(Status.PASS, "no cluster is catalogued", EXPECTED, _output([], {}).model_dump())
        answers = await asyncio.gather(*(_holders(ctx, name, p) for name in clusters))
        silent = {name: a for name, a in zip(clusters, answers, strict=True) if isinstance(a, str)}
        found = [t for a in answers if not isinstance(a, str) for t in a]
        faults = {str(t.place): why for t in found if (why := _fault(t, p))}
        faults |= {
            name: "nothing there holds an image of it"
            for name, a in zip(clusters, answers, strict=True)
            if not isinstance(a, str) and not a
        }
        seen = _output(found, faults | silent)
        status = Status.FAIL if faults else Status.UNKNOWN if silent else Status.PASS
        words = "; ".join(f"{place}: {why}" for place, why in seen.faults.items())
        fine = f"{seen.pods} of {seen.wanted} pods in {', '.join(clusters)}"
        return Verdict(status, words or fine, EXPECTED, seen.model_dump())


async def _holders(ctx: ReadCtx, cluster: str, p: ReleaseRunningParams) -> list[Thing] | str:
    """The workloads that hold an image of the release, or a banned one; or why nothing is known."""
    try:
        lists = await asyncio.gather(*(ctx.ports.kubernetes.list(cluster, kind) for kind in WORKLOADS))
    except (Unreachable, Denied) as error:
        return str(error).removeprefix(f"{cluster}: ")
    wanted = {digest(image) for image in p.images.values()} | {d for ds in p.banned.values() for d in ds}
    return [t for things in lists for t in things if _digests(t) & wanted]


def _fault(t: Thing, p: ReleaseRunningParams) -> str:
    """What is wrong with one workload; empty where nothing is."""
    if bad := [version for version, digests in p.banned.items() if _digests(t) & set(digests)]:
        return f"still holds {', '.join(bad)}"
    r = t.rollout
    if r is not None and not r.complete:
        return r.failed or f"{r.fresh} of {r.wanted} pods ready"
    return ""


def _digests(t: Thing) -> set[str]:
    return {digest(str(value)) for name, value in t.fields.items() if name.startswith("image/")} - {""}


def _output(things: Sequence[Thing], faults: dict[str, str]) -> ReleaseRunningOutput:
    rollouts = [t.rollout for t in things if t.rollout is not None]
    pods, wanted = sum(r.fresh for r in rollouts), sum(r.wanted for r in rollouts)
    return ReleaseRunningOutput(pods=pods, wanted=wanted, faults=faults)
