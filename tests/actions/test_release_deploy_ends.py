"""`release.deploy` states an end for every workload of the release: cases from the field, and what others do."""

from __future__ import annotations

import json
import shlex
import shutil
from typing import Any

import pytest

from bot.contract import Change, Edit, Fatal, NotYet, Status
from bot.playground.cluster.resources import CONFIGMAPS
from bot.testing import run_check
from checks.release_running import ReleaseRunning, ReleaseRunningParams
from tests.fixtures.cluster import config_map, kubectl
from tests.fixtures.clusters_recorded import BAD, GOOD, THIRD, Service, deployment, image, service
from tests.fixtures.field_cases import case

API = "eu-1/deployment/api"
PATH = "/spec/template/spec/containers/0"


def put(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


# -- whole pod templates: BR-01, BR-02, BR-20 -------------------------------------------------------------------------


async def test_the_hashed_config_map_of_the_target_comes_back_with_its_image() -> None:
    async with service(*case("br01-good"), repository="registry.example:5000/shop") as shop:
        await shop.deploy(*case("br01-bad"))
        await shop.record(BAD)
        change = await shop.plan()
        assert [e.target.removeprefix(f"{API}/") for e in change.edits] == ["image/api", "container/api/envFrom"]
        assert not [w for w in change.warnings if "is gone" in w]
        await shop.apply(change)
        assert shop.template()["containers"][0]["envFrom"] == [{"configMapRef": {"name": "api-config-5h6k9m2t4g"}}]
        assert (await shop.plan()).is_noop


async def test_that_a_config_map_of_the_target_was_pruned_is_said_before_anybody_approves() -> None:
    async with service(*case("br01-good"), repository="registry.example:5000/shop") as shop:
        await shop.deploy(*case("br01-bad"))
        await shop.record(BAD)
        shop.eu.core.delete(shop.eu.access.users["admin"], CONFIGMAPS, "shop", "api-config-5h6k9m2t4g")
        change = await shop.plan()
        told = (
            f"eu-1/configmap/api-config-5h6k9m2t4g is gone, and {API} reads it in this release: its pods cannot start"
        )
        assert any(w.startswith(told) for w in change.warnings)


async def test_arguments_limits_and_probes_go_back_as_they_served() -> None:
    async with service(*case("br02-good")) as shop:
        await shop.deploy(*case("br02-bad"))
        await shop.record(BAD)
        await shop.apply(await shop.plan())
        container = shop.template()["containers"][0]
        assert container["args"] == ["serve", "--pool=20", "--enable-new-ledger=false"]
        assert container["resources"] == {"limits": {"memory": "512Mi"}}
        assert "livenessProbe" not in container


async def test_what_others_have_changed_in_the_template_since_is_left_and_named() -> None:
    async with service(*case("br02-good")) as shop:
        await shop.deploy(*case("br02-bad"))
        await shop.record(BAD)
        await shop.set("deployment", "api", put(f"{PATH}/resources", {"limits": {"memory": "1Gi"}}))
        change = await shop.plan()
        assert f"left alone: {API}/container/api/resources, changed by dee at 12:00 UTC" in change.warnings
        await shop.apply(change)
        assert shop.template()["containers"][0]["resources"] == {"limits": {"memory": "1Gi"}}


async def test_variables_come_back_in_the_order_that_they_need_and_go_again_on_undo() -> None:
    async with service(*case("br20-env-order-good")) as shop:
        await shop.deploy(*case("br20-env-order-bad"))
        await shop.record(BAD)
        change = await shop.plan()
        await shop.apply(change)
        assert [v["name"] for v in shop.template()["containers"][0]["env"]] == ["DB_HOST", "DB_PORT", "DB_URL"]
        await shop.once_backwards(change)
        assert [v["name"] for v in shop.template()["containers"][0]["env"]] == ["DB_URL"]


async def test_variables_that_only_changed_places_go_back_to_theirs() -> None:
    env = [{"name": "HOST", "value": "db"}, {"name": "URL", "value": "pg://$(HOST)"}]
    async with service(deployment("api", GOOD, env=env)) as shop:
        await shop.deploy(deployment("api", BAD, env=env))
        await shop.set("deployment", "api", put(f"{PATH}/env", env[::-1]), by="ci")
        await shop.record(BAD)
        change = await shop.plan()
        assert Edit(f"{API}/order/api", ["URL", "HOST"], ["HOST", "URL"]) in change.edits
        await shop.apply(change)
        assert [v["name"] for v in shop.template()["containers"][0]["env"]] == ["HOST", "URL"]


async def test_a_container_that_the_removed_release_brought_goes_and_one_that_it_took_comes_back() -> None:
    good, bad = deployment("api", GOOD), deployment("api", BAD)
    good["spec"]["template"]["spec"]["containers"].append({"name": "logs", "image": "example/logs:1"})
    bad["spec"]["template"]["spec"]["containers"].append({"name": "ledger", "image": image("ledger", BAD)})
    async with service(good, names=("api",)) as shop:
        await shop.deploy(bad)
        await shop.record(BAD)
        await shop.apply(await shop.plan())
        assert [c["name"] for c in shop.template()["containers"]] == ["api", "logs"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
async def test_by_hand_the_same_template_comes_about() -> None:
    """The commands that are kept outside the bot, typed into the real kubectl."""
    good = deployment("api", GOOD, env=[{"name": "HOST", "value": "db"}, {"name": "URL", "value": "$(HOST)"}],
                      args=["serve"], resources={"limits": {"memory": "512Mi"}},
                      volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}])  # fmt: skip
    good["spec"]["template"]["spec"]["volumes"] = [{"name": "tmp", "emptyDir": {}}]
    bad = deployment("api", BAD, env=[{"name": "URL", "value": "db-new"}], args=["serve", "--v2"],
                     resources={"requests": {"cpu": "1"}}, ports=[{"containerPort": 9}])  # fmt: skip
    bad["spec"]["template"]["spec"]["containers"].append({"name": "ledger", "image": image("ledger", BAD)})
    async with service(good) as shop:
        wanted = shop.template()["containers"]
        await shop.deploy(bad)
        await shop.record(BAD)
        change = await shop.plan()
        lines = shop.adapter.by_hand(change.edits)
        for line in lines:
            if "rollout status" not in line:
                words = shlex.split(line)
                at = words.index("--context")
                code, said = await kubectl(shop.eu, *words[1:at], *words[at + 2 :])
                assert code == 0, (line, said)
        await shop.beat(5)
        assert shop.template()["containers"] == wanted
        assert (await shop.plan()).is_noop


