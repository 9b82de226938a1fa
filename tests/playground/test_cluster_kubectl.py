"""The cluster by hand: the real kubectl, with the commands of by-hand instructions. Without kubectl these fail."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import yaml

from bot.playground.cluster import Cluster
from tests.fixtures.cluster import config_map, deployment, fetch, kubectl, namespace, service, shop_registry
from tests.playground.test_cluster_facts import cron_job, freeze


@pytest.fixture
async def shop() -> AsyncIterator[tuple[Cluster, str, str]]:
    """A cluster that serves v1, and the references of v1 and v2."""
    registry, v1, v2 = shop_registry()
    async with Cluster(registry=registry) as cluster:
        cluster.apply(namespace(), deployment(v1), service())
        await cluster.rolled_out("web", "shop")
        yield cluster, v1, v2


async def ok(cluster: Cluster, *args: str, user: str = "admin", stdin: str = "") -> str:
    code, said = await kubectl(cluster, *args, user=user, stdin=stdin)
    assert code == 0, said
    return said


async def test_an_image_is_set_watched_and_undone(shop: tuple[Cluster, str, str]) -> None:
    cluster, _, v2 = shop
    assert "image updated" in await ok(cluster, "set", "image", "deploy/web", f"web={v2}")
    assert "successfully rolled out" in await ok(cluster, "rollout", "status", "deploy/web", "--timeout=20s")
    assert await fetch(cluster.address("web/shop")) == "v2"
    assert "rolled back" in await ok(cluster, "rollout", "undo", "deploy/web")
    await ok(cluster, "rollout", "status", "deploy/web", "--timeout=20s")
    assert await fetch(cluster.address("web/shop")) == "v1"
    history = await ok(cluster, "rollout", "history", "deploy/web")
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["2", "3"]


async def test_a_paused_deployment_refuses_undo(shop: tuple[Cluster, str, str]) -> None:
    cluster, _, v2 = shop
    await ok(cluster, "set", "image", "deploy/web", f"web={v2}")
    await ok(cluster, "rollout", "pause", "deploy/web")
    code, said = await kubectl(cluster, "rollout", "undo", "deploy/web")
    assert code == 1
    assert "cannot rollback a paused deployment" in said
    await ok(cluster, "rollout", "resume", "deploy/web")
    await ok(cluster, "rollout", "status", "deploy/web", "--timeout=20s")


async def test_replicas_are_scaled_and_shown(shop: tuple[Cluster, str, str]) -> None:
    cluster, v1, _ = shop
    await ok(cluster, "scale", "deploy/web", "--replicas=1")
    await ok(cluster, "rollout", "status", "deploy/web", "--timeout=20s")
    header, row = (await ok(cluster, "get", "deploy", "web", "-o", "wide")).splitlines()
    assert header.split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert row.split()[:2] == ["web", "1/1"]
    assert row.split()[-2:] == [v1, "app=web"]
    assert "web-" in await ok(cluster, "get", "pods", "--no-headers")


async def test_manifests_are_applied_again_and_again(shop: tuple[Cluster, str, str]) -> None:
    cluster, _, v2 = shop
    first = deployment(v2, "api")
    first["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "2"},
    ]
    text = yaml.safe_dump_all([first, config_map("flags", mode="new")])
    assert "deployment.apps/api created" in await ok(cluster, "apply", "-f", "-", stdin=text)
    first["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "B", "value": "3"}]
    text = yaml.safe_dump_all([first, config_map("flags", mode="new")])
    said = await ok(cluster, "apply", "-f", "-", stdin=text)
    assert "deployment.apps/api configured" in said
    assert "configmap/flags unchanged" in said
    (container,) = cluster.get("Deployment", "api", "shop")["spec"]["template"]["spec"]["containers"]
    assert container["env"] == [{"name": "B", "value": "3"}]
    await ok(cluster, "delete", "-f", "-", "--wait=false", stdin=text)
    await cluster.until(lambda: not any(d["metadata"]["name"] == "api" for d in cluster.all("Deployment")))


async def test_who_may_what_is_asked(shop: tuple[Cluster, str, str]) -> None:
    cluster, _, _ = shop
    assert await ok(cluster, "auth", "can-i", "patch", "deployments", user="bot") == "yes\n"
    code, said = await kubectl(cluster, "auth", "can-i", "delete", "configmaps", user="bot")
    assert (code, said.splitlines()[0].split()[0]) == (1, "no")
    assert "deployments.apps" in await ok(cluster, "auth", "can-i", "--list", user="bot")
    code, said = await kubectl(cluster, "delete", "configmap", "kube-root-ca.crt", user="bot")
    assert code == 1
    assert 'cannot delete resource "configmaps" in API group "" in the namespace "shop"' in said


async def test_logs_patches_and_raw_output(shop: tuple[Cluster, str, str]) -> None:
    cluster, _, _ = shop
    assert "up v1" in await ok(cluster, "logs", "deploy/web", user="bot")
    await ok(cluster, "patch", "deploy", "web", "--type=merge", "-p", '{"metadata":{"labels":{"a":"b"}}}')
    await ok(cluster, "annotate", "deploy", "web", "note=why")
    found = json.loads(await ok(cluster, "get", "deploy", "web", "-o", "json"))
    assert (found["metadata"]["labels"], found["metadata"]["annotations"]["note"]) == ({"a": "b"}, "why")
    code, said = await kubectl(
        cluster, "patch", "deploy", "web", "--type=json", "-p", '[{"op":"test","path":"/kind","value":"x"}]'
    )
    assert code == 1, said


async def test_a_freeze_is_told_to_who_runs_into_it(shop: tuple[Cluster, str, str]) -> None:
    cluster, _, v2 = shop
    text = yaml.safe_dump_all(list(freeze()))
    await ok(cluster, "apply", "-f", "-", stdin=text, user="break-glass")
    cluster.clock.advance(2)
    manifest = yaml.safe_dump(deployment(v2, replicas=2))
    code, said = await kubectl(cluster, "apply", "--dry-run=server", "-f", "-", user="ci", stdin=manifest)
    assert code == 1
    assert "'freeze-shop' denied request: shop is frozen by run 7" in said
    code, said = await kubectl(cluster, "set", "image", "deploy/web", f"web={v2}", user="ci")
    assert code == 1
    assert "'freeze-shop' denied request: shop is frozen by run 7" in said
    await ok(cluster, "set", "image", "deploy/web", f"web={v2}", user="break-glass")


async def test_a_cron_job_is_suspended_by_hand(shop: tuple[Cluster, str, str]) -> None:
    cluster, _, _ = shop
    cluster.apply(cron_job())
    await ok(cluster, "patch", "cronjob", "nightly", "-p", '{"spec":{"suspend":true}}', user="bot")
    assert "True" in await ok(cluster, "get", "cronjobs")
