"""What images are: tags, mirrors, an index and its platforms, each told as the release's image that it is.

Asked are first the pods (what a node says that it runs under a tag), then the registry; only where something is called
like an image of a release and cannot be told from its own digest. What nobody can tell stays unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from bot.ports import Unreachable
from bot.ports.kubernetes import Denied, Kubernetes, Thing, digest
from bot.ports.registry import ImageRegistry, RegistryRefused


def repository(image: str) -> str:
    """What an image is called without tag and digest."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


async def resolved(
    kube: Kubernetes, registry: ImageRegistry, things: Iterable[Thing], releases: Collection[str]
) -> Mapping[str, str]:
    """Image of a container, as its template has it -> digest of the release's image that it is. releases: the images of
    all releases in question, by digest."""
    known = {digest(image) for image in releases}
    called = {repository(image).rpartition("/")[2] for image in releases}
    open_: dict[str, set[str]] = {}
    for thing in things:
        for image in thing.images.values():
            if digest(image) not in known and repository(image).rpartition("/")[2] in called:
                open_.setdefault(image, set()).add(thing.place.cluster)
    if not open_:
        return {}
    run = await _run(kube, {c for image, clusters in open_.items() if not digest(image) for c in clusters})
    goes_by = {image: {digest(image), *run.get(image, ())} - {""} for image in open_}
    found = {image: known & ids for image, ids in goes_by.items() if len(known & ids) == 1 and len(ids) == 1}
    for image in open_.keys() - found.keys():
        if len(goes_by[image]) <= 1:  # else the tag stands for several in its pods: nothing is told
            found[image] = known & await _in_registry(registry, image, goes_by[image], releases)
    return {image: next(iter(ids)) for image, ids in found.items() if len(ids) == 1}


def pinned(thing: Thing, what: Mapping[str, str]) -> Thing:
    """The thing with the digests that its images are. what: as `resolved` gives it."""
    images = {
        name: f"{image if not digest(image) else repository(image)}@{what[image]}"
        for name, image in thing.images.items()
        if image in what
    }
    return replace(thing, fields={**thing.fields, **images}) if images else thing


async def _run(kube: Kubernetes, clusters: Collection[str]) -> Mapping[str, set[str]]:
    """Image as a template has it -> digests that pods run under it."""
    found: dict[str, set[str]] = {}
    for cluster in sorted(clusters):
        try:
            pods = await kube.every_pod(cluster)
        except (Unreachable, Denied):
            continue
        for pod in pods:
            for image, id_ in pod.runs.items():
                if digest(id_):
                    found.setdefault(image, set()).add(digest(id_))
    return found


async def _in_registry(registry: ImageRegistry, image: str, ids: set[str], releases: Collection[str]) -> set[str]:
    """The digests of releases that the registry says it is: by its platforms, or as a platform of theirs."""
    pinned = f"{repository(image)}@{next(iter(ids))}" if ids else image
    same = [r for r in releases if repository(r).rpartition("/")[2] == repository(image).rpartition("/")[2]]
    mine = await _digests(registry, pinned) | ids
    if mine & {digest(r) for r in same}:
        return {*mine}
    answers = await asyncio.gather(*(_digests(registry, each) for each in same))
    return {digest(r) for r, parts in zip(same, answers, strict=True) if mine & parts}


async def _digests(registry: ImageRegistry, image: str) -> frozenset[str]:
    try:
        return await registry.digests(image)
    except (ValueError, RegistryRefused, Unreachable):
        return frozenset()
