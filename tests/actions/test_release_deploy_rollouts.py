"""`release.deploy` on Argo Rollouts: with a template of their own, and with one that a Deployment keeps (BR-05)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bot.contract import NotYet
from bot.workloads.rolling import PROMOTE
from tests.actions.test_release_deploy_kinds import BAD, GOOD, apply, once, params, plan, pods, running
from tests.fixtures.clusters_workers import Fleet
from tests.fixtures.field_cases import case


def good(body: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(json.dumps(body).replace(BAD, GOOD))
    return made


def own(digest: str, strategy: dict[str, Any]) -> dict[str, Any]:
    """A Rollout with a template of its own."""
    template = case("br05-workloadref")[0]["spec"]["template"]
    template["spec"]["containers"][0]["image"] = f"registry.example/shop/quote@{digest}"
    spec = {"replicas": 5, "selector": {"matchLabels": {"app": "quote"}}, "template": template, "strategy": strategy}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": "quote", "namespace": "shop"}, "spec": spec}  # fmt: skip


CANARY = case("br05-rollout")[0]["spec"]["strategy"]
BLUE_GREEN = {"blueGreen": {"activeService": "quote", "autoPromotionEnabled": False}}


def status(shop: Fleet) -> dict[str, Any]:
    found: dict[str, Any] = shop.eu.get("Rollout", "quote", "shop")["status"]
    return found


async def _beats(shop: Fleet, seconds: float = 1, n: int = 8) -> None:
    for _ in range(n):
        await shop.beat(seconds)


async def test_a_canary_that_waits_at_a_step_never_goes_on_by_itself() -> None:
    """The simulator tells the truth: 20 %, then a pause without an end."""
    deployment = case("br05-workloadref")[0]
    async with running(good(deployment), *case("br05-rollout")) as shop:
        await _beats(shop)
        assert (status(shop)["phase"], sorted(pods(shop, "quote").values())) == ("Healthy", [GOOD] * 5)
        generation = shop.eu.get("Rollout", "quote", "shop")["metadata"]["generation"]
        shop.eu.apply(deployment)
        await _beats(shop, 300)
        assert (status(shop)["phase"], status(shop)["message"]) == ("Paused", "CanaryPauseStep")
        assert sorted(pods(shop, "quote").values()) == [GOOD] * 4 + [BAD]
        assert shop.eu.get("Rollout", "quote", "shop")["metadata"]["generation"] == generation


async def test_a_canary_half_way_goes_back_to_what_is_stable() -> None:
    deployment = case("br05-workloadref")[0]
    async with running(good(deployment), *case("br05-rollout")) as shop:
        await _beats(shop)
        shop.eu.apply(deployment)
        await _beats(shop)
        p = params("quote")
        change = await plan(shop, p)
        assert [e.target for e in change.edits] == ["eu-1/deployment/quote/image/quote"]
        assert {f.name: f.value for f in change.facts}["pods"] == 5
        receipt, _ = await apply(shop, p, change)
        assert receipt is not None and receipt.detail.endswith("5 of 5 pods ready")
        assert (status(shop)["phase"], set(pods(shop, "quote").values())) == ("Healthy", {GOOD})


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("kind", ["workloadRef", "own", "blueGreen"])
async def test_a_rollout_that_has_arrived_at_the_bad_release_is_brought_back_past_its_steps(
    kind: str, *, paused: bool
) -> None:
    strategy = BLUE_GREEN if kind == "blueGreen" else CANARY
    before, after = own(GOOD, strategy), own(BAD, strategy)
    deployment = case("br05-workloadref")[0]
    made = [good(deployment), *case("br05-rollout")] if kind == "workloadRef" else [before]
    async with running(*made) as shop:
        await _beats(shop)
        shop.eu.apply(deployment if kind == "workloadRef" else after)
        await shop.beat(1)
        shop.eu.set_status("Rollout", "quote", "shop", promoteFull=True)
        await _beats(shop)
        assert (status(shop)["phase"], set(pods(shop, "quote").values())) == ("Healthy", {BAD})
        if paused:
            found = json.loads(json.dumps(shop.eu.get("Rollout", "quote", "shop")))
            shop.eu.apply(found | {"spec": found["spec"] | {"paused": True}})
        p = params("quote")
        change = await plan(shop, p)
        assert [e.what.endswith(PROMOTE) for e in change.effects] == [True]
        receipt, said = await apply(shop, p, change)
        assert receipt is not None, said
        assert (status(shop)["phase"], set(pods(shop, "quote").values())) == ("Healthy", {GOOD})
        assert (await plan(shop, p)).is_noop


async def test_a_step_that_nobody_approved_to_skip_is_told_as_what_it_waits_for() -> None:
    async with running(own(GOOD, CANARY)) as shop:
        await _beats(shop)
        shop.eu.apply(own(BAD, CANARY))
        await shop.beat(1)
        shop.eu.set_status("Rollout", "quote", "shop", promoteFull=True)
        await _beats(shop)
        p = params("quote")
        change = await plan(shop, p)
        bare = type(change)(change.summary, change.edits)
        receipt, said = await apply(shop, p, bare, looks=8)
        assert receipt is None and "quote: Paused: CanaryPauseStep" in said
        with pytest.raises(NotYet):
            await once(shop, p, bare, {})
