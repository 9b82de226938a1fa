"""`metrics.steady` on a real Prometheus: each thing that can be wrong is named, and nothing passes on no evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.adapters.kubernetes import Clusters
from bot.adapters.prometheus import Prometheus
from bot.contract import Outgoing, Status, Verdict
from bot.ports import Ports
from bot.ports.metrics import Watched
from bot.ports.releases import Served
from bot.testing import MemoryReleases, ports, run_check
from checks.metrics_steady import MetricsSteady, MetricsSteadyOutput, MetricsSteadyParams
from tests.fixtures.clusters_workers import fleet, images
from tests.fixtures.prometheus import Past, Server, adapter, prometheus

NOW = datetime(2026, 11, 25, 14, 10, tzinfo=UTC)
WEEK = NOW - timedelta(days=7)
LEDGER = MemoryReleases(
    **{
        "2.4.0": [Served(NOW - timedelta(days=10), NOW - timedelta(hours=1)), Served(NOW - timedelta(minutes=8))],
        "2.4.1": [Served(NOW - timedelta(hours=1), NOW - timedelta(minutes=10))],
    }
)
OUTGOING = [Outgoing(version="2.4.1", commit="", settings=None)]


def minutes(before: float, of: datetime = NOW) -> datetime:
    return of - timedelta(minutes=before)


def counter(name: str, good: float, bad: float, now: float) -> Past:
    """A counter of pods, by what it counts a second: a week ago, under the bad release, and since."""
    times = (
        ("old", good, minutes(40, WEEK), minutes(-40, WEEK)),
        ("bad", bad, minutes(60), minutes(10)),
        ("new", now, minutes(8), NOW),
    )

    def counted(rate: float, start: datetime) -> Callable[[float], float]:
        return lambda at: (at - start.timestamp()) * rate

    return [(f'{name}{{pod="{pod}"}}', counted(rate, start), start, end) for pod, rate, start, end in times]


PAST: Past = [
    *counter("requests_total", 100, 100, 100),
    *counter("few_total", 100, 100, 0.01),
    *counter("cured_total", 0.02, 4, 0.02),
    *counter("sick_total", 0.02, 4, 4),
    *counter("better_total", 0.02, 4, 0),
    *counter("restarted_total", 1, 1, 1)[:2],
    ('restarted_total{pod="new"}', lambda at: at - minutes(1).timestamp(), minutes(1), NOW),
    ("vanished", lambda at: 1.0, minutes(40, WEEK), minutes(-40, WEEK)),
    ("stopped", lambda at: 1.0, minutes(40, WEEK), minutes(-40, WEEK)),
    ("stopped", lambda at: 1.0, minutes(60), minutes(3)),
    ('zone{zone="a"}', lambda at: 1.0, minutes(40, WEEK), minutes(-40, WEEK)),
    ('zone{zone="b"}', lambda at: 1.0, minutes(40, WEEK), minutes(-40, WEEK)),
    ('zone{zone="b"}', lambda at: 1.0, minutes(8), NOW),
    ("throughput", lambda at: 50.0, minutes(40, WEEK), minutes(-40, WEEK)),
    ("throughput", lambda at: 20.0, minutes(8), NOW),
    ("fresh", lambda at: 3.0, minutes(8), NOW),
    ("holes", lambda at: 3.0 if at < minutes(20).timestamp() or at % 60 == 0 else float("nan"), minutes(8), NOW),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prometheus(tmp_path_factory.mktemp("past"), PAST) as server:
        yield server


def share(of: str) -> str:
    return f"100 * sum(rate({of}[1m])) / sum(rate(requests_total[1m]))"


def errors(of: str, **more: Any) -> Watched:
    samples = "sum(increase(requests_total[2m]))"
    return Watched("errors", share(of), "%", **{"samples": samples, "noise": 0.05, **more})


async def look(
    there: Prometheus, now: datetime = NOW, ledger: MemoryReleases = LEDGER, baseline: Any = None, **params: Any
) -> Verdict:
    def bound(_: object) -> Ports:
        return ports(metrics=there, releases=ledger, kubernetes=Clusters([]))

    asked = MetricsSteadyParams(release="2.4.0", outgoing=OUTGOING, **params)
    try:
        return await run_check(MetricsSteady(), bound, asked, now=now, baseline=baseline)
    finally:
        await there.close()


async def test_numbers_as_a_week_ago_pass_with_the_bad_release_as_contrast(server: Server) -> None:
    verdict = await look(adapter(server.url, errors("cured_total")))
    assert (verdict.status, verdict.observed) == (
        Status.PASS,
        "1 of 1 steady: errors: 0.02 % (0.02 % Wed 18 Nov 14:10 UTC, 4 % under 2.4.1)",
    )
    data = MetricsSteadyOutput.model_validate(verdict.data)
    assert data.values["prom/errors"] == pytest.approx(0.02)
    assert data.compared["prom/errors"] == pytest.approx(0.02)


async def test_errors_that_stay_fail_and_pass_once_they_are_cured(server: Server) -> None:
    sick = await look(adapter(server.url, errors("sick_total")))
    assert sick.status is Status.FAIL
    assert sick.observed == "errors: 4 % (0.02 % Wed 18 Nov 14:10 UTC, 4 % under 2.4.1)"
    assert (await look(adapter(server.url, errors("better_total")))).status is Status.PASS


async def test_of_several_numbers_those_are_told_that_are_not_well(server: Server) -> None:
    verdict = await look(
        adapter(server.url, errors("sick_total"), Watched("orders", "zone{zone='b'}"), Watched("n", "x"))
    )
    assert verdict.status is Status.FAIL
    assert verdict.observed.startswith("errors: 4 % (")
    assert verdict.observed.endswith("; n: what it is made of is not there; 1 more steady")


async def test_what_evidence_kept_of_the_bad_release_is_the_contrast(server: Server) -> None:
    kept = {"bad": {"prom/errors": 7.5}}
    verdict = await look(adapter(server.url, errors("cured_total")), baseline=kept)
    assert "7.5 % under 2.4.1" in verdict.observed


async def test_a_limit_is_one_whatever_was_before(server: Server) -> None:
    verdict = await look(adapter(server.url, errors("cured_total", limit=0.01)))
    assert verdict.status is Status.FAIL
    assert verdict.observed.endswith("; the limit is 0.01 %")


async def test_where_more_is_better_less_fails(server: Server) -> None:
    assert (await look(adapter(server.url, Watched("orders", "throughput", good="high")))).status is Status.FAIL
    assert (await look(adapter(server.url, Watched("orders", "throughput", good="near")))).status is Status.FAIL
    assert (await look(adapter(server.url, Watched("queue", "throughput", good="low")))).status is Status.PASS


@pytest.mark.parametrize(
    ("watched", "why"),
    [
        (Watched("gone", "vanished"), "what it is made of is not there"),
        (Watched("gone", "sum(vanished) + sum(requests_total)"), "what it is made of is not there"),
        (Watched("old", "stopped"), "something that it is made of was last measured 180 s ago"),
        (Watched("rate", "sum(rate(restarted_total[1m]))"), "a counter that it is made of began anew with a pod"),
        (errors("cured_total", samples="sum(increase(few_total[2m]))"), "rests upon 1 of samples, 20 say something"),
        (errors("cured_total", samples="sum(never_was)"), "rests upon an unknown number of samples"),
        (Watched("ratio", "fresh / (fresh - fresh)"), "0 of 8 points are numbers"),
        (Watched("zones", "sum by (zone) (zone)"), "zone=a}: gone; it was there Wed 18 Nov 14:10 UTC"),
        (Watched("new", "fresh"), "no good time of the release to compare it with, and no limit"),
        (Watched("holes", "holes"), "of 8 points are numbers"),
        (Watched("wrong", "sum(requests_total"), "unclosed left parenthesis"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
async def test_nothing_passes_on_no_evidence(server: Server, watched: Watched, why: str) -> None:
    verdict = await look(adapter(server.url, watched))
    assert verdict.status is Status.UNKNOWN
    assert why in verdict.observed


async def test_a_number_with_a_limit_alone_is_no_pass(server: Server) -> None:
    assert (await look(adapter(server.url, Watched("new", "fresh", limit=5)))).status is Status.WARN


async def test_a_release_that_never_served_has_nothing_to_compare_with(server: Server) -> None:
    verdict = await look(adapter(server.url, errors("cured_total")), ledger=MemoryReleases())
    assert verdict.status is Status.UNKNOWN


async def test_the_end_of_its_time_counts_where_it_did_not_serve_a_week_ago(server: Server) -> None:
    ledger = MemoryReleases(**{"2.4.0": [Served(minutes(75), minutes(5))]})
    verdict = await look(adapter(server.url, errors("sick_total")), ledger=ledger)
    assert "4 % Wed 25 Nov 13:40 UTC" in verdict.observed


async def test_an_unreachable_monitor_is_unknown() -> None:
    verdict = await look(adapter("http://127.0.0.1:9", errors("cured_total")))
    assert verdict.status is Status.UNKNOWN
    assert "no connection" in verdict.observed


async def test_no_monitor_at_all_passes_in_words_and_one_without_series_does_not(server: Server) -> None:
    verdict = await look(Prometheus([]))
    assert (verdict.status, verdict.observed) == (
        Status.PASS,
        "no monitor is in the catalogue: no number was looked at",
    )
    assert (await look(adapter(server.url))).status is Status.UNKNOWN


async def test_a_release_that_has_just_begun_to_serve_is_not_judged_yet(server: Server) -> None:
    async with fleet("eu-1") as shop:
        await shop.beat()
        for pod in shop.eu.all("Pod", "shop"):
            began = (NOW - timedelta(seconds=50)).isoformat().replace("+00:00", "Z")
            shop.eu.set_status("Pod", pod["metadata"]["name"], "shop", startTime=began)
        there = adapter(server.url, errors("cured_total"))

        def bound(_: object) -> Ports:
            return ports(metrics=there, releases=LEDGER, kubernetes=shop.adapter)

        asked = MetricsSteadyParams(release="2.4.0", outgoing=OUTGOING, images=images("2.4.0"))
        early = await run_check(MetricsSteady(), bound, asked, now=NOW)
        late = await run_check(MetricsSteady(), bound, asked.model_copy(update={"window": 45.0}), now=NOW)
        await there.close()
    assert early.status is Status.UNKNOWN
    assert "newest pod has run for 50 s, 120 s are judged" in early.observed
    assert late.status is Status.PASS
