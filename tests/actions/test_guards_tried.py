"""Freeze, ban, thaw and unban end by a trial: beside other people's policies, with the plugin off, with guards that
stand already, and with several bans of one image."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actions.deploys_freeze import DeploysFreeze, DeploysFreezeParams
from actions.deploys_thaw import DeploysThaw, DeploysThawParams
from actions.release_ban import ReleaseBan, ReleaseBanParams
from actions.release_unban import ReleaseUnban, ReleaseUnbanParams
from bot.contract import AnyAction, Change, Fatal, Params
from bot.playground.cluster import ApiError, Fault, Webhook
from bot.ports.kubernetes import digest
from bot.testing import TestCtx
from tests.fixtures.cluster import deployment
from tests.fixtures.clusters_guarded import Paths, api, part, paths
from tests.fixtures.clusters_workers import image
from tests.fixtures.policies_of_others import closed_shop, mirror, signatures

FREEZE, THAW, BAN, UNBAN = DeploysFreeze(), DeploysThaw(), ReleaseBan(), ReleaseUnban()
FROZEN, THAWED = DeploysFreezeParams(service="shop"), DeploysThawParams(service="shop")


def banned(**releases: list[str]) -> ReleaseBanParams:
    return ReleaseBanParams(service="shop", releases={v: [digest(image("api", d)) for d in ds]
                                                      for v, ds in releases.items()})  # fmt: skip


@pytest.fixture
async def shop() -> AsyncIterator[Paths]:
    """The shop is back on its good release."""
    async with paths() as found:
        found.eu.apply(api("2.4.0"))
        yield found


async def done(shop: Paths, action: AnyAction, p: Params) -> str:
    """Planned and applied; what the receipt says."""
    receipt, _ = await shop.apply(action, p, await shop.plan(action, p))
    return receipt.detail


async def fatal(shop: Paths, action: AnyAction, p: Params) -> Fatal:
    change = await shop.plan(action, p)
    with pytest.raises(Fatal) as caught:
        await shop.apply(action, p, change)
    return caught.value


ONLY_SIGNED = signatures(lambda i: digest(i) in {digest(image("api", v)) for v in ("2.4.0", "2.4.1", "2.4.2")})
OTHERS = {
    "images go through a mirror": mirror(),
    "unknown images are refused": ONLY_SIGNED,
    "a webhook fails that comes after policies": Webhook("late", ("statefulsets",), fails="context deadline exceeded"),
}
FAILING = Webhook("quality", ("deployments",), mutate=lambda obj: obj, fails="context deadline exceeded")


@pytest.mark.parametrize("other", OTHERS.values(), ids=[*OTHERS])
async def test_freeze_ban_thaw_and_unban_end_beside_other_peoples_webhooks(shop: Paths, other: Webhook) -> None:
    shop.eu.webhooks.add(other)
    await done(shop, FREEZE, FROZEN)
    assert "frozen" in await shop.deploy(api("2.4.2"))
    await done(shop, BAN, banned(**{"2.4.1": ["2.4.1"]}))
    await done(shop, THAW, THAWED)
    assert await shop.deploy(api("2.4.2")) == "", "as soon as it is called lifted"
    assert "banned" in await shop.deploy(api("2.4.1"))
    await done(shop, UNBAN, ReleaseUnbanParams(service="shop", version="2.4.1", images={"api": image("api", "2.4.1")}))
    assert await shop.deploy(api("2.4.1")) == ""


async def test_an_image_that_a_mirror_serves_is_banned_all_the_same(shop: Paths) -> None:
    shop.eu.webhooks.add(mirror())
    await done(shop, BAN, banned(**{"2.4.1": ["2.4.1"]}))
    told = await shop.deploy(api("2.4.1"))
    assert "banned" in told


async def test_whether_it_bites_is_not_known_while_every_webhook_fails_and_there_is_an_end(shop: Paths) -> None:
    shop.eu.webhooks.add(FAILING)
    told = await fatal(shop, FREEZE, FROZEN)
    assert "rollback-freeze-shop stands, and no trial could tell" in str(told)
    assert 'failed calling webhook "quality"' in str(told) and "skip" in told.hint
    shop.eu.webhooks.remove("quality")
    await done(shop, FREEZE, FROZEN)
    shop.eu.webhooks.add(FAILING)
    said = await done(shop, THAW, THAWED)
    assert 'others refuse a trial (Internal error occurred: failed calling webhook "quality"' in said
    shop.eu.webhooks.remove("quality")
    assert await shop.deploy(api("2.4.2")) == ""


async def test_a_refusal_by_another_policy_proves_nothing_and_the_next_workload_is_tried(shop: Paths) -> None:
    """Their policy refuses the first Deployment's changes in its own name, by chance in ours."""
    policy, binding = closed_shop()
    policy["spec"]["validations"][0]["expression"] += " || object.metadata.name != 'shop-api'"
    shop.eu.apply(policy, binding, part("shop", deployment(image("web", "1"), "shop-web", 1, probe=False)))
    await shop.wait(2)
    await done(shop, FREEZE, FROZEN)
    assert "denied request" in await shop.deploy(
        part("shop", deployment(image("web", "2"), "shop-web", 1, probe=False))
    )
    said = await done(shop, THAW, THAWED)
    assert said == "eu-1: shop takes new releases again"


