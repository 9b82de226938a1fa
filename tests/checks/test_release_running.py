"""`release.running` over the real adapter: what runs is counted, what should not is named."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.contract import Status, Verdict
from bot.ports.kubernetes import digest
from bot.testing import run_check
from checks.release_running import ReleaseRunning, ReleaseRunningParams
from tests.fleet import Fleet, fleet, images


@pytest.fixture
async def shop() -> AsyncIterator[Fleet]:
    async with fleet("eu-1", "us-1") as shop:
        await shop.beat()
        yield shop


async def look(shop: Fleet, release: str = "2.4.0", banned: str = "2.4.1") -> Verdict:
    bad = {banned: [digest(image) for image in images(banned).values()]}
    return await run_check(ReleaseRunning(), shop.ports_for, ReleaseRunningParams(images=images(release), banned=bad))


async def test_a_release_that_runs_complete_in_every_cluster_passes_with_its_pods_counted(shop: Fleet) -> None:
    verdict = await look(shop)
    assert verdict.status is Status.PASS
    assert verdict.observed == f"{verdict.data['pods']} of {verdict.data['pods']} pods in eu-1, us-1"
    assert verdict.data["pods"] != 0


async def test_whatever_holds_a_banned_image_is_named_with_its_release(shop: Fleet) -> None:
    verdict = await look(shop, "2.4.1", "2.4.0")
    assert verdict.status is Status.FAIL
    assert "us-1/deployment/shop-worker: still holds 2.4.0" in verdict.observed


async def test_pods_that_are_not_there_yet_fail(shop: Fleet) -> None:
    await shop.scale("shop-worker", 5, "us-1")
    verdict = await look(shop)
    assert verdict.status is Status.FAIL
    assert verdict.observed.startswith("us-1/deployment/shop-worker: ")
    assert verdict.observed.endswith(" of 5 pods ready")


async def test_a_cluster_that_holds_nothing_of_it_fails(shop: Fleet) -> None:
    verdict = await look(shop, "2.3.9")
    assert verdict.status is Status.FAIL
    assert "eu-1: nothing there holds an image of it" in verdict.observed


async def test_a_cluster_that_does_not_answer_is_unknown(shop: Fleet) -> None:
    await shop.clusters["us-1"].disconnect()
    verdict = await look(shop)
    assert verdict.status is Status.UNKNOWN
    assert verdict.observed.startswith("us-1: no connection to ")
