"""Clusters of the simulator on a bad release of a shop, what both releases served with, and the real adapter."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from kubernetes.aio import client

from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.catalogue import Release
from bot.playground.cluster import Cluster
from bot.playground.workspace.clock import Clock
from bot.ports import Blob, Json
from bot.ports import kubernetes as port
from bot.releases.serving import configuration
from tests.fleet import NOON, Fleet, cron, image, images
from tests.playground.cluster_world import config_map, connected, deployment, namespace

BAD, GOOD = images("2.4.1"), images("2.4.0")
SHOP = ("shop-api", "shop-api-canary", "shop-api-blue", "shop-worker")


def workload(name: str, image: str, replicas: int = 2, *, env: list[dict[str, Any]] | None = None, **spec: Any) -> Any:
    """A Deployment with an init container that runs the same image."""
    made = deployment(image, name, replicas, probe=False, **spec)
    pod = made["spec"]["template"]["spec"]
    pod["initContainers"] = [{"name": "migrate", "image": image, "command": ["true"]}]
    pod["containers"][0]["env"] = env or []
    return made


def variables(release: str) -> list[dict[str, Any]]:
    """What a release's templates say: PAYMENTS and NEW are what 2.4.1 changed."""
    token = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "token"}}}
    same: list[dict[str, Any]] = [{"name": "REGION", "value": "eu"}, token]
    if release == "2.4.0":
        return [*same, {"name": "PAYMENTS", "value": "v1"}]
    return [*same, {"name": "PAYMENTS", "value": "v2"}, {"name": "NEW", "value": "on"}]


def manifests(release: str, **spec: Any) -> list[Any]:
    """The shop as CI deploys it: the canary and the idle colour too."""
    api = image("api", release)
    data = {"PAYMENTS": "v1"} if release == "2.4.0" else {"PAYMENTS": "v2", "KILL": "off"}
    return [
        namespace(),
        workload("shop-api", api, 3, env=variables(release), **spec),
        workload("shop-api-canary", api, 1, **spec),
        workload("shop-api-blue", api, 0, **spec),
        workload("shop-worker", image("worker", release), **spec),
        workload("elsewhere", image("mailer", "9.9.9"), 1),
        cron(release=release),
        config_map("shop-settings", THEME="dark", **data),
    ]


@dataclass
class Deployed(Fleet):
    """The clusters. good, bad: what the two releases served with."""

    good: Blob | None = None
    bad: Blob | None = None

    async def world(self) -> Mapping[str, Json]:
        """Every field of every workload and ConfigMap, but numbers that move by themselves."""
        await self.beat()
        found: dict[str, Json] = {}
        for cluster in self.adapter.clusters:
            for kind in (*port.WORKLOADS, "configmap"):
                for thing in await self.adapter.list(cluster.name, kind):
                    found |= {thing.place.target(f): v for f, v in thing.fields.items() if "deployment.kube" not in f}
        return found

    async def configuration(self, release: Mapping[str, str] = BAD) -> Mapping[str, Json]:
        """What the release of these images is configured with now, as `bot.releases.serving` keeps it."""
        kube = self.adapter
        seen = {c.name: [t for kind in port.WORKLOADS for t in await kube.list(c.name, kind)] for c in kube.clusters}
        maps = [t for c in kube.clusters for t in await kube.list(c.name, "configmap")]
        return configuration(Release("", images=release), seen, maps, self.secrets)

    async def patch(self, name: str, *operations: dict[str, Any], cluster: str = "eu-1", manager: str = "dee") -> None:
        """What somebody else does to a Deployment, or with `cm/` before its name to a ConfigMap."""
        async with connected(self.clusters[cluster]) as api:
            if name.startswith("cm/"):
                core = client.CoreV1Api(api)
                await core.patch_namespaced_config_map(name[3:], "shop", [*operations], field_manager=manager)
            else:
                apps = client.AppsV1Api(api)
                await apps.patch_namespaced_deployment(name, "shop", [*operations], field_manager=manager)

    def images(self, cluster: str = "eu-1") -> dict[str, set[str]]:
        """Workload -> the images in its template."""
        there = self.clusters[cluster]
        found = {d["metadata"]["name"]: d["spec"]["template"] for d in there.all("Deployment", "shop")}
        crons = {
            c["metadata"]["name"]: c["spec"]["jobTemplate"]["spec"]["template"] for c in there.all("CronJob", "shop")
        }
        return {name: {c["image"] for key in ("initContainers", "containers") for c in t["spec"].get(key) or ()}
                for name, t in (found | crons).items()}  # fmt: skip

    def requests(self, cluster: str = "eu-1") -> list[str]:
        """Verb and object of what the bot asked, in order; writes as `patch deployments shop-api`."""
        return [f"{r.verb} {r.resource} {r.name}".strip() for r in self.clusters[cluster].requests.select(user="bot")]

    def writes(self) -> list[str]:
        """What the bot changed, in all clusters."""
        return [str(r) for c in self.clusters.values() for r in c.requests.writes("bot")]


@asynccontextmanager
async def deployed(*waves: int, timeout: float = 2.0, strategy: Any = None) -> AsyncIterator[Deployed]:
    """A cluster for each wave (eu-1, us-1, ...), on the bad release, rolled out."""
    names = [f"{region}-1" for region in ("eu", "us", "ap")][: len(waves or (1,))]
    spec = {"strategy": strategy} if strategy else {}
    async with AsyncExitStack() as stack:
        clusters = {}
        for name in names:
            there = await stack.enter_async_context(Cluster(name, kubelet=False, clock=Clock(NOON, frozen=True)))
            there.apply(*manifests("2.4.0", **spec))
            clusters[name] = there
        targets = [
            ClusterTarget(port.Cluster(name, "shop", wave, settings=("shop-settings",)), name, timeout)
            for name, wave in zip(names, waves or (1,), strict=True)
        ]
        adapter = Clusters(targets, ":".join(str(c.kubeconfig("bot")) for c in clusters.values()))
        stack.push_async_callback(adapter.close)
        made = Deployed(clusters, adapter)
        await made.beat()
        made.good = await _recorded(made, GOOD)
        for there in clusters.values():
            there.apply(*manifests("2.4.1", **spec))
        for _ in range(8):
            await made.beat()
        made.bad = await _recorded(made, BAD)
        for there in clusters.values():
            there.requests.clear()
        yield made


async def _recorded(shop: Deployed, release: Mapping[str, str]) -> Blob:
    return await shop.blobs.put(json.dumps(await shop.configuration(release)).encode(), "application/json")
