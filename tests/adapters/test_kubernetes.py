"""The adapter on a Kubernetes API: fields read and written, and every way in which a cluster can refuse.

With ROLLBACK_TEST_KUBECONFIG these run on a real cluster: the kubeconfig's current context, as a user who may do
anything in a namespace of the tests' own (it is created, and deleted afterwards) and write admission policies. Without
it they start the simulator. They need no kubelet: what one would report is patched into the pods' status.
"""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.adapters.kubernetes.connection import JSON_PATCH, ClusterRefused, Connection
from bot.playground.cluster import Cluster
from bot.ports import Json, ReadOnly
from bot.ports import kubernetes as port
from bot.ports.kubernetes import Changed, Denied, Place, Thing

A, B, C = (f"registry.example/shop/api@sha256:{letter * 64}" for letter in "abc")
TEMPLATE = "/spec/template/spec/containers/0"


@dataclass
class Here:
    """A namespace of a cluster. admin: speaks to it plainly; port: the adapter; said: what it recorded."""

    namespace: str
    context: str
    kubeconfig: str
    admin: Connection
    simulator: Cluster | None
    said: list[str] = field(default_factory=list)
    opened: list[Clusters] = field(default_factory=list)

    async def record(self, command: str) -> None:
        self.said.append(command)

    def clusters(self, **more: Any) -> Clusters:
        """The adapter, which writes."""
        known = port.Cluster("here", self.namespace, settings=("settings",), **more)
        made = Clusters([ClusterTarget(known, self.context, 5.0)], self.kubeconfig)
        self.opened.append(made)
        return made.bind(self.record)

    async def put(self, plural: str, body: dict[str, Any], group: str = "apis/apps/v1") -> Any:
        return await self.admin.send("POST", f"/{group}/namespaces/{self.namespace}/{plural}", body=body)

    async def patch(self, plural: str, name: str, *operations: dict[str, Any], group: str = "apis/apps/v1") -> Any:
        path = f"/{group}/namespaces/{self.namespace}/{plural}/{name}"
        query = [("fieldManager", "dee")]
        return await self.admin.send("PATCH", path, query=query, body=[*operations], sort=JSON_PATCH)

    async def until(self, holds: Any, seconds: float = 60.0) -> Any:
        """What `holds()` gives once that is true."""
        async with asyncio.timeout(seconds):
            while not (found := await holds()):  # noqa: ASYNC110 - there is nothing to wait for
                await asyncio.sleep(0.05)
        return found

    async def start_pods(self) -> None:
        """As a kubelet reports pods that run."""
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        for pod in await self.admin.every(path):
            if (pod.get("status") or {}).get("phase") != "Running":
                known = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
                moment = "2026-01-01T00:00:00Z"
                ready = [{"type": kind, "status": "True", "lastTransitionTime": moment} for kind in known]
                body = [{"op": "add", "path": "/status/conditions", "value": ready},
                        {"op": "add", "path": "/status/phase", "value": "Running"}]  # fmt: skip
                await self.admin.send("PATCH", f"{path}/{pod['metadata']['name']}/status", body=body, sort=JSON_PATCH)


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    given = os.environ.get("ROLLBACK_TEST_KUBECONFIG")
    if given:
        context = _context(Path(given))
        async for made in _here(given, given, context, None):
            yield made
        return
    async with Cluster("here", kubelet=False) as simulator:
        bot, admin = (str(simulator.kubeconfig(user)) for user in ("bot", "admin"))
        async for made in _here(bot, admin, "here", simulator):
            yield made


def _context(kubeconfig: Path) -> str:
    return str(yaml.safe_load(kubeconfig.read_text())["current-context"])


async def _here(kubeconfig: str, admin: str, context: str, simulator: Cluster | None) -> AsyncIterator[Here]:
    name = f"rollback-test-{uuid.uuid4().hex[:8]}"
    connection = Connection("admin", context, "shop", 10.0, admin)
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await connection.send("POST", "/api/v1/namespaces", body=space)
    made = Here(name, context, kubeconfig, connection, simulator)
    try:
        yield made
    finally:
        for adapter in made.opened:
            await adapter.close()
        await connection.send("DELETE", f"/api/v1/namespaces/{name}")
        await connection.close()


