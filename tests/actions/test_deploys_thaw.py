"""`deploys.thaw` over the real adapter: what an ended run has left frozen is lifted."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator

import pytest

from actions.deploys_freeze import DeploysFreeze, DeploysFreezeParams
from actions.deploys_thaw import DeploysThaw, DeploysThawParams
from bot.contract import Fatal
from bot.testing import assert_lifecycle
from tests.fixtures.clusters_guarded import Paths, paths, unrecorded

THAW, PARAMS = DeploysThaw(), DeploysThawParams(service="shop")
NAME = "rollback-freeze-shop"
BANNED = "sha256:" + "0" * 64


@pytest.fixture
async def shop() -> AsyncIterator[Paths]:
    """A shop that is frozen, and in which something is banned."""
    async with paths() as found:
        p = DeploysFreezeParams(service="shop")
        await found.apply(DeploysFreeze(), p, await found.plan(DeploysFreeze(), p))
        await found.adapter.bind(unrecorded).guard(
            "eu-1", "rollback-ban-shop-1", {"service": "shop", "banned": [BANNED]}
        )
        yield found


async def test_lifecycle(shop: Paths) -> None:
    async def drift() -> None:
        await shop.adapter.bind(unrecorded).guard("eu-1", NAME, {"service": "shop", "digests": [BANNED]})

    change = await assert_lifecycle(THAW, shop.ports_for, PARAMS, world=shop.world, drift=drift, wait=shop.wait)
    assert change.summary == "eu-1: shop takes new releases again"


async def test_bans_stay_when_a_freeze_is_lifted(shop: Paths) -> None:
    await shop.apply(THAW, PARAMS, await shop.plan(THAW, PARAMS))
    assert [g["metadata"]["name"] for g in shop.eu.all("ValidatingAdmissionPolicy")] == ["rollback-ban-shop-1"]
    assert (await shop.plan(THAW, PARAMS)).summary == "no cluster refuses new releases of shop"


async def test_a_freeze_that_somebody_changed_is_left_to_people(shop: Paths) -> None:
    found = copy.deepcopy(shop.eu.get("ValidatingAdmissionPolicy", NAME))
    found["spec"]["failurePolicy"] = "Ignore"
    shop.eu.apply(found)
    with pytest.raises(Fatal, match="not as the bot made it"):
        await shop.plan(THAW, PARAMS)
