"""What watches the shop: whom Prometheus asks, and which alerts there are.

Invariants: every pod of the shop that runs is asked, each under its own name; one that has gone is asked no more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from bot.playground.cluster import Cluster
from bot.playground.cluster.objects import dig, labels_of, name_of
from bot.playground.shop.manifests import NAMESPACE
from bot.playground.shop.metrics import BUCKETS

WINDOW = "8s"
"""Over which rates are taken: the demo has seconds where others have minutes."""
ERRORS = f'sum(rate(shop_payments_total{{result="failed"}}[{WINDOW}])) / sum(rate(shop_payments_total[{WINDOW}]))'
"""Share of the payments that fail, 0 to 1."""
PAYMENTS = f"sum(rate(shop_payments_total[{WINDOW}]))"
"""Payments a second."""
SLOWEST = f"histogram_quantile(0.95, sum by (le) (rate(shop_request_seconds_bucket[{WINDOW}])))"
"""Seconds within which 95 of 100 requests are answered."""
JOBS = f'sum(rate(shop_jobs_total{{result="failed"}}[{WINDOW}]))'
"""Jobs a second that fail."""

RULES: Sequence[Mapping[str, object]] = (
    {"alert": "ShopPaymentsFail", "expr": f"{ERRORS} > 0.2", "for": "2s", "labels": {"severity": "page"},
     "annotations": {"summary": "More than a fifth of the payments fail."}},
    {"alert": "ShopJobsFail", "expr": f"{JOBS} > 0.2", "for": "2s", "labels": {"severity": "ticket"},
     "annotations": {"summary": "Workers put jobs back."}},
    {"alert": "ShopTargetDown", "expr": "up == 0", "for": "10s", "labels": {"severity": "ticket"},
     "annotations": {"summary": "A pod of the shop does not say how it is."}},
)  # fmt: skip
DAY = 86400.0
_APPS = ("shop-api", "shop-worker")
_LOOK = 0.5


def yesterday(now: float, seconds: float = 2700.0, step: float = 4.0) -> str:
    """What a good release showed around this hour of the day before, as OpenMetrics text: what a number that is judged
    today is compared with. Written, not lived: a shop that is a minute old has no yesterday."""
    begin = now - DAY - seconds / 2
    times = [begin + step * i for i in range(int(seconds / step))]
    labels = 'app="shop-api",cluster="eu-1",job="shop",pod="shop-api-yesterday"'
    each = 5.0 * step
    counters = {
        ("shop_payments", 'result="ok"'): each,
        ("shop_payments", 'result="failed"'): 0.0,
        ("shop_jobs", 'kind="receipt",result="done"'): each,
        ("shop_jobs", 'kind="receipt",result="failed"'): 0.0,
    }
    lines = []
    for name in ("shop_payments", "shop_jobs"):
        lines.append(f"# TYPE {name} counter")
        for (of, own), more in counters.items():
            if of == name:
                lines += [f"{name}_total{{{labels},{own}}} {more * i} {at:.3f}" for i, at in enumerate(times)]
    lines.append("# TYPE shop_request_seconds histogram")
    for bound, share in [*((b, min(1.0, b / 0.2)) for b in BUCKETS), ("+Inf", 1.0)]:
        own = f'{labels},le="{bound}"'
        lines += [f"shop_request_seconds_bucket{{{own}}} {share * each * i:.1f} {at:.3f}" for i, at in enumerate(times)]
    return "\n".join([*lines, "# EOF", ""])


class Scraper(Protocol):
    """Who asks."""

    def scrape(self, targets: Mapping[str, Mapping[str, str]]) -> None:
        """Whom, from now on: `host:port` -> labels."""


def pods(cluster: Cluster) -> Mapping[str, Mapping[str, str]]:
    """`host:port` of each running pod that has metrics -> its labels."""
    found = {}
    for pod in cluster.all("Pod", NAMESPACE):
        app = labels_of(pod).get("app", "")
        if app in _APPS and dig(pod, "status", "phase") == "Running" and not dig(pod, "metadata", "deletionTimestamp"):
            with contextlib.suppress(LookupError):
                place = cluster.pod_address(name_of(pod), NAMESPACE)
                found[place] = {"cluster": cluster.name, "app": app, "pod": name_of(pod)}
    return found


async def follow(clusters: Sequence[Cluster], scraper: Scraper) -> None:
    """Tell who is to be asked, until cancelled."""
    while True:
        scraper.scrape({place: labels for cluster in clusters for place, labels in pods(cluster).items()})
        await asyncio.sleep(_LOOK)