# -- settings: BR-18, BR-19 --------------------------------------------------------------------------------------------


def settings(**data: str) -> dict[str, Any]:
    return config_map("shop-settings", **data)


async def test_what_operations_moved_while_the_target_served_stays_moved() -> None:
    """BR-18: the record of what it served with last knows."""
    (first,) = case("br18-drift")
    async with service(deployment("api", GOOD), first, settings=["shop-settings"]) as shop:
        came = shop.records[GOOD]
        await shop.set("configmap", "shop-settings", put("/data/DB_HOST", "db-b.internal"))
        last = await shop.record(GOOD)
        await shop.deploy(deployment("api", BAD), settings(DB_HOST="db-b.internal", PAYMENTS="v2"))
        await shop.record(BAD)
        change = await shop.plan(settings=came, last=last)
        await shop.apply(change, settings=came, last=last)
        found = shop.eu.get("ConfigMap", "shop-settings", "shop")["data"]
        assert found == {"DB_HOST": "db-b.internal", "PAYMENTS": "v1"}


async def test_that_a_config_map_cannot_be_written_is_said_while_planning() -> None:
    (bad,) = case("br19-immutable")
    async with service(
        deployment("api", GOOD), settings(PAYMENTS="v1", THEME="dark"), settings=["shop-settings"]
    ) as shop:
        await shop.deploy(deployment("api", BAD), bad)
        await shop.record(BAD)
        change = await shop.plan()
        told = {f.name: str(f.value) for f in change.facts}
        assert told["left alone: eu-1 shop-settings/PAYMENTS"].startswith("the ConfigMap is immutable")
        await shop.apply(change)


