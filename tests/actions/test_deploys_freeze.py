"""`deploys.freeze` over the real adapter, against clusters that really refuse."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

import pytest

from actions.deploys_freeze import DeploysFreeze, DeploysFreezeParams
from bot.contract import Change, Fatal, merged
from bot.ports import Unreachable
from bot.ports.kubernetes import digest
from bot.testing import TestCtx, assert_lifecycle
from tests.fixtures.cluster import deployment
from tests.fixtures.clusters_guarded import Paths, api, part, paths, unrecorded
from tests.fixtures.clusters_workers import image

FREEZE = DeploysFreeze()
PARAMS = DeploysFreezeParams(service="shop")
NAME = "rollback-freeze-shop"


@pytest.fixture
async def shop() -> AsyncIterator[Paths]:
    async with paths() as found:
        yield found


@pytest.fixture
async def two() -> AsyncIterator[Paths]:
    async with paths("eu-1", "us-1") as found:
        yield found


def tamper(shop: Paths) -> None:
    """Somebody narrows the guard by hand."""
    found = copy.deepcopy(shop.eu.get("ValidatingAdmissionPolicy", NAME))
    found["spec"]["failurePolicy"] = "Ignore"
    shop.eu.apply(found)


async def test_lifecycle(two: Paths) -> None:
    async def drift() -> None:
        await two.adapter.bind(unrecorded).guard("eu-1", NAME, {"service": "shop", "digests": []})

    change = await assert_lifecycle(FREEZE, two.ports_for, PARAMS, world=two.world, drift=drift, wait=two.wait)
    assert change.targets == {f"eu-1/guard/{NAME}/rules", f"us-1/guard/{NAME}/rules"}


async def frozen(shop: Paths, p: DeploysFreezeParams = PARAMS) -> Change:
    change = await shop.plan(FREEZE, p)
    await shop.apply(FREEZE, p, change)
    return change


async def test_new_releases_are_refused_on_every_path_but_the_bots_and_break_glass(shop: Paths) -> None:
    assert await shop.deploy(api("2.4.2")) == ""
    await frozen(shop)
    for user in ("ci", "admin"):
        assert "shop is frozen while its release is changed" in await shop.deploy(api("2.4.3"), user)
    assert "frozen" in await shop.deploy(part("shop", deployment(image("new", "1"), "shop-new", 1, probe=False)))
    assert await shop.deploy(api("2.4.0"), "bot") == ""
    assert await shop.deploy(api("2.3.9"), "break-glass") == ""


async def test_scaling_and_other_services_of_the_namespace_pass(shop: Paths) -> None:
    await frozen(shop)
    await shop.scale("shop-api", 5)
    assert await shop.deploy(part("billing", deployment(image("billing", "1.1"), "billing", 1, probe=False))) == ""


async def test_two_services_in_one_namespace_are_frozen_and_thawed_apart(shop: Paths) -> None:
    other = DeploysFreezeParams(service="billing")
    mine, theirs = await frozen(shop), await frozen(shop.billing, other)
    await shop.undo(FREEZE, PARAMS, mine)
    await shop.wait(2)
    assert [p["metadata"]["name"] for p in shop.eu.all("ValidatingAdmissionPolicy")] == ["rollback-freeze-billing"]
    await shop.billing.undo(FREEZE, other, theirs)
    await shop.wait(2)
    assert await shop.deploy(api("2.4.3")) == ""


async def test_the_preview_says_what_is_enforced_asked_and_not_covered_and_writes_nothing(two: Paths) -> None:
    p = DeploysFreezeParams(service="shop", uncovered=["uploads to the shop's bucket"])
    change = await two.plan(FREEZE, p)
    said = "2 clusters refuse new releases of shop; CI asks; not covered: uploads to the shop's bucket"
    assert (change.summary, change.warnings) == (said, ("nothing stops uploads to the shop's bucket",))
    assert [(f.name, f.value, f.unit) for f in change.facts] == [
        ("enforced", 2, "paths: eu-1, us-1"),
        ("asked", 1, "path: CI"),
        ("not covered", 1, "path: uploads to the shop's bucket"),
        ("passes", "the bot, break-glass", ""),
    ]
    assert not two.eu.requests.writes("bot")


async def test_it_is_not_called_frozen_before_a_trial_was_refused(shop: Paths) -> None:
    change = await shop.plan(FREEZE, PARAMS)
    _, commands = await shop.apply(FREEZE, PARAMS, change)
    assert "denied request" in await shop.deploy(api("2.4.3"))
    assert [c.split("|")[-1].strip() for c in commands] == ["kubectl --context eu-1 apply -f -"] * 2


async def test_the_record_holds_the_commands_that_lift_it_by_hand(shop: Paths) -> None:
    change = await frozen(shop)
    back, _ = change.undo_from(await shop.observe(FREEZE, PARAMS, change))
    _, commands = await shop.apply(FREEZE, PARAMS, back)
    assert [c.split(" ")[3] for c in commands] == ["delete", "delete"] and all(NAME in c for c in commands)


async def test_one_cluster_that_cannot_be_reached_is_named_and_frozen_by_the_retry(two: Paths) -> None:
    await two.clusters["us-1"].disconnect()
    change = await two.plan(FREEZE, PARAMS)
    assert change.targets == {f"eu-1/guard/{NAME}/rules"} and "not reached, so not frozen: us-1" in change.warnings[0]
    with pytest.raises(Fatal, match="eu-1 refuses new releases of shop; us-1 could not be reached"):
        await two.apply(FREEZE, PARAMS, change)
    assert "frozen" in await two.deploy(api("2.4.3"))
    with pytest.raises(Unreachable, match=r"us-1.*every other cluster has its freeze"):
        await two.plan(FREEZE, PARAMS)
    await two.clusters["us-1"].connect()
    rest = await two.plan(FREEZE, PARAMS)
    await two.apply(FREEZE, PARAMS, rest)
    for cluster in ("eu-1", "us-1"):
        assert "frozen" in await two.deploy(api("2.4.3"), cluster=cluster)
    await two.undo(FREEZE, PARAMS, Change("both", merged(change.edits, rest.edits)))
    assert not any(c.all("ValidatingAdmissionPolicy") for c in two.clusters.values())


async def test_a_fix_passes_once_it_is_admitted_and_the_undo_still_leads_to_no_freeze(shop: Paths) -> None:
    first = await frozen(shop)
    wider = DeploysFreezeParams(service="shop", admitted=[digest(image("api", "2.4.2"))])
    second = await shop.plan(FREEZE, wider)
    await shop.apply(FREEZE, wider, second)
    await shop.wait(2)
    assert await shop.deploy(api("2.4.2")) == ""
    assert "frozen" in await shop.deploy(api("2.4.3"))
    await shop.undo(FREEZE, wider, Change("both", merged(first.edits, second.edits)))
    assert not shop.eu.all("ValidatingAdmissionPolicy")


async def test_what_somebody_froze_before_is_not_ours_to_lift(shop: Paths) -> None:
    await frozen(shop)
    again = await shop.plan(FREEZE, PARAMS)
    assert again.is_noop and "every cluster has a freeze already, which is not ours to lift" in again.summary


async def test_a_guard_that_somebody_changed_is_left_to_people(shop: Paths) -> None:
    change = await frozen(shop)
    tamper(shop)
    _, left = change.undo_from(await shop.observe(FREEZE, PARAMS, change))
    assert [*left] == [f"eu-1/guard/{NAME}/rules"]
    with pytest.raises(Fatal, match=r"not as the bot made it: spec\.failurePolicy"):
        await shop.plan(FREEZE, PARAMS)


async def test_a_guard_that_somebody_deleted_needs_no_undo(shop: Paths) -> None:
    change = await frozen(shop)
    await shop.undo(FREEZE, PARAMS, change)
    back, left = change.undo_from(await shop.observe(FREEZE, PARAMS, change))
    assert back.is_noop and not left


async def test_a_right_that_is_missing_stops_it_with_what_to_do(shop: Paths) -> None:
    role = copy.deepcopy(shop.eu.get("ClusterRole", "rollback-bot"))
    role["rules"] = [r for r in role["rules"] if "admissionregistration.k8s.io" not in r.get("apiGroups", ())]
    shop.eu.apply(role)
    with pytest.raises(Fatal, match="forbidden") as caught:
        await FREEZE.plan(TestCtx(shop.ports_for, FREEZE.needs), PARAMS)
    assert "docs/kubernetes.md" in caught.value.hint
