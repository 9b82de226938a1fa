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
_APPS = ("shop-api", "shop-worker")
_LOOK = 0.5


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