async def test_settings_come_back_wave_by_wave_each_just_before_its_workloads() -> None:
    good = [deployment("api", GOOD), settings(PAYMENTS="v1")]
    async with service(*good, waves=(1, 2), settings=["shop-settings"]) as shop:
        await shop.deploy(deployment("api", BAD), settings(PAYMENTS="v2"))
        await shop.record(BAD)
        change = await shop.plan()
        with pytest.raises(NotYet, match="eu-1"):
            await shop.once(change)
        written = [r.resource for r in shop.clusters["eu-1"].requests.writes("bot")]
        assert written == ["configmaps", "deployments"]
        assert shop.clusters["us-1"].get("ConfigMap", "shop-settings", "shop")["data"] == {"PAYMENTS": "v2"}
        await shop.apply(change)
        assert shop.clusters["us-1"].get("ConfigMap", "shop-settings", "shop")["data"] == {"PAYMENTS": "v1"}


async def test_settings_come_back_from_a_release_that_was_found_out_half_way_and_a_kill_switch_stays() -> None:
    """The removed release never served, so it was never recorded: whoever set its images set its settings."""
    good = [deployment("api", GOOD), settings(PAYMENTS="v1", KILL="off")]
    async with service(*good, waves=(1, 2), settings=["shop-settings"]) as shop:
        await shop.deploy(deployment("api", BAD), settings(PAYMENTS="v2", KILL="off"), clusters=["eu-1"])
        for cluster in shop.clusters:
            await shop.set("configmap", "shop-settings", put("/data/KILL", "on"), cluster=cluster)
        change = await shop.plan()
        assert {e.target: e.after for e in change.edits if "/data/" in e.target} == {
            "eu-1/configmap/shop-settings/data/PAYMENTS": "v1"
        }
        left = {f.name: f.value for f in change.facts if f.name.startswith("left alone")}
        assert left == {
            f"left alone: {cluster} shop-settings/KILL": "changed by dee at 12:00 UTC" for cluster in shop.clusters
        }
        assert any("what 1.1 came with is not recorded" in w for w in change.warnings)


# -- strange images ----------------------------------------------------------------------------------------------------


async def test_an_image_that_is_neither_releases_is_part_of_the_change_and_named_first() -> None:
    async with service(deployment("api", GOOD), deployment("worker", GOOD), names=("api", "worker")) as shop:
        await shop.deploy(deployment("api", BAD), deployment("worker", BAD))
        await shop.record(BAD)
        await shop.set("deployment", "worker", put(f"{PATH}/image", image("worker", THIRD)))
        change = await shop.plan()
        strange = Edit("eu-1/deployment/worker/image/worker", image("worker", THIRD), image("worker", GOOD))
        assert change.edits[0] == strange
        assert change.warnings[0] == (
            f"eu-1/deployment/worker runs {image('worker', THIRD)}, which is neither release's, "
            "changed by dee at 12:00 UTC: this ends it"
        )
        await shop.apply(change)
        assert shop.template("worker")["containers"][0]["image"] == image("worker", GOOD)


async def test_a_tag_instead_of_a_digest_is_strange_where_the_target_ran() -> None:
    async with service(deployment("api", GOOD), waves=(1, 2)) as shop:
        await shop.deploy(deployment("api", BAD))
        await shop.record(BAD)
        tag = "registry.example/shop/api:1.1"
        await shop.set("deployment", "api", put(f"{PATH}/image", tag), cluster="us-1")
        change = await shop.plan()
        assert change.edits[0] == Edit("us-1/deployment/api/image/api", tag, image("api", GOOD))
        await shop.apply(change)
        assert shop.template("api", "us-1")["containers"][0]["image"] == image("api", GOOD)


async def test_another_release_on_an_idle_colour_is_not_the_releases_business() -> None:
    async with service(deployment("api", GOOD), deployment("api-blue", THIRD, 0)) as shop:
        await shop.deploy(deployment("api", BAD))
        await shop.record(BAD)
        assert not any("api-blue" in t for t in (await shop.plan()).targets)


async def _strange_during(shop: Service, change: Change, at: str) -> None:
    """Somebody deploys a third image to us-1."""
    for _ in range(20):
        try:
            await shop.once(change)
        except NotYet as waits:
            if at in str(waits):
                break
            await shop.beat(5)
    await shop.set("deployment", "api", put(f"{PATH}/image", image("api", THIRD)), cluster="us-1")


