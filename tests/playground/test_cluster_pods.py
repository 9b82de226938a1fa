"""Pods are real processes: what starts them, what they serve and say, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kubernetes.aio.client.exceptions import ApiException

from bot.playground.cluster import Cluster, Fault, Registry
from bot.playground.workspace.clock import Clock
from tests.fixtures.cluster import (
    SERVER,
    client,
    config_map,
    connected,
    deployment,
    events,
    eventually,
    fetch,
    kube_config,
    namespace,
    python,
    service,
    shop_registry,
    watch,
)


@pytest.fixture
async def shop() -> AsyncIterator[Cluster]:
    registry, _, _ = shop_registry()
    async with Cluster(registry=registry, clock=Clock(frozen=True)) as cluster:
        cluster.apply(namespace(), service())
        yield cluster


def pod(image: str, name: str = "one", restart: str = "Always", **container: Any) -> dict[str, Any]:
    spec = {"restartPolicy": restart, "containers": [{"name": "main", "image": image, **container}]}
    meta = {"name": name, "namespace": "shop", "labels": {"app": "web"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def state(cluster: Cluster, name: str = "one") -> dict[str, Any]:
    """The state of a pod's only container."""
    statuses = cluster.get("Pod", name, "shop")["status"].get("containerStatuses") or [{"state": {}}]
    return dict(statuses[0]["state"])


def waits_for(cluster: Cluster, reason: str, name: str = "one") -> bool:
    return bool(state(cluster, name).get("waiting", {}).get("reason") == reason)


async def test_a_service_is_balanced_over_its_ready_pods(shop: Cluster) -> None:
    code = SERVER.replace('os.environ.get("GREETING", "")', 'os.environ["HOSTNAME"]')
    image = shop.registry.add("shop/who", "v1", python(code))
    shop.apply(deployment(image))
    await shop.rolled_out("web", "shop")
    seen = {await fetch(shop.address("web/shop")) for _ in range(4)}
    assert seen == {p["metadata"]["name"] for p in shop.all("Pod", "shop")}


async def test_a_service_without_a_ready_pod_closes_the_connection(shop: Cluster) -> None:
    with pytest.raises(aiohttp.ClientError):
        await fetch(shop.address("web/shop"))


async def test_the_environment_comes_from_image_config_maps_secrets_and_the_pod(shop: Cluster) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": "shop"}}
    shop.apply(config_map("flags", GREETING="from-map", MODE="fast"), secret | {"stringData": {"token": "s3"}})
    names = "IMAGE GREETING MODE TOKEN ME BOTH WEB_SERVICE_HOST"
    told = f"import os; print(*(os.environ.get(n) for n in '{names}'.split()))"
    image = shop.registry.add("shop/env", "v1", python(told), {"IMAGE": "yes", "MODE": "slow"})
    env = [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "BOTH", "value": "$(ME)-$(MODE)-$$(ME)"},
    ]
    shop.apply(pod(image, restart="Never", env=env, envFrom=[{"configMapRef": {"name": "flags"}}]))
    await shop.until(lambda: shop.get("Pod", "one", "shop")["status"]["phase"] == "Succeeded")
    async with connected(shop) as api:
        said = await client.CoreV1Api(api).read_namespaced_pod_log("one", "shop")
    assert said == "yes from-map fast s3 one one-fast-$(ME) 127.0.0.1\n"


async def test_a_missing_config_map_keeps_a_container_from_starting(shop: Cluster) -> None:
    shop.apply(pod("registry.example/shop/web:v1", envFrom=[{"configMapRef": {"name": "absent"}}]))
    await shop.until(lambda: waits_for(shop, "CreateContainerConfigError"))
    shop.apply(config_map("absent"))
    shop.clock.advance(11)
    await shop.until(lambda: "running" in state(shop))


async def test_an_image_that_is_not_there_backs_off_and_says_so(shop: Cluster) -> None:
    shop.apply(deployment("registry.example/shop/web:v9", replicas=1))
    await shop.until(lambda: shop.all("Pod"))
    name = shop.all("Pod")[0]["metadata"]["name"]
    await shop.until(lambda: waits_for(shop, "ImagePullBackOff", name))
    told = events(shop, name)
    assert any(r == "Failed" and 'Failed to pull image "registry.example/shop/web:v9"' in m for r, m in told)
    assert ("Failed", "Error: ImagePullBackOff") in told
    shop.registry.add("registry.example/shop/web", "v9", python(SERVER), {"VERSION": "v9"})
    shop.clock.advance(10)
    await shop.rolled_out("web", "shop")


