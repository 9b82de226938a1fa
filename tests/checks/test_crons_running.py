"""`crons.running` over the real adapter: missed, hanging, failed, not due, not known."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from kubernetes.aio import client

from bot.contract import Status, Verdict
from bot.playground.cluster.resources import CRONJOBS
from bot.ports import kubernetes as port
from bot.ports.kubernetes import IMAGE, Place, Thing, Writer
from bot.testing import run_check
from checks.crons_running import CronsRunning, CronsRunningOutput, CronsRunningParams, judge
from tests.fixtures.cluster import connected
from tests.fixtures.clusters_guarded import unrecorded
from tests.fixtures.clusters_workers import Fleet, fleet, image

P = CronsRunningParams()


@pytest.fixture
async def shop() -> AsyncIterator[Fleet]:
    """One cluster with a CronJob for every quarter of an hour, at noon."""
    async with fleet("eu-1") as shop:
        yield shop


async def look(shop: Fleet, p: CronsRunningParams = P) -> Verdict:
    verdict = await run_check(CronsRunning(), shop.ports_for, p, now=shop.now)
    CronsRunningOutput.model_validate(verdict.data)
    return verdict


async def suspend(shop: Fleet, off: bool) -> None:
    """What a person does with kubectl."""
    async with connected(shop.eu, "admin") as api:
        body = {"spec": {"suspend": off}}
        await client.BatchV1Api(api).patch_namespaced_cron_job("shop-settle", "shop", body, field_manager="kubectl")


async def ran(shop: Fleet) -> None:
    """The next run is due, starts and ends well."""
    await shop.beat(901)
    await shop.finish_jobs()


async def test_a_run_that_ended_well_when_it_was_due_passes(shop: Fleet) -> None:
    await ran(shop)
    await shop.beat(180)
    verdict = await look(shop)
    assert (verdict.status, verdict.observed) == (Status.PASS, "eu-1/cronjob/shop-settle: last success 12:15")
    assert verdict.data["success"] == {"eu-1/cronjob/shop-settle": "2027-01-15T12:15:01Z"}


async def test_what_was_not_due_since_the_release_stands_there_is_unknown_and_later_a_warning(shop: Fleet) -> None:
    verdict = await look(shop)
    assert verdict.status is Status.UNKNOWN
    assert verdict.observed.startswith("eu-1/cronjob/shop-settle: not due since 12:00, due 12:")
    verdict = await look(shop, CronsRunningParams(soon=60, grace=0))
    assert (verdict.status, verdict.observed) == (
        Status.WARN, "eu-1/cronjob/shop-settle: not due since 12:00, due 12:15; it never ended well",
    )  # fmt: skip


async def test_a_success_of_before_the_rollback_proves_nothing(shop: Fleet) -> None:
    await ran(shop)
    await suspend(shop, True)
    await shop.beat(60)
    await suspend(shop, False)
    await shop.beat(5)
    verdict = await look(shop)
    assert verdict.status is Status.UNKNOWN
    assert "not due since 12:16, due 12:30; last success 12:15" in verdict.observed


@pytest.mark.parametrize("ends", ["Failed", "Succeeded"])
async def test_a_job_of_the_removed_release_proves_nothing_when_nobody_knows_any_more_who_set_the_image(
    shop: Fleet, ends: str
) -> None:
    """At the end of a run the bot gives up what it owns, and with it the cluster's word on when it was written."""
    await shop.edit("CronJob", "shop-settle", jobTemplate=_template(shop, backoffLimit=0))
    place, clusters = Place("eu-1", "cronjob", "shop-settle"), shop.adapter.bind(unrecorded)
    await _write(clusters, place, image("settle", "2.4.1"))
    await shop.beat(901)
    for pod in shop.eu.all("Pod", "shop"):
        if "job-name" in pod["metadata"].get("labels", {}):
            shop.eu.set_status("Pod", pod["metadata"]["name"], "shop", phase=ends)
    await shop.beat(10)
    await _write(clusters, place, image("settle", "2.4.0"))
    await clusters.disown(place)
    await shop.beat(300)
    seen = await clusters.get(place)
    assert seen is not None and not any(name.startswith(IMAGE) for name in seen.by)
    verdict = await look(shop)
    assert verdict.status is Status.UNKNOWN, verdict.observed
    assert "not due since 12:15, due 12:30" in verdict.observed
    await ran(shop)
    assert (await look(shop)).status is Status.PASS


async def _write(clusters: port.Kubernetes, place: Place, wanted: str) -> None:
    seen = await clusters.get(place)
    assert seen is not None
    await clusters.write(seen, {"image/settle": wanted})


async def test_a_job_that_hangs_fails(shop: Fleet) -> None:
    await shop.beat(901)
    await shop.beat(3700)
    verdict = await look(shop)
    assert verdict.status is Status.FAIL
    assert " hangs: it runs since 12:15" in verdict.observed


async def test_a_run_that_has_not_ended_yet_is_unknown(shop: Fleet) -> None:
    await shop.beat(901)
    await shop.beat(200)
    verdict = await look(shop)
    assert verdict.status is Status.UNKNOWN
    assert "the run of 12:15 has not ended yet; it never ended well" in verdict.observed


