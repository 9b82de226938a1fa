"""Two clusters whose deploy paths can be guarded: workloads of two services in one namespace, Argo CD, CI; and the real
adapter as the bot's user. No kubelet, virtual time."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.contract import AnyAction, Change, NotYet, Params, Receipt, Value
from bot.playground.cluster import Cluster
from bot.playground.workspace.clock import Clock
from bot.ports import Json, Ports, Record
from bot.ports import kubernetes as port
from bot.ports.notices import Topic
from bot.testing import PortsFor, TestCtx, ports
from tests.fleet import NOON, image
from tests.playground.cluster_world import connected, deployment, namespace

SELECTOR = "app.kubernetes.io/part-of=shop"
REPO = "https://git.example/shop"
AUTOMATED: dict[str, Json] = {"prune": True, "selfHeal": True, "allowEmpty": False}
GUARD_KINDS = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


def part(of: str, manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest, as a workload of a service."""
    made = copy.deepcopy(manifest)
    made["metadata"]["labels"] = {"app.kubernetes.io/part-of": of}
    return made


def api(release: str) -> dict[str, Any]:
    """The shop's API in a release."""
    return part("shop", deployment(image("api", release), "shop-api", 2, probe=False))


def application(automated: Json = AUTOMATED, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop", "namespace": "argocd", "labels": labels},
        "spec": {
            "project": "default",
            "source": {"repoURL": REPO, "path": "deploy", "targetRevision": "main"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
            "syncPolicy": {"automated": automated, "syncOptions": ["CreateNamespace=false"]},
        },
    }


async def unrecorded(command: str) -> None:
    """A change by somebody else needs no record."""


@dataclass
class Board:
    """Where posts stand, by name; the first text stays."""

    record: Record
    posts: dict[str, tuple[str, str]]

    @property
    def topic(self) -> Topic:
        return Topic("r1", "shop", "2.4.1", "2.4.0", "checkout fails", "Ana", "#inc-4211")

    async def post(self, channel: str, name: str, text: str) -> None:
        await self.record(f"post in {channel}")
        self.posts.setdefault(name, (channel, text))


@dataclass
class Paths:
    """The clusters by name, and the bot's adapter for them."""

    clusters: dict[str, Cluster]
    adapter: Clusters
    beside: Clusters
    """The adapter of the other service."""
    posts: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What people were told: name -> channel and text."""

    @property
    def eu(self) -> Cluster:
        return self.clusters["eu-1"]

    @property
    def billing(self) -> Paths:
        """The same, as runs of the other service see it."""
        return Paths(self.clusters, self.beside, self.adapter)

    @property
    def ports_for(self) -> PortsFor:
        def bound(record: Record) -> Ports:
            return ports(kubernetes=self.adapter.bind(record), notices=Board(record, self.posts))

        return bound

    async def wait(self, seconds: float) -> None:
        """Time goes on everywhere."""
        for cluster in self.clusters.values():
            cluster.clock.advance(max(seconds, 0.5))

    async def world(self) -> Mapping[str, Json]:
        """The guards that there are, and how applications sync."""
        found: dict[str, Json] = {}
        for name, cluster in self.clusters.items():
            for kind in GUARD_KINDS:
                found |= {f"{name}/{kind}/{o['metadata']['name']}": o["spec"] for o in cluster.all(kind)}
            for app in cluster.all("Application", "argocd"):
                found[f"{name}/sync"] = app["spec"].get("syncPolicy")
        return found

    async def deploy(self, manifest: Any, user: str = "ci", cluster: str = "eu-1") -> str:
        """What a deploy path gets to hear: "" where it may."""
        async with connected(self.clusters[cluster], user) as there:
            apps = client.AppsV1Api(there)
            name = manifest["metadata"]["name"]
            try:
                await apps.patch_namespaced_deployment(name, "shop", manifest)
            except ApiException as error:
                if error.status != 404:
                    return str(error.body)
                try:
                    await apps.create_namespaced_deployment("shop", manifest)
                except ApiException as refused:
                    return str(refused.body)
        return ""

    async def scale(self, name: str, replicas: int, user: str = "ci") -> None:
        async with connected(self.eu, user) as there:
            await client.AppsV1Api(there).patch_namespaced_deployment(name, "shop", {"spec": {"replicas": replicas}})

    # -- the engine's part -----------------------------------------------------------------------------------------

    async def plan(self, action: AnyAction, p: Params) -> Change:
        return await action.plan(TestCtx(self.ports_for, action.needs), p)

    async def observe(self, action: AnyAction, p: Params, change: Change) -> Mapping[str, Value]:
        return await action.observe(TestCtx(self.ports_for, action.needs), p, change.targets)

    async def apply(self, action: AnyAction, p: Params, change: Change) -> tuple[Receipt, list[str]]:
        """To its end; the receipt and what was recorded."""
        now = datetime.fromtimestamp(self.eu.clock.time(), UTC)
        ctx = TestCtx(self.ports_for, action.needs, acting=True, now=now)
        for _ in range(50):
            try:
                return await action.apply(ctx, p, change), ctx.commands
            except NotYet as error:
                ctx.now += timedelta(seconds=error.after)
                await self.wait(error.after)
        raise AssertionError("it never ends")

    async def undo(self, action: AnyAction, p: Params, change: Change) -> None:
        back, left = change.undo_from(await self.observe(action, p, change))
        assert not left, left
        await self.apply(action, p, back)


@asynccontextmanager
async def paths(
    *names: str, timeout: float = 2.0, policies: bool = True, flux: tuple[str, ...] = ()
) -> AsyncIterator[Paths]:
    """Clusters (eu-1 where none is named) that run the shop's bad release, and another service beside it."""
    async with AsyncExitStack() as stack:
        clusters: dict[str, Cluster] = {}
        for name in names or ("eu-1",):
            there = await stack.enter_async_context(
                Cluster(name, kubelet=False, policies=policies, clock=Clock(NOON, frozen=True))
            )
            there.apply(namespace(), namespace("argocd"), api("2.4.1"))
            there.apply(part("billing", deployment(image("billing", "1.0"), "billing", 1, probe=False)))
            clusters[name] = there
        made = {service: _adapter(clusters, service, timeout, flux) for service in ("shop", "billing")}
        for adapter in made.values():
            stack.push_async_callback(adapter.close)
        yield Paths(clusters, made["shop"], made["billing"])


def _adapter(clusters: Mapping[str, Cluster], service: str, timeout: float, flux: tuple[str, ...]) -> Clusters:
    targets = [
        ClusterTarget(
            port.Cluster(name, "shop", i + 1, applications=("argocd/shop",), selector=SELECTOR.replace("shop", service),
                         break_glass=("break-glass",), flux=flux), name, timeout,
        )
        for i, name in enumerate(clusters)
    ]  # fmt: skip
    return Clusters(targets, ":".join(str(c.kubeconfig("bot")) for c in clusters.values()))
