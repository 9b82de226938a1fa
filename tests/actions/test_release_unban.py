"""`release.unban` over the real adapter: one release's ban ends, others stay."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

import pytest

from actions.release_ban import ReleaseBan, ReleaseBanParams
from actions.release_unban import ReleaseUnban, ReleaseUnbanParams
from bot.contract import Fatal, NotYet
from bot.ports.kubernetes import digest
from bot.testing import TestCtx, assert_lifecycle
from tests.fixtures.clusters_guarded import Paths, api, paths, unrecorded
from tests.fixtures.clusters_workers import image

UNBAN = ReleaseUnban()


def unbanned(version: str) -> ReleaseUnbanParams:
    return ReleaseUnbanParams(service="shop", version=version, images={"api": image("api", version)})


@pytest.fixture
async def shop() -> AsyncIterator[Paths]:
    """The shop is back on its good release."""
    async with paths() as found:
        found.eu.apply(api("2.4.0"))
        yield found


async def ban(shop: Paths, *versions: str) -> None:
    p = ReleaseBanParams(service="shop", releases={v: [digest(image("api", v))] for v in versions})
    await shop.apply(ReleaseBan(), p, await shop.plan(ReleaseBan(), p))


async def test_lifecycle(shop: Paths) -> None:
    await ban(shop, "2.4.1")

    async def drift() -> None:
        await shop.adapter.bind(unrecorded).guard(
            "eu-1", "rollback-ban-shop-2.4.1", {"service": "shop", "banned": [digest(image("api", "2.4.1"))]}
        )

    change = await assert_lifecycle(
        UNBAN, shop.ports_for, unbanned("2.4.1"), world=shop.world, drift=drift, wait=shop.wait
    )
    assert change.summary == "eu-1: shop 2.4.1 is no longer banned"


async def test_bans_of_two_rollbacks_end_apart(shop: Paths) -> None:
    await ban(shop, "2.4.1")
    await ban(shop, "2.4.1", "2.4.3")
    p = unbanned("2.4.1")
    await shop.apply(UNBAN, p, await shop.plan(UNBAN, p))
    await shop.wait(2)
    assert await shop.deploy(api("2.4.1")) == ""
    assert "banned" in await shop.deploy(api("2.4.3"))
    assert (await shop.plan(UNBAN, p)).summary == "no cluster bans shop 2.4.1"


async def test_a_ban_that_somebody_changed_is_left_to_people(shop: Paths) -> None:
    await ban(shop, "2.4.1")
    found = copy.deepcopy(shop.eu.get("ValidatingAdmissionPolicy", "rollback-ban-shop-2.4.1"))
    found["spec"]["failurePolicy"] = "Ignore"
    shop.eu.apply(found)
    with pytest.raises(Fatal, match="not as the bot made it"):
        await shop.plan(UNBAN, unbanned("2.4.1"))


async def test_a_release_is_not_called_allowed_before_every_cluster_takes_it(shop: Paths) -> None:
    """A deleted policy goes on refusing for a while: whatever is deployed when the step has ended is let in."""
    await ban(shop, "2.4.1")
    await shop.wait(2)
    p = unbanned("2.4.1")
    change = await shop.plan(UNBAN, p)
    ctx, waited = TestCtx(shop.ports_for, UNBAN.needs, acting=True), []
    receipt = None
    while receipt is None:
        try:
            receipt = await UNBAN.apply(ctx, p, change)
        except NotYet as error:
            waited.append(str(error))
            assert len(waited) < 20, waited
            await shop.wait(error.after)
    assert receipt.detail == "eu-1: shop 2.4.1 is no longer banned"
    assert await shop.deploy(api("2.4.1"), "bot") == "", "not a second later: now"
    assert "eu-1 still refuses: " in waited[0] and "2.4.1 was rolled back and is banned" in waited[0]
    assert waited[-1].startswith("eu-1 takes it; trying once more")


async def test_an_undo_has_the_clusters_refuse_it_again(shop: Paths) -> None:
    await ban(shop, "2.4.1")
    p = unbanned("2.4.1")
    change = await shop.plan(UNBAN, p)
    await shop.apply(UNBAN, p, change)
    await shop.undo(UNBAN, p, change)
    assert "banned" in await shop.deploy(api("2.4.1"))
