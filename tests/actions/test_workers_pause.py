"""`workers.pause` over the real adapter, against clusters that scale, schedule and fight back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import pytest

from actions.workers_pause import SETTLED, WorkersPause, WorkersPauseParams
from bot.contract import Change, Edit, Fatal, Json, NotYet, Receipt, Retryable, Value
from bot.playground.cluster import Fault
from bot.playground.cluster.gate.access import SYSTEM
from bot.playground.cluster.resources import of
from bot.ports.kubernetes import digest
from bot.testing import TestCtx, assert_lifecycle
from tests.fixtures.cluster import deployment
from tests.fixtures.clusters_workers import KEDA, Fleet, cron, fleet, images

PARAMS = WorkersPauseParams(banned={"2.4.1": [digest(i) for i in images("2.4.1").values()]})
WORKER = "eu-1/deployment/shop-worker/replicas"
MAILER = f"eu-1/scaledobject/shop-mailer/annotation/{KEDA}"
SETTLE = "eu-1/cronjob/shop-settle/suspend"
EDITS = (Edit(WORKER, 3, 0, bound=False), Edit(MAILER, None, "0"), Edit(SETTLE, False, True))


@pytest.fixture
async def shop() -> AsyncIterator[Fleet]:
    async with fleet() as shop:
        yield shop


async def test_lifecycle(shop: Fleet) -> None:
    change = await assert_lifecycle(
        WorkersPause(),
        shop.ports_for,
        PARAMS,
        world=shop.world,
        drift=lambda: shop.annotate("shop-mailer", "2"),
        elsewhere=lambda: shop.edit("CronJob", "shop-settle", schedule="0 * * * *"),
        wait=lambda seconds: shop.beat(seconds),
    )
    assert change.edits == EDITS


async def plan(shop: Fleet) -> Change:
    return await WorkersPause().plan(TestCtx(shop.ports_for, {"kubernetes"}, now=shop.now), PARAMS)


async def apply(shop: Fleet, change: Change, *, looks: int = 5) -> Receipt:
    """As the engine does it, for a few looks, 3 s apart."""
    memo: dict[str, Json] = {}
    for left in reversed(range(looks)):
        try:
            return await once(shop, change, memo)
        except NotYet:
            if not left:
                raise
            await shop.beat(SETTLED)
    raise AssertionError("the last look returns or raises")


async def once(shop: Fleet, change: Change, memo: dict[str, Json]) -> Receipt:
    """One look."""
    ctx = TestCtx(shop.ports_for, {"kubernetes"}, acting=True, now=shop.now, memo=memo)
    return await WorkersPause().apply(ctx, PARAMS, change)


async def undo(shop: Fleet, change: Change) -> Receipt:
    back, moved = change.undo_from(await observe(shop, change))
    assert not moved
    return await apply(shop, back)


async def observe(shop: Fleet, change: Change) -> Mapping[str, Value]:
    return await WorkersPause().observe(TestCtx(shop.ports_for, {"kubernetes"}), PARAMS, change.targets)


def replicas(shop: Fleet, name: str, cluster: str = "eu-1") -> int:
    return int(shop.clusters[cluster].get("Deployment", name, "shop")["spec"]["replicas"])


async def test_the_preview_tells_pods_scalers_and_runs_that_will_be_missed(shop: Fleet) -> None:
    change = await plan(shop)
    assert (change.summary, change.warnings) == ("pause shop-mailer, shop-settle, shop-worker in eu-1", ())
    assert {f.name: f.value for f in change.facts} == {
        "pods": 4,
        "eu-1/deployment/shop-worker autoscaler": "2 to 10, off at 0",
        "shop-settle in eu-1 misses within 1 h": "4 runs, 12:15 to 13:00 UTC",
    }
    assert not shop.eu.requests.writes("bot")


# -- what scales and schedules -------------------------------------------------------------------------------------


async def test_what_an_autoscaler_does_meanwhile_is_no_drift(shop: Fleet) -> None:
    approved = await plan(shop)
    shop.eu.metrics.set("shop", "Deployment", "shop-worker", 2.0)
    await shop.eu.until(lambda: replicas(shop, "shop-worker") == 6)
    fresh = await plan(shop)
    assert fresh.beyond(approved) == ()
    assert fresh.fingerprint("workers.pause") == approved.fingerprint("workers.pause")
    await apply(shop, approved)
    assert replicas(shop, "shop-worker") == 0


async def test_neither_hpa_nor_keda_starts_what_is_paused(shop: Fleet) -> None:
    await apply(shop, await plan(shop))
    shop.eu.metrics.set("shop", "Deployment", "shop-worker", 5.0)
    await shop.beat(120)
    assert (replicas(shop, "shop-worker"), replicas(shop, "shop-mailer")) == (0, 0)


async def test_what_an_autoscaler_made_of_it_after_the_undo_is_left_to_it(shop: Fleet) -> None:
    change = await plan(shop)
    await apply(shop, change)
    back = change.inverted()
    await apply(shop, back)
    await shop.scale("shop-worker", 5)
    await shop.beat()
    await apply(shop, back)
    assert replicas(shop, "shop-worker") == 5


async def test_a_worker_that_keda_keeps_at_nothing_is_back_when_keda_has_it(shop: Fleet) -> None:
    await shop.edit("ScaledObject", "shop-mailer", minReplicaCount=0)
    shop.eu.metrics.set("shop", "Deployment", "shop-mailer", 0.0)
    await shop.beat(60)
    change = await plan(shop)
    await apply(shop, change)
    assert (await undo(shop, change)).detail.startswith("shop-mailer, shop-settle, shop-worker go on")
    assert replicas(shop, "shop-mailer") == 0


async def test_a_worker_that_keda_was_told_to_leave_alone_is_scaled_like_any_other(shop: Fleet) -> None:
    await shop.annotate("shop-mailer", "true", key="autoscaling.keda.sh/paused")
    change = await plan(shop)
    assert Edit("eu-1/deployment/shop-mailer/replicas", 1, 0, bound=False) in change.edits
    await apply(shop, change)
    await shop.beat(60)
    assert replicas(shop, "shop-mailer") == 0
    await undo(shop, change)
    assert replicas(shop, "shop-mailer") == 1


async def test_a_running_job_is_waited_for(shop: Fleet) -> None:
    await shop.beat(901)
    change = await plan(shop)
    (job,) = [f.value for f in change.facts if f.name == "jobs that are waited for"]
    with pytest.raises(NotYet, match=f"waiting for job {job}"):
        await apply(shop, change)
    await shop.finish_jobs()
    assert (await apply(shop, change)).detail == "shop-mailer, shop-settle, shop-worker stand still"


async def test_runs_that_were_missed_are_told_when_it_goes_on(shop: Fleet) -> None:
    await shop.beat(901)  # 12:15 runs
    await shop.finish_jobs()
    change = await plan(shop)
    await apply(shop, change)
    await shop.beat(3000)
    said = await undo(shop, change)
    missed = "missed 3 runs, 12:30 to 13:00 UTC: the newest starts now, the others are lost"
    assert said.detail == f"shop-mailer, shop-settle, shop-worker go on; eu-1/cronjob/shop-settle {missed}"


async def test_a_schedule_that_will_have_missed_too_many_is_warned_of(shop: Fleet) -> None:
    await shop.edit("CronJob", "shop-settle", schedule="* * * * *")
    (warning,) = (await plan(shop)).warnings
    assert warning.startswith(
        "eu-1/cronjob/shop-settle misses more than 100 runs after 13:41 UTC: before Kubernetes 1.21"
    )


async def test_one_that_has_missed_too_many_is_told_when_it_goes_on(shop: Fleet) -> None:
    shop.eu.apply(cron("* * * * *"))
    await shop.beat(61)
    await shop.finish_jobs()
    change = await plan(shop)
    await apply(shop, change)
    await shop.beat(7200)
    assert "missed more than 100 runs; see that it starts" in (await undo(shop, change)).detail


# -- what others did -----------------------------------------------------------------------------------------------


async def test_a_worker_rescaled_by_hand_after_the_pause_is_asked_about(shop: Fleet) -> None:
    change = await plan(shop)
    await apply(shop, change)
    await shop.scale("shop-worker", 2)
    await shop.beat()
    back, moved = change.undo_from(await observe(shop, change))
    assert moved == {WORKER: 2}
    await apply(shop, back)
    assert (replicas(shop, "shop-worker"), replicas(shop, "shop-mailer")) == (2, 1)


async def test_what_was_paused_before_us_is_no_debt_and_said(shop: Fleet) -> None:
    await shop.scale("shop-worker", 0)
    await shop.annotate("shop-mailer", "0")
    await shop.beat()
    change = await plan(shop)
    assert [e.target for e in change.edits] == [SETTLE]
    worker, mailer = change.warnings
    assert worker.startswith("eu-1/deployment/shop-worker is paused already, by kubectl-scale at ")
    assert worker.endswith(": left alone, and not started afterwards")
    assert mailer.startswith("eu-1/deployment/shop-mailer is paused already")
    await shop.edit("CronJob", "shop-settle", suspend=True)
    nothing = await plan(shop)
    assert (nothing.summary, nothing.is_noop, len(nothing.warnings)) == ("everything is paused already", True, 3)


async def test_a_worker_that_somebody_starts_meanwhile_stops_the_step(shop: Fleet) -> None:
    await shop.scale("shop-worker", 0)
    await shop.beat()
    change = await plan(shop)
    await shop.scale("shop-worker", 1)
    with pytest.raises(Fatal, match="not paused: eu-1/deployment/shop-worker"):
        await apply(shop, change)


async def test_a_worker_that_is_not_there_is_warned_of(shop: Fleet) -> None:
    shop.eu.core.delete(SYSTEM, of("deployments.apps"), "shop", "shop-worker")
    await shop.beat()
    (warning,) = (await plan(shop)).warnings
    assert warning.startswith("eu-1/deployment/shop-worker is catalogued and not there")


async def test_another_value_than_was_approved_is_not_written_over(shop: Fleet) -> None:
    change = await plan(shop)
    await shop.annotate("shop-mailer", "2")
    with pytest.raises(Fatal, match=r"paused-replicas is 2: somebody else changed it"):
        await apply(shop, change)


# -- what must not start -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", ["shop-worker", "shop-mailer"])
async def test_no_worker_starts_while_its_template_holds_a_removed_image(shop: Fleet, bad: str) -> None:
    change = await plan(shop)
    await apply(shop, change)
    image = images("2.4.1")[bad.removeprefix("shop-")]
    template = deployment(image, bad, 0, probe=False)["spec"]["template"]
    await shop.edit("Deployment", bad, template=template)
    with pytest.raises(Fatal, match=f"eu-1/deployment/{bad} still holds .*: not started") as refused:
        await undo(shop, change)
    assert "put the target release on it first" in refused.value.hint
    assert (replicas(shop, "shop-worker"), replicas(shop, "shop-mailer")) == (0, 0)


async def test_a_person_who_insists_has_them_started_all_the_same(shop: Fleet) -> None:
    change = await plan(shop)
    await apply(shop, change)
    bad = deployment(images("2.4.1")["worker"], "shop-worker", 0, probe=False)
    await shop.edit("Deployment", "shop-worker", template=bad["spec"]["template"])
    ctx = TestCtx(shop.ports_for, {"kubernetes"}, acting=True, now=shop.now, insisted="orders pile up, 2.4.1 is better")
    with pytest.raises(NotYet, match="0 of 3 pods of eu-1/deployment/shop-worker ready"):
        await WorkersPause().apply(ctx, PARAMS, change.inverted())


# -- clusters that do not answer -----------------------------------------------------------------------------------


async def test_a_cluster_out_of_reach_stops_the_step_after_the_others_are_done() -> None:
    async with fleet("eu-1", "us-1") as shop:
        await shop.clusters["us-1"].disconnect()
        change = await plan(shop)
        assert {e.target.partition("/")[0] for e in change.edits} == {"eu-1"}
        assert change.warnings[0].startswith("us-1 cannot be reached")
        with pytest.raises(
            Fatal, match="pause shop-mailer, shop-settle, shop-worker in eu-1: done; us-1 could not be reached"
        ) as stopped:
            await apply(shop, change)
        assert "try again when it is back" in stopped.value.hint
        assert (replicas(shop, "shop-worker"), replicas(shop, "shop-worker", "us-1")) == (0, 3)
        await shop.clusters["us-1"].connect()
        rest = await plan(shop)
        ours = "paused already by the bot, at 12:00 UTC: the run that paused it starts it again"
        assert rest.warnings[0] == f"eu-1/deployment/shop-worker is {ours}"
        assert {e.target.partition("/")[0] for e in rest.edits} == {"us-1"}
        await apply(shop, rest)
        assert replicas(shop, "shop-worker", "us-1") == 0


async def test_an_undo_waits_for_a_cluster_that_went_away() -> None:
    async with fleet("eu-1", "us-1") as shop:
        change = await plan(shop)
        await apply(shop, change)
        await shop.clusters["us-1"].disconnect()
        with pytest.raises(Retryable, match=r"us-1 could not be reached .*; everything else is done"):
            await apply(shop, change.inverted())
        await shop.clusters["us-1"].connect()
        await apply(shop, change.inverted())
        assert [replicas(shop, "shop-worker", c) for c in ("eu-1", "us-1")] == [3, 3]


async def test_a_refusal_is_fatal_and_says_what_to_do(shop: Fleet) -> None:
    change = await plan(shop)
    shop.eu.faults.add(Fault("error", verb="patch", resource="deployments", status=403))
    with pytest.raises(Fatal, match="eu-1/deployment/shop-worker") as refused:
        await apply(shop, change)
    assert refused.value.hint.startswith("give the bot the right")
