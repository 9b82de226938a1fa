"""What a real API server does and a good guess does not: writing down, admission, ownership, strictness. Measured on
1.36; the bot's rights are those of deploy/kubernetes/rights."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from kubernetes.aio.client.exceptions import ApiException

from bot.playground.cluster import Cluster, Webhook, mirrored, verified
from bot.playground.cluster.gate.access import standard_roles
from bot.playground.shop.rights import rights as shop_rights
from bot.playground.workspace.clock import Clock
from tests.fixtures.cluster import client, config_map, connected, deployment, namespace
from tests.playground.test_cluster_api import DEPLOYMENTS, MAPS, call, patch
from tests.playground.test_cluster_facts import freeze

APPLY = {"Content-Type": "application/apply-patch+yaml"}
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
WHOLE = Path(__file__).parents[2]


@pytest.fixture
async def still() -> AsyncIterator[Cluster]:
    """A cluster without pods, whose clock stands still."""
    async with Cluster(kubelet=False, clock=Clock(1_800_000_000, frozen=True)) as cluster:
        cluster.apply(namespace())
        yield cluster


def plain(image: str = "web:v1", **container: Any) -> dict[str, Any]:
    """A Deployment as a chart writes it: nothing that is a default."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": image, **container}]},
            },
        },
    }


def container(found: Any) -> Any:
    return found["spec"]["template"]["spec"]["containers"][0]


# -- writing down -----------------------------------------------------------------------------------------------------


async def test_empty_lists_maps_and_zeros_come_back_absent(still: Cluster) -> None:
    body = plain(env=[{"name": "EMPTY", "value": ""}], args=[], command=[])
    body["spec"] |= {"paused": False, "minReadySeconds": 0}
    body["metadata"]["annotations"] = {}
    _, seen = await call(still, "POST", DEPLOYMENTS, body)
    assert container(seen)["env"] == [{"name": "EMPTY"}]
    assert not {"args", "command"} & container(seen).keys()
    assert not {"paused", "minReadySeconds"} & seen["spec"].keys() and "annotations" not in seen["metadata"]
    _, seen = await call(still, "POST", MAPS, config_map("none") | {"data": {}})
    assert "data" not in seen
    policy = freeze()[0]
    policy["spec"]["matchConditions"] = []
    _, seen = await call(still, "POST", POLICIES, policy)
    assert "matchConditions" not in seen["spec"]


async def test_a_field_reference_gains_its_version(still: Cluster) -> None:
    body = plain(env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}])
    _, seen = await call(still, "POST", DEPLOYMENTS, body)
    assert container(seen)["env"][0]["valueFrom"]["fieldRef"] == {"apiVersion": "v1", "fieldPath": "status.podIP"}


async def test_what_people_named_themselves_is_kept_empty_values_too(still: Cluster) -> None:
    _, seen = await call(still, "POST", MAPS, config_map("a", value="", paused=""))
    assert seen["data"] == {"value": "", "paused": ""}


# -- strictness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/spec/progressDeadlineSeconds", "value": 600.0},
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": 5},
    ],
)
async def test_numbers_are_not_taken_for_each_other_nor_for_text(still: Cluster, operation: Any) -> None:
    still.apply(deployment())
    assert (await patch(still, [operation], "json"))[0] == 422


async def test_a_new_variable_of_a_strategic_merge_comes_first(still: Cluster) -> None:
    still.apply(deployment() | {"spec": {**deployment()["spec"], "template": plain(env=[{"name": "A", "value": "1"}])[
        "spec"]["template"]}})  # fmt: skip
    new = {"name": "web", "env": [{"name": "B", "value": "2"}]}
    _, seen = await patch(still, {"spec": {"template": {"spec": {"containers": [new]}}}}, "strategic-merge")
    assert [v["name"] for v in container(seen)["env"]] == ["B", "A"]


async def test_an_unknown_field_of_an_application_changes_nothing_and_is_warned_of(still: Cluster) -> None:
    spec = {"project": "default", "destination": {"namespace": "shop"}, "source": {"repoURL": "x", "path": "y"},
            "syncPolicy": {"automated": {"prune": True}}}  # fmt: skip
    kind = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application"}
    still.apply({**kind, "metadata": {"name": "shop", "namespace": "argocd"}, "spec": spec})
    body = {"spec": {"syncPolicy": {"automated": {"paused": True, "enabled": False}}}}
    path = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/shop"
    headers = {"Authorization": "Bearer playground-admin", "Content-Type": "application/merge-patch+json"}
    async with aiohttp.ClientSession() as http, http.patch(still.url + path, json=body, headers=headers) as answer:
        assert 'unknown field "spec.syncPolicy.automated.paused"' in answer.headers["Warning"]
        seen = await answer.json()
    assert seen["spec"]["syncPolicy"]["automated"] == {"prune": True, "enabled": False}


