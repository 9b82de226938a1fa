"""Two clusters of the simulator that run a shop's workers, without a kubelet and in virtual time; and the real adapter.

What a kubelet would do (pods become ready, jobs end) happens in `beat`, which is also how a test waits.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kubernetes.aio import client

from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.playground.cluster import Cluster
from bot.playground.cluster.resources import PODS
from bot.playground.workspace.clock import Clock
from bot.ports import Json, Ports, Record
from bot.ports import kubernetes as port
from bot.redaction.redactor import Redactor
from bot.testing import MemoryBlobs, MemoryRegistry, PortsFor, ports
from tests.playground.cluster_world import config_map, connected, deployment, namespace

NOON = 1_800_014_400.0
"""2027-01-15T12:00:00Z"""
WORKERS = ("deployment/shop-worker", "deployment/shop-mailer", "cronjob/shop-settle")
KEDA = "autoscaling.keda.sh/paused-replicas"


def image(name: str, release: str) -> str:
    """An image by a digest that is its own."""
    return f"registry.example/shop/{name}@sha256:{hashlib.sha256(f'{name} {release}'.encode()).hexdigest()}"


def images(release: str) -> dict[str, str]:
    """A release of the shop."""
    return {name: image(name, release) for name in ("api", "worker", "mailer", "settle")}


def cron(schedule: str = "*/15 * * * *", release: str = "2.4.0", **spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "settle", "image": image("settle", release)}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "shop-settle", "namespace": "shop"},
        "spec": {"schedule": schedule, "jobTemplate": {"spec": {"template": {"spec": pod}}}, **spec},
    }


def autoscaler(name: str = "shop-worker") -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"minReplicas": 2, "maxReplicas": 10, "scaleTargetRef": target},
    }


def scaled_object(name: str = "shop-mailer", least: int = 1, **annotations: str) -> dict[str, Any]:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
        "spec": {
            "scaleTargetRef": {"name": name},
            "minReplicaCount": least,
            "triggers": [{"type": "redis", "metadata": {}}],
        },
    }


def manifests(release: str = "2.4.0") -> list[dict[str, Any]]:
    """The shop's workers: one that an HPA scales, one of KEDA's, and a CronJob."""
    return [
        namespace(),
        deployment(image("worker", release), "shop-worker", 3, probe=False),
        deployment(image("mailer", release), "shop-mailer", 1, probe=False),
        autoscaler(),
        scaled_object(),
        cron(release=release),
        config_map("shop-settings", PAYMENTS="live"),
    ]


@dataclass
class Fleet:
    """The clusters by name, and what leads to them as the bot's user."""

    clusters: dict[str, Cluster]
    adapter: Clusters
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    secrets: Redactor = field(default_factory=lambda: Redactor(key="of the tests alone"))
    others: Mapping[str, object] = field(default_factory=dict)
    broken: str = ""
    """Pods of this digest never become ready."""

    @property
    def eu(self) -> Cluster:
        """The first of them."""
        return self.clusters["eu-1"]

    @property
    def now(self) -> datetime:
        """What the clusters' clock says."""
        return datetime.fromtimestamp(self.eu.clock.time(), UTC)

    @property
    def ports_for(self) -> PortsFor:
        """Ports as wiring makes them."""

        def bound(record: Record) -> Ports:
            ours = {"kubernetes": self.adapter.bind(record), "blobs": self.blobs, "registry": self.registry}
            return ports(**{**ours, "secrets": self.secrets, **self.others})

        return bound

    async def beat(self, seconds: float = 0.0) -> None:
        """Let controllers come to rest, start pods and end them; the clocks go on by this much."""
        for cluster in self.clusters.values():
            cluster.clock.advance(seconds)
        for _ in range(3):
            await asyncio.sleep(0.02)
            for cluster in self.clusters.values():
                _kubelet(cluster, self.broken)

    async def settle(self) -> None:
        """Let controllers come to rest; no pod starts."""
        for _ in range(3):
            await asyncio.sleep(0.02)

    async def world(self) -> Mapping[str, Json]:
        """What a pause could touch."""
        await self.beat()
        found: dict[str, Json] = {}
        for name, cluster in self.clusters.items():
            for each in cluster.all("Deployment", "shop"):
                found[f"{name}/{each['metadata']['name']}"] = each["spec"]["replicas"]
            for each in cluster.all("CronJob", "shop"):
                found[f"{name}/{each['metadata']['name']}"] = each["spec"].get("suspend")
                found[f"{name}/{each['metadata']['name']}/schedule"] = each["spec"]["schedule"]
            for each in cluster.all("ScaledObject", "shop"):
                found[f"{name}/keda/{each['metadata']['name']}"] = dict(each["metadata"].get("annotations") or {})
            for each in cluster.all("ConfigMap", "shop"):
                found[f"{name}/{each['metadata']['name']}"] = dict(each["data"])
        return found

    async def scale(self, name: str, replicas: int, cluster: str = "eu-1", user: str = "admin") -> None:
        """What a person does with kubectl."""
        async with connected(self.clusters[cluster], user) as api:
            body = {"spec": {"replicas": replicas}}
            await client.AppsV1Api(api).patch_namespaced_deployment(name, "shop", body, field_manager="kubectl-scale")

    async def edit(self, kind: str, name: str, cluster: str = "eu-1", **spec: Any) -> None:
        """Another spec, by an admin."""
        there = self.clusters[cluster]
        found = json.loads(json.dumps(there.get(kind, name, "shop")))
        there.apply({**found, "spec": {**found["spec"], **spec}})

    async def finish_jobs(self, cluster: str = "eu-1") -> None:
        """Whatever a job's pods do succeeds."""
        for pod in self.clusters[cluster].all("Pod", "shop"):
            if "job-name" in pod["metadata"].get("labels", {}):
                self.clusters[cluster].set_status("Pod", pod["metadata"]["name"], "shop", phase="Succeeded")
        await self.beat()

    async def annotate(self, name: str, value: str, cluster: str = "eu-1", key: str = KEDA) -> None:
        """Pause KEDA, as a person would."""
        there = self.clusters[cluster]
        found = json.loads(json.dumps(there.get("ScaledObject", name, "shop")))
        found["metadata"]["annotations"] = {key: value}
        there.apply(found)


