"""Putting an image back on a Deployment: a read, a patch and a look at its pods, against `kubectl rollout undo`.

    make bench BENCH=kubernetes

Both ask the same API server, the simulator, in turns: what is measured is what each does until the server has taken
the change, not how fast pods start. kubectl is a process of its own each time, with a warm cache, as it is for a
person; ours is the port that the bot already holds open, as it is in a rollback.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable

from bench import median, report
from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.playground.cluster import Cluster
from bot.ports.kubernetes import Cluster as Known
from bot.ports.kubernetes import Place, Thing

ROUNDS, WARM = 15, 2
GOOD, BAD = (f"registry.example/shop/api@sha256:{letter * 64}" for letter in "ab")
API = Place("eu", "deployment", "api")
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "api", "namespace": "shop"},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "api"}},
        "template": {
            "metadata": {"labels": {"app": "api"}},
            "spec": {"containers": [{"name": "app", "image": GOOD}]},
        },
    },
}


async def _recorded(command: str) -> None:
    """What is recorded costs the engine's bench."""


async def ours(clusters: Clusters) -> None:
    """Back to the good image, and what its pods run."""
    seen = await clusters.get(API)
    assert isinstance(seen, Thing)
    await clusters.write(seen, {"image/app": GOOD})
    await clusters.pods(API)


async def kubectl(binary: str, config: str, cache: str) -> None:
    """The same, as a person does it."""
    child = await asyncio.create_subprocess_exec(
        binary, f"--kubeconfig={config}", f"--cache-dir={cache}", "-n", "shop", "rollout", "undo", "deployment/api",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"kubectl: {said.decode().strip()}")


async def timed(cluster: Cluster, clusters: Clusters, undo: Callable[[], Awaitable[None]]) -> float:
    """Seconds of one undo, from the bad image, with controllers at rest before."""
    seen = await clusters.get(API)
    assert seen is not None
    await clusters.write(seen, {"image/app": BAD})
    await cluster.until(lambda: _rests(cluster))
    begun = time.perf_counter()
    await undo()
    took = time.perf_counter() - begun
    assert cluster.get("Deployment", "api", "shop")["spec"]["template"]["spec"]["containers"][0]["image"] == GOOD
    await cluster.until(lambda: _rests(cluster))
    return took


def _rests(cluster: Cluster) -> bool:
    found = cluster.get("Deployment", "api", "shop")
    return bool(found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"])


async def main() -> int:
    """Exit code 2 where there is no kubectl to compare with."""
    binary = shutil.which("kubectl")
    if binary is None:
        print("kubectl is not installed: apt-get install kubernetes-client", file=sys.stderr)
        return 2
    async with Cluster("eu", kubelet=False) as cluster:
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}, DEPLOYMENT)
        config = str(cluster.kubeconfig("admin", "shop"))
        adapter = Clusters([ClusterTarget(Known("eu", "shop"), "eu")], config)
        clusters = adapter.bind(_recorded)
        with tempfile.TemporaryDirectory() as cache:
            mine: list[float] = []
            theirs: list[float] = []
            for _ in range(WARM + ROUNDS):
                mine.append(await timed(cluster, clusters, lambda: ours(clusters)))
                theirs.append(await timed(cluster, clusters, lambda: kubectl(binary, config, cache)))
        await adapter.close()
    report("an image back, pods read", median(mine[WARM:]), median(theirs[WARM:]), "s", 0.15, of="ratio")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