async def test_a_policy_that_always_answers_first_ends_in_words_not_for_ever(shop: Paths) -> None:
    await done(shop, FREEZE, FROZEN)
    shop.eu.apply(*closed_shop())
    await shop.wait(2)
    said = await done(shop, THAW, THAWED)
    assert (
        "others refuse a trial" in said and "no changes on Fridays" in said and "rollback-freeze-shop is gone" in said
    )
    assert not shop.eu.all("ValidatingAdmissionPolicy")[1:]


async def test_with_the_plugin_off_a_freeze_is_said_to_refuse_nothing() -> None:
    async with paths(policies=False) as shop:
        told = await fatal(shop, FREEZE, FROZEN)
        assert str(told) == "eu-1: rollback-freeze-shop stands, and a trial passed: it refuses nothing"
        assert "ValidatingAdmissionPolicy switched off" in told.hint
        again = await fatal(shop, FREEZE, FROZEN)
        assert str(again) == str(told), "one that stands already is tried too"
        told = await fatal(shop, BAN, banned(**{"2.4.1": ["2.4.1"]}))
        assert "rollback-ban-shop-2.4.1 stands, and a trial passed" in str(told)


async def test_a_guard_that_stands_already_is_tried_by_looking_alone(shop: Paths) -> None:
    await done(shop, FREEZE, FROZEN)
    change = await shop.plan(FREEZE, FROZEN)
    assert change.is_noop
    ctx = TestCtx(shop.ports_for, FREEZE.needs)
    assert (await FREEZE.apply(ctx, FROZEN, Change(change.summary))).output == {"clusters": ["eu-1"]}
    assert ctx.commands == []


async def test_the_end_of_a_freeze_is_waited_for(shop: Paths) -> None:
    frozen = await shop.plan(FREEZE, FROZEN)
    await shop.apply(FREEZE, FROZEN, frozen)
    await shop.undo(FREEZE, FROZEN, frozen)
    assert await shop.deploy(api("2.4.2")) == ""


# -- bans ------------------------------------------------------------------------------------------------------------


async def test_bans_that_share_an_image_are_proven_and_end_apart(shop: Paths) -> None:
    both = banned(**{"2.4.1": ["2.4.1"], "2.4.3": ["2.4.1"], "2.4.5": ["2.4.1", "2.4.5"]})
    await done(shop, BAN, both)
    one = ReleaseUnbanParams(service="shop", version="2.4.1", images={"api": image("api", "2.4.1")})
    change = await shop.plan(UNBAN, one)
    assert change.targets == {"eu-1/guard/rollback-ban-shop-2.4.1/rules"}
    assert change.warnings[0] == "2.4.3 is still banned and has 1 of its images: those go on being refused"
    said, _ = await shop.apply(UNBAN, one, change)
    assert "others refuse a trial" in said.detail
    assert "2.4.3 was rolled back" in (told := await shop.deploy(api("2.4.1"))) or "2.4.5 was rolled back" in told


async def test_a_ban_is_about_what_is_made_by_hand_and_never_about_what_controllers_make(shop: Paths) -> None:
    shop.eu.apply(api("2.4.1"))  # one cluster still runs it
    await done(shop, BAN, banned(**{"2.4.1": ["2.4.1"]}))
    pods = len(shop.eu.all("Pod", "shop"))
    await shop.scale("shop-api", 5)
    await shop.eu.until(lambda: len(shop.eu.all("Pod", "shop")) > pods)
    for made in by_hand("2.4.1"):
        with pytest.raises(ApiError, match="banned"):
            shop.eu.apply(made, user="admin")
    for made in by_hand("2.4.2"):
        shop.eu.apply(made, user="admin")


