"""`gitops.pause` over Flux: suspended before anything is put back, given back in the right order; its own fights."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from actions.gitops_pause import GitopsPause, GitopsPauseParams
from bot.contract import Change, Fatal, Json, NotYet, Receipt
from bot.playground.cluster import ownership, resources
from bot.testing import TestCtx, assert_lifecycle
from tests.actions.test_gitops_pause import PARAMS
from tests.fixtures.clusters_guarded import REPO, Paths, api, paths
from tests.fixtures.clusters_workers import image

PAUSE = GitopsPause()
NAMED = ("helmrelease/shop/shop", "imageupdateautomation/flux-system/shop", "kustomization/flux-system/shop")
SUSPENDED = "eu-1/kustomization/shop/spec.suspend"
BOT = "rollback-bot"


@pytest.fixture
async def shop() -> AsyncIterator[Paths]:
    """Flux holds the cluster at the bad release."""
    async with paths(flux=NAMED) as found:
        found.eu.git.push(REPO, "deploy", [api("2.4.1")])
        found.eu.apply(repository(), kustomization())
        await found.eu.until(lambda: ready(found) == "True")
        yield found


def repository() -> dict[str, Any]:
    return {"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
            "metadata": {"name": "shop", "namespace": "flux-system"},
            "spec": {"url": REPO, "interval": "1m", "ref": {"branch": "main"}}}  # fmt: skip


def kustomization(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
            "metadata": {"name": "shop", "namespace": "flux-system"},
            "spec": {"interval": "5m", "path": "./deploy", "prune": True, "targetNamespace": "shop",
                     "sourceRef": {"kind": "GitRepository", "name": "shop"}, **spec}}  # fmt: skip


def release(mode: str = "", version: str = "2.4.1") -> dict[str, Any]:
    chart = {"chart": "chart", "sourceRef": {"kind": "GitRepository", "name": "shop", "namespace": "flux-system"}}
    drift = {"driftDetection": {"mode": mode}} if mode else {}
    return {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease",
            "metadata": {"name": "shop", "namespace": "shop"},
            "spec": {"interval": "5m", "chart": {"spec": chart}, **drift,
                     "values": {"images": {"shop-api": image("api", version)}}}}  # fmt: skip


def made(shop: Paths, kind: str = "Kustomization", space: str = "flux-system") -> dict[str, Any]:
    return shop.eu.get(kind, "shop", space)


def ready(shop: Paths, kind: str = "Kustomization", space: str = "flux-system") -> str:
    conditions = made(shop, kind, space).get("status", {}).get("conditions", [])
    return next((str(c["status"]) for c in conditions if c["type"] == "Ready"), "")


def runs(shop: Paths) -> str:
    found = shop.eu.get("Deployment", "shop-api", "shop")
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])


async def looks(shop: Paths, change: Change, memo: dict[str, Json], n: int = 40,
                params: GitopsPauseParams = PARAMS) -> Receipt | None:  # fmt: skip
    """As the engine does it; None where it still waits."""
    for _ in range(n):
        now = datetime.fromtimestamp(shop.eu.clock.time(), UTC)
        try:
            return await PAUSE.apply(
                TestCtx(shop.ports_for, PAUSE.needs, acting=True, now=now, memo=memo), params, change
            )
        except NotYet as waits:
            await shop.wait(waits.after)
            await asyncio.sleep(0.03)
    return None


async def passes(shop: Paths, seconds: float) -> None:
    """Time in which Flux may do what it does."""
    for _ in range(int(seconds / 60)):
        shop.eu.clock.advance(60)
        await asyncio.sleep(0.05)


# -- the playground's own Flux -----------------------------------------------------------------------------------------


async def test_the_playgrounds_flux_puts_the_bad_release_back_unless_it_is_suspended(shop: Paths) -> None:
    assert await shop.deploy(api("2.4.0")) == ""
    await shop.wait(301)
    await shop.eu.until(lambda: runs(shop) == image("api", "2.4.1"))
    shop.eu.apply(kustomization(suspend=True))
    assert await shop.deploy(api("2.4.0")) == ""
    await passes(shop, 900)
    assert runs(shop) == image("api", "2.4.0")


async def test_the_playgrounds_helm_release_leaves_drift_alone_until_something_changes(shop: Paths) -> None:
    shop.eu.apply(kustomization(suspend=True))
    shop.eu.git.push(REPO, "chart", [api("2.4.1")])
    await shop.wait(61)
    shop.eu.apply(release())
    await shop.eu.until(lambda: ready(shop, "HelmRelease", "shop") == "True")
    assert await shop.deploy(api("2.4.0")) == ""
    await passes(shop, 900)
    assert runs(shop) == image("api", "2.4.0")
    shop.eu.apply(release("enabled"))
    await shop.eu.until(lambda: runs(shop) == image("api", "2.4.1"))


# -- pausing -----------------------------------------------------------------------------------------------------------


async def test_lifecycle(shop: Paths) -> None:
    off = PARAMS.model_copy(update={"banned": {}})

    async def world() -> dict[str, Json]:
        return {"suspend": made(shop)["spec"].get("suspend")}

    async def drift() -> None:
        shop.eu.apply(kustomization(suspend=False))

    change = await assert_lifecycle(PAUSE, shop.ports_for, off, world=world, drift=drift, wait=_waits(shop))
    assert change.summary == "suspended: eu-1 kustomization shop"


def _waits(shop: Paths) -> Any:
    async def wait(seconds: float) -> None:
        await shop.wait(seconds)
        await asyncio.sleep(0.03)

    return wait


async def test_flux_does_not_bring_the_bad_release_back_while_it_is_suspended(shop: Paths) -> None:
    change = await shop.plan(PAUSE, PARAMS)
    assert [(e.target, e.before, e.after) for e in change.edits] == [(SUSPENDED, None, True)]
    assert change.warnings == (), "what the catalogue names is covered"
    assert await looks(shop, change, {}) is not None
    assert await shop.deploy(api("2.4.0"), "bot") == ""
    await passes(shop, 900)
    assert runs(shop) == image("api", "2.4.0")


async def test_what_was_suspended_before_is_no_debt_of_ours(shop: Paths) -> None:
    shop.eu.apply(kustomization(suspend=True))
    change = await shop.plan(PAUSE, PARAMS)
    assert change.is_noop and change.summary == "Flux is off already, which is not ours to switch on"


async def test_all_of_it_is_suspended_what_writes_to_git_first(shop: Paths) -> None:
    automation = {"apiVersion": "image.toolkit.fluxcd.io/v1", "kind": "ImageUpdateAutomation",
                  "metadata": {"name": "shop", "namespace": "flux-system"}, "spec": {"interval": "5m"}}  # fmt: skip
    shop.eu.git.push(REPO, "chart", [api("2.4.1")])
    shop.eu.apply(automation, release())
    change = await shop.plan(PAUSE, PARAMS)
    kinds = [e.target.split("/")[1] for e in change.edits]
    assert kinds == ["imageupdateautomation", "kustomization", "helmrelease"]
    assert await looks(shop, change, {}) is not None
    assert made(shop, "HelmRelease", "shop")["spec"]["suspend"] and made(shop)["spec"]["suspend"]


async def test_a_parent_that_resumes_it_is_warned_of_and_named_and_not_fought(shop: Paths) -> None:
    parent = "kustomize.toolkit.fluxcd.io/name"
    child = kustomization(suspend=False)
    child["metadata"]["labels"] = {parent: "cluster"}
    shop.eu.apply(child)
    change, memo = await shop.plan(PAUSE, PARAMS), dict[str, Json]()
    resumes = "is applied by the Kustomization cluster, which resumes it where Git states spec.suspend"
    assert change.warnings == (f"eu-1 kustomization shop {resumes}",)

    async def put_back() -> None:
        ownership.MANAGER.set("kustomize-controller")
        while True:
            if made(shop)["spec"].get("suspend"):
                shop.eu.apply(copy.deepcopy(child))
            await asyncio.sleep(0.005)

    task = asyncio.get_running_loop().create_task(put_back())
    try:
        with pytest.raises(
            Fatal, match=r"eu-1 kustomization shop: somebody \(kustomize-controller at .* has resumed it"
        ):
            await looks(shop, change, memo)
    finally:
        task.cancel()
    assert len([r for r in shop.eu.requests.writes("bot") if r.resource == "kustomizations"]) == 1


# -- giving back -------------------------------------------------------------------------------------------------------


async def _restored(shop: Paths) -> Change:
    change = await shop.plan(PAUSE, PARAMS)
    assert await looks(shop, change, {}) is not None
    assert await shop.deploy(api("2.4.0"), "bot") == ""
    return change.inverted()


async def test_it_waits_while_git_stands_where_it_did_and_calls_the_commander(shop: Paths) -> None:
    back, memo = await _restored(shop), dict[str, Json]()
    assert await looks(shop, back, memo, 5) is None
    ((_, text),) = shop.posts.values()
    assert text.startswith("Ana: Git is at ") and "git revert --no-edit c240..c241" in text
    assert "eu-1 kustomization shop stays suspended until that is done" in text
    assert runs(shop) == image("api", "2.4.0") and made(shop)["spec"]["suspend"]


async def test_once_git_has_moved_people_are_asked_and_trying_again_resumes(shop: Paths) -> None:
    back, memo = await _restored(shop), dict[str, Json]()
    shop.eu.git.push(REPO, "deploy", [api("2.4.0")])
    await passes(shop, 120)
    with pytest.raises(Fatal, match="does not say what eu-1 kustomization shop would apply, Git is at") as asked:
        await looks(shop, back, memo)
    assert "look whether Git has the release (git revert --no-edit c240..c241)" in asked.value.hint
    assert made(shop)["spec"]["suspend"], "nobody has said so yet"
    receipt = await looks(shop, back, memo)
    assert receipt is not None and receipt.detail == "resumed: eu-1 kustomization shop"
    assert "suspend" not in made(shop)["spec"], "as it was"
    await passes(shop, 600)
    assert runs(shop) == image("api", "2.4.0") and ready(shop) == "True"


async def test_what_brings_the_removed_release_back_is_suspended_again(shop: Paths) -> None:
    back, memo = await _restored(shop), dict[str, Json]()
    shop.eu.git.push(
        REPO, "deploy", [{**api("2.4.1"), "metadata": {**api("2.4.1")["metadata"], "annotations": {"a": "b"}}}]
    )
    await passes(shop, 120)
    with pytest.raises(Fatal, match="does not say what"):
        await looks(shop, back, memo)
    with pytest.raises(Fatal, match="has brought deployment/shop-api back, and is suspended again"):
        await looks(shop, back, memo)
    assert made(shop)["spec"]["suspend"]
    assert await looks(shop, back, memo, 5) is None
    assert "Git is at " in [text for _, text in shop.posts.values()][-1], "waited for, as before"


async def test_what_flux_cannot_apply_is_told_in_its_words(shop: Paths) -> None:
    back, memo = await _restored(shop), dict[str, Json]()
    wrong = {"apiVersion": "example.org/v1", "kind": "Nothing", "metadata": {"name": "x"}}
    shop.eu.git.push(REPO, "deploy", [api("2.4.0"), wrong])
    await passes(shop, 120)
    with pytest.raises(Fatal, match="does not say what"):
        await looks(shop, back, memo)
    with pytest.raises(Fatal, match=r"cannot apply what Git holds: there is no kind Nothing in example\.org/v1"):
        await looks(shop, back, memo)


async def test_after_a_false_alarm_it_is_given_back_at_once_where_git_has_not_moved(shop: Paths) -> None:
    change = await shop.plan(PAUSE, PARAMS)
    assert await looks(shop, change, {}) is not None
    off = PARAMS.model_copy(update={"banned": {}})
    assert await looks(shop, change.inverted(), {}, params=off) is not None
    assert "suspend" not in made(shop)["spec"]


async def test_a_helm_release_is_given_back_behind_what_applies_it_and_only_when_people_say_so(shop: Paths) -> None:
    shop.eu.git.push(REPO, "chart", [api("2.4.1")])
    shop.eu.git.push(REPO, "deploy", [release()])
    await passes(shop, 120)
    await shop.eu.until(lambda: shop.eu.core.find(resources.HELM_RELEASES, "shop", "shop") is not None)
    await shop.eu.until(lambda: ready(shop, "HelmRelease", "shop") == "True")
    back, memo = await _restored(shop), dict[str, Json]()
    shop.eu.git.push(REPO, "deploy", [release(version="2.4.0")])
    await passes(shop, 120)
    with pytest.raises(Fatal, match="does not say what eu-1 kustomization shop would apply"):
        await looks(shop, back, memo)
    with pytest.raises(Fatal, match="does not say what eu-1 helmrelease shop would apply"):
        await looks(shop, back, memo)
    assert made(shop, "HelmRelease", "shop")["spec"]["values"]["images"] == {"shop-api": image("api", "2.4.0")}
    receipt = await looks(shop, back, memo)
    assert receipt is not None and receipt.detail == "resumed: eu-1 helmrelease shop, eu-1 kustomization shop"
    await passes(shop, 600)
    assert runs(shop) == image("api", "2.4.0")
    assert not [
        e
        for e in made(shop)["metadata"].get("managedFields", ())
        if e["manager"] == BOT and e.get("fieldsV1", {}).get("f:spec")
    ]
