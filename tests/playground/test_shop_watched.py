"""The shop as Prometheus sees it: what its pods count, that new pods are asked and gone ones not, what fires."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.playground import prometheus
from bot.playground.shop import monitoring
from bot.playground.shop.metrics import Metrics
from bot.playground.shop.shop import Shop

needs_prometheus = pytest.mark.skipif(
    not prometheus.installed(), reason="needs Prometheus: apt-get install prometheus prometheus-alertmanager"
)


async def get(url: str, **params: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(url, params=params) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def value(shop: Shop, query: str) -> float | None:
    """A query with one answer; None where there is none."""
    assert shop.monitoring is not None
    found = (await get(f"{shop.monitoring.url}/api/v1/query", query=query))["data"]["result"]
    return float(found[0]["value"][1]) if found else None


async def until_above(shop: Shop, query: str, limit: float, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not ((await value(shop, query)) or 0.0) > limit:
        assert time.monotonic() < end, query
        await asyncio.sleep(0.5)


@needs_prometheus
async def test_every_pod_is_asked_and_what_the_bad_release_does_fires(tmp_path: Path) -> None:
    async with Shop(tmp_path, ("eu-1",), deployed=("2.4.0",), second=True, watched=True) as shop:
        assert shop.monitoring is not None
        async with shop.traffic(8.0):
            await until_above(shop, monitoring.PAYMENTS, 2.0)
            assert await value(shop, monitoring.ERRORS) == 0.0
            assert (await value(shop, "count(count by (pod) (shop_build_info))") or 0) >= 3
            assert (await value(shop, monitoring.SLOWEST) or 0) > 0.0
            await shop.deploy("2.4.1")
            await until_above(shop, monitoring.ERRORS, 0.5)
            await until_above(shop, monitoring.JOBS, 0.1)
            await until_above(shop, 'count(ALERTS{alertname="ShopPaymentsFail", alertstate="firing"})', 0)
            told = await get(f"{shop.monitoring.alertmanager}/api/v2/alerts")
            assert "ShopPaymentsFail" in {alert["labels"]["alertname"] for alert in told}
            assert shop.partner.charged > 0
            shop.partner.down = True
            await until_above(shop, 'sum(rate(shop_exceptions_total{kind="Refused"}[8s]))', 0.1)
        runs = set(monitoring.pods(shop.clusters["eu-1"]))
        end = time.monotonic() + 20
        while {t["labels"]["instance"] for t in await _targets(shop)} != runs:
            assert time.monotonic() < end
            await asyncio.sleep(0.5)


async def _targets(shop: Shop) -> list[Mapping[str, Any]]:
    assert shop.monitoring is not None
    found: list[Mapping[str, Any]] = (await get(f"{shop.monitoring.url}/api/v1/targets"))["data"]["activeTargets"]
    return found


def test_counts_are_in_the_text_form_from_the_start_and_a_histogram_adds_up() -> None:
    metrics = Metrics()
    metrics.begin("shop_payments_total", result="failed")
    assert 'shop_payments_total{result="failed"} 0\n' in metrics.text()
    metrics.count("shop_payments_total", result="failed")
    for seconds in (0.001, 0.04, 9.0):
        metrics.answered("/pay", 200, seconds)
    text = metrics.text()
    assert 'shop_payments_total{result="failed"} 1\n' in text
    assert 'shop_requests_total{route="/pay",code="200"} 3\n' in text
    buckets = [int(n) for n in re.findall(r"shop_request_seconds_bucket\{.*\} (\d+)", text)]
    assert (buckets[0], buckets[-1]) == (1, 3)
    assert buckets == sorted(buckets)
    assert "shop_request_seconds_count 3\n" in text
    assert text.count("# TYPE") == len(set(re.findall(r"# TYPE (\S+)", text)))


def test_without_prometheus_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LookupError, match="apt-get install prometheus"), prometheus.private_prometheus(tmp_path):
        pass