def _kubelet(cluster: Cluster, broken: str) -> None:
    away = {n["metadata"]["name"] for n in cluster.all("Node") if _is_away(n)}
    for pod in cluster.all("Pod", "shop"):
        name, conditions = pod["metadata"]["name"], pod["status"].get("conditions") or ()
        if pod["spec"].get("nodeName") in away:
            continue
        if "deletionTimestamp" in pod["metadata"]:
            cluster.core.finish(PODS, pod)
            continue
        sick = broken and any(broken in c["image"] for c in pod["spec"]["containers"])
        going = pod["status"].get("phase") in ("Succeeded", "Failed")
        if not going and not sick and not any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
            ready = [{"type": "Ready", "status": "True", "lastTransitionTime": "2027-01-15T12:00:00Z"}]
            cluster.set_status("Pod", name, "shop", phase="Running", conditions=ready)


def _is_away(node: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] != "True" for c in node.get("status", {}).get("conditions", ()))


@asynccontextmanager
async def fleet(*names: str, timeout: float = 2.0, **others: object) -> AsyncIterator[Fleet]:
    """A fleet with pods that are ready."""
    async with AsyncExitStack() as stack:
        clusters: dict[str, Cluster] = {}
        for name in names or ("eu-1",):
            there = await stack.enter_async_context(Cluster(name, kubelet=False, clock=Clock(NOON, frozen=True)))
            there.metrics.set("shop", "Deployment", "shop-mailer", 1.0)
            there.apply(*manifests())
            clusters[name] = there
        targets = [
            ClusterTarget(port.Cluster(name, "shop", i + 1, WORKERS, ("shop-settings",)), name, timeout)
            for i, name in enumerate(clusters)
        ]
        paths = ":".join(str(c.kubeconfig("bot")) for c in clusters.values())
        adapter = Clusters(targets, paths)
        stack.push_async_callback(adapter.close)
        made = Fleet(clusters, adapter, others=others)
        await made.beat()
        yield made