async def test_a_job_that_failed_fails_it_with_the_clusters_words(shop: Fleet) -> None:
    await shop.edit("CronJob", "shop-settle", jobTemplate=_template(shop, backoffLimit=0))
    await shop.beat(901)
    for pod in shop.eu.all("Pod", "shop"):
        if "job-name" in pod["metadata"].get("labels", {}):
            shop.eu.set_status("Pod", pod["metadata"]["name"], "shop", phase="Failed")
    await shop.beat(180)
    verdict = await look(shop)
    assert verdict.status is Status.FAIL
    assert "the run of 12:15 failed (BackoffLimitExceeded: " in verdict.observed


def _template(shop: Fleet, **spec: Any) -> dict[str, Any]:
    found = json.loads(json.dumps(shop.eu.get("CronJob", "shop-settle", "shop")["spec"]["jobTemplate"]))
    return {**found, "spec": {**found["spec"], **spec}}


async def test_what_people_suspended_is_a_warning_and_what_the_bot_left_suspended_a_failure(shop: Fleet) -> None:
    await shop.edit("CronJob", "shop-settle", suspend=True)
    verdict = await look(shop)
    assert verdict.status is Status.WARN
    assert "is suspended" in verdict.observed
    place = Place("eu-1", "cronjob", "x")
    ours = Thing(place, "1", {"suspend": True}, by={"suspend": Writer("rollback-bot", shop.now)})
    assert judge(ours, [], shop.now, P).status is Status.FAIL


async def test_a_catalogued_cronjob_that_is_gone_fails(shop: Fleet) -> None:
    shop.eu.core.delete(shop.eu.access.users["admin"], CRONJOBS, "shop", "shop-settle")
    await shop.beat()
    verdict = await look(shop)
    assert (verdict.status, verdict.observed) == (Status.FAIL, "eu-1/cronjob/shop-settle: is not there")


async def test_a_cluster_that_does_not_answer_is_unknown(shop: Fleet) -> None:
    await ran(shop)
    now = shop.now
    await shop.eu.disconnect()
    verdict = await run_check(CronsRunning(), shop.ports_for, P, now=now)
    assert verdict.status is Status.UNKNOWN
    assert verdict.observed.startswith("eu-1: no connection to ")


async def test_a_job_made_by_hand_that_failed_is_told(shop: Fleet) -> None:
    await ran(shop)
    spec = shop.eu.get("CronJob", "shop-settle", "shop")["spec"]["jobTemplate"]["spec"]
    meta = {"name": "repair", "namespace": "shop"}
    shop.eu.apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {**spec, "backoffLimit": 0}})
    await shop.beat()
    for pod in shop.eu.all("Pod", "shop"):
        if pod["metadata"].get("labels", {}).get("job-name") == "repair":
            shop.eu.set_status("Pod", pod["metadata"]["name"], "shop", phase="Failed")
    await shop.beat()
    verdict = await look(shop)
    assert verdict.status is Status.FAIL
    assert "eu-1/job/repair: job repair of 12:15 failed (BackoffLimitExceeded" in verdict.observed


# -- pure --------------------------------------------------------------------------------------------------------------

NOON = datetime(2027, 1, 15, 12, tzinfo=UTC)


def cron(schedule: str = "*/15 * * * *", **facts: Any) -> Thing:
    return Thing(
        Place("eu-1", "cronjob", "settle"), "1", {"suspend": False}, {"schedule": schedule, **facts},
        by={"suspend": Writer("rollback-bot", NOON - timedelta(hours=1))},
    )  # fmt: skip


def test_missed_runs_are_counted() -> None:
    stuck = cron(last_schedule="2027-01-15T11:15:00Z", last_success="2027-01-15T11:15:20Z")
    found = judge(stuck, [], NOON + timedelta(minutes=5), P)
    assert (found.status, found.words) == (
        Status.FAIL, "3 runs missed, the last at 12:00; last success 11:15",
    )  # fmt: skip


def test_a_run_that_left_no_job_and_no_success_did_not_end_well() -> None:
    lost = cron(last_schedule="2027-01-15T12:00:00Z")
    found = judge(lost, [], NOON + timedelta(minutes=5), P)
    assert (found.status, found.words) == (
        Status.FAIL, "the run of 12:00 did not end well; it never ended well",
    )  # fmt: skip


@pytest.mark.parametrize("facts", [{"schedule": "61 * * * *"}, {"time_zone": "Mars/Olympus"}])
def test_a_schedule_that_cannot_be_computed_is_unknown(facts: dict[str, str]) -> None:
    assert judge(replace(cron(), facts={**cron().facts, **facts}), [], NOON, P).status is Status.UNKNOWN


def test_a_schedule_for_the_night_is_a_warning_by_day() -> None:
    nightly = cron("0 3 * * *", last_success="2027-01-15T03:00:30Z")
    found = judge(nightly, [], NOON, P)
    assert (found.status, found.words) == (
        Status.WARN, "not due since 11:00, due 03:00; last success 03:00",
    )  # fmt: skip


def test_one_that_is_never_due_is_a_warning() -> None:
    assert judge(cron("0 0 31 2 *"), [], NOON, P).words == "not due since 11:00, never due; it never ended well"