async def test_a_crash_loop_backs_off_and_keeps_the_log_of_the_run_before(shop: Cluster) -> None:
    image = shop.registry.add("shop/crash", "v1", python("print('boom'); raise SystemExit(3)"))
    shop.apply(pod(image))
    await shop.until(lambda: waits_for(shop, "CrashLoopBackOff"))
    status = shop.get("Pod", "one", "shop")["status"]["containerStatuses"][0]
    assert (status["restartCount"], status["lastState"]["terminated"]["exitCode"]) == (1, 3)
    async with connected(shop) as api:
        core = client.CoreV1Api(api)
        assert await core.read_namespaced_pod_log("one", "shop", previous=True) == "boom\n"
    shop.clock.advance(10)
    await shop.until(lambda: shop.get("Pod", "one", "shop")["status"]["containerStatuses"][0]["restartCount"] == 2)


async def test_a_pod_that_is_never_ready_holds_the_rollout(shop: Cluster) -> None:
    _, v1, v2 = shop_registry()
    shop.apply(deployment(v1))
    await shop.rolled_out("web", "shop")
    shop.faults.add(Fault("never_ready", name="web-*", next=None))
    shop.apply(deployment(v2))
    await shop.until(lambda: len(shop.all("Pod", "shop")) == 3)
    await asyncio.sleep(0.2)
    assert shop.get("Deployment", "web", "shop")["status"]["availableReplicas"] == 2
    assert await fetch(shop.address("web/shop")) == "v1"
    shop.faults.clear()
    await shop.rolled_out("web", "shop")
    assert await fetch(shop.address("web/shop")) == "v2"


async def test_logs_are_cut_by_tail_and_age_and_can_be_followed(shop: Cluster) -> None:
    code = "import time\nfor i in range(3): print('line', i, flush=True)\ntime.sleep(60)"
    shop.apply(pod(shop.registry.add("shop/talk", "v1", python(code))))
    async with connected(shop) as api:
        core = client.CoreV1Api(api)
        seen: list[str] = []
        await shop.until(lambda: "running" in state(shop))
        async with watch.Watch() as watching:
            async for line in watching.stream(core.read_namespaced_pod_log, "one", "shop"):
                seen.append(line)
                if len(seen) == 3:
                    break
        assert seen == ["line 0\n", "line 1\n", "line 2\n"]
        assert await core.read_namespaced_pod_log("one", "shop", tail_lines=1) == "line 2\n"
        shop.clock.advance(100)
        assert await core.read_namespaced_pod_log("one", "shop", since_seconds=50) == ""
        stamped = await core.read_namespaced_pod_log("one", "shop", timestamps=True, tail_lines=1)
        assert stamped.endswith("Z line 2\n")
        with pytest.raises(ApiException, match="not valid for pod"):
            await core.read_namespaced_pod_log("one", "shop", container="other")


async def test_a_deleted_pod_gets_sigterm_and_after_its_grace_period_sigkill(shop: Cluster) -> None:
    code = "import signal, time\nsignal.signal(signal.SIGTERM, lambda *_: print('no', flush=True))\n"
    code += "print('up', flush=True)\n"
    shop.apply(pod(shop.registry.add("shop/stubborn", "v1", python(code + "while True: time.sleep(1)"))))
    await shop.until(lambda: "running" in state(shop))
    async with connected(shop) as api:
        core = client.CoreV1Api(api)

        async def said(word: str) -> bool:
            return word in await core.read_namespaced_pod_log("one", "shop")

        await eventually(lambda: said("up"))
        await core.delete_namespaced_pod("one", "shop", grace_period_seconds=20)
        await eventually(lambda: said("no"))
        assert shop.get("Pod", "one", "shop")["metadata"]["deletionGracePeriodSeconds"] == 20
        shop.clock.advance(21)
        await shop.until(lambda: shop.all("Pod") == [])


async def test_an_init_container_runs_before_the_others(shop: Cluster) -> None:
    registry = shop.registry
    wanted = pod(registry.add("shop/late", "v1", python("import time; time.sleep(60)")))
    fails = registry.add("shop/init", "v1", python("raise SystemExit(1)"))
    wanted["spec"] |= {"restartPolicy": "Never", "initContainers": [{"name": "first", "image": fails}]}
    shop.apply(wanted)
    await shop.until(lambda: shop.get("Pod", "one", "shop")["status"]["phase"] == "Failed")
    assert "running" not in state(shop)