async def test_an_object_in_protobuf_is_refused_with_what_to_do(still: Cluster) -> None:
    headers = {"Authorization": "Bearer playground-admin", "Content-Type": "application/vnd.kubernetes.protobuf"}
    async with aiohttp.ClientSession() as http, http.post(
        still.url + DEPLOYMENTS, data=b"k8s\x00", headers=headers
    ) as answer:  # fmt: skip
        assert answer.status == 415 and "kubectl apply" in (await answer.json())["message"]


async def test_a_replica_set_that_was_just_made_can_be_parsed_by_the_official_client(still: Cluster) -> None:
    made = plain() | {"kind": "ReplicaSet"}
    async with connected(still) as api:
        apps = client.AppsV1Api(api)
        assert (await apps.create_namespaced_replica_set("shop", made)).status.replicas == 0
        await apps.create_namespaced_stateful_set("shop", plain() | {"kind": "StatefulSet"})
        await apps.create_namespaced_daemon_set("shop", plain() | {"kind": "DaemonSet"})
        await still.until(lambda: still.all("Pod"))
        for found in (await apps.list_namespaced_replica_set("shop"), await apps.list_namespaced_stateful_set("shop")):
            assert found.items


# -- policies ---------------------------------------------------------------------------------------------------------


async def seconds_until(cluster: Cluster, refuses: bool) -> float:
    """How long until a trial is refused, or no more."""
    waited = 0.0
    body = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:v2"}]
    while (await patch(cluster, body, "json", f"{DEPLOYMENTS}/web?dryRun=All"))[0] != (422 if refuses else 200):
        cluster.clock.advance(0.05)
        waited += 0.05
    return waited


async def test_a_policy_bites_and_ends_after_another_while_each_time(still: Cluster) -> None:
    still.apply(deployment())
    policy, binding = freeze()
    began, ended = [], []
    for _ in range(4):
        still.apply(copy.deepcopy(policy), copy.deepcopy(binding))
        began.append(await seconds_until(still, True))
        for path in (f"{POLICIES[:-3]}ybindings/freeze-shop", f"{POLICIES}/freeze-shop"):
            assert (await call(still, "DELETE", path))[0] == 200
        ended.append(await seconds_until(still, False))
    assert len({round(b, 2) for b in began}) > 1 and min(began) >= 0.2 and max(began) <= 1.35
    assert min(ended) >= 0.55 and max(ended) <= 1.8


async def test_which_of_two_policies_answers_is_a_matter_of_chance(still: Cluster) -> None:
    still.apply(deployment())
    names = set()
    for i in range(12):
        for name in ("one", "two"):
            policy, binding = (json.loads(json.dumps(o).replace("freeze-shop", name)) for o in freeze())
            policy["metadata"]["annotations"] = {"n": str(i)}
            still.apply(policy, binding)
        still.clock.advance(2)
        body = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:v2"}]
        _, said = await patch(still, body, "json")
        names.add(re.findall(r"Policy '(\w+)'", said["message"])[0])
    assert names == {"one", "two"}


async def test_with_the_plugin_off_a_policy_stands_and_refuses_nothing() -> None:
    async with Cluster(kubelet=False, policies=False, clock=Clock(1_800_000_000, frozen=True)) as cluster:
        cluster.apply(namespace(), deployment(), *freeze())
        cluster.clock.advance(5)
        assert await seconds_until(cluster, False) == 0


# -- webhooks ---------------------------------------------------------------------------------------------------------


async def test_images_are_rewritten_to_a_mirror(still: Cluster) -> None:
    still.webhooks.add(mirrored("registry.example/", "mirror.internal/cache/"))
    _, seen = await call(still, "POST", DEPLOYMENTS, plain("registry.example/shop/web@sha256:" + "a" * 64))
    assert container(seen)["image"] == "mirror.internal/cache/registry.example/shop/web@sha256:" + "a" * 64
    assert container(still.get("Deployment", "web", "shop")) == container(seen)


