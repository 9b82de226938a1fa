"""`gitops.pause` over the real adapter, against an Argo CD that syncs what Git says."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actions.gitops_pause import GitopsPause, GitopsPauseParams
from bot.contract import Fatal, NotYet
from bot.ports import Json
from bot.ports.kubernetes import digest
from bot.testing import TestCtx, assert_lifecycle
from tests.fixtures.clusters_guarded import AUTOMATED, REPO, Paths, api, application, paths
from tests.fixtures.clusters_workers import image

PAUSE = GitopsPause()
PARAMS = GitopsPauseParams(
    version="2.4.0",
    banned={"2.4.1": [digest(image("api", "2.4.1"))]},
    commit="c240",
    removed_commit="c241",
)
TARGET = "eu-1/application/shop/spec.syncPolicy.automated"


@pytest.fixture
async def shop() -> AsyncIterator[Paths]:
    """Argo CD holds the cluster at the bad release."""
    async with paths() as found:
        found.eu.git.push(REPO, "deploy", [api("2.4.1")])
        found.eu.apply(application())
        await found.eu.until(lambda: sync(found) == "Synced")
        yield found


def app(shop: Paths) -> dict[str, Any]:
    return shop.eu.get("Application", "shop", "argocd")


def sync(shop: Paths) -> str:
    return str(app(shop).get("status", {}).get("sync", {}).get("status"))


async def synced(shop: Paths, wanted: str = "Synced") -> None:
    await shop.eu.until(lambda: sync(shop) == wanted)


async def set_policy(shop: Paths, automated: Json) -> None:
    found = copy.deepcopy(app(shop))
    found["spec"]["syncPolicy"]["automated"] = automated
    shop.eu.apply(found)


async def restore(shop: Paths, change: Any, params: GitopsPauseParams = PARAMS) -> str:
    """A few looks of the undo; the last thing it waited for, "" where it is done."""
    back, left = change.undo_from(await shop.observe(PAUSE, params, change))
    assert not left
    ctx = TestCtx(shop.ports_for, PAUSE.needs, acting=True)
    said = ""
    for _ in range(6):
        try:
            await PAUSE.apply(ctx, params, back)
        except NotYet as error:
            said = str(error)
            await shop.wait(error.after)
            await asyncio.sleep(0.05)
        else:
            return ""
    return said


async def test_lifecycle(shop: Paths) -> None:
    shop.eu.git.push(REPO, "deploy", [api("2.4.0")])
    await set_policy(shop, AUTOMATED)
    await shop.wait(200)
    await synced(shop)

    async def drift() -> None:
        await set_policy(shop, {"prune": False})

    change = await assert_lifecycle(PAUSE, shop.ports_for, PARAMS, world=shop.world, drift=drift, wait=shop.wait)
    assert change.summary == "auto-sync off: eu-1 shop"
    assert [(f.name, f.value, f.unit) for f in change.facts] == [
        ("saved", "prune, selfHeal, allowEmpty=False", "eu-1 shop")
    ]


async def test_git_does_not_bring_the_bad_release_back_while_it_is_paused(shop: Paths) -> None:
    await shop.apply(PAUSE, PARAMS, await shop.plan(PAUSE, PARAMS))
    assert await shop.deploy(api("2.4.0"), "bot") == ""
    await shop.wait(400)
    await synced(shop, "OutOfSync")
    assert app(shop)["spec"]["syncPolicy"] == {"syncOptions": ["CreateNamespace=false"]}


async def test_it_is_given_back_exactly_as_it_was_once_git_renders_the_target(shop: Paths) -> None:
    change = await shop.plan(PAUSE, PARAMS)
    await shop.apply(PAUSE, PARAMS, change)
    assert await shop.deploy(api("2.4.0"), "bot") == ""
    said = await restore(shop, change)
    assert (
        "differs from what runs (eu-1 shop: deployment/shop-api); if it still has what 2.4.0 replaced: "
        f"in {REPO} (deploy, main): git revert --no-edit c240..c241" in said
    )
    shop.eu.git.push(REPO, "deploy", [api("2.4.0")])
    assert await restore(shop, change) == ""
    assert app(shop)["spec"]["syncPolicy"]["automated"] == AUTOMATED
    await shop.wait(200)
    await synced(shop)


async def test_it_is_not_given_back_while_the_removed_release_runs_although_git_agrees(shop: Paths) -> None:
    change = await shop.plan(PAUSE, PARAMS)
    await shop.apply(PAUSE, PARAMS, change)
    assert "still runs what is removed" in await restore(shop, change)


CALLED_OFF = PARAMS.model_copy(update={"banned": {}})
"""As the run gives them once it was given up and nothing of the way to the target stands."""


async def test_a_false_alarms_abort_gives_it_back_at_once_where_git_has_what_stays(shop: Paths) -> None:
    change = await shop.plan(PAUSE, PARAMS)
    await shop.apply(PAUSE, PARAMS, change)
    assert await restore(shop, change, CALLED_OFF) == ""
    assert app(shop)["spec"]["syncPolicy"]["automated"] == AUTOMATED


async def test_after_a_false_alarm_nobody_is_told_to_revert_what_stays(shop: Paths) -> None:
    change = await shop.plan(PAUSE, PARAMS)
    await shop.apply(PAUSE, PARAMS, change)
    shop.eu.git.push(REPO, "deploy", [api("2.4.0")])  # somebody was quick
    said = await restore(shop, change, CALLED_OFF)
    assert (
        "differs from what runs (eu-1 shop: deployment/shop-api); nothing is removed by this run (any more), what runs "
        f"stays: in {REPO} (deploy, main): Git must have what runs" in said
    )
    assert "revert" not in said and "automated" not in app(shop)["spec"]["syncPolicy"]
    shop.eu.git.push(REPO, "deploy", [api("2.4.1")])
    assert await restore(shop, change, CALLED_OFF) == ""


@pytest.mark.parametrize("automated", [None, {"enabled": False}])
async def test_what_was_off_before_is_no_debt_of_ours(shop: Paths, automated: Json) -> None:
    await set_policy(shop, automated)
    change = await shop.plan(PAUSE, PARAMS)
    assert change.is_noop and "off already, which is not ours to switch on" in change.summary


async def test_an_empty_policy_is_on_and_comes_back_empty(shop: Paths) -> None:
    await set_policy(shop, {})
    change = await shop.plan(PAUSE, PARAMS)
    assert [(e.target, e.before, e.after) for e in change.edits] == [(TARGET, {}, None)]
    shop.eu.git.push(REPO, "deploy", [api("2.4.0")])
    await shop.apply(PAUSE, PARAMS, change)
    assert await shop.deploy(api("2.4.0"), "bot") == ""
    assert await restore(shop, change) == ""
    assert app(shop)["spec"]["syncPolicy"]["automated"] == {}


async def test_auto_sync_that_somebody_set_otherwise_meanwhile_is_left_to_people(shop: Paths) -> None:
    change = await shop.plan(PAUSE, PARAMS)
    await shop.apply(PAUSE, PARAMS, change)
    await set_policy(shop, {"prune": False})
    _, left = change.undo_from(await shop.observe(PAUSE, PARAMS, change))
    assert left == {TARGET: {"prune": False}}


async def test_an_application_that_argo_cd_manages_itself_is_warned_of(shop: Paths) -> None:
    shop.eu.apply(application(**{"argocd.argoproj.io/instance": "root"}))
    (warning,) = (await shop.plan(PAUSE, PARAMS)).warnings
    assert "managed by the application root itself" in warning


async def test_one_cluster_that_cannot_be_reached_is_named_and_does_not_pass() -> None:
    async with paths("eu-1", "us-1") as shop:
        for there in shop.clusters.values():
            there.apply(application())
        await shop.clusters["us-1"].disconnect()
        change = await shop.plan(PAUSE, PARAMS)
        assert change.targets == {TARGET} and "not reached, so not paused: us-1" in change.warnings[0]
        with pytest.raises(Fatal, match="us-1 could not be reached: auto-sync may be on there"):
            await shop.apply(PAUSE, PARAMS, change)
