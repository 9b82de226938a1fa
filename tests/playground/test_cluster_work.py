"""Jobs, schedules, autoscalers and GitOps: what changes a cluster while nobody looks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.playground.cluster import Cluster
from bot.playground.workspace.clock import Clock
from tests.fixtures.cluster import client, config_map, connected, deployment, events, namespace, python
from tests.playground.test_cluster_facts import cron_job, freeze

NOON = 1_800_014_400.0  # 2027-01-15T12:00:00Z
REPO = "https://git.example/shop"


@pytest.fixture
async def shop() -> AsyncIterator[Cluster]:
    async with Cluster(kubelet=False, clock=Clock(NOON, frozen=True)) as cluster:
        cluster.apply(namespace())
        yield cluster


async def settle() -> None:
    """Let the controllers come to rest."""
    await asyncio.sleep(0.1)


def jobs(cluster: Cluster) -> list[str]:
    return [j["metadata"]["name"] for j in cluster.all("Job")]


def at(cluster: Cluster, minutes: int) -> str:
    return f"nightly-{int(NOON) // 60 + minutes}"


# -- schedules -----------------------------------------------------------------------------------------------------


async def test_a_schedule_starts_a_job_named_by_its_time(shop: Cluster) -> None:
    shop.apply(cron_job())
    await settle()
    shop.clock.advance(599)
    await settle()
    assert jobs(shop) == []
    shop.clock.advance(2)
    await shop.until(lambda: jobs(shop) == [at(shop, 10)])
    status = shop.get("CronJob", "nightly", "shop")["status"]
    assert status["lastScheduleTime"] == "2027-01-15T12:10:00Z"
    assert [a["name"] for a in status["active"]] == [at(shop, 10)]


async def test_a_schedule_follows_its_time_zone(shop: Cluster) -> None:
    shop.apply(cron_job(schedule="30 13 * * *", timeZone="Europe/Berlin"))  # 12:30 UTC in winter
    await settle()
    shop.clock.advance(1801)
    await shop.until(lambda: jobs(shop) == [at(shop, 30)])


@pytest.mark.parametrize("schedule", ["@hourly", "0 * * * ?", "0 */1 * * SUN-SAT"])
async def test_the_usual_notations_are_read(shop: Cluster, schedule: str) -> None:
    shop.apply(cron_job(schedule=schedule))
    await settle()
    shop.clock.advance(3601)
    await shop.until(lambda: jobs(shop) == [at(shop, 60)])


@pytest.mark.parametrize("schedule", ["* * * *", "61 * * * *", "* * * * 7", "0 0 L * *", "CRON_TZ=UTC * * * * *"])
async def test_what_is_no_schedule_is_refused(shop: Cluster, schedule: str) -> None:
    with pytest.raises(Exception, match=r"spec\.schedule: Invalid value"):
        shop.apply(cron_job(schedule=schedule))


async def test_of_the_missed_times_only_the_newest_starts(shop: Cluster) -> None:
    shop.apply(cron_job(suspend=True))
    await settle()
    shop.clock.advance(3 * 3600 + 60)
    shop.apply(cron_job(suspend=False))
    await shop.until(lambda: bool(jobs(shop)))
    await settle()
    assert jobs(shop) == [at(shop, 180)]


async def test_more_than_a_hundred_missed_times_are_warned_about(shop: Cluster) -> None:
    shop.apply(cron_job(suspend=True))
    shop.clock.advance(24 * 3600)
    shop.apply(cron_job(suspend=False))
    await shop.until(lambda: bool(jobs(shop)))
    told = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
    assert ("TooManyMissedTimes", told) in events(shop, "nightly")


async def test_a_starting_deadline_loses_what_is_too_late(shop: Cluster) -> None:
    shop.apply(cron_job(suspend=True, startingDeadlineSeconds=120))
    shop.clock.advance(3600 + 300)
    shop.apply(cron_job(suspend=False, startingDeadlineSeconds=120))
    await settle()
    assert jobs(shop) == []
    shop.clock.advance(300)
    await shop.until(lambda: jobs(shop) == [at(shop, 70)])


@pytest.mark.parametrize(("policy", "left"), [("Forbid", [10]), ("Replace", [20]), ("Allow", [10, 20])])
async def test_runs_that_overlap(shop: Cluster, policy: str, left: list[int]) -> None:
    shop.apply(cron_job(concurrencyPolicy=policy))
    await settle()
    shop.clock.advance(601)
    await shop.until(lambda: jobs(shop) == [at(shop, 10)])
    shop.clock.advance(600)
    await settle()
    assert jobs(shop) == [at(shop, m) for m in left]


# -- jobs ----------------------------------------------------------------------------------------------------------


def job(image: str, **spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "job", "image": image}]}
    meta = {"name": "once", "namespace": "shop"}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": {"spec": pod}, **spec}}


@pytest.fixture
async def live() -> AsyncIterator[Cluster]:
    async with Cluster(clock=Clock(NOON, frozen=True)) as cluster:
        cluster.apply(namespace())
        yield cluster


async def test_a_job_ends_with_its_program(live: Cluster) -> None:
    live.apply(job(live.registry.add("shop/job", "v1", python("print('done')"))))
    await live.until(lambda: live.get("Job", "once", "shop")["status"].get("succeeded") == 1)
    status = live.get("Job", "once", "shop")["status"]
    assert [c["type"] for c in status["conditions"]] == ["Complete"]
    assert status["completionTime"]


async def test_a_job_that_fails_waits_longer_each_time_and_gives_up(live: Cluster) -> None:
    live.apply(job(live.registry.add("shop/job", "v1", python("raise SystemExit(1)")), backoffLimit=1))
    await live.until(lambda: live.get("Job", "once", "shop")["status"].get("failed") == 1)
    await settle()
    assert len(live.all("Pod")) == 1
    live.clock.advance(11)
    await live.until(lambda: bool(live.get("Job", "once", "shop")["status"].get("conditions")))
    (ended,) = live.get("Job", "once", "shop")["status"]["conditions"]
    assert (ended["type"], ended["reason"]) == ("Failed", "BackoffLimitExceeded")


async def test_a_deleted_job_leaves_its_pods_unless_told_otherwise(shop: Cluster) -> None:
    shop.apply(job("shop/job:v1"))
    await shop.until(lambda: len(shop.all("Pod")) == 1)
    async with connected(shop) as api:
        await client.BatchV1Api(api).delete_namespaced_job("once", "shop")
        await settle()
        assert len(shop.all("Pod")) == 1
        shop.apply(job("shop/job:v1"))
        await shop.until(lambda: len(shop.all("Pod")) == 2)
        await client.BatchV1Api(api).delete_namespaced_job("once", "shop", propagation_policy="Background")
        await shop.until(lambda: len(shop.all("Pod")) == 1)


async def test_a_suspended_job_has_no_pods(shop: Cluster) -> None:
    shop.apply(job("shop/job:v1", parallelism=2))
    await shop.until(lambda: len(shop.all("Pod")) == 2)
    async with connected(shop) as api:
        batch = client.BatchV1Api(api)
        await batch.patch_namespaced_job("once", "shop", {"spec": {"suspend": True}})
        await shop.until(lambda: shop.all("Pod") == [])
        await batch.patch_namespaced_job("once", "shop", {"spec": {"suspend": False}})
        await shop.until(lambda: len(shop.all("Pod")) == 2)


# -- sets ----------------------------------------------------------------------------------------------------------


async def test_a_stateful_set_numbers_its_pods_and_replaces_them_from_the_last(live: Cluster) -> None:
    image = live.registry.add("shop/db", "v1", python("import time; time.sleep(60)"))
    body = deployment(image, "db", 2, probe=False) | {"kind": "StatefulSet"}
    body["spec"]["serviceName"] = "db"
    live.apply(body)
    await live.until(lambda: live.get("StatefulSet", "db", "shop")["status"].get("readyReplicas") == 2)
    first = {p["metadata"]["name"]: p["metadata"]["uid"] for p in live.all("Pod")}
    assert set(first) == {"db-0", "db-1"}
    body["spec"]["template"]["metadata"]["annotations"] = {"restarted": "now"}
    live.apply(body)

    def done() -> bool:
        status = live.get("StatefulSet", "db", "shop")["status"]
        return bool(status["currentRevision"] == status["updateRevision"] and status.get("readyReplicas") == 2)

    live.clock.advance(31)
    await live.until(lambda: len(live.all("Pod")) == 2 and done() and not first.items() & _uids(live))


def _uids(cluster: Cluster) -> Any:
    return {p["metadata"]["name"]: p["metadata"]["uid"] for p in cluster.all("Pod")}.items()


async def test_a_daemon_set_has_one_pod_for_the_one_node(live: Cluster) -> None:
    image = live.registry.add("shop/agent", "v1", python("import time; time.sleep(60)"))
    body = deployment(image, "agent", probe=False) | {"kind": "DaemonSet"}
    del body["spec"]["replicas"]
    live.apply(body)
    await live.until(lambda: live.get("DaemonSet", "agent", "shop")["status"].get("numberReady") == 1)


# -- autoscalers ---------------------------------------------------------------------------------------------------


def autoscaler(least: int = 2, most: int = 5) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"minReplicas": least, "maxReplicas": most, "scaleTargetRef": target},
    }


def replicas(cluster: Cluster) -> int:
    return int(cluster.get("Deployment", "web", "shop")["spec"]["replicas"])


async def test_an_autoscaler_follows_the_load_between_its_bounds(shop: Cluster) -> None:
    shop.apply(deployment(replicas=2), autoscaler())
    shop.metrics.set("shop", "Deployment", "web", 2.0)
    await shop.until(lambda: replicas(shop) == 4)
    shop.clock.advance(16)
    await shop.until(lambda: replicas(shop) == 5)
    shop.metrics.set("shop", "Deployment", "web", 0.1)
    await shop.until(lambda: replicas(shop) == 2)


async def test_an_autoscaler_leaves_zero_replicas_alone(shop: Cluster) -> None:
    shop.apply(deployment(replicas=0), autoscaler())
    shop.metrics.set("shop", "Deployment", "web", 3.0)
    shop.clock.advance(60)
    await settle()
    found = shop.get("HorizontalPodAutoscaler", "web", "shop")["status"]["conditions"]
    assert replicas(shop) == 0
    assert [c["reason"] for c in found if c["type"] == "ScalingActive"] == ["ScalingDisabled"]


async def test_an_autoscaler_puts_back_what_is_out_of_bounds(shop: Cluster) -> None:
    shop.apply(deployment(replicas=1), autoscaler())
    await shop.until(lambda: replicas(shop) == 2)


def scaled_object(**annotations: str) -> dict[str, Any]:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "web", "namespace": "shop", "annotations": annotations},
        "spec": {
            "scaleTargetRef": {"name": "web"},
            "minReplicaCount": 1,
            "maxReplicaCount": 4,
            "triggers": [{"type": "redis", "metadata": {"listName": "jobs"}}],
        },
    }


async def test_keda_undoes_a_scale_to_zero_unless_it_is_paused(shop: Cluster) -> None:
    shop.apply(deployment(replicas=3), scaled_object())
    shop.metrics.set("shop", "Deployment", "web", 1.0)
    await shop.until(lambda: len(shop.all("HorizontalPodAutoscaler")) == 1)
    async with connected(shop) as api:
        await client.AppsV1Api(api).patch_namespaced_deployment_scale("web", "shop", {"spec": {"replicas": 0}})
        shop.clock.advance(31)
        await shop.until(lambda: replicas(shop) == 1)
        custom = client.CustomObjectsApi(api)
        group = ("keda.sh", "v1alpha1", "shop", "scaledobjects", "web")
        pause = {"metadata": {"annotations": {"autoscaling.keda.sh/paused-replicas": "0"}}}
        await custom.patch_namespaced_custom_object(*group, pause, _content_type="application/merge-patch+json")
        await shop.until(lambda: replicas(shop) == 0)
        assert shop.all("HorizontalPodAutoscaler") == []
        shop.clock.advance(60)
        await settle()
        seen = await custom.get_namespaced_custom_object(*group)
        assert (replicas(shop), seen["status"]["pausedReplicaCount"]) == (0, 0)
        go_on = {"metadata": {"annotations": {"autoscaling.keda.sh/paused-replicas": None}}}
        await custom.patch_namespaced_custom_object(*group, go_on, _content_type="application/merge-patch+json")
        await shop.until(lambda: replicas(shop) == 1)
        assert len(shop.all("HorizontalPodAutoscaler")) == 1


async def test_a_paused_scaled_object_holds_what_it_finds(shop: Cluster) -> None:
    shop.apply(deployment(replicas=0), scaled_object(**{"autoscaling.keda.sh/paused": "true"}))
    shop.metrics.set("shop", "Deployment", "web", 2.0)
    await settle()
    assert replicas(shop) == 0


# -- GitOps --------------------------------------------------------------------------------------------------------


def application(**sync: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop", "namespace": "argocd"},
        "spec": {
            "project": "default",
            "source": {"repoURL": REPO, "path": "deploy", "targetRevision": "main"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
            "syncPolicy": sync,
        },
    }


def image(cluster: Cluster) -> str:
    return str(cluster.get("Deployment", "web", "shop")["spec"]["template"]["spec"]["containers"][0]["image"])


def sync(cluster: Cluster) -> str:
    return str(cluster.get("Application", "shop", "argocd").get("status", {}).get("sync", {}).get("status"))


async def test_gitops_puts_back_what_git_says(shop: Cluster) -> None:
    shop.git.push(REPO, "deploy", [deployment("web:bad"), config_map("flags", mode="new")])
    shop.apply(application(automated={"selfHeal": True}))
    await shop.until(lambda: sync(shop) == "Synced")
    shop.apply(deployment("web:good"))
    shop.clock.advance(6)
    await shop.until(lambda: image(shop) == "web:bad")


async def test_without_self_heal_a_change_in_the_cluster_stays_and_shows(shop: Cluster) -> None:
    shop.git.push(REPO, "deploy", [deployment("web:bad")])
    shop.apply(application(automated={}))
    await shop.until(lambda: sync(shop) == "Synced")
    shop.apply(deployment("web:good"))
    await shop.until(lambda: sync(shop) == "OutOfSync")
    shop.clock.advance(400)
    await settle()
    assert image(shop) == "web:good"


async def test_with_sync_paused_a_push_is_only_seen(shop: Cluster) -> None:
    shop.git.push(REPO, "deploy", [deployment("web:v1")])
    shop.apply(application(automated={"prune": True, "selfHeal": True}))
    await shop.until(lambda: sync(shop) == "Synced")
    async with connected(shop, "bot") as api:
        custom = client.CustomObjectsApi(api)
        group = ("argoproj.io", "v1alpha1", "argocd", "applications", "shop")
        merge = {"_content_type": "application/merge-patch+json"}
        await custom.patch_namespaced_custom_object(*group, {"spec": {"syncPolicy": {"automated": None}}}, **merge)
        revision = shop.git.push(REPO, "deploy", [deployment("web:v2")])
        refresh = {"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}}
        await custom.patch_namespaced_custom_object(*group, refresh, **merge)
        await shop.until(lambda: sync(shop) == "OutOfSync")
        seen = await custom.get_namespaced_custom_object(*group)
    assert seen["status"]["sync"]["revision"] == revision
    assert seen["status"]["summary"]["images"] == ["web:v1"]
    assert "argocd.argoproj.io/refresh" not in seen["metadata"]["annotations"]
    assert image(shop) == "web:v1"


async def test_a_freeze_stops_gitops_and_shows_in_its_operation(shop: Cluster) -> None:
    shop.git.push(REPO, "deploy", [deployment("web:v1")])
    shop.apply(application(automated={"selfHeal": True}))
    await shop.until(lambda: sync(shop) == "Synced")
    shop.apply(*freeze())
    shop.clock.advance(2)
    shop.git.push(REPO, "deploy", [deployment("web:v2")])
    shop.clock.advance(181)
    await shop.until(lambda: sync(shop) == "OutOfSync")
    state = shop.get("Application", "shop", "argocd")["status"]["operationState"]
    assert state["phase"] == "Failed"
    assert "denied request: shop is frozen" in state["message"]
    assert image(shop) == "web:v1"


async def test_pruning_takes_away_what_git_has_no_more(shop: Cluster) -> None:
    shop.git.push(REPO, "deploy", [deployment("web:v1"), config_map("old", a="1")])
    shop.apply(application(automated={"prune": True}))
    await shop.until(lambda: sync(shop) == "Synced")
    shop.git.push(REPO, "deploy", [deployment("web:v1")])
    shop.clock.advance(181)
    await shop.until(lambda: not any(m["metadata"]["name"] == "old" for m in shop.all("ConfigMap")))
