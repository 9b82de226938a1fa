"""`gitops.pause` where others write the application too: an ApplicationSet, an image updater, a sync that never ends;
with cases from the field. And who is called while Git has what was removed."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actions.gitops_pause import PATIENCE, GitopsPause
from bot.contract import Change, Fatal, Json, NotYet, Receipt
from bot.testing import TestCtx
from tests.actions.test_gitops_pause import PARAMS, app, sync, synced
from tests.fixtures.clusters_guarded import REPO, Paths, api, application, paths
from tests.fixtures.field_cases import case

PAUSE = GitopsPause()


@pytest.fixture
async def shop() -> AsyncIterator[Paths]:
    async with paths() as found:
        yield found


async def once(shop: Paths, change: Change, memo: dict[str, Json]) -> Receipt:
    now = datetime.fromtimestamp(shop.eu.clock.time(), UTC)
    ctx = TestCtx(shop.ports_for, PAUSE.needs, acting=True, now=now, memo=memo)
    return await PAUSE.apply(ctx, PARAMS, change)


async def looks(shop: Paths, change: Change, memo: dict[str, Json], n: int = 60) -> Receipt | None:
    """As the engine does it; None where it still waits."""
    for _ in range(n):
        try:
            return await once(shop, change, memo)
        except NotYet as waits:
            await shop.wait(waits.after)
            await asyncio.sleep(0.03)
    return None


# -- ApplicationSet: BR-07 ---------------------------------------------------------------------------------------------


def generated(**spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The case's Application and the ApplicationSet that makes it."""
    child = case("br07-applicationset-child")[0]
    made = {"apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet",
            "metadata": {"name": "shop-regions", "namespace": "argocd"},
            "spec": {"generators": [{}], "template": {"spec": copy.deepcopy(child["spec"])}, **spec}}  # fmt: skip
    return made, child


async def put(shop: Paths, made: dict[str, Any], child: dict[str, Any]) -> None:
    shop.eu.git.push("https://charts.example/stable", "shop", [api("2.4.1")])
    (there,) = shop.eu.apply(made)
    child["metadata"]["ownerReferences"][0]["uid"] = there["metadata"]["uid"]
    shop.eu.apply(child)
    await synced(shop)


async def test_what_an_application_set_makes_is_warned_of_and_seen_when_it_is_put_back(shop: Paths) -> None:
    await put(shop, *generated())
    change = await shop.plan(PAUSE, PARAMS)
    owner = "applicationset.argoproj.io/shop-regions"
    assert any(f"is made by the {owner}, which puts auto-sync on again at once" in w for w in change.warnings)
    assert any("is managed by the application root itself" in w for w in change.warnings)
    assert [f.value for f in change.facts if f.name == "reads"] == [
        "https://charts.example/stable shop 4.7.1", "https://git.example/shop-config values main",
    ]  # fmt: skip
    with pytest.raises(Fatal, match=f"its owner, the {owner} has switched auto-sync on again") as told:
        await looks(shop, change, {})
    assert "ignoreApplicationDifferences need jsonPointers /spec/syncPolicy" in told.value.hint
    writes = [r for r in shop.eu.requests.writes("bot") if r.resource == "applications"]
    assert len(writes) == 1, "no patch war"


async def test_an_application_set_that_leaves_the_policy_alone_is_paused(shop: Paths) -> None:
    await put(shop, *generated(ignoreApplicationDifferences=[{"jsonPointers": ["/spec/syncPolicy"]}]))
    change = await shop.plan(PAUSE, PARAMS)
    assert await looks(shop, change, {}) is not None
    assert "automated" not in app(shop)["spec"]["syncPolicy"]


async def test_a_chart_is_not_asked_to_be_reverted_in_git(shop: Paths) -> None:
    await put(shop, *generated(ignoreApplicationDifferences=[{"jsonPointers": ["/spec/syncPolicy"]}]))
    change = await shop.plan(PAUSE, PARAMS)
    assert await looks(shop, change, {}) is not None
    assert await shop.deploy(api("2.4.0"), "bot") == ""
    memo: dict[str, Json] = {}
    assert await looks(shop, change.inverted(), memo, 6) is None
    ((channel, text),) = shop.posts.values()
    assert channel == "#inc-4211" and text.startswith("Ana: Git at ")
    assert "https://charts.example/stable is no Git to revert: set the chart shop back in the application" in text
    assert "its values in https://git.example/shop-config (main): git revert --no-edit c240..c241" in text


# -- a sync that never ends: BR-08 -------------------------------------------------------------------------------------


async def test_a_sync_that_waits_for_its_hook_is_asked_about_and_ended_by_trying_again(shop: Paths) -> None:
    hook = case("br26-hook-job")[0]
    hook["metadata"]["annotations"] = {"argocd.argoproj.io/hook": "PreSync"}
    shop.eu.git.push("https://git.example/shop", "deploy", [hook, api("2.4.2")])
    stuck = case("br08-stuck-sync")[0]
    stuck.pop("status")
    shop.eu.apply(stuck)
    await shop.eu.until(lambda: app(shop).get("status", {}).get("operationState", {}).get("phase") == "Running")
    change, memo = await shop.plan(PAUSE, PARAMS), dict[str, Json]()
    hooked = "waiting for completion of hook batch/Job/migrate-1-1"
    assert any(hooked in w for w in change.warnings)
    with pytest.raises(Fatal, match=f"eu-1 shop is in the middle of a sync .{hooked}. for over 60 s") as asked:
        await looks(shop, change, memo, 3 + int(PATIENCE / 2))
    assert asked.value.hint == "try again to end that sync, or accept that it goes on"
    assert app(shop)["status"]["operationState"]["phase"] == "Running", "nobody has said so yet"
    assert await looks(shop, change, memo) is not None
    state = app(shop)["status"]["operationState"]
    assert (state["phase"], state["message"]) == ("Failed", "Operation terminated")
    assert not [j for j in shop.eu.all("Job", "shop") if j["metadata"]["name"] == "migrate-1-1"]


