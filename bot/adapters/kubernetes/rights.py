"""Which rights the bot lacks in a cluster: asked of the cluster itself, right by right."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bot.adapters.kubernetes.connection import Connection
from bot.adapters.kubernetes.resources import (
    BINDING,
    EVENTS,
    LOGS,
    NODES,
    PODS,
    POLICY,
    PROBES,
    REPLICASETS,
    RESOURCES,
    ROLLOUT_STATUS,
    SOURCES,
    Resource,
)
from bot.ports.kubernetes import Cluster

AT_ONCE = 4
"""Questions under way at a time: there are many, and each has the same time for its answer."""
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def wanted(cluster: Cluster) -> Sequence[tuple[Resource, str]]:
    """Every resource that the adapter would touch in a cluster, with the namespace; "" for what has none. What the
    cluster may not have (`extension`) is among them."""
    everywhere = [r for r in (*RESOURCES.values(), PODS, REPLICASETS, LOGS, EVENTS) if not r.extension]
    found = [*((r, cluster.namespace) for r in everywhere), (NODES, ""), (POLICY, ""), (BINDING, "")]
    found += [(r, cluster.namespace) for r in PROBES if cluster.probe]
    found += [(r, space) for kind, r in RESOURCES.items() if r.extension for space in cluster.spaces(kind)]
    found += [(r, space) for r in SOURCES.values() for space in cluster.spaces("kustomization")]
    return [*found, (ROLLOUT_STATUS, cluster.namespace)]


async def missing(connection: Connection, cluster: Cluster) -> Sequence[str]:
    """`patch deployments.apps in shop`, for each right that the adapter would use and has not."""
    found = wanted(cluster)
    extensions = dict.fromkeys(r for r, _ in found if r.extension)
    there = {r for r in extensions if await served(connection, r)}
    found = [(r, space) for r, space in found if not r.extension or r in there]
    asked = [(verb, resource, space) for resource, space in found for verb in resource.verbs]
    turns = asyncio.Semaphore(AT_ONCE)
    may = await asyncio.gather(*(_may(connection, turns, *question) for question in asked))
    return [
        f"{verb} {resource.qualified}{f' in {space}' if space else ''}"
        for (verb, resource, space), allowed in zip(asked, may, strict=True)
        if not allowed
    ]


async def served(connection: Connection, resource: Resource) -> bool:
    """Whether the cluster has such a kind. Everybody may ask that, where reading the kind itself is refused."""
    found = await connection.find(f"/apis/{resource.group}/{resource.version}")
    return any(r.get("name") == resource.plural for r in (found or {}).get("resources") or ())


async def _may(connection: Connection, turns: asyncio.Semaphore, verb: str, resource: Resource, space: str) -> bool:
    plural, _, part = resource.plural.partition("/")
    wanted = {"verb": verb, "group": resource.group, "resource": plural, "subresource": part, "namespace": space}
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in wanted.items() if value}},
    }
    async with turns:
        answer = await connection.ask("POST", _REVIEWS, body=body)
    return bool(answer["status"].get("allowed"))
