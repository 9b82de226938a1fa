"""`settings.restore` over the real adapter: three values decide about each key."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from actions.settings_restore import SettingsRestore, SettingsRestoreParams
from bot.contract import Change, Edit, Fatal, Json, Outgoing, Receipt, Retryable, canonical
from bot.playground.cluster import Fault
from bot.playground.cluster.resources import CONFIGMAPS
from bot.ports import Blob
from bot.testing import TestCtx, assert_lifecycle
from tests.fixtures.clusters_deployed import BAD, Deployed, deployed

NEEDS = SettingsRestore.needs
MAP = "eu-1/configmap/shop-settings/data"


@pytest.fixture
async def shop() -> AsyncIterator[Deployed]:
    async with deployed() as shop:
        yield shop


def params(shop: Deployed, **other: Any) -> SettingsRestoreParams:
    removed, settings = other.pop("removed", BAD), other.pop("removed_settings", shop.bad)
    outgoing = [Outgoing(version="2.4.1", images=removed, settings=settings)]
    return SettingsRestoreParams(**{"settings": shop.good, "outgoing": outgoing, **other})


async def plan(shop: Deployed, **other: Any) -> Change:
    return await SettingsRestore().plan(TestCtx(shop.ports_for, NEEDS, now=shop.now), params(shop, **other))


async def apply(shop: Deployed, change: Change) -> Receipt:
    ctx = TestCtx(shop.ports_for, NEEDS, acting=True, now=shop.now)
    return await SettingsRestore().apply(ctx, params(shop), change)


async def recorded(shop: Deployed, values: Mapping[str, Json]) -> Blob:
    return await shop.blobs.put(json.dumps(values).encode(), "application/json")


def put(key: str, value: str) -> dict[str, Any]:
    return {"op": "add", "path": f"/data/{key}", "value": value}


async def test_lifecycle(shop: Deployed) -> None:
    """What others set is theirs and no drift; drift is a key of the removed release that comes back meanwhile."""
    good, bad = [json.loads(await shop.blobs.get(blob)) for blob in (shop.good, shop.bad) if blob is not None]
    late = await recorded(shop, {**bad, f"{MAP}/LATE": "on"})
    change = await assert_lifecycle(
        SettingsRestore(),
        shop.ports_for,
        params(shop, settings=await recorded(shop, good), removed_settings=late),
        world=shop.world,
        drift=lambda: shop.patch("cm/shop-settings", put("LATE", "on")),
        elsewhere=lambda: shop.patch("cm/shop-settings", put("THEME", "light")),
    )
    assert change.summary == "restore KILL, PAYMENTS in eu-1"


async def test_a_preview_writes_nothing(shop: Deployed) -> None:
    await plan(shop)
    assert shop.writes() == []


async def test_keys_that_the_removed_release_changed_go_back_in_one_patch(shop: Deployed) -> None:
    change = await plan(shop)
    shop.eu.requests.clear()
    await apply(shop, change)
    assert shop.eu.get("ConfigMap", "shop-settings", "shop")["data"] == {"THEME": "dark", "PAYMENTS": "v1"}
    assert shop.requests() == ["get configmaps shop-settings", "patch configmaps shop-settings"]


async def test_after_a_target_that_was_tried_in_vain_the_next_ones_settings_come_back(shop: Deployed) -> None:
    """What the tried release brought back counts as outgoing too."""
    await apply(shop, await plan(shop))
    older = await recorded(shop, {f"{MAP}/THEME": "dark", f"{MAP}/PAYMENTS": "v0"})
    gone = [Outgoing(version="2.4.1", settings=shop.bad), Outgoing(version="2.4.0", settings=shop.good)]
    change = await plan(shop, settings=older, outgoing=gone)
    assert change.edits == (Edit(f"{MAP}/PAYMENTS", "v1", "v0"),)


async def test_a_key_that_somebody_has_set_since_is_left_alone_and_named(shop: Deployed) -> None:
    await shop.patch("cm/shop-settings", put("KILL", "on"))
    change = await plan(shop)
    assert [(f.name, f.value) for f in change.facts] == [
        ("left alone: eu-1 shop-settings/KILL", "changed by dee at 12:00 UTC")
    ]
    await apply(shop, change)
    assert shop.eu.get("ConfigMap", "shop-settings", "shop")["data"]["KILL"] == "on"


async def test_a_key_that_stands_at_the_targets_value_already_is_no_news(shop: Deployed) -> None:
    await shop.patch("cm/shop-settings", put("PAYMENTS", "v1"), {"op": "remove", "path": "/data/KILL"})
    change = await plan(shop)
    assert (change.is_noop, change.summary) == (True, "no setting differs between the two releases")


async def test_a_map_that_only_one_release_knew_is_not_touched(shop: Deployed) -> None:
    change = await plan(shop, settings=await recorded(shop, {"eu-1/deployment/shop-api/image/app": "x"}))
    assert change.is_noop


async def test_without_recorded_settings_nothing_is_restored_and_that_is_said(shop: Deployed) -> None:
    change = await plan(shop, settings=None)
    assert change.summary == "the settings that the target served with are not recorded: nothing is restored"
    assert change.warnings


async def test_that_no_pod_is_replaced_is_said(shop: Deployed) -> None:
    told = "no pod is replaced by this: what reads its settings at its start keeps the old ones"
    assert told not in (await plan(shop)).warnings
    assert told in (await plan(shop, removed={})).warnings


async def test_a_value_above_4_kib_travels_by_reference(shop: Deployed) -> None:
    large, other = "x" * 5000, "y" * 6000
    await shop.patch("cm/shop-settings", put("PAGE", large))
    bad, good = ({f"{MAP}/PAGE": value, f"{MAP}/THEME": "dark"} for value in (large, other))
    both = {"settings": await recorded(shop, good), "removed_settings": await recorded(shop, bad)}
    change = await plan(shop, **both)
    assert all(isinstance(value, Blob) for e in change.edits for value in (e.before, e.after))
    assert len(canonical([e.target for e in change.edits])) < 100
    await apply(shop, change)
    assert shop.eu.get("ConfigMap", "shop-settings", "shop")["data"]["PAGE"] == other


async def test_what_changes_between_plan_and_apply_is_not_overwritten(shop: Deployed) -> None:
    change = await plan(shop)
    await shop.patch("cm/shop-settings", put("PAYMENTS", "v3"))
    with pytest.raises(Fatal, match=r"eu-1 shop-settings/PAYMENTS: changed by dee at 12:00 UTC"):
        await apply(shop, change)


async def test_a_missing_right_is_fatal_in_the_clusters_own_words(shop: Deployed) -> None:
    change = await plan(shop)
    role = shop.eu.get("ClusterRole", "rollback-bot")
    rules = [{**r, "verbs": ["get", "list"]} if "configmaps" in r["resources"] else r for r in role["rules"]]
    shop.eu.apply({**role, "rules": rules})
    with pytest.raises(Fatal, match=r'cannot patch resource "configmaps"'):
        await apply(shop, change)


async def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_is_done_twice(shop: Deployed) -> None:
    change = await plan(shop)
    shop.eu.faults.add(Fault("lose_answer", verb="patch", user="bot"))
    with pytest.raises(Retryable, match="the connection broke before the answer was whole"):
        await apply(shop, change)
    await apply(shop, change)
    assert len(shop.writes()) == 1


async def test_a_cluster_that_cannot_be_reached_is_named_and_the_others_are_done() -> None:
    async with deployed(1, 2, timeout=10.0) as shop:
        await shop.clusters["us-1"].disconnect()
        change = await plan(shop)
        assert {t.split("/")[0] for t in change.targets} == {"eu-1"}
        assert any(w.startswith("us-1 cannot be reached") for w in change.warnings)
        await apply(shop, change)


async def test_a_map_that_is_gone_is_said(shop: Deployed) -> None:
    change = await plan(shop)
    shop.eu.store.remove(CONFIGMAPS, shop.eu.get("ConfigMap", "shop-settings", "shop"))
    with pytest.raises(Fatal, match="eu-1/configmap/shop-settings is gone"):
        await apply(shop, change)
