"""A service on clusters of the simulator, from manifests: its releases served one after another, and were recorded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from actions.release_deploy import ReleaseDeploy, ReleaseDeployParams
from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.catalogue import Release
from bot.contract import Change, Json, NotYet, Outgoing, Receipt, Value, canonical
from bot.playground.cluster import Cluster
from bot.playground.workspace.clock import Clock
from bot.ports import Blob
from bot.ports import kubernetes as port
from bot.releases.serving import SNAPSHOT, configuration
from bot.testing import TestCtx
from tests.fleet import NOON, Fleet
from tests.playground.cluster_world import client, connected, namespace

GOOD, BAD, THIRD = (f"sha256:{letter * 64}" for letter in "abc")
NEEDS = ReleaseDeploy.needs


def image(name: str, digest: str, repository: str = "registry.example/shop") -> str:
    return f"{repository}/{name}@{digest}"


@dataclass
class Service(Fleet):
    """What is deployed is applied by `ci`, field by field its own, as a pipeline does."""

    names: Sequence[str] = ("api",)
    repository: str = "registry.example/shop"
    records: dict[str, Blob] = field(default_factory=dict)
    memo: dict[str, Json] = field(default_factory=dict)

    def release(self, digest: str) -> Release:
        return Release(digest[7:8], images={name: image(name, digest, self.repository) for name in self.names})

    async def deploy(self, *manifests: dict[str, Any], clusters: Sequence[str] = (), by: str = "ci") -> None:
        """Applied by the pipeline, and rolled out."""
        for name in clusters or self.clusters:
            async with connected(self.clusters[name]) as api:
                for manifest in manifests:
                    await _apply(api, manifest, by)
        for _ in range(6):
            await self.beat(1)

    async def record(self, digest: str) -> Blob:
        """As `bot.releases.serving` takes it."""
        kube = self.adapter
        seen = {c.name: [t for kind in port.WORKLOADS for t in await kube.list(c.name, kind)] for c in kube.clusters}
        maps = [t for c in kube.clusters for t in await kube.list(c.name, "configmap")]
        kept = configuration(self.release(digest), seen, maps, self.secrets)
        self.records[digest] = await self.blobs.put(canonical(kept).encode(), SNAPSHOT)
        return self.records[digest]

    def params(self, **other: Any) -> ReleaseDeployParams:
        gone = Outgoing(version="1.1", images=dict(self.release(BAD).images), settings=self.records.get(BAD))
        target = {"release": "1.0", "images": dict(self.release(GOOD).images), "settings": self.records.get(GOOD)}
        return ReleaseDeployParams(**{**target, "outgoing": [gone], **other})

    async def plan(self, **other: Any) -> Change:
        return await ReleaseDeploy().plan(TestCtx(self.ports_for, NEEDS, now=self.now), self.params(**other))

    async def once(self, change: Change, memo: dict[str, Json] | None = None, **other: Any) -> Receipt:
        memo = self.memo if memo is None else memo
        ctx = TestCtx(self.ports_for, NEEDS, acting=not change.is_noop, now=self.now, memo=memo)
        return await ReleaseDeploy().apply(ctx, self.params(**other), change)

    async def apply(self, change: Change, looks: int = 40, **other: Any) -> Receipt:
        for _ in range(looks):
            try:
                return await self.once(change, **other)
            except NotYet:
                await self.beat(5)
        raise AssertionError("it does not arrive")

    async def once_backwards(self, change: Change) -> None:
        """The change taken back, as the engine does it: from where the targets stand."""
        ctx = TestCtx(self.ports_for, NEEDS, now=self.now)
        seen = await ReleaseDeploy().observe(ctx, self.params(), change.targets)
        back, elsewhere = change.undo_from(seen)
        assert not elsewhere
        self.memo = {}
        await self.apply(back)

    async def seen(self, targets: Collection[str]) -> Mapping[str, Value]:
        """Where targets stand, as the engine looks."""
        return await ReleaseDeploy().observe(TestCtx(self.ports_for, NEEDS, now=self.now), self.params(), targets)

    async def set(
        self, kind: str, name: str, *operations: dict[str, Any], cluster: str = "eu-1", by: str = "dee"
    ) -> None:
        """What somebody does to an object."""
        async with connected(self.clusters[cluster]) as api:
            call = {
                "deployment": client.AppsV1Api(api).patch_namespaced_deployment,
                "configmap": client.CoreV1Api(api).patch_namespaced_config_map,
            }[kind]
            await call(name, "shop", [*operations], field_manager=by)

    async def delete(self, name: str, cluster: str = "eu-1") -> None:
        async with connected(self.clusters[cluster]) as api:
            await client.AppsV1Api(api).delete_namespaced_deployment(name, "shop")
        await self.beat(1)

    def template(self, name: str = "api", cluster: str = "eu-1") -> Any:
        """The pod template's spec of a Deployment."""
        return self.clusters[cluster].get("Deployment", name, "shop")["spec"]["template"]["spec"]


async def _apply(api: Any, manifest: dict[str, Any], by: str) -> None:
    """Server-side, with force, as Argo CD and Flux do."""
    name, kind = manifest["metadata"]["name"], manifest["kind"]
    call = {
        "Deployment": client.AppsV1Api(api).patch_namespaced_deployment,
        "CronJob": client.BatchV1Api(api).patch_namespaced_cron_job,
        "ConfigMap": client.CoreV1Api(api).patch_namespaced_config_map,
    }[kind]
    await call(name, "shop", manifest, field_manager=by, force=True, _content_type="application/apply-patch+yaml")


@asynccontextmanager
async def service(*manifests: dict[str, Any], waves: Sequence[int] = (1,), settings: Sequence[str] = (),
                  selector: str = "", **other: Any) -> AsyncIterator[Service]:  # fmt: skip
    """A service whose good release is deployed, serves, and is recorded."""
    names = [f"{region}-1" for region in ("eu", "us", "ap")][: len(waves)]
    async with AsyncExitStack() as stack:
        clusters = {}
        for name in names:
            there = await stack.enter_async_context(Cluster(name, kubelet=False, clock=Clock(NOON, frozen=True)))
            there.apply(namespace())
            clusters[name] = there
        targets = [
            ClusterTarget(port.Cluster(name, "shop", wave, settings=tuple(settings), selector=selector), name, 5.0)
            for name, wave in zip(names, waves, strict=True)
        ]
        adapter = Clusters(targets, ":".join(str(c.kubeconfig("bot")) for c in clusters.values()))
        stack.push_async_callback(adapter.close)
        made = Service(clusters, adapter, **other)
        await made.deploy(*manifests)
        await made.record(GOOD)
        yield made


def deployment(name: str, digest: str, replicas: int = 2, **container: Any) -> dict[str, Any]:
    """One container of the service's repository."""
    pod = {"containers": [{"name": name, "image": image(name, digest), **container}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    meta = {"name": name, "namespace": "shop"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}
