"""`release.running` over the real adapter: what runs is counted, what should not is named."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.contract import Status, Verdict
from bot.ports.kubernetes import digest
from bot.testing import run_check
from checks.release_running import ReleaseRunning, ReleaseRunningParams
from tests.fixtures.clusters_recorded import BAD, GOOD, THIRD, Service, deployment, service
from tests.fixtures.clusters_workers import Fleet, fleet, image, images


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


async def test_a_pod_that_somebody_made_by_hand_and_a_job_of_the_banned_release_are_named(shop: Fleet) -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "x", "image": image("api", "2.4.1")}]}
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "by-hand", "namespace": "shop"}, "spec": pod}
    meta = {"name": "backfill", "namespace": "shop"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {"template": {"spec": pod}}}
    shop.eu.apply(bare, job)
    await shop.beat()
    verdict = await look(shop)
    assert verdict.status is Status.FAIL
    assert "eu-1/pod/by-hand: still runs 2.4.1 (made by hand)" in verdict.observed
    assert "still runs 2.4.1 (job/backfill)" in verdict.observed


async def test_where_no_pod_of_it_is_meant_to_run_nothing_is_known(shop: Fleet) -> None:
    for name in ("shop-worker", "shop-mailer"):
        await shop.scale(name, 0, "us-1")
    await shop.beat(5)
    verdict = await look(shop)
    assert verdict.status is Status.UNKNOWN
    assert verdict.observed == "us-1: 0 of 0 pods: none of it is meant to run"


# -- against the release's record --------------------------------------------------------------------------------------


async def recorded(shop: Service) -> Verdict:
    """The release that is restored, as the standard plan asks."""
    p = shop.params()
    params = ReleaseRunningParams(
        images=p.images, banned={"1.1": [BAD]}, outgoing=p.outgoing, settings=p.settings, last=p.last
    )
    return await run_check(ReleaseRunning(), shop.ports_for, params)


async def test_a_workload_on_a_third_image_fails_though_no_other_holds_a_banned_one() -> None:
    async with service(deployment("api", GOOD), deployment("worker", GOOD), names=("api", "worker")) as shop:
        assert (await recorded(shop)).status is Status.PASS
        await shop.deploy(deployment("worker", THIRD))
        verdict = await recorded(shop)
        assert (verdict.status, verdict.observed) == (
            Status.FAIL, "eu-1/deployment/worker: not as it served: image/worker",
        )  # fmt: skip


async def test_a_workload_that_is_gone_fails() -> None:
    async with service(deployment("api", GOOD), deployment("worker", GOOD), names=("api", "worker")) as shop:
        await shop.delete("worker")
        assert (await recorded(shop)).observed == "eu-1/deployment/worker: gone, the release had it"


async def test_settings_of_the_removed_release_that_still_stand_fail() -> None:
    async with service(deployment("api", GOOD, args=["--ledger=v1"])) as shop:
        await shop.deploy(deployment("api", BAD, args=["--ledger=v2"]))
        await shop.record(BAD)
        await shop.deploy(deployment("api", GOOD, args=["--ledger=v2"]))
        verdict = await recorded(shop)
        assert verdict.observed == "eu-1/deployment/api: not as it served: container/api/args"


async def test_a_workload_without_the_services_label_that_runs_what_is_banned_is_found() -> None:
    api = deployment("api", GOOD)
    api["metadata"]["labels"] = {"part-of": "shop"}
    async with service(api, selector="part-of=shop") as shop:
        await shop.deploy(deployment("copy", BAD))
        verdict = await recorded(shop)
        assert "eu-1/deployment/copy: still holds 1.1" in verdict.observed
        change = await shop.plan()
        assert [e.target for e in change.edits] == ["eu-1/deployment/copy/image/copy"]
        told = "eu-1/deployment/copy does not carry the service's label, and runs what is removed: it is part of this"
        assert told in change.warnings
        await shop.apply(change)
        assert (await recorded(shop)).status is Status.PASS
