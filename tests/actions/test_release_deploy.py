"""`release.deploy` over the real adapter: every workload of the bad release, and everything that can go wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from actions.release_deploy import ReleaseDeploy, ReleaseDeployParams
from bot.contract import Change, Edit, Fatal, Json, NotYet, Outgoing, Receipt
from bot.playground.cluster import Fault
from bot.playground.cluster.resources import DEPLOYMENTS
from bot.ports import Blob, Unreachable
from bot.testing import TestCtx, assert_lifecycle
from bot.workloads.rolling import PATIENCE
from tests.fixtures.clusters_deployed import BAD, GOOD, SHOP, Deployed, deployed
from tests.fixtures.clusters_workers import image

NEEDS = ReleaseDeploy.needs
TEMPLATE = "/spec/template/spec/containers/0"
FOREIGN = image("api", "7.7.7")


@pytest.fixture
async def shop() -> AsyncIterator[Deployed]:
    async with deployed() as shop:
        yield shop


@pytest.fixture
async def two() -> AsyncIterator[Deployed]:
    async with deployed(1, 2, timeout=10.0) as shop:
        yield shop


def params(shop: Deployed, **other: Any) -> ReleaseDeployParams:
    removed, settings = other.pop("removed", BAD), other.pop("removed_settings", shop.bad)
    outgoing = [Outgoing(version="2.4.1", images=removed, settings=settings)]
    return ReleaseDeployParams(
        **{"release": "2.4.0", "images": GOOD, "outgoing": outgoing, "settings": shop.good, **other}
    )


async def plan(shop: Deployed, **other: Any) -> Change:
    return await ReleaseDeploy().plan(TestCtx(shop.ports_for, NEEDS, now=shop.now), params(shop, **other))


async def once(shop: Deployed, change: Change, memo: dict[str, Json] | None = None) -> Receipt:
    """One attempt."""
    ctx = TestCtx(shop.ports_for, NEEDS, acting=True, now=shop.now, memo=memo)
    return await ReleaseDeploy().apply(ctx, params(shop), change)


async def apply(shop: Deployed, change: Change, memo: dict[str, Json] | None = None) -> Receipt:
    """One attempt after the other, as the engine does it, while pods start."""
    memo = {} if memo is None else memo
    for _ in range(40):
        try:
            return await once(shop, change, memo)
        except NotYet:
            await shop.beat(1.0)
    raise AssertionError("it does not arrive")


def set_image(value: str) -> dict[str, Any]:
    return {"op": "replace", "path": f"{TEMPLATE}/image", "value": value}


# -- the contract ----------------------------------------------------------------------------------------------------


async def test_lifecycle(shop: Deployed) -> None:
    change = await assert_lifecycle(
        ReleaseDeploy(),
        shop.ports_for,
        params(shop),
        world=shop.world,
        drift=lambda: shop.patch("shop-api", set_image(BAD["worker"])),
        elsewhere=lambda: shop.patch("shop-api", {"op": "add", "path": "/metadata/labels", "value": {"team": "x"}}),
        wait=lambda seconds: shop.beat(seconds),
    )
    called = "shop-api, shop-api-blue, shop-api-canary, shop-settings, shop-settle, shop-worker"
    assert change.summary == f"{called} in eu-1 to 2.4.0"


async def test_a_preview_writes_nothing(shop: Deployed) -> None:
    change = await plan(shop)
    await ReleaseDeploy().observe(TestCtx(shop.ports_for, NEEDS), params(shop), change.targets)
    assert shop.writes() == []


async def test_canary_cronjob_idle_colour_and_init_containers_are_found_by_digest(shop: Deployed) -> None:
    await apply(shop, await plan(shop))
    wanted = {name: {GOOD["api"]} for name in SHOP[:3]} | {"shop-worker": {GOOD["worker"]}}
    wanted |= {"shop-settle": {GOOD["settle"]}, "elsewhere": {image("mailer", "9.9.9")}}
    assert shop.images() == wanted


async def test_one_image_is_one_look_at_the_cluster_and_one_patch(shop: Deployed) -> None:
    change = await plan(shop)
    worker = tuple(e for e in change.edits if "/shop-worker/" in e.target)
    shop.eu.requests.clear()
    with pytest.raises(NotYet):
        await once(shop, Change("worker", worker))
    *looks, patch = [r for r in shop.requests() if "pods" not in r]
    assert sorted(looks) == [
        "list cronjobs", "list daemonsets", "list deployments", "list rollouts", "list rollouts", "list statefulsets"
    ]  # fmt: skip
    assert patch == "patch deployments shop-worker"


async def test_a_workload_gets_images_and_settings_in_one_patch(shop: Deployed) -> None:
    await apply(shop, await plan(shop))
    assert [r for r in shop.requests() if r == "patch deployments shop-api"] == ["patch deployments shop-api"]


async def test_pods_are_counted_while_they_start(shop: Deployed) -> None:
    change = await plan(shop)
    with pytest.raises(NotYet, match=r"0 of 6 pods ready, eu-1") as told:
        await once(shop, change)
    assert (told.value.done, told.value.total) == (0, 6)
    await apply(shop, change)


# -- what differs ----------------------------------------------------------------------------------------------------


async def test_variables_that_the_removed_release_changed_go_back_and_others_stay(shop: Deployed) -> None:
    before = await shop.world()
    await apply(shop, await plan(shop))
    now = await shop.world()
    root = "eu-1/deployment/shop-api/env/shop-api"
    assert (now[f"{root}/PAYMENTS"], f"{root}/NEW" in now) == ("v1", False)
    same = [f"{root}/REGION", f"{root}/TOKEN"]
    assert [now[t] for t in same] == [before[t] for t in same] == ["eu", {"secret": "shop", "key": "token"}]


async def test_the_first_variable_that_a_workload_was_ever_given_is_taken_away_again(shop: Deployed) -> None:
    first = {"name": "FIRST", "value": "x"}
    await shop.patch("shop-worker", {"op": "add", "path": f"{TEMPLATE}/env", "value": [first]})
    now = json.dumps(await shop.configuration()).encode()
    change = await plan(shop, removed_settings=await shop.blobs.put(now, "application/json"))
    told = Edit("eu-1/deployment/shop-worker/env/shop-worker/FIRST", "x", None)
    assert told in change.edits


async def test_a_variable_that_somebody_has_changed_since_is_left_alone_and_named(shop: Deployed) -> None:
    await shop.patch("shop-api", {"op": "replace", "path": f"{TEMPLATE}/env/2/value", "value": "v3"})
    change = await plan(shop)
    told = "left alone: eu-1/deployment/shop-api/env/shop-api/PAYMENTS, changed by dee at 12:00 UTC"
    assert told in change.warnings
    await apply(shop, change)
    assert (await shop.world())["eu-1/deployment/shop-api/env/shop-api/PAYMENTS"] == "v3"


async def test_without_recorded_settings_variables_stay_and_that_is_said(shop: Deployed) -> None:
    change = await plan(shop, settings=None)
    assert not any("/env/" in t for t in change.targets)
    assert any(w.startswith("what 2.4.0 served with is not recorded: only images go back") for w in change.warnings)


async def test_variables_go_back_as_well_where_somebody_has_put_the_image_back_by_hand(shop: Deployed) -> None:
    for name in SHOP:
        inits = {"op": "replace", "path": "/spec/template/spec/initContainers/0/image", "value": _good(name)}
        await shop.patch(name, set_image(_good(name)), inits)
    change = await plan(shop)
    assert {t for t in change.targets if "/deployment/" in t} == {
        f"eu-1/deployment/shop-api/env/shop-api/{name}" for name in ("PAYMENTS", "NEW")
    }
    await apply(shop, change)


async def test_settings_that_cannot_be_read_stop_the_plan(shop: Deployed) -> None:
    lost = Blob(f"sha256:{'0' * 64}", 2, "application/json")
    with pytest.raises(Fatal, match="recorded settings of a release cannot be read"):
        await plan(shop, settings=lost)


async def test_a_removed_image_that_the_target_has_none_for_is_named(shop: Deployed) -> None:
    fewer = {name: image for name, image in GOOD.items() if name != "settle"}
    change = await plan(shop, images=fewer)
    told = (
        "eu-1/cronjob/shop-settle (settle) runs an image of the removed release that 2.4.0 has none for: left as it is"
    )
    assert told in change.warnings


async def test_an_image_that_both_releases_share_is_not_touched(shop: Deployed) -> None:
    change = await plan(shop, images={**GOOD, "worker": BAD["worker"]})
    assert not any("shop-worker" in t for t in change.targets)


async def test_one_image_that_the_target_has_split_is_chosen_by_name(shop: Deployed) -> None:
    one = BAD["api"]
    split = {"shop-api": GOOD["api"], "shop-api-canary": image("canary", "2.4.0"), "shop-api-blue": GOOD["api"]}
    change = await plan(shop, images=split, removed=dict.fromkeys(split, one), settings=None)
    wanted = {e.target: e.after for e in change.edits if "/image/shop-" in e.target}
    assert wanted["eu-1/deployment/shop-api-canary/image/shop-api-canary"] == split["shop-api-canary"]
    with pytest.raises(Fatal, match="runs what is several images in the target: canary, shop-api"):
        other = {"shop-api": GOOD["api"], "canary": image("canary", "2.4.0")}
        await plan(shop, images=other, removed=dict.fromkeys(other, one), settings=None)


async def test_nothing_is_to_do_where_the_target_runs_already(shop: Deployed) -> None:
    assert (await apply(shop, await plan(shop))).detail.endswith(" in eu-1 to 2.4.0, 6 of 6 pods ready")
    again = await plan(shop)
    assert (again.is_noop, again.summary) == (True, "nothing runs what is removed any more; 2.4.0 is there already")


async def test_a_third_release_is_nothing_to_guess_about(shop: Deployed) -> None:
    with pytest.raises(Fatal, match=r"neither the removed release nor 2.4.0 runs: found registry.example/shop/"):
        await plan(shop, images={"api": FOREIGN}, removed={"api": image("api", "6.6.6")})


async def test_after_a_target_that_was_tried_in_vain_the_next_one_takes_the_place_of_both(two: Deployed) -> None:
    """In the first cluster the tried release runs already, in the second still the removed one."""
    tried = await plan(two)
    half = replace(tried, edits=tuple(e for e in tried.edits if e.target.startswith("eu-1/")))
    await apply(two, half)
    older = {name: image(name, "2.3.9") for name in GOOD}
    gone = [Outgoing(version="2.4.1", images=BAD), Outgoing(version="2.4.0", images=GOOD)]
    change = await plan(two, release="2.3.9", images=older, settings=None, outgoing=gone)
    images = [e for e in change.edits if "/image/" in e.target]
    assert {e.after for e in images} <= {*older.values()}
    assert {e.before for e in images if e.target.startswith("eu-1/")} <= {*GOOD.values()}
    assert {e.before for e in images if e.target.startswith("us-1/")} <= {*BAD.values()}
    assert {e.target for e in images} == {e.target for e in tried.edits if "/image/" in e.target}


async def test_releases_with_the_same_images_leave_nothing_to_do(shop: Deployed) -> None:
    change = await plan(shop, images=BAD, settings=shop.bad)
    assert (change.is_noop, change.summary) == (True, "2.4.0 has the same images as what is removed")


async def test_of_releases_with_the_same_images_the_settings_come_back(shop: Deployed) -> None:
    change = await plan(shop, images=BAD)
    assert {t.partition("/")[2] for t in change.targets} == {
        "deployment/shop-api/env/shop-api/PAYMENTS", "deployment/shop-api/env/shop-api/NEW",
        "configmap/shop-settings/data/PAYMENTS", "configmap/shop-settings/data/KILL",
    }  # fmt: skip


# -- drift -----------------------------------------------------------------------------------------------------------


async def test_an_autoscaler_is_no_drift(shop: Deployed) -> None:
    approved = await plan(shop)
    await shop.scale("shop-api", 9)
    await shop.beat()
    fresh = await plan(shop)
    assert fresh.beyond(approved) == ()
    assert fresh.fingerprint("release.deploy") == approved.fingerprint("release.deploy")


async def test_another_image_since_the_approval_is_drift(shop: Deployed) -> None:
    approved = await plan(shop)
    await shop.patch("shop-worker", set_image(BAD["api"]))
    assert (await plan(shop)).beyond(approved)


async def test_what_changes_between_plan_and_apply_is_not_overwritten(shop: Deployed) -> None:
    change = await plan(shop)
    await shop.patch("shop-api", set_image(FOREIGN))
    with pytest.raises(Fatal, match=r"shop-api/image/shop-api is .*changed by dee at 12:00 UTC"):
        await once(shop, change)
    assert FOREIGN in shop.images()["shop-api"]


async def test_a_workload_that_is_gone_is_said(shop: Deployed) -> None:
    change = await plan(shop)
    shop.eu.core.delete(shop.eu.access.users["admin"], DEPLOYMENTS, "shop", "shop-api-blue")
    with pytest.raises(Fatal, match="eu-1/deployment/shop-api-blue is gone"):
        await once(shop, change)


async def test_what_ci_deploys_meanwhile_is_found_at_the_end(shop: Deployed) -> None:
    change = await plan(shop)
    worker = tuple(e for e in change.edits if "shop-worker" not in e.target)
    await apply(shop, Change("most", worker))
    left = await plan(shop)
    assert {t.split("/")[2] for t in left.targets} == {"shop-worker"}, "which is how the engine judges what is done"


# -- rollouts that do not go as they should ---------------------------------------------------------------------------


async def test_a_rollout_of_others_that_is_not_finished_is_warned_of(shop: Deployed) -> None:
    await shop.patch("shop-worker", {"op": "add", "path": f"{TEMPLATE}/args", "value": ["--slow"]})
    assert any("shop-worker: a rollout is unfinished already" in w for w in (await plan(shop)).warnings)


async def test_a_paused_rollout_goes_on_and_undo_pauses_it_again(shop: Deployed) -> None:
    await shop.patch("shop-api", {"op": "add", "path": "/spec/paused", "value": True})
    change = await plan(shop)
    assert "eu-1/deployment/shop-api: its rollout was paused by somebody; this lets it go on" in change.warnings
    await apply(shop, change)
    assert "paused" not in shop.eu.get("Deployment", "shop-api", "shop")["spec"]
    await apply(shop, change.inverted())
    assert shop.eu.get("Deployment", "shop-api", "shop")["spec"]["paused"] is True
    assert shop.images()["shop-api"] == {BAD["api"]}


async def test_a_hanging_rollout_halts_with_what_hangs_and_a_retry_converges(shop: Deployed) -> None:
    change, memo = await plan(shop), dict[str, Json]()
    with pytest.raises(NotYet):
        await once(shop, change, memo)
    await shop.settle()
    _keep_from_starting(shop, GOOD["api"])
    shop.eu.clock.advance(601)
    await shop.settle()
    said = r"eu-1/deployment/shop-api: 0 of 3 pods ready, ProgressDeadlineExceeded: .*shop-api-.*: ImagePullBackOff: no"
    with pytest.raises(Fatal, match=said) as told:
        await once(shop, change, memo)
    assert told.value.hint == "repair the cause and try again, or undo"
    writes = len(shop.writes())
    shop.eu.clock.advance(5)
    with pytest.raises(NotYet, match="ImagePullBackOff"):  # the image is there by now, the kubelet has not looked yet
        await once(shop, change, memo)
    for pod in shop.eu.all("Pod", "shop"):
        shop.eu.set_status("Pod", pod["metadata"]["name"], "shop", containerStatuses=None)
    await apply(shop, change, memo)
    assert len(shop.writes()) == writes


async def test_a_pod_that_is_stuck_for_a_minute_ends_the_step_before_the_deadline(shop: Deployed) -> None:
    change, memo = await plan(shop), dict[str, Json]()
    with pytest.raises(NotYet):
        await once(shop, change, memo)
    await shop.settle()
    _keep_from_starting(shop, GOOD["api"])
    with pytest.raises(NotYet, match=r"0 of 6 pods ready, eu-1; shop-api-.*: ImagePullBackOff: no"):
        await once(shop, change, memo)
    shop.eu.clock.advance(timedelta(seconds=PATIENCE).total_seconds())
    with pytest.raises(Fatal, match="ImagePullBackOff: no such manifest"):
        await once(shop, change, memo)


async def test_pods_of_the_old_template_that_crash_are_no_reason_to_give_up(shop: Deployed) -> None:
    _keep_from_starting(shop, BAD["api"])
    change, memo = await plan(shop), dict[str, Json]()
    for _ in range(3):
        with pytest.raises(NotYet, match=r"pods ready, eu-1$"):
            await once(shop, change, memo)
        shop.eu.clock.advance(PATIENCE)


# -- rights and refusals ----------------------------------------------------------------------------------------------


async def test_a_missing_right_is_fatal_in_the_clusters_own_words(shop: Deployed) -> None:
    change = await plan(shop)
    role = shop.eu.get("ClusterRole", "rollback-bot")
    rules = [r if "apps" not in r["apiGroups"] else {**r, "verbs": ["get", "list"]} for r in role["rules"]]
    shop.eu.apply({**role, "rules": rules})
    with pytest.raises(Fatal, match=r'cannot patch resource "deployments"') as told:
        await once(shop, change)
    assert told.value.hint.startswith("give the bot the right")


async def test_a_missing_right_to_look_is_fatal_while_planning(shop: Deployed) -> None:
    role = shop.eu.get("ClusterRole", "rollback-bot")
    shop.eu.apply({**role, "rules": [r for r in role["rules"] if "batch" not in r["apiGroups"]]})
    with pytest.raises(Fatal, match=r'cannot list resource "cronjobs"'):
        await plan(shop)


async def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_is_done_twice(shop: Deployed) -> None:
    change = await plan(shop)
    shop.eu.faults.add(Fault("lose_answer", verb="patch", user="bot"))
    with pytest.raises(Unreachable, match="eu-1 cannot be reached"):
        await once(shop, change)
    await apply(shop, change)
    patched = [r for r in shop.requests() if r.startswith("patch")]
    assert len(patched) == len(set(patched)) == 6


# -- several clusters -------------------------------------------------------------------------------------------------


async def test_the_next_wave_waits_for_the_one_before(two: Deployed) -> None:
    change = await plan(two)
    with pytest.raises(NotYet, match="pods ready, eu-1"):
        await once(two, change)
    assert two.clusters["us-1"].requests.writes("bot") == []
    await apply(two, change)
    assert two.images("us-1") == two.images("eu-1")


async def test_clusters_of_one_wave_roll_together() -> None:
    async with deployed(1, 1) as shop:
        with pytest.raises(NotYet, match="0 of 12 pods ready, eu-1, us-1"):
            await once(shop, await plan(shop))


async def test_a_failure_in_a_later_wave_says_which_clusters_are_done(two: Deployed) -> None:
    change, memo = await plan(two), dict[str, Json]()
    for _ in range(40):
        try:
            await once(two, change, memo)
        except NotYet as waits:
            if "us-1" in str(waits):
                break
            await two.beat()
    await two.settle()
    _keep_from_starting(two, GOOD["api"], "us-1")
    with pytest.raises(NotYet, match="0 of 6 pods ready, us-1; shop-api"):
        await once(two, change, memo)
    two.eu.clock.advance(PATIENCE)
    with pytest.raises(Fatal, match=r"^eu-1 done; us-1/deployment/shop-api: 0 of 3 pods ready, ") as told:
        await once(two, change, memo)
    assert told.value.hint


async def test_a_plan_names_the_clusters_that_cannot_be_reached(two: Deployed) -> None:
    """Whether to go on without them is for people to say, not for the plan."""
    await two.clusters["us-1"].disconnect()
    with pytest.raises(Unreachable, match=r"us-1 cannot be reached \(no connection to") as told:
        await plan(two)
    assert [*told.value.parts] == ["us-1"]


async def test_a_cluster_that_goes_away_while_acting_is_named_and_holds_the_next_wave(two: Deployed) -> None:
    change = await plan(two)
    await two.clusters["eu-1"].disconnect()
    with pytest.raises(Unreachable, match="eu-1 cannot be reached") as told:
        await apply(two, change)
    assert [*told.value.parts] == ["eu-1"]
    assert two.clusters["us-1"].requests.writes("bot") == []
    await two.clusters["eu-1"].connect()
    await apply(two, change)
    assert two.images("us-1") == two.images("eu-1")


async def test_a_cluster_that_goes_away_while_acting_holds_no_other_of_its_wave() -> None:
    async with deployed(1, 1) as two:
        change = await plan(two)
        await two.clusters["eu-1"].disconnect()
        with pytest.raises(Unreachable, match=r"^us-1 done; eu-1 cannot be reached"):
            await apply(two, change)
        assert two.images("us-1")["shop-api"] == {GOOD["api"]}


async def test_where_no_cluster_answers_nothing_is_planned(shop: Deployed) -> None:
    await shop.eu.disconnect()
    with pytest.raises(Unreachable, match="eu-1 cannot be reached"):
        await plan(shop)


def _keep_from_starting(shop: Deployed, image: str, cluster: str = "eu-1") -> None:
    """As a kubelet reports it."""
    there = shop.clusters[cluster]
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such manifest"}}
    for pod in there.all("Pod", "shop"):
        if pod["spec"]["containers"][0]["image"] == image:
            status = [
                {"name": pod["spec"]["containers"][0]["name"], "ready": False, "restartCount": 0, "state": waiting}
            ]
            there.set_status("Pod", pod["metadata"]["name"], "shop", containerStatuses=status)


def _good(name: str) -> str:
    return GOOD["worker" if name == "shop-worker" else "api"]