def by_hand(release: str) -> list[Any]:
    template = api(release)["spec"]["template"]
    meta: dict[str, Any] = {
        "namespace": "shop",
        "labels": {"app.kubernetes.io/part-of": "shop", **template["metadata"]["labels"]},
    }
    once = copy.deepcopy(template)
    once["spec"]["restartPolicy"] = "Never"
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "settle", "uid": "u", "controller": True}
    started = {"ownerReferences": [owner], "annotations": {"cronjob.kubernetes.io/instantiate": "manual"}}
    plain = {"selector": {"matchLabels": template["metadata"]["labels"]}, "template": template}
    return [
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {**meta, "name": "job"}, "spec": {"template": once}},
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {**meta, **started, "name": "manual"},
         "spec": {"template": once}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**meta, "name": "pod"}, "spec": template["spec"]},
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {**meta, "name": "set"}, "spec": plain},
    ]  # fmt: skip


async def test_an_argo_rollout_is_frozen_and_banned_as_a_deployment_is(shop: Paths) -> None:
    def rollout(release: str, **other: Any) -> Any:
        made = api(release) | {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
        made["metadata"] = {**made["metadata"], "name": "shop-roll"}
        made["spec"] = {**made["spec"], "strategy": {"canary": {"steps": []}}, **other}
        return made

    shop.eu.apply(rollout("2.4.0"))
    await done(shop, FREEZE, FROZEN)
    with pytest.raises(ApiError, match="frozen"):
        shop.eu.apply(rollout("2.4.2"), user="admin")
    shop.eu.apply(rollout("2.4.0", replicas=5), user="admin")  # scaling passes
    await done(shop, BAN, banned(**{"2.4.1": ["2.4.1"]}))
    await done(shop, THAW, THAWED)
    with pytest.raises(ApiError, match="banned"):
        shop.eu.apply(rollout("2.4.1"), user="admin")
    shop.eu.apply(rollout("2.4.2"), user="admin")


async def test_a_cluster_without_argo_rollouts_is_tried_all_the_same(shop: Paths) -> None:
    shop.eu.faults.add(Fault("error", verb="list", resource="rollouts", status=404, next=None))
    shop.eu.apply(*closed_shop())
    await shop.wait(2)
    told = await fatal(shop, FREEZE, FROZEN)
    assert "no changes on Fridays" in str(told) or "refuses" in str(told)


async def test_a_banned_image_is_refused_under_any_tag_and_repository(shop: Paths) -> None:
    await done(shop, BAN, banned(**{"2.4.1": ["2.4.1"]}))
    repository, _, banned_digest = image("api", "2.4.1").partition("@")

    async def deployed(named: str) -> str:
        made = api("2.4.1")
        made["spec"]["template"]["spec"]["containers"][0]["image"] = named
        return await shop.deploy(made)

    for named in (f"{repository}:2.4.1@{banned_digest}", f"mirror.example:5000/other@{banned_digest}"):
        assert "banned" in await deployed(named), named
    assert await deployed(f"{repository}:2.4.1") == "", "a tag alone is said not to be covered"


async def test_what_no_ban_covers_is_on_the_card(shop: Paths) -> None:
    change = await shop.plan(BAN, banned(**{"2.4.1": ["2.4.1"]}))
    (fact,) = [f for f in change.facts if f.name == "not covered"]
    assert (fact.value, "images named by a tag alone" in fact.unit, "its settings" in fact.unit) == (3, True, True)
    receipt, _ = await shop.apply(BAN, banned(**{"2.4.1": ["2.4.1"]}), change)
    assert "not refused: images named by a tag alone" in receipt.detail


async def test_more_digests_than_a_policy_holds_are_several_guards(shop: Paths) -> None:
    many = ReleaseBanParams(service="shop", releases={"2.4.1": [f"sha256:{n:064x}" for n in range(1, 1501)]})
    guards = many.guards(shop.adapter.clusters[0])
    assert [len(rules["banned"]) for rules in guards.values() if isinstance(rules["banned"], list)] == [1000, 500]
    await done(shop, BAN, many)
    assert len(shop.eu.all("ValidatingAdmissionPolicy")) == 2
    await done(shop, UNBAN, ReleaseUnbanParams(service="shop", version="2.4.1", images={}))
    assert not shop.eu.all("ValidatingAdmissionPolicy")
