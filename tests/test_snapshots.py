"""The configuration that a release serves with, from real objects of a cluster."""

from __future__ import annotations

import pytest

from bot.ports import Unreachable
from bot.snapshots import snapshot
from tests.deployed import BAD, deployed


async def test_a_snapshot_is_every_setting_of_every_cluster_and_no_secret() -> None:
    async with deployed(1, 2) as shop:
        found = await snapshot(shop.adapter)
        assert shop.writes() == []
    assert {target.split("/")[0] for target in found} == {"eu-1", "us-1"}
    assert found["us-1/configmap/shop-settings/data/PAYMENTS"] == "v2"
    root = "eu-1/deployment/shop-api"
    assert {t: v for t, v in found.items() if t.startswith(f"{root}/")} == {
        f"{root}/env/shop-api/NEW": "on",
        f"{root}/env/shop-api/PAYMENTS": "v2",
        f"{root}/env/shop-api/REGION": "eu",
        f"{root}/env/shop-api/TOKEN": {"secret": "shop", "key": "token"},
        f"{root}/image/migrate": BAD["api"],
        f"{root}/image/shop-api": BAD["api"],
    }
    assert not [t for t in found if "/replicas" in t or "/annotation/" in t]


async def test_half_a_snapshot_is_none() -> None:
    async with deployed(1, 2, timeout=1.0) as shop:
        await shop.clusters["us-1"].disconnect()
        with pytest.raises(Unreachable, match="us-1: no connection"):
            await snapshot(shop.adapter)
