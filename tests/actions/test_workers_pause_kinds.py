"""`workers.pause` on what is no Deployment, on Jobs, and on autoscalers with a will of their own; with cases from the
field."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from actions.workers_pause import HELD, JOBS_PATIENCE, OFF, SETTLED, UP, WorkersPause, WorkersPauseParams
from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.catalogue import load_catalogue
from bot.contract import Change, Fatal, Json, NotYet, Receipt, Status
from bot.located import Faults
from bot.playground.cluster import Cluster
from bot.playground.workspace.clock import Clock
from bot.ports import kubernetes as port
from bot.testing import TestCtx, run_check
from checks.workers_paused import WorkersPaused, WorkersPausedParams
from tests.actions.test_release_deploy_kinds import BAD, GOOD
from tests.actions.test_release_deploy_rollouts import CANARY, own
from tests.fixtures.cluster import namespace
from tests.fixtures.clusters_workers import NOON, Fleet
from tests.fixtures.field_cases import case

PARAMS = WorkersPauseParams(banned={"1.1": [BAD]})
SCALED_JOB = {
    "apiVersion": "keda.sh/v1alpha1",
    "kind": "ScaledJob",
    "metadata": {"name": "thumbnails", "namespace": "shop"},
    "spec": {"triggers": [{"type": "redis", "metadata": {}}], "jobTargetRef": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "thumb", "image": f"registry.example/shop/thumb@{GOOD}"}],
    }}}},
}  # fmt: skip


@asynccontextmanager
async def working(workers: tuple[str, ...], *manifests: dict[str, Any]) -> AsyncIterator[Fleet]:
    """A cluster with these, whose pods are ready."""
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(Cluster("eu-1", kubelet=False, clock=Clock(NOON, frozen=True)))
        there.apply(namespace(), *manifests)
        known = port.Cluster("eu-1", "shop", 1, workers)
        adapter = Clusters([ClusterTarget(known, "eu-1", 5.0)], str(there.kubeconfig("bot")))
        stack.push_async_callback(adapter.close)
        shop = Fleet({"eu-1": there}, adapter)
        for _ in range(4):
            await shop.beat(1)
        yield shop


async def plan(shop: Fleet) -> Change:
    return await WorkersPause().plan(TestCtx(shop.ports_for, {"kubernetes"}, now=shop.now), PARAMS)


async def apply(shop: Fleet, change: Change, looks: int = 12) -> Receipt:
    """As the engine does it, for a few looks, 3 s apart."""
    memo: dict[str, Json] = {}
    for left in reversed(range(looks)):
        ctx = TestCtx(shop.ports_for, {"kubernetes"}, acting=True, now=shop.now, memo=memo)
        try:
            return await WorkersPause().apply(ctx, PARAMS, change)
        except NotYet:
            if not left:
                raise
            await shop.beat(SETTLED)
    raise AssertionError("the last look returns or raises")


async def undo(shop: Fleet, change: Change) -> Receipt:
    return await apply(shop, change.inverted())


# -- kinds: BR-31 ------------------------------------------------------------------------------------------------------


async def test_stateful_sets_rollouts_and_scaled_jobs_are_paused_and_come_back() -> None:
    queue = case("br03-good")[0]
    async with working(
        ("statefulset/queue", "rollout/quote", "scaledjob/thumbnails"), queue, own(GOOD, CANARY), SCALED_JOB
    ) as shop:
        change = await plan(shop)
        assert [(e.target, e.after) for e in change.edits] == [
            ("eu-1/statefulset/queue/replicas", 0),
            ("eu-1/rollout/quote/replicas", 0),
            (f"eu-1/scaledjob/thumbnails/{HELD}", "true"),
        ]
        assert (await apply(shop, change)).detail == "queue, quote, thumbnails stand still"
        assert not shop.eu.all("Pod", "shop")
        held = shop.eu.get("ScaledJob", "thumbnails", "shop")["status"]["conditions"]
        assert [(c["type"], c["status"]) for c in held] == [("Paused", "True")]
        assert (await undo(shop, change)).detail == "queue, quote, thumbnails go on"
        assert len(shop.eu.all("Pod", "shop")) == 8
        assert not shop.eu.get("ScaledJob", "thumbnails", "shop")["metadata"].get("annotations")


def test_a_daemon_set_among_the_workers_is_refused_with_the_reason() -> None:
    path = Path(__file__).parent.parent / "cases" / "kubernetes" / "br31-catalogue.yaml"
    with pytest.raises(Faults, match="daemonset/spooler: a DaemonSet cannot be paused, it has no replicas"):
        load_catalogue(path.read_bytes(), path.name)


async def test_a_scaled_job_with_removed_code_is_not_started() -> None:
    async with working(("scaledjob/thumbnails",), SCALED_JOB) as shop:
        change = await plan(shop)
        await apply(shop, change)
        found = json.loads(json.dumps(shop.eu.get("ScaledJob", "thumbnails", "shop")).replace(GOOD, BAD))
        shop.eu.apply(found)
        with pytest.raises(Fatal, match=r"eu-1/scaledjob/thumbnails still holds .*, which is removed: not started"):
            await undo(shop, change)


# -- jobs: BR-16, BR-17, BR-26, BR-42 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["br16-manual-job", "br26-hook-job", "br42-running-job"])
async def test_a_job_of_the_removed_release_is_waited_for_and_asked_about_after_a_minute(name: str) -> None:
    cron, job = case("br16-manual-job")[0], case(name)[-1]
    async with working(("cronjob/settle",), cron) as shop:
        if owners := job["metadata"].get("ownerReferences"):
            owners[0]["uid"] = shop.eu.get("CronJob", "settle", "shop")["metadata"]["uid"]
        shop.eu.apply(job)
        await shop.beat()
        assert "active" not in shop.eu.get("CronJob", "settle", "shop").get("status", {}), "no CronJob lists it"
        change = await plan(shop)
        waited = {f.name: f.value for f in change.facts}["jobs that are waited for"]
        assert waited == job["metadata"]["name"]
        with pytest.raises(NotYet, match=f"waiting for job {waited}"):
            await apply(shop, change, looks=3)
        with pytest.raises(Fatal, match=f"still running after 60 s: job {waited}") as asked:
            await apply(shop, change, looks=2 + int(JOBS_PATIENCE / SETTLED))
        assert f"kubectl delete job/{waited} ends them; or accept that they run" in asked.value.hint
        await shop.finish_jobs()
        assert (await apply(shop, change)).detail == "settle stand still"


async def test_a_job_that_only_a_sidecar_keeps_is_told_as_that() -> None:
    async with working(("cronjob/settle",), *case("br17-mesh-job")) as shop:
        for _ in range(3):
            await shop.beat(86400 / 3)
        await shop.beat(60)
        (pod,) = shop.eu.all("Pod", "shop")
        over = {"name": "settle", "restartCount": 0, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
        proxy = {"name": "istio-proxy", "restartCount": 0, "state": {"running": {}}}
        shop.eu.set_status("Pod", pod["metadata"]["name"], "shop", containerStatuses=[over, proxy])
        change = await plan(shop)
        with pytest.raises(Fatal, match=r"its work has ended, only istio-proxy still runs"):
            await apply(shop, change, looks=2 + int(JOBS_PATIENCE / SETTLED))


async def test_a_finished_job_and_one_of_another_release_are_nobody_s_business() -> None:
    async with working(("cronjob/settle",), case("br16-manual-job")[0]) as shop:
        job = json.loads(json.dumps(case("br42-running-job")[0]).replace(BAD, GOOD))
        shop.eu.apply(job, case("br26-hook-job")[0])
        await shop.beat()
        hook = next(p for p in shop.eu.all("Pod", "shop") if p["metadata"]["labels"]["job-name"] == "migrate-1-1")
        shop.eu.set_status("Pod", hook["metadata"]["name"], "shop", phase="Succeeded")
        await shop.beat()
        change = await plan(shop)
        assert not [f for f in change.facts if f.name == "jobs that are waited for"]
        assert (await apply(shop, change)).detail == "settle stand still"


# -- autoscalers: BR-14, HPAScaleToZero --------------------------------------------------------------------------------


async def test_a_worker_that_keda_leaves_idle_is_resumed() -> None:
    async with working(("deployment/mailer",), *case("br14-keda-idle")) as shop:
        shop.eu.metrics.set("shop", "Deployment", "mailer", 1.0)
        await shop.beat(30)
        change = await plan(shop)
        await apply(shop, change)
        shop.eu.metrics.set("shop", "Deployment", "mailer", 0.0)
        assert (await undo(shop, change)).detail == "mailer go on"
        await shop.beat(30)
        assert shop.eu.get("Deployment", "mailer", "shop")["spec"]["replicas"] == 0


@pytest.mark.parametrize(("value", "holds"), [("True", True), ("1", True), ("yes", True), ("f", False), ("0", False)])
async def test_what_somebody_held_is_read_as_keda_reads_it(value: str, *, holds: bool) -> None:
    async with working(("deployment/mailer",), *case("br14-keda-idle")) as shop:
        shop.eu.metrics.set("shop", "Deployment", "mailer", 1.0)
        await shop.beat(30)
        await shop.annotate("mailer", value, key="autoscaling.keda.sh/paused")
        await shop.beat(30)
        kinds = {e.target.split("/")[1] for e in (await plan(shop)).edits}
        assert kinds == ({"deployment"} if holds else {"scaledobject"})


def _hpa(least: int) -> dict[str, Any]:
    metric = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "1"}}}
    aim = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "mailer"}
    spec = {"minReplicas": least, "maxReplicas": 10, "scaleTargetRef": aim, "metrics": [metric]}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "mailer", "namespace": "shop"}, "spec": spec}  # fmt: skip


async def test_a_0_that_an_hpa_holds_by_itself_is_no_pause() -> None:
    mailer = case("br14-keda-idle")[0]
    mailer["spec"]["replicas"] = 0
    async with working(("deployment/mailer",), mailer, _hpa(0)) as shop:
        change = await plan(shop)
        assert [(e.target, e.before, e.after) for e in change.edits] == [(f"eu-1/hpa/mailer/{UP}", None, OFF)]
        before = await run_check(WorkersPaused(), shop.ports_for, WorkersPausedParams())
        assert "its autoscaler holds 0 by itself and may start it" in before.observed
        await apply(shop, change)
        after = await run_check(WorkersPaused(), shop.ports_for, WorkersPausedParams())
        assert (after.status, after.observed) == (Status.PASS, "1 workers paused")
        shop.eu.metrics.set("shop", "Deployment", "mailer", 1.0)
        await shop.beat(30)
        assert shop.eu.get("Deployment", "mailer", "shop")["spec"]["replicas"] == 0
        assert (await undo(shop, change)).detail == "mailer go on"
        await shop.beat(30)
        assert shop.eu.get("Deployment", "mailer", "shop")["spec"]["replicas"] == 1, "it wakes by itself again"


async def test_an_update_of_an_hpa_that_was_in_flight_is_written_over() -> None:
    async with working(("deployment/mailer",), case("br14-keda-idle")[0], _hpa(2)) as shop:
        change = await plan(shop)
        memo: dict[str, Json] = {}
        said, detail = list[str](), ""
        for look in range(8):
            ctx = TestCtx(shop.ports_for, {"kubernetes"}, acting=True, now=shop.now, memo=memo)
            try:
                detail = (await WorkersPause().apply(ctx, PARAMS, change)).detail
                break
            except NotYet as waits:
                said.append(str(waits))
            if look == 1:  # decided before the pause, written after it
                await shop.scale("mailer", 4)
            await shop.beat(SETTLED)
        assert detail == "mailer stand still"
        assert "looking again whether mailer stays at 0" in said
        assert shop.eu.get("Deployment", "mailer", "shop")["spec"]["replicas"] == 0
