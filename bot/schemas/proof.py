"""Whether a release works on a schema that is newer than its own: proven, or unknown. Reads only.

It is proven where the newer release declares it, where pods of the older one serve on it now, or where one without
traffic has passed what customers read; never by anything that merely speaks for it. Rows that it cannot read take the
proof away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from bot.contract import ReadCtx
from bot.ports import Unreachable
from bot.ports.databases import BadScripts, NotAllowed
from bot.ports.kubernetes import Denied, digest
from bot.schemas.ways import SchemaParams, Way


class ProofParams(SchemaParams):
    """What can prove that the schema may be kept."""

    compatible: str | None = Field(
        None, description="Oldest revision whose releases work on the newer one's schema, as that one declares."
    )
    images: dict[str, str] = Field({}, description="Images of the release to be run, by workload.")
    probed: str = Field(
        "",
        description="What a pod of the release without traffic has passed on this schema (schema.probe); empty: none.",
    )


@dataclass(frozen=True, slots=True)
class CompatibilityProof:
    """proven, and by what; or why it is not known."""

    proven: bool
    why: str


async def proof(ctx: ReadCtx, p: ProofParams, found: Sequence[Way]) -> CompatibilityProof:
    """Whether the release works on these databases as they are."""
    ahead = [w for w in found if not w.there]
    if not ahead:
        return CompatibilityProof(True, "the schema is the one that it needs")
    whose = p.version or "the release"
    for way in ahead:
        if rows := {what: n for what, n in way.foreign.items() if n != 0}:
            said = "; ".join(f"{what}: {'not counted' if n is None else n}" for what, n in rows.items())
            return CompatibilityProof(False, f"there are rows in {way.at.name} that {whose} cannot read ({said})")
        if way.route is None:
            return CompatibilityProof(False, way.lost or way.why)
        if way.route.direction == "up":
            return CompatibilityProof(False, f"{way.at.name} is at {way.stamp}, behind what {whose} needs")
    if p.compatible is not None:
        return await _declared(ctx, p, ahead, whose)
    serving = await _serving(ctx, p)
    stamps = ", ".join(w.stamp for w in ahead)
    if serving:
        return CompatibilityProof(True, f"{whose} serves on {stamps} now: {serving}")
    if p.probed:
        return CompatibilityProof(True, p.probed)
    return CompatibilityProof(
        False, f"{whose} has not been seen on {stamps}, and {p.newer or 'the newer one'} declares nothing"
    )


async def _declared(ctx: ReadCtx, p: ProofParams, ahead: Sequence[Way], whose: str) -> CompatibilityProof:
    """The newer release says from which revision on releases work on its schema."""
    oldest = p.compatible or ""
    for way in ahead:
        passed = {s.revision for s in way.route.steps} if way.route is not None else set()
        try:
            stands = await ctx.ports.databases.standing(way.at.name, p.migrations or "", [oldest])
        except (BadScripts, Unreachable, NotAllowed) as error:
            return CompatibilityProof(False, f"what {p.newer} declares could not be looked up: {error}")
        if oldest in passed or stands.get(oldest) != oldest:
            return CompatibilityProof(
                False, f"{p.newer} declares releases from {oldest} on to work on its schema, not {whose}"
            )
    return CompatibilityProof(True, f"{p.newer} declares that releases from {oldest} on work on its schema")


async def _serving(ctx: ReadCtx, p: ProofParams) -> str:
    """Where pods of the release are ready and were never restarted; "" where there are none, or nobody can tell."""
    images = {d for image in p.images.values() if (d := digest(image))}
    clusters = [c.name for c in ctx.ports.kubernetes.clusters]
    if not images or not clusters:
        return ""
    found = await asyncio.gather(*(_in_cluster(ctx, name, images) for name in clusters))
    well: Mapping[str, int] = {name: n for name, n in zip(clusters, found, strict=True) if n}
    return ", ".join(f"{n} pods in {name}" for name, n in well.items())


async def _in_cluster(ctx: ReadCtx, cluster: str, images: set[str]) -> int:
    try:
        pods = await ctx.ports.kubernetes.every_pod(cluster)
    except (Unreachable, Denied):
        return 0
    pods = [p for p in pods if p.owner]  # one that somebody has made by hand serves nobody
    mine = [p for p in pods if any(digest(i) in images for i in (*p.images, *p.runs.values()))]
    return sum(p.ready and not p.restarts for p in mine) if all(p.ready for p in mine) else 0