@pytest.mark.parametrize("at", ["eu-1", "us-1"], ids=["before its wave", "during its wave"])
async def test_a_third_image_that_comes_while_waves_roll_stops_the_step_and_is_part_of_the_next_change(at: str) -> None:
    async with service(deployment("api", GOOD), waves=(1, 2)) as shop:
        await shop.deploy(deployment("api", BAD))
        await shop.record(BAD)
        change = await shop.plan()
        await _strange_during(shop, change, at)
        with pytest.raises(Fatal, match=r"us-1/deployment/api/image/api is .*, neither"):
            await shop.apply(change)
        again = await shop.plan()
        assert again.beyond(change), "the approval drops, and the difference is shown"
        await shop.apply(again)
        assert shop.template("api", "us-1")["containers"][0]["image"] == image("api", GOOD)


async def test_a_third_image_that_comes_at_the_very_end_is_not_called_done() -> None:
    async with service(deployment("api", GOOD), waves=(1, 2)) as shop:
        await shop.deploy(deployment("api", BAD))
        await shop.record(BAD)
        change = await shop.plan()
        await _strange_during(shop, change, "us-1")
        only = tuple(e for e in change.edits if e.target.startswith("eu-1"))
        await shop.apply(Change("the first cluster alone", only))
        left = await shop.plan()
        assert left.beyond(change), "the engine plans again, and shows this"


# -- images by what they are: BR-11, tags, indexes ---------------------------------------------------------------------


def tagged(name: str, tag: str, **more: Any) -> dict[str, Any]:
    made = deployment(name, GOOD, **more)
    made["spec"]["template"]["spec"]["containers"][0]["image"] = f"registry.example/shop/{name}:{tag}"
    return made


def says(shop: Service, tag: str, digest: str) -> None:
    """What nodes say that they run under a tag."""
    for pod in shop.eu.all("Pod", "shop"):
        if pod["spec"]["containers"][0]["image"].endswith(tag):
            status = {"name": "api", "ready": True, "restartCount": 0, "image": tag, "imageID": f"x/api@{digest}"}
            shop.eu.set_status("Pod", pod["metadata"]["name"], "shop", containerStatuses=[status])


async def test_a_service_that_is_deployed_by_tag_is_rolled_back_by_digest() -> None:
    async with service(tagged("api", "1.0")) as shop:
        await shop.deploy(tagged("api", "1.1"))
        says(shop, ":1.1", BAD)
        change = await shop.plan()
        assert [(e.before, e.after) for e in change.edits] == [("registry.example/shop/api:1.1", image("api", GOOD))]
        assert not [w for w in change.warnings if "neither release's" in w]
        await shop.apply(change)
        assert (await shop.plan()).is_noop


async def test_a_tag_without_a_pod_is_looked_up_in_the_registry() -> None:
    async with service(tagged("api", "1.0", replicas=0)) as shop:
        await shop.deploy(tagged("api", "1.1", replicas=0))
        shop.registry.images["registry.example/shop/api:1.1"] = {BAD}
        (edit,) = (await shop.plan()).edits
        assert edit.after == image("api", GOOD)


@pytest.mark.parametrize("registered", ["platform", "index"])
async def test_an_index_and_its_platform_are_the_same_image(registered: str) -> None:
    """The release was registered by one digest; the cluster runs the other."""
    async with service(deployment("api", GOOD)) as shop:
        await shop.deploy(deployment("api", THIRD))
        index = image("api", BAD if registered == "index" else THIRD)
        shop.registry.images[index] = {BAD, THIRD}
        change = await shop.plan()
        assert [e.before for e in change.edits] == [image("api", THIRD)]
        assert not [w for w in change.warnings if "neither release's" in w]


async def test_a_mirrors_name_for_the_same_digest_is_the_same_image() -> None:
    async with service(deployment("api", GOOD)) as shop:
        await shop.deploy(deployment("api", BAD))
        await shop.record(BAD)
        mirror = f"mirror.internal/cache/{image('api', GOOD)}"
        change = await shop.plan()
        await shop.set("deployment", "api", put(f"{PATH}/image", mirror))
        assert (await shop.plan()).is_noop
        receipt = await shop.apply(change)
        assert receipt.output["pods"] == 2
        assert shop.template()["containers"][0]["image"] == mirror
        await shop.once_backwards(change)
        assert shop.template()["containers"][0]["image"] == image("api", BAD)


# -- waves, and trying again -------------------------------------------------------------------------------------------


