"""Everything that a release is about, as it stands in the clusters now, each against its end. Reads only.

Invariants:
- a cluster that does not answer is named, never left out in silence;
- a workload that holds an outgoing image belongs to it, whether or not it carries the service's label.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bot.contract import Edit, Fatal, ReadCtx
from bot.ports import Unreachable
from bot.ports.kubernetes import WORKLOADS, Cluster, Denied, Kind, Place, Thing
from bot.workloads.ends import Difference, Ends, Several, gone, made, writers
from bot.workloads.images import resolved
from bot.workloads.left import RIGHTS, Left
from bot.workloads.record import WHOLE, Fields, without_secrets

_CALLED = "name the workloads of the releases as they are called in the cluster"


@dataclass(frozen=True, slots=True)
class Survey:
    """The workloads and ConfigMaps of the clusters that answered, each against its end. end: the same, with what images
    are; gone: what is not there and should be; unlabelled: those without the service's label; lost: cluster -> why it
    did not answer."""

    end: Ends
    workloads: Sequence[Difference]
    settings: Sequence[Difference]
    gone: Sequence[tuple[Place, Fields]]
    unlabelled: Sequence[Place] = ()
    lost: Mapping[str, str] | None = None

    @property
    def secrets(self) -> tuple[Left, ...]:
        """Values that look like secrets and are not known to be the target's: they are left as they are."""
        return tuple(left for d in (*self.settings, *self.workloads) for left in d.left if left.secret)

    @property
    def edits(self) -> tuple[Edit, ...]:
        """Strange images first, then settings, then the rest."""
        strange = [e for d in self.workloads for e in d.strange]
        missing = ((place, made(self.end, fields)) for place, fields in self.gone)
        back = [Edit(place.target(WHOLE), None, whole) for place, whole in missing if whole is not None]
        return (*strange, *(e for d in (*self.settings, *self.workloads) for e in d.edits if e not in strange), *back)


async def survey(ctx: ReadCtx, end: Ends) -> Survey:
    """All clusters of the catalogue. Fatal where one does not let us look, or an image cannot be told."""
    clusters = ctx.ports.kubernetes.clusters
    answers = await asyncio.gather(*(_look(ctx, cluster, end) for cluster in clusters))
    lost = {c.name: a for c, a in zip(clusters, answers, strict=True) if isinstance(a, str)}
    seen = [a for a in answers if not isinstance(a, str)]
    asked = [t for a in seen for t in (*a.labelled, *a.others)]
    end = replace(end, resolved=await resolved(ctx.ports.kubernetes, ctx.ports.registry, asked, end.every_image))
    seen = [replace(a, others=[t for t in a.others if end.removes(t)]) for a in seen]
    try:  # of thousands of workloads: in a thread, so that the loop goes on
        return await asyncio.to_thread(_against, end, seen, [c.name for c in clusters if c.name not in lost], lost)
    except Several as error:
        raise Fatal(str(error), _CALLED) from error


@dataclass(frozen=True, slots=True)
class _Answer:
    labelled: Sequence[Thing]
    others: Sequence[Thing]
    maps: Sequence[Thing]


def _against(end: Ends, seen: Sequence[_Answer], there: Sequence[str], lost: Mapping[str, str]) -> Survey:
    """Everything against its end. there: the clusters that answered. Several."""
    things = [t for a in seen for t in (*a.labelled, *a.others)]
    by = writers(end, things)
    workloads = [end.workload(t, by.get(t.place.cluster, ())) for t in things]
    settings = [end.settings(t, by.get(t.place.cluster, ())) for a in seen for t in a.maps]
    missing = [*gone(end, things, there)]
    return Survey(end, workloads, settings, missing, [t.place for a in seen for t in a.others], lost)


async def _look(ctx: ReadCtx, cluster: Cluster, end: Ends) -> _Answer | str:
    """One cluster, or why it does not answer."""
    try:
        things = await workloads(ctx, cluster.name)
        every = await workloads(ctx, cluster.name, everywhere=True) if cluster.selector else []
        maps = await workloads(ctx, cluster.name, ("configmap",)) if cluster.settings else []
    except Unreachable as error:
        return str(error).removeprefix(f"{cluster.name}: ")
    secrets = ctx.ports.secrets
    things, every, maps = await asyncio.to_thread(
        lambda: [[without_secrets(t, secrets) for t in those] for those in (things, every, maps)]
    )
    known = {t.place for t in things}
    return _Answer(things, [t for t in every if t.place not in known and end.may_remove(t)], maps)


async def workloads(
    ctx: ReadCtx, cluster: str, kinds: Iterable[Kind] = WORKLOADS, *, everywhere: bool = False
) -> list[Thing]:
    """All of these kinds in one cluster. Unreachable; Fatal where it does not let us look."""
    try:
        asked = (ctx.ports.kubernetes.list(cluster, kind, everywhere=everywhere) for kind in kinds)
        found = await asyncio.gather(*asked)
    except Denied as error:
        raise Fatal(str(error), RIGHTS) from error
    return [thing for things in found for thing in things]
