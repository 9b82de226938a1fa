"""The API machinery: the same verbs for every kind, patches, selectors, pages, watches, deletion, refusals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from kubernetes.aio.client.exceptions import ApiException

from bot.playground.cluster import ApiError, Cluster
from bot.playground.workspace.clock import Clock
from tests.fixtures.cluster import client, config_map, connected, deployment, events, namespace, service, watch


@pytest.fixture
async def shop() -> AsyncIterator[Cluster]:
    async with Cluster(kubelet=False, clock=Clock(1_800_000_000, frozen=True)) as cluster:
        cluster.apply(namespace())
        yield cluster


async def call(cluster: Cluster, verb: str, path: str, body: Any = None, user: str = "admin", **headers: str) -> Any:
    """Status and JSON of a bare request."""
    sent = {"Authorization": f"Bearer playground-{user}", "Content-Type": "application/json", **headers}
    data = None if body is None else json.dumps(body)
    async with (
        aiohttp.ClientSession() as http,
        http.request(verb, cluster.url + path, data=data, headers=sent) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
MAPS = "/api/v1/namespaces/shop/configmaps"


async def patch(cluster: Cluster, body: Any, kind: str, path: str = f"{DEPLOYMENTS}/web") -> Any:
    return await call(cluster, "PATCH", path, body, **{"Content-Type": f"application/{kind}-patch+json"})


# -- refusals ------------------------------------------------------------------------------------------------------


async def test_a_missing_object_is_refused_as_upstream_words_it(shop: Cluster) -> None:
    status, body = await call(shop, "GET", f"{DEPLOYMENTS}/web")
    assert status == 404
    assert body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "web" not found',
        "reason": "NotFound",
        "details": {"name": "web", "group": "apps", "kind": "deployments"},
        "code": 404,
    }


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "told"),
    [
        ("POST", DEPLOYMENTS, deployment() | {"kind": "Deploy"}, 400, 'no kind "Deploy" is registered'),
        ("POST", DEPLOYMENTS.replace("shop", "nowhere"), deployment(), 400, "does not match the namespace"),
        ("POST", MAPS.replace("shop", "nowhere"), {"metadata": {"name": "a"}}, 404, 'namespaces "nowhere" not found'),
        ("GET", "/apis/apps/v1/namespaces/shop/widgets", None, 404, "could not find the requested resource"),
        ("GET", f"{DEPLOYMENTS}?labelSelector=a%20b", None, 400, "unable to parse requirement"),
        ("GET", f"{DEPLOYMENTS}?fieldSelector=spec.replicas%3D1", None, 400, "field label not supported"),
        ("PUT", f"{MAPS}/a", config_map("b"), 400, "does not match the name on the URL"),
        ("POST", f"{MAPS}?dryRun=Some", config_map("b"), 400, 'supported values: "All"'),
        ("POST", "/api/v1/namespaces/shop/pods/log", {}, 405, "does not allow this method"),
    ],
)
async def test_what_makes_no_sense_is_refused(
    shop: Cluster, verb: str, path: str, body: Any, status: int, told: str
) -> None:
    answered, said = await call(shop, verb, path, body)
    assert (answered, said["kind"]) == (status, "Status")
    assert told in said["message"]


def broken(**changes: Any) -> dict[str, Any]:
    body = deployment()
    for path, value in changes.items():
        where: Any = body["spec"]
        *steps, last = path.split("__")
        for step in steps:
            where = where[int(step)] if step.isdigit() else where[step]
        where[last] = value
    return body


@pytest.mark.parametrize(
    ("body", "field", "told"),
    [
        (broken(selector=None), "spec.selector", "Required value"),
        (broken(selector={"matchLabels": {"app": "x"}}), "spec.template.metadata.labels", "does not match"),
        (broken(template__spec__containers__0__image=""), "spec.template.spec.containers[0].image", "Required value"),
        (broken(template__spec__containers=[]), "spec.template.spec.containers", "Required value"),
        (broken(template__spec__containers__0__name="Web"), "spec.template.spec.containers[0].name", "RFC 1123"),
        (broken(replicas=-1), "spec.replicas", "greater than or equal to 0"),
        (broken(template__spec__restartPolicy="Never"), "spec.template.spec.restartPolicy", "Unsupported value"),
    ],
)
async def test_a_body_that_breaks_a_rule_answers_422_with_its_cause(
    shop: Cluster, body: dict[str, Any], field: str, told: str
) -> None:
    status, said = await call(shop, "POST", DEPLOYMENTS, body)
    assert (status, said["reason"]) == (422, "Invalid")
    assert said["message"].startswith('Deployment.apps "web" is invalid: ')
    causes = {cause["field"]: cause["message"] for cause in said["details"]["causes"]}
    assert told in causes[field]


async def test_a_selector_stays_as_it_was_created(shop: Cluster) -> None:
    shop.apply(deployment())
    changed = deployment()
    changed["spec"]["selector"]["matchLabels"] = {"app": "web", "more": "1"}
    changed["spec"]["template"]["metadata"]["labels"]["more"] = "1"
    status, said = await call(shop, "PUT", f"{DEPLOYMENTS}/web", changed)
    assert (status, said["details"]["causes"][0]["message"][-18:]) == (422, "field is immutable")


async def test_an_unknown_token_is_nobody(shop: Cluster) -> None:
    status, said = await call(shop, "GET", DEPLOYMENTS, Authorization="Bearer guess")
    assert (status, said["reason"]) == (401, "Unauthorized")
    async with aiohttp.ClientSession() as http, http.get(shop.url + DEPLOYMENTS) as answer:
        assert answer.status == 401


# -- writing -------------------------------------------------------------------------------------------------------


async def test_metadata_is_the_servers_own(shop: Cluster) -> None:
    forged = deployment() | {"status": {"replicas": 99}}
    forged["metadata"] |= {"uid": "mine", "generation": 7, "creationTimestamp": "2001-01-01T00:00:00Z"}
    status, made = await call(shop, "POST", DEPLOYMENTS, forged)
    assert status == 201
    assert made["metadata"]["uid"] != "mine"
    assert made["metadata"]["creationTimestamp"] == "2027-01-15T08:00:00Z"
    assert made["metadata"]["generation"] == 1
    assert made["status"] == {}
    assert made["spec"]["progressDeadlineSeconds"] == 600  # a default
    status, again = await call(shop, "POST", DEPLOYMENTS, deployment())
    assert (status, again["reason"]) == (409, "AlreadyExists")


async def test_the_generation_grows_with_the_spec_alone(shop: Cluster) -> None:
    shop.apply(deployment())
    await patch(shop, {"metadata": {"labels": {"a": "b"}}}, "merge")
    _, same = await patch(shop, {"status": {"replicas": 5}}, "merge")
    assert same["metadata"]["generation"] == 1
    _, changed = await patch(shop, {"spec": {"replicas": 5}}, "merge")
    assert changed["metadata"]["generation"] == 2


async def test_a_write_that_changes_nothing_takes_no_revision(shop: Cluster) -> None:
    shop.apply(config_map("a", k="v"))
    before = shop.store.revision
    await patch(shop, {"data": {"k": "v"}}, "merge", f"{MAPS}/a")
    assert shop.store.revision == before


async def test_status_is_written_through_its_own_door(shop: Cluster) -> None:
    shop.apply(namespace("other"))
    path = "/api/v1/namespaces/shop/pods"
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await call(shop, "POST", path, pod)
    body = {"status": {"phase": "Running"}, "metadata": {"labels": {"x": "y"}}}
    _, seen = await patch(shop, body, "merge", f"{path}/p/status")
    assert seen["status"]["phase"] == "Running"
    assert "labels" not in seen["metadata"]


async def test_a_merge_patch_removes_with_null_and_replaces_lists(shop: Cluster) -> None:
    shop.apply(config_map("a", keep="1", gone="2"))
    _, seen = await patch(shop, {"data": {"gone": None, "new": "3"}}, "merge", f"{MAPS}/a")
    assert seen["data"] == {"keep": "1", "new": "3"}


async def test_a_strategic_merge_knows_containers_and_variables_by_name(shop: Cluster) -> None:
    body = deployment("web:v1")
    body["spec"]["template"]["spec"]["containers"] += [{"name": "side", "image": "side:v1"}]
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "2"},
    ]
    shop.apply(body)
    env = [{"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}]
    container = {"name": "web", "image": "web:v2", "env": env}
    _, seen = await patch(shop, {"spec": {"template": {"spec": {"containers": [container]}}}}, "strategic-merge")
    web, side = seen["spec"]["template"]["spec"]["containers"]
    assert (web["image"], side["image"]) == ("web:v2", "side:v1")
    assert web["env"] == [{"name": "C", "value": "3"}, {"name": "B", "value": "2"}]  # what is new comes first
    assert web["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]


async def test_a_strategic_merge_of_a_custom_resource_is_refused(shop: Cluster) -> None:
    path = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects/web"
    status, said = await patch(shop, {}, "strategic-merge", path)
    assert (status, said["reason"]) == (415, "UnsupportedMediaType")


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/data/absent"},
        {"op": "replace", "path": "/data/absent", "value": "x"},
        {"op": "add", "path": "/absent/deep", "value": "x"},
        {"op": "test", "path": "/data/k", "value": "other"},
        {"op": "test", "path": "/data/absent", "value": "x"},
        {"op": "copy", "from": "/data/absent", "path": "/data/b"},
    ],
)
async def test_a_json_patch_that_cannot_be_applied_answers_422(shop: Cluster, operation: dict[str, Any]) -> None:
    shop.apply(config_map("a", k="v"))
    status, said = await patch(shop, [operation], "json", f"{MAPS}/a")
    assert (status, said["reason"]) == (422, "Invalid")
    assert shop.get("ConfigMap", "a", "shop")["data"] == {"k": "v"}


async def test_a_json_patch_does_all_of_its_operations(shop: Cluster) -> None:
    body = config_map("a", k="v")
    body["metadata"]["annotations"] = {"a/b": "1"}
    shop.apply(body)
    operations = [
        {"op": "test", "path": "/data/k", "value": "v"},
        {"op": "test", "path": "/data/absent", "value": None},
        {"op": "move", "from": "/data/k", "path": "/data/moved"},
        {"op": "copy", "from": "/data/moved", "path": "/data/copied"},
        {"op": "remove", "path": "/metadata/annotations/a~1b"},
        {"op": "add", "path": "/metadata/labels", "value": {"x": "y"}},
    ]
    status, seen = await patch(shop, operations, "json", f"{MAPS}/a")
    assert (status, seen["data"]) == (200, {"moved": "v", "copied": "v"})
    assert "annotations" not in seen["metadata"]


async def test_an_immutable_config_map_keeps_its_data(shop: Cluster) -> None:
    shop.apply(config_map("a", k="v") | {"immutable": True})
    status, said = await patch(shop, {"data": {"k": "w"}}, "merge", f"{MAPS}/a")
    assert status == 422
    assert "field is immutable when `immutable` is set" in said["message"]


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("tier=web", "a b"),
        ("tier!=web", "c d"),
        ("tier in (web,db)", "a b c"),
        ("tier notin (web)", "c d"),
        ("tier", "a b c"),
        ("!tier", "d"),
        ("tier=web,zone=1", "a"),
        ("", "a b c d"),
    ],
)
async def test_label_selectors(shop: Cluster, selector: str, names: str) -> None:
    for name, labels in {
        "a": {"tier": "web", "zone": "1"},
        "b": {"tier": "web"},
        "c": {"tier": "db"},
        "d": {},
    }.items():
        body = config_map(name)
        body["metadata"]["labels"] = labels
        shop.apply(body)
    async with connected(shop) as api:
        found = await client.CoreV1Api(api).list_namespaced_config_map("shop", label_selector=selector)
    assert " ".join(item.metadata.name for item in found.items) == names


async def test_field_selectors(shop: Cluster) -> None:
    shop.apply(config_map("a"), config_map("b"))
    async with connected(shop) as api:
        core = client.CoreV1Api(api)
        one = await core.list_namespaced_config_map("shop", field_selector="metadata.name=b")
        shop.core.event(shop.get("ConfigMap", "a", "shop"), "Warning", "Odd", "something", "test")
        told = await core.list_namespaced_event("shop", field_selector="involvedObject.name=a,type=Warning")
        new = await client.EventsV1Api(api).list_namespaced_event("shop", field_selector="reason=Odd")
    assert [i.metadata.name for i in one.items] == ["b"]
    assert [(e.reason, e.message) for e in told.items] == [("Odd", "something")]
    assert [(e.regarding.name, e.note) for e in new.items] == [("a", "something")]


async def test_the_pages_of_a_list_show_one_moment(shop: Cluster) -> None:
    shop.apply(*(config_map(f"m{i}") for i in range(5)))
    async with connected(shop) as api:
        core = client.CoreV1Api(api)
        first = await core.list_namespaced_config_map("shop", limit=2)
        assert (len(first.items), first.metadata.remaining_item_count) == (2, 3)
        shop.apply(config_map("m1x"))
        token = first.metadata._continue
        rest = await core.list_namespaced_config_map("shop", limit=9, _continue=token)
        assert [i.metadata.name for i in rest.items] == ["m2", "m3", "m4"]
        assert rest.metadata.resource_version == first.metadata.resource_version
        shop.store.compact()
        with pytest.raises(ApiException) as refused:
            await core.list_namespaced_config_map("shop", limit=9, _continue=token)
    assert (refused.value.status, json.loads(str(refused.value.body))["reason"]) == (410, "Expired")


async def test_a_watch_tells_each_change_as_its_selector_sees_it(shop: Cluster) -> None:
    seen: list[tuple[str, str]] = []
    async with connected(shop) as api:
        core = client.CoreV1Api(api)

        async def follow() -> None:
            async with watch.Watch() as watching:
                stream = watching.stream(core.list_namespaced_config_map, "shop", label_selector="on=yes")
                async for event in stream:
                    seen.append((event["type"], event["object"].metadata.name))

        task = asyncio.create_task(follow())
        await shop.until(lambda: shop.requests.count(verb="watch") == 1)
        for labels in ({}, {"on": "yes"}, {"on": "yes", "n": "2"}, {"on": "no"}, {"on": "yes"}):
            body = config_map("a")
            body["metadata"]["labels"] = labels
            shop.apply(body)
        await core.delete_namespaced_config_map("a", "shop")
        await shop.until(lambda: len(seen) == 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [kind for kind, _ in seen] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]


async def test_a_watch_ends_when_its_time_is_over(shop: Cluster) -> None:
    async with connected(shop) as api:
        core = client.CoreV1Api(api)
        async with watch.Watch() as watching:
            seen = [e async for e in watching.stream(core.list_namespaced_config_map, "shop", timeout_seconds=1)]
    assert seen == []


# -- going ---------------------------------------------------------------------------------------------------------


async def test_what_an_object_owned_goes_with_it(shop: Cluster) -> None:
    shop.apply(deployment())
    await shop.until(lambda: len(shop.all("Pod")) == 2)
    async with connected(shop) as api:
        await client.AppsV1Api(api).delete_namespaced_deployment("web", "shop")
        await shop.until(lambda: not shop.all("ReplicaSet") and not shop.all("Pod"))


async def test_a_foreground_delete_waits_for_what_was_owned(shop: Cluster) -> None:
    shop.apply(deployment())
    await shop.until(lambda: len(shop.all("Pod")) == 2)
    body = {"propagationPolicy": "Foreground"}
    _, going = await call(shop, "DELETE", f"{DEPLOYMENTS}/web", body)
    assert going["metadata"]["finalizers"] == ["foregroundDeletion"]
    await shop.until(lambda: not shop.all("Deployment") and not shop.all("Pod"))


async def test_an_orphaning_delete_leaves_what_was_owned(shop: Cluster) -> None:
    shop.apply(deployment())
    await shop.until(lambda: len(shop.all("Pod")) == 2)
    await call(shop, "DELETE", f"{DEPLOYMENTS}/web?propagationPolicy=Orphan")
    await asyncio.sleep(0.1)
    assert len(shop.all("Pod")) == 2
    assert "ownerReferences" not in shop.all("ReplicaSet")[0]["metadata"]


async def test_a_delete_with_another_uid_is_a_conflict(shop: Cluster) -> None:
    shop.apply(deployment())
    status, said = await call(shop, "DELETE", f"{DEPLOYMENTS}/web", {"preconditions": {"uid": "other"}})
    assert (status, said["reason"]) == (409, "Conflict")


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(shop: Cluster) -> None:
    body = config_map("a")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    shop.apply(body)
    await call(shop, "DELETE", f"{MAPS}/a")
    assert shop.get("ConfigMap", "a", "shop")["metadata"]["deletionTimestamp"]
    await patch(shop, {"metadata": {"finalizers": None}}, "merge", f"{MAPS}/a")
    with pytest.raises(ApiError, match="not found"):
        shop.get("ConfigMap", "a", "shop")


async def test_a_namespace_goes_when_it_is_empty(shop: Cluster) -> None:
    held = config_map("a")
    held["metadata"]["finalizers"] = ["example.com/wait"]
    shop.apply(deployment(), held, service())
    await shop.until(lambda: len(shop.all("Pod")) == 2)
    _, going = await call(shop, "DELETE", "/api/v1/namespaces/shop")
    assert going["status"]["phase"] == "Terminating"
    status, said = await call(shop, "POST", MAPS, config_map("b"))
    assert (status, "being terminated" in said["message"]) == (403, True)
    await patch(shop, {"metadata": {"finalizers": None}}, "merge", f"{MAPS}/a")
    await shop.until(lambda: not any(n["metadata"]["name"] == "shop" for n in shop.all("Namespace")))
    assert not any(shop.all(kind, "shop") for kind in ("Deployment", "Pod", "ConfigMap", "Service"))


async def test_a_collection_is_deleted_by_selector(shop: Cluster) -> None:
    keep, drop = config_map("keep"), config_map("drop")
    drop["metadata"]["labels"] = {"old": "yes"}
    shop.apply(keep, drop)
    async with connected(shop) as api:
        await client.CoreV1Api(api).delete_collection_namespaced_config_map("shop", label_selector="old=yes")
    assert [m["metadata"]["name"] for m in shop.all("ConfigMap", "shop")] == ["keep"]


async def test_a_set_without_its_pod_makes_another(shop: Cluster) -> None:
    shop.apply(deployment(replicas=1))
    await shop.until(lambda: len(shop.all("Pod")) == 1)
    name = shop.all("Pod")[0]["metadata"]["name"]
    await call(shop, "DELETE", f"/api/v1/namespaces/shop/pods/{name}")
    await shop.until(lambda: [p["metadata"]["name"] for p in shop.all("Pod")] not in ([], [name]))
    (owner,) = shop.all("ReplicaSet")
    assert ("SuccessfulCreate", f"Created pod: {name}") in events(shop, owner["metadata"]["name"])


# -- what clients learn first --------------------------------------------------------------------------------------


async def test_discovery_names_what_is_served(shop: Cluster) -> None:
    async with connected(shop) as api:
        groups = {g.name for g in (await client.ApisApi(api).get_api_versions()).groups}
        resources = (await client.AppsV1Api(api).get_api_resources()).resources
        version = await client.VersionApi(api).get_code()
    assert {"apps", "batch", "keda.sh", "argoproj.io", "admissionregistration.k8s.io"} <= groups
    assert {"deployments", "deployments/scale", "replicasets"} <= {r.name for r in resources}
    assert (version.major, version.minor) == ("1", "36")


async def test_two_clusters_are_two() -> None:
    async with Cluster("eu", kubelet=False) as eu, Cluster("us", kubelet=False) as us:
        eu.apply(namespace())
        assert eu.url != us.url
        assert not any(n["metadata"]["name"] == "shop" for n in us.all("Namespace"))
        async with connected(us) as api:
            found = await client.CoreV1Api(api).list_namespace()
    assert "shop" not in {n.metadata.name for n in found.items}


# -- fields that there are not -------------------------------------------------------------------------------------


async def test_a_misspelt_field_is_dropped_with_a_warning_or_refused(shop: Cluster) -> None:
    shop.apply(deployment())
    body = {"spec": {"replica": 9, "template": {"spec": {"containers": [{"name": "web", "img": "x"}]}}}}
    async with connected(shop) as api:
        apps = client.AppsV1Api(api)
        answer = await apps.patch_namespaced_deployment_with_http_info("web", "shop", body)
        assert '299 - "unknown field "spec.replica""' in answer.headers["Warning"].replace("\\", "")
        assert 'unknown field "spec.template.spec.containers[0].img"' in answer.headers["Warning"].replace("\\", "")
        assert "replica" not in shop.get("Deployment", "web", "shop")["spec"]
        with pytest.raises(ApiException) as refused:
            await apps.patch_namespaced_deployment("web", "shop", body, field_validation="Strict")
    assert refused.value.status == 400
    assert "strict decoding error: unknown field" in str(refused.value.body)


async def test_events_vanish_after_an_hour(shop: Cluster) -> None:
    shop.apply(deployment())
    await shop.until(lambda: len(shop.all("Pod")) == 2)
    assert events(shop, "web")
    shop.clock.advance(3601)
    await shop.until(lambda: not events(shop, "web"))
