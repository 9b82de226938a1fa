"""`workers.paused` over the real adapter: whoever runs is named, with who made it run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.contract import Status, Verdict
from bot.playground.cluster.resources import CRONJOBS, DEPLOYMENTS
from bot.testing import run_check
from checks.workers_paused import WorkersPaused, WorkersPausedOutput, WorkersPausedParams
from tests.fixtures.clusters_workers import Fleet, fleet


@pytest.fixture
async def shop() -> AsyncIterator[Fleet]:
    async with fleet("eu-1", "us-1") as shop:
        for name in shop.clusters:
            await pause(shop, name)
        await shop.beat()
        yield shop


async def pause(shop: Fleet, cluster: str) -> None:
    await shop.annotate("shop-mailer", "0", cluster)
    await shop.scale("shop-worker", 0, cluster)
    await shop.edit("CronJob", "shop-settle", cluster, suspend=True)


async def look(shop: Fleet) -> Verdict:
    return await run_check(WorkersPaused(), shop.ports_for, WorkersPausedParams())


async def test_workers_that_are_all_paused_pass(shop: Fleet) -> None:
    verdict = await look(shop)
    assert (verdict.status, verdict.observed) == (Status.PASS, "6 workers paused")


async def test_a_worker_that_somebody_rescaled_is_named_with_who_did_it(shop: Fleet) -> None:
    await shop.scale("shop-worker", 2, "us-1")
    verdict = await look(shop)
    assert verdict.status is Status.FAIL
    assert verdict.observed.startswith("us-1/deployment/shop-worker: 2 replicas, changed by kubectl-scale at ")
    assert [*WorkersPausedOutput.model_validate(verdict.data).running] == ["us-1/deployment/shop-worker"]


async def test_one_that_keda_may_start_is_not_paused(shop: Fleet) -> None:
    shop.eu.metrics.set("shop", "Deployment", "shop-mailer", 0.0)
    await shop.annotate("shop-mailer", "1")
    await shop.scale("shop-mailer", 0)
    verdict = await look(shop)
    assert verdict.status is Status.FAIL
    assert "KEDA may start it" in verdict.observed


async def test_a_job_that_still_runs_fails_although_the_schedule_is_suspended(shop: Fleet) -> None:
    await shop.edit("CronJob", "shop-settle", suspend=False)
    await shop.beat(901)
    await shop.edit("CronJob", "shop-settle", suspend=True)
    verdict = await look(shop)
    assert verdict.status is Status.FAIL
    assert verdict.observed.startswith("eu-1/cronjob/shop-settle: job shop-settle-")


async def test_a_cluster_that_does_not_answer_is_unknown(shop: Fleet) -> None:
    await shop.clusters["us-1"].disconnect()
    verdict = await look(shop)
    assert verdict.status is Status.UNKNOWN
    assert verdict.observed.startswith("us-1: no connection to ")


async def test_one_that_keda_was_told_to_leave_at_nothing_is_paused(shop: Fleet) -> None:
    await shop.annotate("shop-mailer", "true", key="autoscaling.keda.sh/paused")
    await shop.beat()
    assert (await look(shop)).status is Status.PASS


async def test_a_job_that_somebody_started_from_the_cron_by_hand_is_a_worker_that_runs(shop: Fleet) -> None:
    cron = shop.eu.get("CronJob", "shop-settle", "shop")
    meta = {"name": "settle-by-hand", "namespace": "shop"}
    spec = cron["spec"]["jobTemplate"]["spec"]
    shop.eu.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec})
    await shop.beat()
    verdict = await look(shop)
    assert verdict.status is Status.FAIL
    assert "a pod of job/settle-by-hand runs" in verdict.observed


async def test_where_none_of_the_workers_is_there_nothing_is_known(shop: Fleet) -> None:
    admin = shop.eu.access.users["admin"]
    for resource, name in ((DEPLOYMENTS, "shop-worker"), (DEPLOYMENTS, "shop-mailer"), (CRONJOBS, "shop-settle")):
        shop.eu.core.delete(admin, resource, "shop", name)
    await shop.beat()
    verdict = await look(shop)
    assert verdict.status is Status.UNKNOWN
    assert "eu-1: none of deployment/shop-worker" in verdict.observed