async def test_after_trying_again_a_wave_that_is_not_complete_still_holds_the_next() -> None:
    """What is left to write is us-1 alone; what is waited for is eu-1 all the same."""
    async with service(deployment("api", GOOD), waves=(1, 2)) as shop:
        await shop.deploy(deployment("api", BAD))
        await shop.record(BAD)
        change = await shop.plan()
        with pytest.raises(NotYet, match="0 of 2 pods ready, eu-1"):
            await shop.once(change)
        rest = await shop.plan()
        assert {e.target.split("/")[0] for e in rest.edits} == {"us-1"}
        with pytest.raises(NotYet, match="pods ready, eu-1"):
            await shop.once(rest, memo={})
        assert shop.clusters["us-1"].requests.writes("bot") == []


async def test_where_nothing_is_left_to_write_the_pods_are_waited_for_all_the_same() -> None:
    async with service(deployment("api", GOOD)) as shop:
        await shop.deploy(deployment("api", BAD))
        await shop.record(BAD)
        with pytest.raises(NotYet):
            await shop.once(await shop.plan())
        nothing = await shop.plan()
        assert nothing.is_noop
        with pytest.raises(NotYet, match="0 of 2 pods ready, eu-1"):
            await shop.once(nothing, memo={})
        for _ in range(4):
            await shop.beat(5)
        receipt = await shop.once(nothing, memo={})
        assert receipt.output == {"pods": 2, "clusters": ["eu-1"]}


# -- gone --------------------------------------------------------------------------------------------------------------


async def test_a_workload_that_is_gone_comes_back_as_it_was_recorded_and_goes_again_on_undo() -> None:
    worker = deployment("worker", GOOD, replicas=3, args=["work"])
    async with service(deployment("api", GOOD), worker, names=("api", "worker")) as shop:
        await shop.deploy(deployment("api", BAD))
        await shop.record(BAD)
        await shop.delete("worker")
        change = await shop.plan()
        assert "eu-1/deployment/worker is gone: it comes back as 1.0 had it" in change.warnings
        await shop.apply(change)
        made = shop.eu.get("Deployment", "worker", "shop")
        assert made["spec"]["replicas"] == 3
        assert made["spec"]["template"]["spec"]["containers"][0]["args"] == ["work"]
        assert (await shop.plan()).is_noop
        await shop.once_backwards(change)
        assert [d["metadata"]["name"] for d in shop.eu.all("Deployment", "shop")] == ["api"]


async def test_a_workload_that_is_gone_and_not_recorded_whole_is_named() -> None:
    async with service(deployment("api", GOOD), deployment("worker", GOOD), names=("api", "worker")) as shop:
        kept = json.loads(await shop.blobs.get(shop.records[GOOD]))
        partly = {target: value for target, value in kept.items() if not target.endswith("/whole")}
        shop.records[GOOD] = await shop.blobs.put(json.dumps(partly).encode(), "application/json")
        await shop.deploy(deployment("api", BAD))
        await shop.record(BAD)
        await shop.delete("worker")
        change = await shop.plan()
        assert {f.name: f.value for f in change.facts}["gone"] == "eu-1/deployment/worker"
        assert any("deployment/worker is gone: 1.0 had it, but not all of it is recorded" in w for w in change.warnings)


async def test_a_workload_that_is_gone_and_the_bot_may_not_make_is_named_and_the_rest_goes_back() -> None:
    async with service(deployment("api", GOOD), deployment("worker", GOOD), names=("api", "worker")) as shop:
        await shop.deploy(deployment("api", BAD))
        await shop.record(BAD)
        await shop.delete("worker")
        role = json.loads(json.dumps(shop.eu.get("ClusterRole", "rollback-bot", "")))
        for rule in role["rules"]:
            if rule["apiGroups"] == ["apps"]:
                rule["verbs"] = [verb for verb in rule["verbs"] if verb not in ("create", "delete")]
        shop.eu.apply(role)
        change = await shop.plan()
        assert any(
            "worker is gone: 1.0 had it, and the bot may not create a deployment there" in w for w in change.warnings
        )
        assert {e.target for e in change.edits} == {"eu-1/deployment/api/image/api"}
        await shop.apply(change)
        assert (await shop.plan()).is_noop
        p = ReleaseRunningParams(images=dict(shop.release(GOOD).images), settings=shop.records[GOOD])
        verdict = await run_check(ReleaseRunning(), shop.ports_for, p)
        assert verdict.status is Status.FAIL and "eu-1/deployment/worker: gone, the release had it" in verdict.observed
