"""`release.deploy` on workloads that do not roll as a Deployment does, with the cases from the field."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from actions.release_deploy import ReleaseDeploy, ReleaseDeployParams
from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.contract import Change, Fatal, Json, NotYet, Outgoing, Receipt
from bot.playground.cluster import Cluster
from bot.playground.cluster.controllers.statefulsets import HASH
from bot.playground.cluster.resources import PODS
from bot.playground.workspace.clock import Clock
from bot.ports import kubernetes as port
from bot.testing import TestCtx
from bot.workloads.rolling import PATIENCE, ROUNDS, UNBLOCK
from tests.fixtures.cluster import namespace
from tests.fixtures.clusters_workers import NOON, Fleet
from tests.fixtures.field_cases import case

GOOD, BAD = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@asynccontextmanager
async def running(*manifests: dict[str, Any], broken: str = "") -> AsyncIterator[Fleet]:
    """A cluster with these. broken: pods that run this digest never become ready."""
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(Cluster("eu-1", kubelet=False, clock=Clock(NOON, frozen=True)))
        there.apply(namespace(), *manifests)
        known = port.Cluster("eu-1", "shop", 1)
        adapter = Clusters([ClusterTarget(known, "eu-1", 5.0)], str(there.kubeconfig("bot")))
        stack.push_async_callback(adapter.close)
        yield Fleet({"eu-1": there}, adapter, broken=broken)


def params(name: str, repository: str = "") -> ReleaseDeployParams:
    image = f"registry.example/shop/{repository or name}@"
    gone = Outgoing(version="1.1", images={name: image + BAD})
    return ReleaseDeployParams(release="1.0", images={name: image + GOOD}, outgoing=[gone])


async def plan(shop: Fleet, p: ReleaseDeployParams) -> Change:
    return await ReleaseDeploy().plan(TestCtx(shop.ports_for, ReleaseDeploy.needs, now=shop.now), p)


async def once(shop: Fleet, p: ReleaseDeployParams, change: Change, memo: dict[str, Json]) -> Receipt:
    ctx = TestCtx(shop.ports_for, ReleaseDeploy.needs, acting=True, now=shop.now, memo=memo)
    return await ReleaseDeploy().apply(ctx, p, change)


async def apply(shop: Fleet, p: ReleaseDeployParams, change: Change, looks: int = 40) -> tuple[Receipt | None, str]:
    """One look after another, 10 s apart; the last thing that was said."""
    memo: dict[str, Json] = {}
    said = ""
    for _ in range(looks):
        try:
            return await once(shop, p, change, memo), said
        except NotYet as waits:
            said = str(waits)
            await shop.beat(10)
    return None, said


def pods(shop: Fleet, app: str) -> dict[str, str]:
    """Pod -> the digest that it runs."""
    found = [p for p in shop.eu.all("Pod", "shop") if p["metadata"]["labels"].get("app") == app]
    return {p["metadata"]["name"]: p["spec"]["containers"][0]["image"].partition("@")[2] for p in found}


# -- StatefulSet: BR-03, BR-04 ---------------------------------------------------------------------------------------


async def _queue(shop: Fleet) -> None:
    """The good release, then the bad one, whose last pod never becomes ready."""
    for _ in range(6):
        await shop.beat(1)
    shop.eu.apply(*case("br04-bad"))
    for _ in range(4):
        await shop.beat()
    assert pods(shop, "queue")["queue-2"] == BAD


def _not_ready() -> dict[str, Any]:
    return {"type": "Ready", "status": "False", "lastTransitionTime": "2027-01-15T12:00:00Z"}


async def test_a_stuck_pod_of_a_stateful_set_is_deleted_where_people_approved_it() -> None:
    async with running(*case("br03-good"), broken=BAD) as shop:
        await _queue(shop)
        p = params("queue")
        change = await plan(shop, p)
        assert [e.what for e in change.effects] == [f"eu-1/statefulset/queue{UNBLOCK}"]
        receipt, _ = await apply(shop, p, change)
        assert receipt is not None and receipt.detail.endswith("3 of 3 pods ready")
        assert set(pods(shop, "queue").values()) == {GOOD}
        assert [r.name for r in shop.eu.requests.writes("bot") if r.verb == "delete"] == ["queue-2"]


async def test_a_stuck_pod_that_nobody_approved_ends_the_step_within_a_minute_with_its_remedy() -> None:
    async with running(*case("br03-good"), broken=BAD) as shop:
        await _queue(shop)
        p = params("queue")
        change = await plan(shop, p)
        bare, memo = Change(change.summary, change.edits), dict[str, Json]()
        with pytest.raises(NotYet):
            await once(shop, p, bare, memo)
        await shop.settle()
        with pytest.raises(NotYet, match=r"queue-2 runs another template and is not ready.*kubectl delete pod queue-2"):
            await once(shop, p, bare, memo)
        shop.eu.clock.advance(PATIENCE)
        with pytest.raises(Fatal, match="kubectl delete pod queue-2 helps"):
            await once(shop, p, bare, memo)
        again = await plan(shop, p)
        assert (again.edits, len(again.effects)) == ((), 1), "trying again asks for the deletion alone"
        receipt, _ = await apply(shop, p, again)
        assert receipt is not None and set(pods(shop, "queue").values()) == {GOOD}
        assert (await plan(shop, p)).is_noop


# -- why no pod comes: BR-13, and how long it may take: BR-36 ----------------------------------------------------------


async def test_why_no_pod_comes_stands_in_the_progress_line_at_once() -> None:
    quota, api = case("br13-quota")
    async with running(api) as shop:
        for _ in range(4):
            await shop.beat(1)
        shop.eu.apply(quota)
        p = params("api")
        change = await plan(shop, p)
        memo: dict[str, Json] = {}
        with pytest.raises(NotYet):
            await once(shop, p, change, memo)
        await shop.settle()
        with pytest.raises(NotYet, match=r"0 of 2 pods ready, eu-1; .*FailedCreate: .*exceeded quota: team") as told:
            await once(shop, p, change, memo)
        assert "limited: limits.memory=1Gi" in str(told.value)


async def test_an_old_event_of_a_namesake_is_no_reason() -> None:
    _, api = case("br13-quota")
    canary = json.loads(json.dumps(api).replace('"api"', '"api-canary"').replace("/shop/api@", "/shop/other@"))
    async with running(api, canary) as shop:
        for _ in range(4):
            await shop.beat(1)
        p = params("api")
        change = await plan(shop, p)
        memo: dict[str, Json] = {}
        for name in ("api-canary", "api"):
            old = next(s for s in shop.eu.all("ReplicaSet", "shop") if s["metadata"]["name"].rpartition("-")[0] == name)
            shop.eu.core.event(old, "Warning", "FailedCreate", "of another day, or another workload", "test")
        with pytest.raises(NotYet, match=r"pods ready, eu-1$"):
            await once(shop, p, change, memo)
        await shop.settle()
        with pytest.raises(NotYet, match=r"pods ready, eu-1$"):
            await once(shop, p, change, memo)


async def test_a_slow_start_gets_its_time_and_says_so() -> None:
    async with running(*case("br36-slow-start")) as shop:
        for _ in range(4):
            await shop.beat(300)
        change = await plan(shop, params("api"))
        assert {f.name: f.value for f in change.facts}["takes up to"] == 15
        assert change.within == 3 * (240 + 60) + 1800
        assert change.lasts == (3 * 240, 3 * (240 + 60))
        assert any("must be ready for 240 s before it counts, 1 at a time" in w for w in change.warnings)


# -- DaemonSet: BR-21 --------------------------------------------------------------------------------------------------


async def test_a_daemon_set_that_waits_for_a_node_names_it_and_leaves_the_choice() -> None:
    nodes = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": f"node-{i}"}} for i in range(1, 6)]
    async with running(*nodes, *case("br21-daemonset")) as shop:
        for _ in range(4):
            await shop.beat(1)
        shop.eu.set_status("Node", "node-5", "", conditions=[_not_ready()])
        lost = next(p for p in shop.eu.all("Pod", "shop") if p["spec"]["nodeName"] == "node-5")
        shop.eu.set_status("Pod", lost["metadata"]["name"], "shop", conditions=[_not_ready()])
        p = params("agent")
        change = await plan(shop, p)
        with pytest.raises(Fatal, match=r"4 of 5 pods ready, node node-5 is NotReady") as told:
            await apply(shop, p, change)
        assert told.value.hint.startswith("accept it as it is where node-5 may stay behind")
        assert sorted(pods(shop, "edge-agent").values()) == [GOOD] * 4 + [BAD]
        (thing,) = await shop.adapter.list("eu-1", "daemonset")
        assert thing.rollout is not None
        assert (thing.rollout.complete, thing.rollout.away, thing.rollout.serves) == (False, 1, True)


# -- owned by a controller: BR-27 --------------------------------------------------------------------------------------


async def test_what_an_operator_puts_back_is_no_war_and_names_the_operator() -> None:
    async with running(*case("br27-operator-owned")) as shop:
        for _ in range(3):
            await shop.beat(1)
        shop.eu.owners.keep("shop", "quote-00007-deployment", "knative-controller")
        p = params("quote")
        change = await plan(shop, p)
        owner = "revision.serving.knative.dev/quote-00007"
        place = "eu-1/deployment/quote-00007-deployment"
        assert f"{place} belongs to {owner}, which may put it back: then change it there" in change.warnings
        with pytest.raises(Fatal, match=rf"its owner {owner} puts it back, {ROUNDS} times so far"):
            await apply(shop, p, change)
        writes = [r for r in shop.eu.requests.writes("bot") if r.verb == "patch"]
        assert len(writes) == ROUNDS + 1


# -- the simulator tells the truth -------------------------------------------------------------------------------------


async def test_reverting_an_ordered_stateful_set_never_reaches_its_broken_pod() -> None:
    async with running(*case("br03-good"), broken=BAD) as shop:
        await _queue(shop)
        shop.eu.apply(*case("br03-good"))
        for _ in range(5):
            await shop.beat()
        status = shop.eu.get("StatefulSet", "queue", "shop")["status"]
        assert status["currentRevision"] == status["updateRevision"]
        assert (status["updatedReplicas"], status["readyReplicas"], status["replicas"]) == (2, 2, 3)
        assert pods(shop, "queue")["queue-2"] == BAD


async def test_pods_below_the_partition_come_back_on_the_revision_before() -> None:
    body = case("br03-good")[0]
    body["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 3
    async with running(body) as shop:
        for _ in range(6):
            await shop.beat(1)
        first = {p["metadata"]["labels"][HASH] for p in shop.eu.all("Pod", "shop")}
        bad = case("br04-bad")[0]
        bad["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 3
        shop.eu.apply(bad)
        await shop.settle()
        shop.eu.core.finish(PODS, shop.eu.get("Pod", "queue-1", "shop"))
        for _ in range(4):
            await shop.beat(1)
        assert {p["metadata"]["labels"][HASH] for p in shop.eu.all("Pod", "shop")} == first
        assert set(pods(shop, "queue").values()) == {GOOD}
