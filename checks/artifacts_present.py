"""P1: what the target release is made of is still there: its images, the snapshot of its settings, its Secrets.

What looks like a secret in its settings is told here already where it differs, because no step brings it back.
Secrets are never read: the right to see their keys is the right to see their values. One that workloads with ready
pods use today is there; of any other it is said that nobody has looked. What cannot be asked is unknown, not missing.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import Field

from bot.contract import Check, Fatal, Json, Outgoing, Output, ReadCtx, Status, Verdict
from bot.ports import Blob, Unreachable
from bot.ports.kubernetes import WORKLOADS, Denied, Thing, digest
from bot.ports.registry import RegistryRefused
from bot.workloads.left import by_hand
from bot.workloads.params import ReleaseParams
from bot.workloads.stated import ends
from bot.workloads.survey import survey

EXPECTED = "every image by digest in its registry, and the settings as they were when it served"


class ArtifactsPresentParams(ReleaseParams):
    """What the target release is made of."""

    outgoing: list[Outgoing] = Field([], description="The releases that have to go, with their images and records.")


class ArtifactsPresentOutput(Output):
    """What is not there, and what is not known; empty where nothing is."""

    missing: dict[str, str] = Field(description="What -> where it was looked for.")
    unknown: dict[str, str] = Field(description="What -> why it could not be asked.")
    unseen: list[str] = Field(description="Secrets and keys that it refers to, and nobody has looked at.")
    by_hand: list[str] = Field([], description="Values that hold secrets and differ: they are not restored.")


@dataclass
class ArtifactsFound:
    """What was found so far. notes: what people should know, and is no fault."""

    missing: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)


class ArtifactsPresent(Check[ArtifactsPresentParams]):
    """Passes when every image and the settings of the target release are there."""

    name = "artifacts.present"
    needs = frozenset({"registry", "blobs", "kubernetes", "secrets"})
    Params = ArtifactsPresentParams
    Output = ArtifactsPresentOutput

    async def run(self, ctx: ReadCtx, p: ArtifactsPresentParams) -> Verdict:
        found = ArtifactsFound()
        await asyncio.gather(*(_image(ctx, name, image, found) for name, image in sorted(p.images.items())))
        if p.settings is None:
            found.notes.append("no settings were kept of it: those of today stay")
        else:
            await _secrets(ctx, await _snapshot(ctx, p.settings, found), found)
            await _differing(ctx, p, found)
        seen = ArtifactsPresentOutput(
            missing=found.missing, unknown=found.unknown, unseen=found.unseen, by_hand=found.by_hand
        )
        return Verdict(_judge(found), _words(found, len(p.images)), EXPECTED, seen.model_dump())


async def _image(ctx: ReadCtx, name: str, image: str, found: ArtifactsFound) -> None:
    what = f"image of {name}"
    if not digest(image):
        found.missing[what] = f"{image} is not pinned by digest"
        return
    repository, _, short = image.partition("@")
    try:
        if not await ctx.ports.registry.has(image):
            found.missing[what] = f"{short[:19]}… is not in {repository}"
    except ValueError as error:
        found.missing[what] = str(error)
    except (RegistryRefused, Unreachable) as error:
        found.unknown[what] = str(error)


async def _snapshot(ctx: ReadCtx, blob: Blob, found: ArtifactsFound) -> Mapping[str, Json]:
    """The settings; empty where they cannot be read."""
    try:
        settings = json.loads(await ctx.ports.blobs.get(blob))
        if isinstance(settings, dict):
            return settings
        found.missing["settings"] = f"{blob.digest[:19]}… holds no settings"
    except KeyError:
        found.missing["settings"] = f"{blob.digest[:19]}… is not in the bot's files"
    except ValueError as error:
        found.missing["settings"] = f"{blob.digest[:19]}… in the bot's files is damaged: {error}"
    except Unreachable as error:
        found.unknown["settings"] = str(error)
    return {}


async def _secrets(ctx: ReadCtx, settings: Mapping[str, Json], found: ArtifactsFound) -> None:
    """Those of the snapshot that no workload with ready pods proves to be there."""
    wanted: dict[str, set[str]] = {}
    for target, value in settings.items():
        if (secret := _secret(value)) is not None:
            wanted.setdefault(target.partition("/")[0], set()).add(secret)
    for cluster in [c.name for c in ctx.ports.kubernetes.clusters if c.name in wanted]:
        try:
            lists = await asyncio.gather(*(ctx.ports.kubernetes.list(cluster, kind) for kind in WORKLOADS))
        except (Unreachable, Denied) as error:
            found.unknown[f"Secrets in {cluster}"] = str(error)
            continue
        proven = _proven([thing for things in lists for thing in things])
        found.unseen += [f"{cluster}: {secret}" for secret in sorted(wanted[cluster] - proven)]


async def _differing(ctx: ReadCtx, p: ArtifactsPresentParams, found: ArtifactsFound) -> None:
    """Values that look like secrets and are not as the target had them."""
    if not p.outgoing or found.missing or found.unknown:
        return
    try:
        seen = await survey(ctx, await ends(ctx, p.images, p.outgoing, p.settings, p.last))
    except Fatal as error:  # the step that it is about will say so
        found.notes.append(f"which values with secrets differ is not known: {error}")
        return
    found.by_hand = by_hand(seen.secrets)


def _secret(value: Json) -> str | None:
    """ "shop-db/password" of a reference to a Secret."""
    if isinstance(value, dict) and "secret" in value and not value.get("optional"):
        return f"{value['secret']}/{value.get('key', '')}"
    return None


def _proven(things: Sequence[Thing]) -> set[str]:
    """Secrets without which pods that are ready could not have started."""
    ready = [t for t in things if t.rollout is not None and t.rollout.complete and t.rollout.ready]
    return {s for t in ready for value in t.fields.values() if (s := _secret(value)) is not None}


def _judge(found: ArtifactsFound) -> Status:
    if found.missing:
        return Status.FAIL
    if found.unknown:
        return Status.UNKNOWN
    return Status.WARN if found.unseen or found.notes or found.by_hand else Status.PASS


def _words(found: ArtifactsFound, images: int) -> str:
    lines = [f"{what}: {where}" for what, where in sorted((found.missing | found.unknown).items())]
    if found.unseen:
        lines.append(f"Secrets not looked at, which the bot may not read: {', '.join(found.unseen)}")
    lines += [*found.notes, *found.by_hand]
    count = f"{images} image{'' if images == 1 else 's'}"
    return "; ".join(lines if found.missing or found.unknown else [f"{count} there", *lines])
