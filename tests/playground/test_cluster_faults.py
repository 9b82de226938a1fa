"""What goes wrong on demand, and what is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from kubernetes.aio.client.exceptions import ApiException

from bot.playground.cluster import Cluster, Fault
from bot.playground.workspace.clock import Clock
from tests.fixtures.cluster import client, config_map, connected, deployment, namespace


@pytest.fixture
async def shop() -> AsyncIterator[Cluster]:
    async with Cluster(kubelet=False, clock=Clock(frozen=True)) as cluster:
        cluster.apply(namespace(), deployment())
        yield cluster


async def test_an_unreachable_cluster_refuses_and_comes_back_as_it_was(shop: Cluster) -> None:
    url = shop.url
    async with connected(shop) as api:
        apps = client.AppsV1Api(api)
        await apps.read_namespaced_deployment("web", "shop")
        await shop.disconnect()
        with pytest.raises(aiohttp.ClientConnectionError):
            await apps.read_namespaced_deployment("web", "shop")
        shop.apply(deployment(replicas=5))  # inside, life goes on
        await shop.connect()
        assert (await apps.read_namespaced_deployment("web", "shop")).spec.replicas == 5
    assert shop.url == url


async def test_a_verb_on_a_resource_fails_as_often_as_told(shop: Cluster) -> None:
    shop.faults.add(Fault("error", verb="patch", resource="deployments", status=500, next=2))
    async with connected(shop) as api:
        apps = client.AppsV1Api(api)
        await apps.read_namespaced_deployment("web", "shop")
        for _ in range(2):
            with pytest.raises(ApiException) as error:
                await apps.patch_namespaced_deployment("web", "shop", {"spec": {"replicas": 3}})
            assert error.value.status == 500
        await apps.patch_namespaced_deployment("web", "shop", {"spec": {"replicas": 3}})


async def test_too_many_requests_say_when_to_come_again(shop: Cluster) -> None:
    shop.faults.add(Fault("error", status=429, retry_after=7, user="bot"))
    async with connected(shop) as api:
        await client.CoreV1Api(api).list_namespaced_pod("shop")
    async with connected(shop, "bot") as api:
        with pytest.raises(ApiException) as error:
            await client.AppsV1Api(api).patch_namespaced_deployment("web", "shop", {})
    assert (error.value.status, dict(error.value.headers or {})["Retry-After"]) == (429, "7")


async def test_a_lost_answer_is_done_all_the_same(shop: Cluster) -> None:
    shop.faults.add(Fault("lose_answer", verb="patch"))
    async with connected(shop) as api:
        with pytest.raises(aiohttp.ClientError):
            await client.AppsV1Api(api).patch_namespaced_deployment("web", "shop", {"spec": {"replicas": 3}})
    assert shop.get("Deployment", "web", "shop")["spec"]["replicas"] == 3


async def test_a_refused_connection_did_nothing(shop: Cluster) -> None:
    shop.faults.add(Fault("refuse", verb="patch"))
    async with connected(shop) as api:
        with pytest.raises(aiohttp.ClientError):
            await client.AppsV1Api(api).patch_namespaced_deployment("web", "shop", {"spec": {"replicas": 3}})
    assert shop.get("Deployment", "web", "shop")["spec"]["replicas"] == 2


async def test_a_server_that_hangs_is_left(shop: Cluster) -> None:
    shop.faults.add(Fault("hang", verb="get"))
    async with connected(shop) as api:
        with pytest.raises(TimeoutError):
            await client.AppsV1Api(api).read_namespaced_deployment("web", "shop", _request_timeout=0.1)
        await client.AppsV1Api(api).read_namespaced_deployment("web", "shop")


async def test_latency_delays_an_answer(shop: Cluster) -> None:
    shop.faults.add(Fault("delay", seconds=0.2))
    async with connected(shop) as api:
        began = asyncio.get_running_loop().time()
        await client.AppsV1Api(api).read_namespaced_deployment("web", "shop")
        assert asyncio.get_running_loop().time() - began >= 0.2


async def test_a_watch_is_closed_at_its_beginning(shop: Cluster) -> None:
    shop.faults.add(Fault("close_watch"))
    async with connected(shop) as api, asyncio.timeout(60):
        assert await _watched(api) == 0


async def test_a_running_watch_is_closed(shop: Cluster) -> None:
    async with connected(shop) as api, asyncio.timeout(60):
        watching = asyncio.create_task(_watched(api))
        await shop.until(lambda: shop.close_watches("configmaps") == 1)
        assert await watching == 0


async def _watched(api: Any) -> int:
    """How many events came before the watch ended."""
    core = client.CoreV1Api(api)
    answer = await core.list_namespaced_config_map_without_preload_content("shop", watch=True)
    return len((await answer.read()).splitlines())


async def test_what_was_asked_is_counted_by_user_verb_and_resource(shop: Cluster) -> None:
    async with connected(shop, "ci") as api:
        apps = client.AppsV1Api(api)
        await apps.read_namespaced_deployment("web", "shop")
        await apps.patch_namespaced_deployment("web", "shop", {"spec": {"replicas": 4}}, dry_run="All")
        assert shop.requests.writes("ci") == []
        await apps.patch_namespaced_deployment_scale("web", "shop", {"spec": {"replicas": 4}})
    async with connected(shop) as api:
        await client.CoreV1Api(api).create_namespaced_config_map("shop", config_map("a"))
    assert shop.requests.count(user="ci", verb="get", resource="deployments") == 1
    assert [str(r) for r in shop.requests.writes("ci")] == ["ci patch deployments/scale shop/web 200"]
    assert [r.user for r in shop.requests.writes()] == ["ci", "admin"]
    shop.requests.clear()
    assert len(shop.requests) == 0
