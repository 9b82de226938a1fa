"""The configuration that a release serves with: what it is compared with when it is to be gone back to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bot.contract import Json
from bot.ports.kubernetes import WORKLOADS, Kind, Kubernetes, Thing

KINDS: tuple[Kind, ...] = (*WORKLOADS, "configmap")
_KEPT = ("data/", "env/", "image/")


async def snapshot(kubernetes: Kubernetes) -> dict[str, Json]:
    """An edit's target -> its value, for the ConfigMaps and the pod templates of the service in all its clusters.

    `eu-1/configmap/shop-settings/data/KEY`, `eu-1/deployment/shop-api/env/app/NAME`, and the images that it was seen
    with. A secret's value is not read, only where it comes from. Reads only; Unreachable if one cluster is: half a
    snapshot would look as if the rest had been taken away.
    """
    asked = [(c.name, kind) for c in kubernetes.clusters for kind in KINDS]
    lists = await asyncio.gather(*(kubernetes.list(cluster, kind) for cluster, kind in asked))
    return dict(sorted((p for things in lists for p in _values(things)), key=lambda p: p[0]))


def _values(things: Sequence[Thing]) -> list[tuple[str, Json]]:
    return [(t.place.target(name), value) for t in things for name, value in t.fields.items() if name.startswith(_KEPT)]
