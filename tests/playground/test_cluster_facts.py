"""The facts about a real Kubernetes API server 1.36 that were measured, each by name, through the official client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from kubernetes.aio.client.exceptions import ApiException

from bot.playground.cluster import Cluster
from bot.playground.workspace.clock import Clock
from tests.fixtures.cluster import (
    client,
    connected,
    deployment,
    fetch,
    namespace,
    service,
    shop_registry,
    watch,
)
from tests.fixtures.own_time import own_time

REVISION = "deployment.kubernetes.io/revision"


@pytest.fixture
async def still() -> AsyncIterator[Cluster]:
    """A cluster without pods, whose clock stands still."""
    async with Cluster(kubelet=False, clock=Clock(1_800_000_000, frozen=True)) as cluster:
        cluster.apply(namespace())
        yield cluster


def _template(image: str) -> list[dict[str, Any]]:
    path = "/spec/template/spec/containers/0/image"
    return [{"op": "replace", "path": path, "value": image}]


async def test_a_deployment_makes_replica_sets_with_hash_owner_and_revision(still: Cluster) -> None:
    async with connected(still) as api:
        apps = client.AppsV1Api(api)
        await apps.create_namespaced_deployment("shop", deployment())
        await still.until(lambda: still.all("Pod"))
        (made,) = (await apps.list_namespaced_replica_set("shop", label_selector="app=web")).items
    owner = made.metadata.owner_references[0]
    digest = made.metadata.labels["pod-template-hash"]
    assert made.metadata.name == f"web-{digest}"
    assert made.spec.selector.match_labels == {"app": "web", "pod-template-hash": digest}
    assert (owner.kind, owner.name, owner.controller) == ("Deployment", "web", True)
    assert made.metadata.annotations[REVISION] == "1"
    pods = still.all("Pod")
    assert {p["metadata"]["labels"]["pod-template-hash"] for p in pods} == {digest}
    assert len(pods) == 2


async def _undo(apps: Any, cluster: Cluster, image: str) -> dict[str, str]:
    """Put the template back as `kubectl rollout undo` does; revision by image afterwards."""
    await apps.patch_namespaced_deployment("web", "shop", _template(image), _content_type="application/json-patch+json")
    generation = cluster.get("Deployment", "web", "shop")["metadata"]["generation"]
    await cluster.until(
        lambda: cluster.get("Deployment", "web", "shop")["status"].get("observedGeneration") == generation
    )
    return {
        s["spec"]["template"]["spec"]["containers"][0]["image"]: s["metadata"]["annotations"][REVISION]
        for s in cluster.all("ReplicaSet", "shop")
    }


async def test_an_undo_renumbers_and_undo_after_undo_returns_to_the_broken_one(still: Cluster) -> None:
    async with connected(still) as api:
        apps = client.AppsV1Api(api)
        await apps.create_namespaced_deployment("shop", deployment("web:good"))
        await still.until(lambda: still.all("ReplicaSet"))
        assert await _undo(apps, still, "web:bad") == {"web:good": "1", "web:bad": "2"}
        first = {s["metadata"]["name"] for s in still.all("ReplicaSet")}
        assert await _undo(apps, still, "web:good") == {"web:good": "3", "web:bad": "2"}
        assert {s["metadata"]["name"] for s in still.all("ReplicaSet")} == first
        assert still.get("Deployment", "web", "shop")["metadata"]["annotations"][REVISION] == "3"
        previous = "web:bad"  # what "the revision before" names now
        assert await _undo(apps, still, previous) == {"web:good": "3", "web:bad": "4"}


async def test_a_paused_deployment_takes_a_template_and_rolls_nothing(still: Cluster) -> None:
    async with connected(still) as api:
        apps = client.AppsV1Api(api)
        await apps.create_namespaced_deployment("shop", deployment("web:v1"))
        await still.until(lambda: still.all("ReplicaSet"))
        await apps.patch_namespaced_deployment("web", "shop", {"spec": {"paused": True}})
        assert set(await _undo(apps, still, "web:v2")) == {"web:v1"}
        conditions = still.get("Deployment", "web", "shop")["status"]["conditions"]
        assert [c["reason"] for c in conditions if c["type"] == "Progressing"] == ["DeploymentPaused"]
        await apps.patch_namespaced_deployment("web", "shop", {"spec": {"paused": False}})
        await still.until(lambda: len(still.all("ReplicaSet")) == 2)


async def test_a_rollout_that_cannot_finish_is_reported_after_its_deadline(still: Cluster) -> None:
    async with connected(still) as api:
        apps = client.AppsV1Api(api)
        await apps.create_namespaced_deployment("shop", deployment(progressDeadlineSeconds=60))
        await still.until(lambda: len(still.all("Pod")) == 2)
        await asyncio.sleep(0.1)
        still.clock.advance(59)
        await asyncio.sleep(0.1)
        assert _progressing((await apps.read_namespaced_deployment("web", "shop")).status)[0] == "True"
        still.clock.advance(2)
        await still.until(lambda: _stored(still)["reason"] == "ProgressDeadlineExceeded")
        found = (await apps.read_namespaced_deployment("web", "shop")).status
    assert _progressing(found) == ("False", "ProgressDeadlineExceeded")


def _progressing(status: Any) -> tuple[str, str]:
    return next((c.status, c.reason) for c in status.conditions if c.type == "Progressing")


def _stored(cluster: Cluster) -> dict[str, str]:
    conditions = cluster.get("Deployment", "web", "shop")["status"]["conditions"]
    return next(c for c in conditions if c["type"] == "Progressing")


async def test_a_json_patch_whose_test_fails_answers_422_and_changes_nothing(still: Cluster) -> None:
    still.apply(deployment("web:v1"))
    path = "/spec/template/spec/containers/0/image"
    body = [{"op": "test", "path": path, "value": "web:v9"}, {"op": "replace", "path": path, "value": "web:v2"}]
    async with connected(still) as api:
        with pytest.raises(ApiException) as refused:
            await client.AppsV1Api(api).patch_namespaced_deployment(
                "web", "shop", body, _content_type="application/json-patch+json"
            )
    assert refused.value.status == 422
    assert still.get("Deployment", "web", "shop")["spec"]["template"]["spec"]["containers"][0]["image"] == "web:v1"


async def test_a_put_with_a_stale_resource_version_answers_409(still: Cluster) -> None:
    still.apply(deployment())
    async with connected(still) as api:
        apps = client.AppsV1Api(api)
        read = await apps.read_namespaced_deployment("web", "shop")
        await apps.patch_namespaced_deployment("web", "shop", {"metadata": {"labels": {"by": "somebody"}}})
        read.spec.replicas = 7
        with pytest.raises(ApiException) as refused:
            await apps.replace_namespaced_deployment("web", "shop", read)
    assert (refused.value.status, refused.value.reason) == (409, "Conflict")
    assert '"reason": "Conflict"' in str(refused.value.body)
    assert still.get("Deployment", "web", "shop")["spec"]["replicas"] == 2


async def test_a_dry_run_stores_nothing(still: Cluster) -> None:
    still.apply(deployment())
    await still.until(lambda: still.all("Pod"))
    await asyncio.sleep(0.05)
    revision = still.store.revision
    async with connected(still) as api:
        apps = client.AppsV1Api(api)
        seen = await apps.patch_namespaced_deployment("web", "shop", {"spec": {"replicas": 9}}, dry_run="All")
        await apps.delete_namespaced_deployment("web", "shop", dry_run="All")
        other = deployment(name="other")
        await apps.create_namespaced_deployment("shop", other, dry_run="All")
        await apps.patch_namespaced_deployment_scale("web", "shop", {"spec": {"replicas": 4}}, dry_run="All")
    assert seen.spec.replicas == 9
    assert still.store.revision == revision
    assert still.requests.writes() == []


async def test_the_scale_subresource_moves_replicas_alone(still: Cluster) -> None:
    still.apply(deployment("web:v1"))
    async with connected(still) as api:
        apps = client.AppsV1Api(api)
        await apps.patch_namespaced_deployment_scale("web", "shop", {"spec": {"replicas": 0}})
        scale = await apps.read_namespaced_deployment_scale("web", "shop")
    found = still.get("Deployment", "web", "shop")
    assert (scale.spec.replicas, scale.status.selector) == (0, "app=web")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (0, 2)
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "web:v1"


async def test_a_suspended_cron_job_starts_nothing(still: Cluster) -> None:
    async with connected(still) as api:
        batch = client.BatchV1Api(api)
        await batch.create_namespaced_cron_job("shop", cron_job())
        await batch.patch_namespaced_cron_job("nightly", "shop", {"spec": {"suspend": True}})
        still.clock.advance(3600)
        await asyncio.sleep(0.1)
        assert still.all("Job") == []
        await batch.patch_namespaced_cron_job("nightly", "shop", {"spec": {"suspend": False}})
        await still.until(lambda: len(still.all("Job")) == 1)


def cron_job(**spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "job", "image": "shop/job:v1"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly", "namespace": "shop"},
        "spec": {"schedule": "*/10 * * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}}, **spec},
    }


async def test_an_access_review_agrees_with_what_is_refused(still: Cluster) -> None:
    still.apply(deployment())
    for user, expected in (("bot", True), ("nobody", False)):
        async with connected(still, user) as api:
            attributes = {"verb": "patch", "group": "apps", "resource": "deployments", "namespace": "shop"}
            review = await client.AuthorizationV1Api(api).create_self_subject_access_review(
                {"spec": {"resourceAttributes": attributes}}
            )
            assert review.status.allowed is expected
            patch = client.AppsV1Api(api).patch_namespaced_deployment("web", "shop", {"spec": {"replicas": 1}})
            if expected:
                await patch
                continue
            with pytest.raises(ApiException) as refused:
                await patch
            assert refused.value.status == 403
            why = 'cannot patch resource \\"deployments\\" in API group \\"apps\\" in the namespace \\"shop\\"'
            assert why in str(refused.value.body)


async def test_a_watch_goes_on_from_a_revision_with_bookmarks(still: Cluster) -> None:
    still.apply(deployment())
    await asyncio.sleep(0.05)
    async with connected(still) as api:
        apps = client.AppsV1Api(api)
        start = (await apps.list_namespaced_deployment("shop")).metadata.resource_version
        await apps.patch_namespaced_deployment("web", "shop", {"metadata": {"labels": {"n": "1"}}})
        seen = []
        async with watch.Watch() as watching:
            async for event in watching.stream(
                apps.list_namespaced_deployment, "shop", resource_version=start, allow_watch_bookmarks=True,
                timeout_seconds=2,
            ):  # fmt: skip
                seen.append(event["type"])
                if "BOOKMARK" in seen:
                    break
    assert seen[0] == "MODIFIED"
    assert set(seen[1:]) <= {"MODIFIED", "BOOKMARK"}


async def test_a_watch_from_a_forgotten_revision_is_told_410(still: Cluster) -> None:
    still.apply(deployment())
    still.store.compact()
    async with connected(still) as api:
        apps = client.AppsV1Api(api)
        with pytest.raises(ApiException) as refused:
            async with watch.Watch() as watching:
                async for _ in watching.stream(apps.list_namespaced_deployment, "shop", resource_version="1001"):
                    pass
    assert refused.value.status == 410


def freeze(expression: str = "request.operation != 'UPDATE' || object.spec.template == oldObject.spec.template") -> Any:
    """A policy that keeps templates for everybody but the bot and the break-glass group, and its binding."""
    exempt = "system:serviceaccount:rollback-bot:rollback-bot"
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments"],
    }
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "freeze-shop"},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "matchConditions": [
                {"name": "not-the-bot", "expression": f'request.userInfo.username != "{exempt}"'},
                {"name": "not-break-glass", "expression": '!("break-glass" in request.userInfo.groups)'},
            ],
            "validations": [{"expression": expression, "message": "shop is frozen by run 7"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "freeze-shop"},
        "spec": {"policyName": "freeze-shop", "validationActions": ["Deny"]},
    }
    return policy, binding


async def test_a_policy_bites_within_a_second_and_a_quarter_of_its_creation(still: Cluster) -> None:
    still.apply(deployment("web:v1"))
    policy, binding = freeze()
    async with connected(still, "bot") as api:
        rules = client.AdmissionregistrationV1Api(api)
        await rules.create_validating_admission_policy(policy)
        await rules.create_validating_admission_policy_binding(binding)
    async with connected(still, "ci") as api:
        apps = client.AppsV1Api(api)
        json_patch = {"_content_type": "application/json-patch+json"}
        still.clock.advance(0.15)
        await apps.patch_namespaced_deployment("web", "shop", _template("web:v2"), dry_run="All", **json_patch)
        still.clock.advance(1.15)
        with pytest.raises(ApiException) as refused:
            await apps.patch_namespaced_deployment("web", "shop", _template("web:v2"), dry_run="All", **json_patch)
    assert refused.value.status == 422
    assert (
        "ValidatingAdmissionPolicy 'freeze-shop' with binding 'freeze-shop' denied request: shop is frozen by run 7"
        in str(refused.value.body)
    )


async def test_a_policy_blocks_undo_too_unless_a_match_condition_excludes_the_user(still: Cluster) -> None:
    still.apply(deployment("web:v2"), *freeze())
    still.clock.advance(2)
    for user, free in (("admin", False), ("ci", False), ("bot", True), ("break-glass", True)):
        async with connected(still, user) as api:
            patch = client.AppsV1Api(api).patch_namespaced_deployment(
                "web", "shop", _template("web:v1"), _content_type="application/json-patch+json", dry_run="All"
            )
            if free:
                await patch
            else:
                with pytest.raises(ApiException, match="frozen"):
                    await patch


async def test_replica_changes_pass_a_policy_that_compares_the_template(still: Cluster) -> None:
    still.apply(deployment(), *freeze())
    still.clock.advance(2)
    async with connected(still, "ci") as api:
        apps = client.AppsV1Api(api)
        await apps.patch_namespaced_deployment("web", "shop", {"spec": {"replicas": 5}})
        await apps.patch_namespaced_deployment_scale("web", "shop", {"spec": {"replicas": 6}})
    assert still.get("Deployment", "web", "shop")["spec"]["replicas"] == 6


async def test_on_create_the_old_object_is_null(still: Cluster) -> None:
    still.apply(*freeze("oldObject != null"))
    still.clock.advance(2)
    async with connected(still, "ci") as api:
        apps = client.AppsV1Api(api)
        with pytest.raises(ApiException, match="frozen"):
            await apps.create_namespaced_deployment("shop", deployment())
    still.apply(*freeze("oldObject == null"))
    still.clock.advance(2)
    async with connected(still, "ci") as api:
        await client.AppsV1Api(api).create_namespaced_deployment("shop", deployment())


async def test_an_image_goes_back_on_real_pods_which_serve_it() -> None:
    registry, v1, v2 = shop_registry()
    async with Cluster(registry=registry) as cluster, connected(cluster, "bot") as api:
        cluster.apply(namespace(), deployment(v2), service())
        await cluster.rolled_out("web", "shop")
        with own_time() as took:
            await client.AppsV1Api(api).patch_namespaced_deployment(
                "web", "shop", _template(v1), _content_type="application/json-patch+json"
            )
            assert took.seconds < 0.5
        await cluster.rolled_out("web", "shop")
        assert await fetch(cluster.address("web/shop")) == "v1"