# -- image updater: BR-09; and paths that are not covered --------------------------------------------------------------


async def test_where_the_image_comes_from_and_what_brings_it_back_is_said(shop: Paths) -> None:
    shop.eu.apply(case("br09-image-updater")[0])
    (warning,) = (await shop.plan(PAUSE, PARAMS)).warnings
    assert "gets its image from argocd-image-updater (registry.example/shop/api@sha256:bbbb" in warning
    assert "pause it first (ignoreTags)" in warning


@pytest.mark.parametrize(("what", "said"), [
    ({"annotations": {"kargo.akuity.io/authorized-stage": "shop:prod"}}, "promoted to by Kargo (shop:prod)"),
    ({"hydrator": True}, "hydrated from a dry branch: hydration goes on while auto-sync is off"),
])  # fmt: skip
async def test_a_path_that_is_not_covered_is_named(shop: Paths, what: dict[str, Any], said: str) -> None:
    made = application()
    made["metadata"]["annotations"] = what.get("annotations", {})
    if "hydrator" in what:
        made["spec"]["sourceHydrator"] = {"drySource": {"repoURL": REPO, "path": "deploy", "targetRevision": "main"}}
    shop.eu.apply(made)
    (warning,) = (await shop.plan(PAUSE, PARAMS)).warnings
    assert said in warning and "not covered" in warning


@pytest.mark.parametrize(("labels", "annotations", "said"), [
    ({"kustomize.toolkit.fluxcd.io/name": "shop", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}, {},
     "flux suspend kustomization shop -n flux-system"),
    ({"helm.toolkit.fluxcd.io/name": "shop", "helm.toolkit.fluxcd.io/namespace": "shop"},
     {"meta.helm.sh/release-name": "shop"}, "flux suspend helmrelease shop -n shop"),
    ({"app.kubernetes.io/managed-by": "Helm"}, {"meta.helm.sh/release-name": "shop"},
     "the Helm release shop, whose own history does not know of this"),
])  # fmt: skip
async def test_flux_and_helm_are_named_with_what_to_do(
    shop: Paths, labels: dict[str, str], annotations: dict[str, str], said: str
) -> None:
    made = api("2.4.1")
    made["metadata"]["labels"] |= labels
    made["metadata"]["annotations"] = annotations
    shop.eu.apply(made)
    change = await shop.plan(PAUSE, PARAMS)
    (warning,) = change.warnings
    assert change.is_noop and warning.startswith("eu-1: the ") and said in warning
    assert warning.endswith("(shop-api); this step does not cover it")


# -- waiting for Git ---------------------------------------------------------------------------------------------------


async def _restored(shop: Paths) -> Change:
    """Two commits in a repository of its own, the pause, and the good release put back past Git."""
    shop.eu.git.push(REPO, "deploy", [api("2.4.0")])
    shop.eu.apply(application())
    await synced(shop)
    shop.eu.git.push(REPO, "deploy", [api("2.4.1")])
    shop.eu.clock.advance(200)
    await shop.eu.until(lambda: len(app(shop)["status"].get("history", ())) == 2 and sync(shop) == "Synced")
    change = await shop.plan(PAUSE, PARAMS)
    assert await looks(shop, change, {}) is not None
    assert await shop.deploy(api("2.4.0"), "bot") == ""
    return change


async def test_the_commander_is_called_at_once_and_reminded_with_the_commits_that_argo_cd_reads(shop: Paths) -> None:
    change, memo = await _restored(shop), dict[str, Json]()
    first, second = (entry["revision"][:12] for entry in app(shop)["status"]["history"])
    assert await looks(shop, change.inverted(), memo, 5) is None
    ((channel, text),) = shop.posts.values()
    assert channel == "#inc-4211"
    assert text.startswith("Ana: Git at ")
    assert f"in {REPO} (deploy, main): git revert --no-edit {first}..{second}" in text
    assert "Auto-sync of eu-1 shop stays off until that is done, since 12:" in text
    assert await looks(shop, change.inverted(), memo, 5) is None
    assert len(shop.posts) == 1, "told once"
    shop.eu.clock.advance(timedelta(minutes=31).total_seconds())
    assert await looks(shop, change.inverted(), memo, 5) is None
    assert [text.partition(":")[0] for _, text in shop.posts.values()] == ["Ana", "Ana, a reminder"]


async def test_what_is_none_of_the_release_keeps_nobody_waiting(shop: Paths) -> None:
    change = await _restored(shop)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "team", "namespace": "shop"},
             "spec": {"hard": {"pods": "50"}}}  # fmt: skip
    shop.eu.git.push(REPO, "deploy", [api("2.4.0"), json.loads(json.dumps(quota))])
    assert await looks(shop, change.inverted(), {}, 8) is not None
    assert app(shop)["spec"]["syncPolicy"]["automated"]["selfHeal"] is True
    assert not shop.posts