async def test_images_that_cannot_be_found_are_refused_in_dry_runs_too(still: Cluster) -> None:
    still.apply(deployment())
    still.webhooks.add(verified(lambda image: image == "web:v1"))
    body = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "web:gone"}]
    status, said = await patch(still, body, "json", f"{DEPLOYMENTS}/web?dryRun=All")
    assert (status, said["message"][:17], "web:gone" in said["message"]) == (400, "admission webhook", True)


async def test_a_webhook_that_fails_is_a_500_that_may_take_its_time(still: Cluster) -> None:
    still.apply(deployment())
    still.webhooks.add(Webhook("quality", ("deployments",), fails="context deadline exceeded", seconds=0.2))
    before = time.monotonic()
    status, said = await patch(still, [{"op": "replace", "path": "/spec/replicas", "value": 3}], "json")
    assert (status, 'failed calling webhook "quality"' in said["message"]) == (500, True)
    assert time.monotonic() - before >= 0.2
    still.webhooks.remove("quality")
    assert (await patch(still, [{"op": "replace", "path": "/spec/replicas", "value": 3}], "json"))[0] == 200


# -- what a namespace does not let in ---------------------------------------------------------------------------------


async def refused_pods(cluster: Cluster) -> str:
    """What the condition ReplicaFailure says; an event says the same."""

    def found() -> list[str]:
        return [c["message"] for s in cluster.all("ReplicaSet", "shop") for c in s["status"].get("conditions") or ()
                if (c["type"], c["reason"]) == ("ReplicaFailure", "FailedCreate")]  # fmt: skip

    await cluster.until(found)
    told = [e["message"] for e in cluster.all("Event", "shop") if e["reason"] == "FailedCreate"]
    assert f"Error creating: {found()[0]}" in told
    return found()[0]


async def test_a_quota_that_is_used_up_refuses_pods_and_the_workload_stands(still: Cluster) -> None:
    documents = yaml.safe_load_all((WHOLE / "tests/cases/kubernetes/br13-quota.yaml").read_text())
    quota, workload = documents
    still.apply(quota, workload)
    await still.until(lambda: len(still.all("Pod", "shop")) == 2)
    other = copy.deepcopy(workload)
    container(other)["image"] = "registry.example/shop/api@sha256:" + "a" * 64
    still.apply(other)
    told = await refused_pods(still)
    assert (
        "exceeded quota: team, requested: limits.memory=512Mi, used: limits.memory=1Gi, limited: limits.memory=1Gi"
        in told
    )


async def test_pod_security_refuses_pods_and_the_workload_stands(still: Cluster) -> None:
    space = namespace()
    space["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": "restricted"}
    still.apply(space, deployment(probe=False))
    told = await refused_pods(still)
    assert 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "web"' in told


# -- who owns what ----------------------------------------------------------------------------------------------------


async def applied(cluster: Cluster, body: Any, manager: str = "helm", **query: str) -> tuple[int, Any]:
    given = "&".join(f"{k}={v}" for k, v in {"fieldManager": manager, **query}.items())
    answer: tuple[int, Any] = await call(cluster, "PATCH", f"{DEPLOYMENTS}/web?{given}", body, **APPLY)
    return answer


async def set_image(cluster: Cluster, image: str, manager: str) -> Any:
    body = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}]
    return (await patch(cluster, body, "json", f"{DEPLOYMENTS}/web?fieldManager={manager}"))[1]


def owners(obj: Any) -> list[tuple[str, str]]:
    return [(e["manager"], e["operation"]) for e in obj["metadata"]["managedFields"]]


@pytest.mark.parametrize("manager", ["rollback-bot", "helm"])
async def test_an_apply_over_what_another_writer_set_is_a_conflict_that_names_it(still: Cluster, manager: str) -> None:
    assert (await applied(still, plain("web:v1")))[0] == 201
    await set_image(still, "web:v0", manager)
    status, said = await applied(still, plain("web:v2"))
    assert (status, said["reason"]) == (409, "Conflict")
    where = '.spec.template.spec.containers[name="web"].image'
    assert re.fullmatch(
        rf'Apply failed with 1 conflict: conflict with "{manager}" using apps/v1 at \S+Z: {re.escape(where)}',
        said["message"],
    )
    assert container(still.get("Deployment", "web", "shop"))["image"] == "web:v0"


async def test_the_same_value_is_owned_by_both_and_the_next_other_one_fails_again(still: Cluster) -> None:
    await applied(still, plain("web:v1"))
    await set_image(still, "web:v0", "rollback-bot")
    assert (await applied(still, plain("web:v0")))[0] == 200
    assert (await applied(still, plain("web:v2")))[0] == 409


