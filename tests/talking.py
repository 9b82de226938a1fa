"""A cluster whose pods write logs: each release of one program says its own lines, again and again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.playground.cluster import Cluster, Registry
from bot.playground.workspace.clock import Clock
from bot.ports import kubernetes as port
from tests.playground.cluster_world import deployment, eventually, namespace, python

PROGRAM = """
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
lines = json.loads(os.environ["SAYS"])
for turn in range(10_000):
    for line in lines:
        print(line.replace("%n", str(turn)), flush=True)
    time.sleep(9999 if os.environ.get("ONCE") else 0.05)
    if turn == 5 and os.environ.get("ENDS"):
        sys.exit(3)
"""
DECLINED = 'Traceback (most recent call last):\n  File "pay.py", line 4\nPaymentDeclined: card %n declined'
TIMEOUT = "ERROR could not reach 10.0.0.%n"
SERVED = "INFO served %n"


@dataclass
class Talking:
    """The cluster, and the real adapter to it as the bot's user."""

    cluster: Cluster
    adapter: Clusters
    registry: Registry
    images: dict[str, str] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        """What the cluster's clock says."""
        return datetime.fromtimestamp(self.cluster.clock.time(), UTC)

    async def run(self, name: str, version: str, *says: str, replicas: int = 1, **environment: str) -> str:
        """A workload of this release, which says these lines; its image, once it runs."""
        said = {"SAYS": json.dumps(says), **environment}
        image = self.registry.add(f"registry.example/shop/{name}", version, python(PROGRAM), said)
        self.cluster.apply(deployment(image, name, replicas, probe=False))
        self.images[f"{name} {version}"] = image

        async def runs() -> bool:
            pods = await self.adapter.every_pod("eu-1")
            texts = [await self.adapter.logs("eu-1", p.name) for p in pods if image in p.images]
            return len(texts) >= replicas and all(texts)

        await eventually(runs, 20)
        return image

    async def later(self, seconds: float, lines: int = 20) -> None:
        """Time goes by, and more is logged afterwards."""
        self.cluster.clock.advance(seconds)

        async def more() -> bool:
            pods = await self.adapter.every_pod("eu-1")
            texts = [await self.adapter.logs("eu-1", p.name, since=max(1.0, seconds / 2)) for p in pods]
            return all(text.count("\n") >= lines for text in texts)

        await eventually(more, 20)


@asynccontextmanager
async def talking(noise: Sequence[str] = ()) -> AsyncIterator[Talking]:
    """One cluster, "eu-1"."""
    registry = Registry()
    async with Cluster("eu-1", registry=registry, clock=Clock()) as cluster:
        cluster.apply(namespace())
        there = port.Cluster("eu-1", "shop", noise=tuple(noise))
        adapter = Clusters([ClusterTarget(there, "eu-1", 5.0)], str(cluster.kubeconfig("bot")))
        yield Talking(cluster, adapter, registry)
        await adapter.close()
