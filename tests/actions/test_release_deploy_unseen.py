"""BR-06: what runs the removed release under something that the bot does not read is named, before and after."""

from __future__ import annotations

from typing import Any

import pytest

from actions.release_deploy import ReleaseDeployParams
from bot.contract import Fatal, Outgoing, Status, Verdict
from bot.testing import run_check
from checks.release_running import ReleaseRunning, ReleaseRunningParams
from tests.actions.test_release_deploy_kinds import BAD, GOOD, apply, plan, running
from tests.fixtures.clusters_workers import Fleet
from tests.fixtures.field_cases import case

WORKER_GOOD, WORKER_BAD = "sha256:" + "c" * 64, "sha256:" + "d" * 64
SET = "replicaset/api-7c5d8f6b9"
OWNER = {"apiVersion": "delivery.example/v1", "kind": "Rollout", "name": "api", "controller": True}
WARNED = f"api: pods run what is removed under eu-1/{SET}, "


def images(api: str, worker: str) -> dict[str, str]:
    return {"api": f"registry.example/shop/api@{api}", "worker": f"registry.example/shop/worker@{worker}"}


GONE = Outgoing(version="1.1", images=images(BAD, WORKER_BAD))
PARAMS = ReleaseDeployParams(release="1.0", images=images(GOOD, WORKER_GOOD), outgoing=[GONE])


def owned(owner: dict[str, Any]) -> list[dict[str, Any]]:
    """The case, its ReplicaSet under an owner; none where that is empty."""
    replicas, worker = case("br06-mixed")
    owners = [owner | {"uid": "6f1c0000-0000-4000-8000-000000000000"}] if owner else []
    replicas["metadata"]["ownerReferences"] = owners
    return [replicas, worker]


async def check(shop: Fleet) -> Verdict:
    return await run_check(
        ReleaseRunning(), shop.ports_for, ReleaseRunningParams(images=PARAMS.images, outgoing=[GONE])
    )


@pytest.mark.parametrize(
    ("owner", "whose"),
    [
        ({}, "which no workload that the bot can read owns"),
        (OWNER, "whose owner rollout.delivery.example/api the bot cannot read"),
    ],
)
async def test_br_06_an_image_under_an_owner_that_the_bot_cannot_see_is_named_and_never_verified(
    owner: dict[str, Any], whose: str
) -> None:
    async with running(*owned(owner)) as shop:
        await shop.beat()
        change = await plan(shop, PARAMS)
        assert change.summary == "worker in eu-1 to 1.0, but for api, under what the bot does not change"
        assert [w for w in change.warnings if "api" in w] == [f"{WARNED}{whose}: not changed by this"]
        receipt, said = await apply(shop, PARAMS, change)
        assert receipt is not None and "but for api" in receipt.detail, said
        verdict = await check(shop)
        assert verdict.status is Status.FAIL and f"still runs 1.1 ({SET})" in verdict.observed
        again = await plan(shop, PARAMS)
        assert again.is_noop and again.summary.startswith("no workload that the bot changes runs what is removed")
        assert again.summary.endswith("but for api, under what the bot does not change")


async def test_br_06_where_nothing_else_runs_the_fault_names_what_does() -> None:
    async with running(*owned({})[:1]) as shop:
        await shop.beat()
        with pytest.raises(Fatal, match=f"{WARNED}which no workload"):
            await plan(shop, PARAMS)


async def test_br_06_what_a_workload_of_the_bots_own_kinds_controls_is_not_named() -> None:
    async with running(owned({})[1]) as shop:
        await shop.beat()
        change = await plan(shop, PARAMS)
        assert change.summary == "worker in eu-1 to 1.0" and not any(
            "run what is removed" in w for w in change.warnings
        )


async def test_br_06_a_pod_of_nobody_is_named_before_the_start() -> None:
    pod = {"restartPolicy": "Never", "containers": [{"name": "x", "image": PARAMS.outgoing[0].images["api"]}]}
    bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "by-hand", "namespace": "shop"}, "spec": pod}
    async with running(owned({})[1], bare) as shop:
        await shop.beat()
        change = await plan(shop, PARAMS)
        told = "api: pods in eu-1 that somebody made by hand run what is removed: not changed by this"
        assert told in change.warnings
