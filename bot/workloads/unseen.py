"""Pods that run what is removed under nothing that the bot brings back: a ReplicaSet of an object whose kind it does
not read, or of none; a kind of its own; a pod that somebody made by hand. Reads only.

A Job's pods are not among them: they end by themselves, and are named where workers are paused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from bot.contract import ReadCtx
from bot.ports.kubernetes import WORKLOADS, Place
from bot.workloads.survey import Survey

SET = "replicaset/"
_GROUPS = ("", "apps", "batch", "argoproj.io")
"""Of the kinds that the bot reads; a pod's own owner is known without its group."""


@dataclass(frozen=True, slots=True, order=True)
class Unseen:
    """Pods of one workload of a removed release. under: what made them, "" for nobody; owner: what controls that, where
    it is a ReplicaSet and anything does."""

    cluster: str
    name: str
    under: str = ""
    owner: str = ""

    def __str__(self) -> str:
        if not self.under:
            return f"{self.name}: pods in {self.cluster} that somebody made by hand run what is removed"
        runs = f"{self.name}: pods run what is removed under {self.cluster}/{self.under}"
        if self.owner:
            return f"{runs}, whose owner {self.owner} the bot cannot read"
        whose = "which no workload that the bot can read owns" if self.under.startswith(SET) else "which it cannot read"
        return f"{runs}, {whose}"


async def unseen(ctx: ReadCtx, seen: Survey) -> list[Unseen]:
    """In every cluster that answered. Unreachable; Denied where pods or ReplicaSets may not be read."""
    clusters = [c.name for c in ctx.ports.kubernetes.clusters if c.name not in (seen.lost or {})]
    found = await asyncio.gather(*(_in_cluster(ctx, name, seen) for name in clusters))
    return [each for those in found for each in those]


async def _in_cluster(ctx: ReadCtx, cluster: str, seen: Survey) -> list[Unseen]:
    kube, end = ctx.ports.kubernetes, seen.end
    gone = {d: name for name, image in end.removed if (d := end.digest(image)) and d not in end.good}
    found = {
        (gone[d], pod.owner)
        for pod in await kube.every_pod(cluster)
        for image in (*pod.images, *pod.runs.values())
        if (d := end.digest(image)) in gone and not pod.owner.startswith("job/")
    }
    of: Mapping[str, str] = {}
    if any(under.startswith(SET) for _, under in found):
        of = {f"{SET}{name}": owner for name, owner in (await kube.replicasets(cluster)).items()}
    known = {d.place for d in seen.workloads}
    there = [(name, under) for name, under in found if under in of or not under.startswith(SET)]  # or it has just ended
    return sorted(
        [
            Unseen(cluster, name, under, of.get(under, ""))
            for name, under in there
            if not await _is_read(ctx, cluster, of.get(under, under), known)
        ]
    )


async def _is_read(ctx: ReadCtx, cluster: str, owner: str, known: set[Place]) -> bool:
    """Whether this is a workload as the bot knows them. owner: `deployment.apps/shop-api`, or `statefulset/shop-db`."""
    sort, _, name = owner.partition("/")
    kind, _, group = sort.partition(".")
    if kind not in WORKLOADS or group not in _GROUPS:
        return False
    place = Place(cluster, kind, name)
    return place in known or await ctx.ports.kubernetes.get(place) is not None