async def test_a_liveness_probe_that_fails_restarts_the_container(shop: Cluster) -> None:
    probe = {"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 1}
    image = shop.registry.add("shop/deaf", "v1", python("import time; time.sleep(60)"))
    shop.apply(pod(image, livenessProbe=probe))
    await shop.until(lambda: any("liveness probe, will be restarted" in m for _, m in events(shop, "one")))


async def test_a_pod_is_reached_through_the_api_server(shop: Cluster) -> None:
    shop.apply(deployment("registry.example/shop/web:v2"))
    await shop.rolled_out("web", "shop")
    name = next(p["metadata"]["name"] for p in shop.all("Pod", "shop"))
    async with connected(shop, "ci") as api:
        core = client.CoreV1Api(api)
        assert await core.connect_get_namespaced_pod_proxy_with_path(name, "shop", path="health") == "v2"
        assert await core.connect_get_namespaced_service_proxy("web", "shop") == "v2"


async def test_the_registry_tells_which_manifests_exist(shop: Cluster) -> None:
    reference = shop.registry.add("registry.example/shop/web", "v3", python(SERVER))
    digest = reference.partition("@")[2]
    async with aiohttp.ClientSession() as http:
        base = f"{shop.registry.url}/v2/shop/web/manifests"
        async with http.head(f"{base}/v3") as answer:
            assert (answer.status, answer.headers["Docker-Content-Digest"]) == (200, digest)
        async with http.get(f"{base}/{digest}") as answer:
            assert f"sha256:{hashlib.sha256(await answer.read()).hexdigest()}" == digest
        shop.registry.remove("registry.example/shop/web", digest)
        for reference in ("v3", digest, "v9"):
            async with http.get(f"{base}/{reference}") as answer:
                assert answer.status == 404
                assert (await answer.json())["errors"][0]["code"] == "MANIFEST_UNKNOWN"


async def test_no_process_outlives_the_cluster() -> None:
    registry = Registry()
    image = registry.add("shop/sleep", "v1", python("import os, time; print(os.getpid(), flush=True); time.sleep(60)"))
    async with Cluster(registry=registry) as cluster:
        cluster.apply(namespace(), pod(image))
        number = await _pid(cluster)
        os.kill(number, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


async def _pid(cluster: Cluster) -> int:
    await cluster.until(lambda: "running" in state(cluster))
    container = cluster.get("Pod", "one", "shop")["status"]["containerStatuses"][0]
    return int(container["containerID"].removeprefix("playground://"))


PARENT = """
import asyncio, sys
from bot.playground.cluster import Cluster, Registry

async def main():
    registry = Registry()
    image = registry.add("shop/sleep", "v1", [sys.executable, "-S", "-E", "-c", "import time; time.sleep(60)"])
    spec = {"containers": [{"name": "m", "image": image}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": spec}
    async with Cluster(registry=registry) as cluster:
        cluster.apply(pod)
        await cluster.until(lambda: "containerID" in str(cluster.get("Pod", "one")))
        told = cluster.get("Pod", "one")["status"]["containerStatuses"][0]["containerID"]
        print(told.removeprefix("playground://"), flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_no_process_outlives_a_killed_parent() -> None:
    root = str(Path(__file__).parents[2])
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": root}
    )
    assert parent.stdout is not None
    number = int(await parent.stdout.readline())
    os.kill(number, 0)
    parent.send_signal(signal.SIGKILL)
    await parent.wait()
    await eventually(lambda: _gone(number))


async def _gone(number: int) -> bool:
    """Ended; an orphan may stay as a zombie where nobody reaps."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return " Z " in await asyncio.to_thread(Path(f"/proc/{number}/stat").read_text)


async def test_a_release_that_cannot_start_is_undone_while_the_old_one_serves(shop: Cluster) -> None:
    _, v1, _ = shop_registry()
    shop.apply(deployment(v1, replicas=3, progressDeadlineSeconds=60))
    await shop.rolled_out("web", "shop")
    shop.apply(deployment("registry.example/shop/web:v9", replicas=3, progressDeadlineSeconds=60))
    await shop.until(lambda: len(shop.all("Pod", "shop")) == 4)
    await asyncio.sleep(0.2)
    shop.clock.advance(61)

    def progressing() -> str:
        conditions = shop.get("Deployment", "web", "shop")["status"]["conditions"]
        return str(next(c["reason"] for c in conditions if c["type"] == "Progressing"))

    await shop.until(lambda: progressing() == "ProgressDeadlineExceeded")
    assert await fetch(shop.address("web/shop")) == "v1"
    shop.apply(deployment(v1, replicas=3, progressDeadlineSeconds=60))
    await shop.rolled_out("web", "shop")
    await shop.until(lambda: progressing() == "NewReplicaSetAvailable")
    assert await fetch(shop.address("web/shop")) == "v1"


async def test_a_cluster_for_people_runs_until_it_is_told_to_stop() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot.playground.cluster",
        cwd=str(Path(__file__).parents[2]),
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    lines = [(await child.stdout.readline()).decode() for _ in range(3)]
    assert lines[0].startswith("cluster playground on http://127.0.0.1:")
    path = Path(lines[2].partition("KUBECONFIG=")[2].strip())
    configuration = client.Configuration()
    await kube_config.load_kube_config(str(path), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        found = await client.CoreV1Api(api).list_namespace()
    assert "default" in {n.metadata.name for n in found.items}
    child.terminate()
    assert await child.wait() == 0