def deployment(name: str = "api", replicas: int = 2, **container: Any) -> dict[str, Any]:
    secret, address = {"secretKeyRef": {"name": "s", "key": "k"}}, {"fieldRef": {"fieldPath": "status.podIP"}}
    env = [{"name": "MODE", "value": "a"}, {"name": "TOKEN", "valueFrom": secret},
           {"name": "EMPTY", "value": ""}, {"name": "IP", "valueFrom": address}]  # fmt: skip
    containers = [{"name": "app", "image": A, "env": env, **container}, {"name": "side", "image": C}]
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": containers, "initContainers": [{"name": "init", "image": A}]},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


def config_map(name: str = "settings", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def cronjob(name: str = "settle") -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "run", "image": A}]}
    spec = {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": pod}}}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec}


API = Place("here", "deployment", "api")


async def get(clusters: Clusters, place: Place = API) -> Thing:
    found = await clusters.get(place)
    assert found is not None
    return found


def shown(thing: Thing, *starts: str) -> Mapping[str, Json]:
    return {name: value for name, value in thing.fields.items() if name.startswith(starts)}


# -- what the adapter takes for granted about the API ------------------------------------------------------------------


async def test_a_failed_test_is_422_without_causes_and_a_broken_rule_is_422_with_causes(here: Here) -> None:
    await here.put("deployments", deployment())
    with pytest.raises(ClusterRefused) as failed:
        await here.patch("deployments", "api", {"op": "test", "path": "/spec/replicas", "value": 9})
    with pytest.raises(ClusterRefused) as broken:
        await here.patch("deployments", "api", {"op": "replace", "path": "/spec/replicas", "value": -1})
    assert [(e.value.status, e.value.causes) for e in (failed, broken)] == [(422, False), (422, True)]


async def test_what_is_absent_is_null_to_a_test(here: Here) -> None:
    await here.put("deployments", deployment())
    await here.patch("deployments", "api", {"op": "test", "path": "/spec/paused", "value": None})


async def test_a_put_over_an_old_version_is_409(here: Here) -> None:
    old = await here.put("configmaps", config_map(MODE="a"), "api/v1")
    await here.patch("configmaps", "settings", {"op": "replace", "path": "/data/MODE", "value": "b"}, group="api/v1")
    with pytest.raises(ClusterRefused) as told:
        await here.admin.send("PUT", f"/api/v1/namespaces/{here.namespace}/configmaps/settings", body=old)
    assert told.value.status == 409


async def test_a_dry_run_answers_as_if_and_stores_nothing(here: Here) -> None:
    await here.put("deployments", deployment())
    path = f"/apis/apps/v1/namespaces/{here.namespace}/deployments/api"
    body = [{"op": "replace", "path": "/spec/replicas", "value": 9}]
    answer = await here.admin.send("PATCH", path, query=[("dryRun", "All")], body=body, sort=JSON_PATCH)
    assert answer["spec"]["replicas"] == 9
    assert (await here.admin.send("GET", path))["spec"]["replicas"] == 2


async def test_going_back_renumbers_so_revisions_name_nothing(here: Here) -> None:
    await here.put("deployments", deployment(replicas=0))
    clusters = here.clusters()
    path = f"/apis/apps/v1/namespaces/{here.namespace}/replicasets"
    revision = "deployment.kubernetes.io/revision"

    async def sets() -> dict[str, str]:
        return {
            s["spec"]["template"]["spec"]["containers"][0]["image"]: s["metadata"]["annotations"][revision]
            for s in await here.admin.every(path)
        }

    async def first() -> bool:
        return await sets() == {A: "1"}

    async def second() -> bool:
        return await sets() == {A: "1", B: "2"}

    async def third() -> bool:
        return await sets() == {A: "3", B: "2"}

    await here.until(first)
    await clusters.write(await get(clusters), {"image/app": B})
    await here.until(second)
    await clusters.write(await get(clusters), {"image/app": A})
    await here.until(third)


# -- reading ---------------------------------------------------------------------------------------------------------


async def test_a_deployment_is_its_fields(here: Here) -> None:
    await here.put("deployments", deployment())
    thing = await get(here.clusters())
    assert shown(thing, "image", "env", "replicas", "paused", "label") == {
        "replicas": 2,
        "image/init": A,
        "image/app": A,
        "image/side": C,
        "env/app/MODE": "a",
        "env/app/TOKEN": {"secret": "s", "key": "k"},
        "env/app/EMPTY": "",
        "env/app/IP": {"field": "status.podIP"},
        "label/app": "api",
    }
    assert thing.facts["strategy"] == "RollingUpdate"


async def test_a_cronjob_is_its_fields(here: Here) -> None:
    await here.put("cronjobs", cronjob(), "apis/batch/v1")
    thing = await get(here.clusters(), Place("here", "cronjob", "settle"))
    assert shown(thing, "image", "suspend") == {"suspend": False, "image/run": A}
    assert thing.facts["schedule"] == "*/5 * * * *"
    assert thing.rollout is None


async def test_what_is_not_there_is_none(here: Here) -> None:
    clusters = here.clusters()
    assert await clusters.get(API) is None
    assert await clusters.get(Place("here", "guard", "nothing")) is None
    assert await clusters.pods(API) == []


async def test_a_list_is_one_request_however_many_there_are(here: Here) -> None:
    for name in ("a", "b", "c"):
        await here.put("deployments", deployment(name, 0))
    clusters = here.clusters()
    assert [t.place.name for t in await clusters.list("here", "deployment")] == ["a", "b", "c"]
    if here.simulator is not None:
        assert here.simulator.requests.count(user="bot", resource="deployments") == 1


async def test_a_long_list_comes_page_by_page(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.adapters.kubernetes.connection.PAGE", 2)
    for name in "abcde":
        await here.put("configmaps", config_map(f"map-{name}"), "api/v1")
    await here.put("configmaps", config_map(MODE="a"), "api/v1")
    assert [t.place.name for t in await here.clusters().list("here", "configmap")] == ["settings"]


async def test_a_selector_narrows_workloads(here: Here) -> None:
    for name in ("a", "b"):
        await here.put("deployments", deployment(name, 0))
    assert [t.place.name for t in await here.clusters(selector="app in (b)").list("here", "deployment")] == ["b"]


async def test_a_kind_that_the_cluster_does_not_have_is_an_empty_list(here: Here) -> None:
    if here.simulator is None:
        assert isinstance(await here.clusters().list("here", "scaledobject"), list)
    assert await here.clusters().list("here", "application") == []


async def test_who_set_a_field_last_is_known(here: Here) -> None:
    await here.put("configmaps", config_map(KILL="off", MODE="a"), "api/v1")
    await here.patch("configmaps", "settings", {"op": "replace", "path": "/data/KILL", "value": "on"}, group="api/v1")
    thing = await get(here.clusters(), Place("here", "configmap", "settings"))
    assert thing.by["data/KILL"].manager == "dee"
    assert thing.by["data/MODE"].manager != "dee"


# -- writing ---------------------------------------------------------------------------------------------------------


async def test_several_fields_change_in_one_patch(here: Here) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    wanted: dict[str, Json] = {
        "image/app": B, "image/init": B, "env/app/MODE": "b", "env/app/TOKEN": None, "env/app/EMPTY": None,
        "env/app/NEW": "1", "env/app/REF": {"configmap": "settings", "key": "MODE"}, "env/side/FIRST": "x",
        "env/side/SECOND": "y", "annotation/example.com/a~b": "1", "annotation/other": "2", "paused": True,
    }  # fmt: skip
    after = await clusters.write(await get(clusters), wanted)
    assert {name: after.fields.get(name) for name in wanted} == wanted
    again = await get(clusters)
    assert {name: again.fields.get(name) for name in wanted} == wanted
    assert again.fields["env/app/IP"] == {"field": "status.podIP"}
    assert len(here.said) == 1


async def test_what_is_removed_and_put_back_is_as_it_was(here: Here) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    before = await get(clusters)
    names = ("env/app/MODE", "env/app/TOKEN", "env/app/EMPTY", "env/app/IP", "label/app")
    gone = await clusters.write(before, dict.fromkeys(names))
    assert not gone.fields.keys() & {*names}
    back = await clusters.write(gone, {name: before.fields[name] for name in names})
    assert shown(back, "env", "label") == shown(before, "env", "label")


async def test_nothing_is_sent_where_nothing_differs(here: Here) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    await clusters.write(await get(clusters), {"image/app": A, "paused": None})
    assert here.said == []


async def test_one_image_is_one_read_and_one_patch(here: Here) -> None:
    if here.simulator is None:
        return  # a real cluster does not tell what it was asked
    await here.put("deployments", deployment())
    clusters = here.clusters()
    await clusters.write(await get(clusters), {"image/app": B})
    asked = [(r.verb, r.resource) for r in here.simulator.requests.select(user="bot")]
    assert asked == [("get", "deployments"), ("patch", "deployments")]


@pytest.mark.parametrize(
    ("fields", "command"),
    [
        ({"image/app": B}, f"set image deployment/api app={B}"),
        ({"replicas": 0}, "scale deployment/api --replicas=0"),
        (
            {"paused": True},
            """patch deployment/api --type=json -p '[{"op": "add", "path": "/spec/paused", "value": true}]'""",
        ),
    ],
)
async def test_what_is_recorded_is_what_a_person_would_have_typed(here: Here, fields: Any, command: str) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    await clusters.write(await get(clusters), fields)
    assert here.said == [f"kubectl --context {here.context} -n {here.namespace} {command}"]


async def test_without_a_record_nothing_is_sent(here: Here) -> None:
    await here.put("deployments", deployment())
    here.clusters()
    unbound = here.opened[0]
    with pytest.raises(ReadOnly):
        await unbound.write(await get(unbound), {"image/app": B})
    with pytest.raises(ReadOnly):
        await unbound.guard("here", f"{here.namespace}-none", {"service": "shop", "digests": []})
    assert (await get(unbound)).fields["image/app"] == A


async def test_a_field_that_others_changed_is_named_with_who_and_nothing_is_written(here: Here) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    seen = await get(clusters)
    await here.patch("deployments", "api", {"op": "replace", "path": f"{TEMPLATE}/image", "value": C})
    with pytest.raises(Changed, match=r"here/deployment/api/image/app is .*c+ now, set by dee at .*; it was .*a+"):
        await clusters.write(seen, {"image/app": B, "replicas": 1})
    assert shown(await get(clusters), "replicas", "image/app") == {"replicas": 2, "image/app": C}


async def test_an_unrelated_change_does_not_stand_in_the_way(here: Here) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    seen = await get(clusters)
    await here.patch("deployments", "api", {"op": "replace", "path": "/spec/replicas", "value": 7})
    after = await clusters.write(seen, {"image/app": B})
    assert shown(after, "replicas", "image/app") == {"replicas": 7, "image/app": B}


async def test_containers_that_changed_places_are_not_mistaken_for_each_other(here: Here) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    seen = await get(clusters)
    both = [{"name": "side", "image": A}, {"name": "app", "image": A}]
    await here.patch("deployments", "api", {"op": "replace", "path": "/spec/template/spec/containers", "value": both})
    with pytest.raises(Changed):
        await clusters.write(seen, {"image/app": B})


async def test_a_variable_that_somebody_added_meanwhile_is_not_added_twice(here: Here) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    seen = await get(clusters)
    late = {"op": "add", "path": f"{TEMPLATE}/env/-", "value": {"name": "NEW", "value": "theirs"}}
    await here.patch("deployments", "api", late)
    with pytest.raises(Changed, match="env/app/NEW is theirs now"):
        await clusters.write(seen, {"env/app/NEW": "ours"})


async def test_what_is_gone_is_changed(here: Here) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    seen = await get(clusters)
    await here.admin.send("DELETE", f"/apis/apps/v1/namespaces/{here.namespace}/deployments/api")
    with pytest.raises(Changed, match="here/deployment/api is gone"):
        await clusters.write(seen, {"image/app": B})


async def test_what_the_cluster_finds_invalid_is_denied_in_its_own_words(here: Here) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    with pytest.raises(Denied, match=r"spec\.replicas: Invalid value: -1"):
        await clusters.write(await get(clusters), {"replicas": -1})


async def test_a_field_that_there_is_not_is_refused_before_anything_is_sent(here: Here) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    for name in ("image/nobody", "env/nobody/X", "colour"):
        with pytest.raises(LookupError):
            await clusters.write(await get(clusters), {name: "x"})
    assert here.said == []


async def test_a_thing_that_was_kept_as_a_value_is_written_over_what_it_says(here: Here) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    kept = Thing(API, "", {"image/app": A})
    with pytest.raises(Changed, match=r"image/side is .*c+ now.*; it was absent"):
        await clusters.write(kept, {"image/side": B})
    assert (await clusters.write(kept, {"image/app": B})).fields["image/app"] == B


async def test_keys_of_a_config_map_come_and_go(here: Here) -> None:
    await here.put("configmaps", config_map(), "api/v1")
    clusters = here.clusters()
    seen = await get(clusters, Place("here", "configmap", "settings"))
    full = await clusters.write(seen, {"data/a.b": "1", "data/x": "2"})
    assert shown(full, "data") == {"data/a.b": "1", "data/x": "2"}
    empty = await clusters.write(full, {"data/a.b": None, "data/x": None})
    assert shown(empty, "data") == {}


# -- rollouts, pods, events ------------------------------------------------------------------------------------------


async def test_a_rollout_is_told_from_the_first_moment_to_the_last(here: Here) -> None:
    await here.put("deployments", deployment(replicas=1))
    clusters = here.clusters()

    async def complete() -> bool:
        await here.start_pods()
        rollout = (await get(clusters)).rollout
        return rollout is not None and rollout.complete

    await here.until(complete)
    written = await clusters.write(await get(clusters), {"image/app": B})
    assert written.rollout is not None
    assert (written.rollout.complete, written.rollout.fresh) == (False, 0)

    async def rolling() -> bool:
        rollout = (await get(clusters)).rollout
        return rollout is not None and rollout.seen and rollout.updated == 1

    await here.until(rolling)
    rollout = (await get(clusters)).rollout
    assert rollout is not None
    assert (rollout.wanted, rollout.old, rollout.complete) == (1, 1, False)
    await here.until(complete)

    async def alone() -> bool:
        return len(await clusters.pods(API)) == 1

    await here.until(alone)
    (pod,) = await clusters.pods(API)
    assert (pod.images, pod.ready, pod.phase, pod.waiting) == ((A, B, C), True, "Running", "")


async def test_what_keeps_a_pod_from_running_is_told(here: Here) -> None:
    await here.put("deployments", deployment(replicas=1))
    clusters = here.clusters()
    (pod,) = await here.until(lambda: clusters.pods(API))
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling\nimage"}}
    status = [{"name": "app", "image": A, "imageID": "", "ready": False, "restartCount": 3, "state": waiting}]
    body = [{"op": "add", "path": "/status/containerStatuses", "value": status}]
    path = f"/api/v1/namespaces/{here.namespace}/pods/{pod.name}/status"
    await here.admin.send("PATCH", path, body=body, sort=JSON_PATCH)
    (pod,) = await clusters.pods(API)
    assert (pod.ready, pod.restarts, pod.waiting) == (False, 3, "ImagePullBackOff: Back-off pulling image")


async def test_events_come_newest_first_and_only_of_what_is_asked(here: Here) -> None:
    await here.put("deployments", deployment(replicas=1))
    await here.put("deployments", deployment("other", replicas=1))
    clusters = here.clusters()
    await here.until(lambda: clusters.events("here", ["api-"]))
    await here.until(lambda: clusters.events("here", ["other"]))
    every = await clusters.events("here")
    assert [e.at for e in every] == sorted((e.at for e in every), reverse=True)
    assert all(e.about.split("/")[1].startswith("api") for e in await clusters.events("here", ["api"]))


# -- rights ----------------------------------------------------------------------------------------------------------


async def test_nothing_is_missing_and_everything_answers(here: Here) -> None:
    clusters = here.clusters()
    assert await clusters.missing_rights("here") == []
    assert await clusters.ping() == {"here": ""}
    assert here.said == []


# -- guards ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def freeze(here: Here) -> AsyncIterator[str]:
    """The name of a guard that is taken away whatever happens."""
    name = f"{here.namespace}-freeze"
    yield name
    await here.clusters().guard("here", name, None)


def rules(*digests: str, **other: Json) -> dict[str, Json]:
    return {"service": "shop", "digests": [*digests], "message": "shop is frozen", **other}


async def bites(here: Here, clusters: Clusters, name: str, given: Json) -> None:
    async def refused() -> bool:
        return (await clusters.trial("here", name, given)).refused is True

    await here.until(refused)


async def test_a_guard_reads_back_as_it_was_put_and_goes_without_a_trace(here: Here, freeze: str) -> None:
    clusters, given = here.clusters(), rules(A[-71:], selector="app=api", groups=["sre"])
    await clusters.guard("here", freeze, given)
    thing = await get(clusters, Place("here", "guard", freeze))
    assert (thing.fields, [*thing.facts]) == ({"rules": given}, ["since"])
    said = len(here.said)
    await clusters.guard("here", freeze, given)
    assert len(here.said) == said == 2
    assert Place("here", "guard", freeze) in [t.place for t in await clusters.list("here", "guard")]
    await clusters.guard("here", freeze, None)
    assert await clusters.get(Place("here", "guard", freeze)) is None
    assert [line.split()[3] for line in here.said[2:]] == ["delete", "delete"]
    assert "policybindings" in here.said[2]


async def test_a_ban_without_a_break_glass_group_is_as_it_was_put(here: Here, freeze: str) -> None:
    given: Json = {"service": "shop", "banned": [A[-71:]]}
    clusters = here.clusters()
    await clusters.guard("here", freeze, given)
    thing = await get(clusters, Place("here", "guard", freeze))
    assert (thing.fields, [*thing.facts]) == ({"rules": given}, ["since"])


async def test_other_rules_take_the_place_of_the_first(here: Here, freeze: str) -> None:
    clusters = here.clusters()
    await clusters.guard("here", freeze, rules(A[-71:]))
    await clusters.guard("here", freeze, rules(B[-71:], groups=["sre"]))
    assert (await get(clusters, Place("here", "guard", freeze))).fields["rules"] == rules(B[-71:], groups=["sre"])


async def test_a_guard_that_somebody_bent_is_seen(here: Here, freeze: str) -> None:
    clusters = here.clusters()
    await clusters.guard("here", freeze, rules())
    path = f"/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/{freeze}"
    bent = [{"op": "replace", "path": "/spec/validations/0/expression", "value": "true"}]
    await here.admin.send("PATCH", path, body=bent, sort=JSON_PATCH)
    thing = await get(clusters, Place("here", "guard", freeze))
    assert thing.facts["altered"] == ["spec.validations[0].expression"]
    await clusters.guard("here", freeze, rules())
    assert "altered" not in (await get(clusters, Place("here", "guard", freeze))).facts


async def test_what_is_not_ours_is_neither_changed_nor_taken_away(here: Here) -> None:
    clusters, name = here.clusters(), f"{here.namespace}-theirs"
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["daemonsets"]}
    theirs = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
              "metadata": {"name": name}, "spec": {"matchConstraints": {"resourceRules": [rule]},
              "validations": [{"expression": "true"}]}}  # fmt: skip
    await here.admin.send("POST", path, body=theirs)
    try:
        for given in (rules(), None):
            with pytest.raises(Denied, match="not the bot's"):
                await clusters.guard("here", name, given)
    finally:
        await here.admin.send("DELETE", f"{path}/{name}")
    assert here.said == []


async def test_a_freeze_bites_and_a_dry_run_stores_nothing(here: Here, freeze: str) -> None:
    await here.put("deployments", deployment())
    clusters = here.clusters()
    assert (await clusters.trial("here", freeze, rules())).refused is False
    await clusters.guard("here", freeze, rules())
    await bites(here, clusters, freeze, rules())
    thing = await get(clusters)
    assert (thing.fields["image/app"], "label/rollback-bot/probe" in thing.fields) == (A, False)


async def test_where_no_workload_is_a_guard_cannot_be_tried(here: Here, freeze: str) -> None:
    clusters = here.clusters()
    await clusters.guard("here", freeze, rules())
    told = await clusters.trial("here", freeze, rules())
    assert told.refused is None and "has no workload" in told.words


@pytest.mark.parametrize(
    "wrong",
    [{}, {"service": "x", "colour": 1}, {"service": "x", "banned": []}, {"service": "x", "selector": "a=b=c"}, []],
)
async def test_rules_that_are_none_are_refused_before_anything_is_sent(here: Here, wrong: Json) -> None:
    with pytest.raises(ValueError, match=r"rules of a guard|a guard bans|no label selector"):
        await here.clusters().guard("here", f"{here.namespace}-wrong", wrong)
    assert here.said == []
