"""`release.ban` over the real adapter, against clusters that really refuse."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

import pytest

from actions.deploys_freeze import DeploysFreeze, DeploysFreezeParams
from actions.release_ban import ReleaseBan, ReleaseBanParams
from bot.contract import Fatal
from bot.ports.kubernetes import digest
from bot.testing import assert_lifecycle
from tests.fixtures.cluster import deployment
from tests.fixtures.clusters_guarded import Paths, api, part, paths, unrecorded
from tests.fixtures.clusters_workers import image

BAN = ReleaseBan()


def banned(*versions: str) -> ReleaseBanParams:
    return ReleaseBanParams(service="shop", releases={v: [digest(image("api", v))] for v in versions})


@pytest.fixture
async def shop() -> AsyncIterator[Paths]:
    """The shop is back on its good release."""
    async with paths() as found:
        found.eu.apply(api("2.4.0"))
        yield found


async def put(shop: Paths, p: ReleaseBanParams) -> None:
    await shop.apply(BAN, p, await shop.plan(BAN, p))


async def test_lifecycle(shop: Paths) -> None:
    async def drift() -> None:
        name = "rollback-ban-shop-2.4.1"
        await shop.adapter.bind(unrecorded).guard("eu-1", name, {"service": "shop", "banned": ["sha256:" + "0" * 64]})

    change = await assert_lifecycle(BAN, shop.ports_for, banned("2.4.1"), world=shop.world, drift=drift, wait=shop.wait)
    assert change.summary == "eu-1: refuse shop 2.4.1"


async def test_the_removed_release_is_refused_the_bots_too_and_every_other_passes(shop: Paths) -> None:
    await put(shop, banned("2.4.1"))
    for user in ("ci", "admin", "bot"):
        assert "2.4.1 was rolled back and is banned" in await shop.deploy(api("2.4.1"), user)
    assert await shop.deploy(api("2.4.2")) == ""
    assert await shop.deploy(api("2.4.1"), "break-glass") == ""


async def test_a_ban_is_proven_while_the_freeze_still_stands(shop: Paths) -> None:
    freeze, p = DeploysFreeze(), DeploysFreezeParams(service="shop")
    frozen = await shop.plan(freeze, p)
    await shop.apply(freeze, p, frozen)
    await put(shop, banned("2.4.1"))
    await shop.undo(freeze, p, frozen)
    await shop.wait(2)
    assert await shop.deploy(api("2.4.2")) == ""
    assert "banned" in await shop.deploy(api("2.4.1"))


async def test_a_release_without_an_image_of_its_own_is_said_not_to_be_refused(shop: Paths) -> None:
    change = await shop.plan(BAN, ReleaseBanParams(service="shop", releases={"2.4.1": []}))
    assert change.is_noop and "nothing that a cluster could refuse" in change.summary
    assert change.warnings == (
        "2.4.1 has no image of its own: nothing in a cluster can tell it from what runs, "
        "and CI's question by digest cannot find it (by version it does)",
    )


async def test_the_receipt_of_a_ban_says_which_release_no_digest_finds(shop: Paths) -> None:
    p = banned("2.4.1").model_copy(update={"releases": {**banned("2.4.1").releases, "2.4.0-rc1": []}})
    receipt, _ = await shop.apply(BAN, p, await shop.plan(BAN, p))
    assert "2.4.0-rc1 has no image of its own, and CI's question by digest cannot find it" in receipt.detail


async def test_a_version_that_is_no_name_is_guarded_all_the_same(shop: Paths) -> None:
    p = ReleaseBanParams(service="shop", releases={"Build_7+x": [digest(image("api", "7"))]})
    await put(shop, p)
    assert "Build_7+x was rolled back" in await shop.deploy(api("7"))


async def test_a_sidecar_that_both_releases_have_goes_on_being_deployed(shop: Paths) -> None:
    await put(shop, banned("2.4.1"))
    assert await shop.deploy(part("shop", deployment(image("proxy", "1"), "shop-proxy", 1, probe=False))) == ""


async def test_a_ban_that_somebody_changed_is_left_to_people(shop: Paths) -> None:
    await put(shop, banned("2.4.1"))
    found = copy.deepcopy(shop.eu.get("ValidatingAdmissionPolicy", "rollback-ban-shop-2.4.1"))
    found["spec"]["failurePolicy"] = "Ignore"
    shop.eu.apply(found)
    with pytest.raises(Fatal, match="not as the bot made it"):
        await shop.plan(BAN, banned("2.4.1"))


async def test_one_cluster_that_cannot_be_reached_is_named_and_banned_by_the_retry() -> None:
    async with paths("eu-1", "us-1") as shop:
        for there in shop.clusters.values():
            there.apply(api("2.4.0"))
        await shop.clusters["us-1"].disconnect()
        change = await shop.plan(BAN, banned("2.4.1"))
        with pytest.raises(Fatal, match="us-1 could not be reached: nothing is banned there"):
            await shop.apply(BAN, banned("2.4.1"), change)
        await shop.clusters["us-1"].connect()
        await put(shop, banned("2.4.1"))
        assert "banned" in await shop.deploy(api("2.4.1"), cluster="us-1")