async def test_an_entry_that_was_taken_away_stands_in_nobodys_way(still: Cluster) -> None:
    await applied(still, plain("web:v1"))
    seen = await set_image(still, "web:v0", "rollback-bot")
    at = owners(seen).index(("rollback-bot", "Update"))
    away = [
        {"op": "test", "path": f"/metadata/managedFields/{at}/manager", "value": "rollback-bot"},
        {"op": "remove", "path": f"/metadata/managedFields/{at}"},
    ]
    status, seen = await patch(still, away, "json", f"{DEPLOYMENTS}/web?fieldManager=rollback-bot")
    assert (status, owners(seen)) == (200, [("helm", "Apply")])
    status, seen = await applied(still, plain("web:v2"))
    assert (status, container(seen)["image"]) == (200, "web:v2")


async def test_force_takes_what_others_own(still: Cluster) -> None:
    await applied(still, plain("web:v1"))
    await set_image(still, "web:v0", "rollback-bot")
    status, seen = await applied(still, plain("web:v2"), force="true")
    assert (status, owners(seen)) == (200, [("helm", "Apply")])


async def test_what_is_applied_no_more_goes_unless_others_own_it(still: Cluster) -> None:
    full = plain("web:v1", env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    await applied(still, full)
    third = {"op": "replace", "path": "/spec/template/spec/containers/0/env/1/value", "value": "3"}
    await patch(still, [third], "json", f"{DEPLOYMENTS}/web?fieldManager=dee")
    status, seen = await applied(still, plain("web:v1"))
    assert (status, [v["name"] for v in container(seen)["env"]]) == (200, ["B"])


async def test_an_entry_of_the_scale_subresource_carries_no_time(still: Cluster) -> None:
    still.apply(deployment())
    async with connected(still) as api:
        await client.AppsV1Api(api).patch_namespaced_deployment_scale("web", "shop", {"spec": {"replicas": 5}})
    (entry,) = still.get("Deployment", "web", "shop")["metadata"]["managedFields"]
    assert (entry["subresource"], "time" in entry) == ("scale", False)


async def test_an_apply_without_a_manager_is_refused(still: Cluster) -> None:
    status, said = await call(still, "PATCH", f"{DEPLOYMENTS}/web", plain(), **APPLY)
    assert (status, "fieldManager: Required value" in said["message"]) == (422, True)


async def test_the_official_client_applies_too(still: Cluster) -> None:
    await applied(still, plain("web:v1"), "argocd")
    async with connected(still) as api:
        call_it = client.AppsV1Api(api).patch_namespaced_deployment(
            "web", "shop", plain("web:v2"), field_manager="helm", _content_type="application/apply-patch+yaml"
        )
        with pytest.raises(ApiException, match="conflict with"):
            await call_it


# -- rights -----------------------------------------------------------------------------------------------------------


def test_the_bot_of_the_demo_has_exactly_the_rights_that_are_to_be_given() -> None:
    text = (WHOLE / "deploy/kubernetes/rights/rights.yaml").read_text()
    roles = [d for d in yaml.safe_load_all(text) if d["kind"] in ("Role", "ClusterRole")]
    (ours,) = [r for r in standard_roles() if (r["kind"], r["metadata"]["name"]) == ("ClusterRole", "rollback-bot")]
    given = [r for r in shop_rights("shop") if r["metadata"]["name"] == "rollback-bot" and "rules" in r]
    shop = {r["metadata"].get("namespace", ""): r for r in given}

    def rights(rules: list[Any]) -> set[tuple[str, str, str]]:
        return {
            (g, r, v) for rule in rules for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]
        }

    assert rights(ours["rules"]) == rights([rule for role in roles for rule in role["rules"]])
    for role in roles:
        assert rights(shop[role["metadata"].get("namespace", "")]["rules"]) == rights(role["rules"]), role["metadata"]


async def test_two_writers_at_once_own_what_each_has_written(still: Cluster) -> None:
    await applied(still, plain("web:v1"))
    body = [{"op": "add", "path": "/metadata/annotations", "value": {"note": "x"}}]
    await asyncio.gather(
        set_image(still, "web:v0", "rollback-bot"),
        patch(still, body, "json", f"{DEPLOYMENTS}/web?fieldManager=dee"),
    )
    found = still.get("Deployment", "web", "shop")
    assert sorted(owners(found)) == [("dee", "Update"), ("helm", "Apply"), ("rollback-bot", "Update")]
