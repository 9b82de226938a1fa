"""`alerts.baseline` on a real Prometheus and Alertmanager: what makes quiet worthless is found, and its cure passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.prometheus import Prometheus
from bot.contract import Status, Verdict
from bot.ports import Ports
from bot.ports.releases import Served
from bot.testing import MemoryReleases, ports, run_check
from checks.alerts_baseline import AlertsBaseline, AlertsBaselineOutput, AlertsBaselineParams
from tests.fixtures.prometheus import (
    Exporter,
    Server,
    adapter,
    alertmanager,
    comes,
    exporter,
    jobs,
    prometheus,
    silence,
    unsilence,
    until,
)

ERRORS = {"alert": "Errors", "expr": "errors > 0", "labels": {"severity": "page"}}
USUAL = {"alert": "Usual", "expr": "usual > 0"}
SLOW = {"alert": "Slow", "expr": "max by (service) (latency) > 1"}
ALIVE = {"alert": "Watchdog", "expr": "vector(1)", "labels": {"service": "shop"}}
RULES = (ERRORS, USUAL, SLOW, ALIVE)


@dataclass
class World:
    """What is watched, and what watches it."""

    server: Server
    page: Exporter
    told: str
    began: datetime

    async def look(self, there: Prometheus | None = None, later: timedelta = timedelta(), **monitor: Any) -> Verdict:
        """One look, at what there was since the test began."""
        of = {"labels": {"service": "shop"}, "groups": ("shop",), "always": ("Watchdog",), **monitor}
        there = there or adapter(self.server.url, alertmanager=self.told, **of)
        now = datetime.now(UTC)
        ledger = MemoryReleases(**{"2.4.0": [Served(now - timedelta(days=9), now - timedelta(hours=1))]})

        def bound(_: object) -> Ports:
            return ports(metrics=there, releases=ledger)

        kept = {"began": self.began.isoformat()}
        try:
            params = AlertsBaselineParams(release="2.4.0")
            return await run_check(AlertsBaseline(), bound, params, now=datetime.now(UTC) + later, baseline=kept)
        finally:
            await there.close()

    async def until(self, holds: Callable[[Verdict], object], **monitor: Any) -> Verdict:
        """The first verdict of which this holds."""
        seen: list[Verdict] = []

        async def look() -> bool:
            seen.append(await self.look(**monitor))
            return bool(holds(seen[-1]))

        try:
            await comes(look)
        except TimeoutError:
            pytest.fail(f"still {seen[-1].status}: {seen[-1].observed}")
        return seen[-1]

    async def passes(self, **monitor: Any) -> Verdict:
        """It does in the end."""
        return await self.until(lambda v: v.status is Status.PASS, **monitor)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    week = datetime.now(UTC) - timedelta(days=7)
    start, end = week - timedelta(hours=1), week + timedelta(hours=1)
    usual = 'ALERTS{alertname="Usual",alertstate="firing",job="api",service="shop"}'
    past = [
        ('up{job="api",instance="old:80",service="shop"}', lambda at: 1.0, start, end),
        (usual, lambda at: 1.0, start, end),
    ]
    folder = tmp_path_factory.mktemp("watched")
    with (
        exporter() as page,
        alertmanager(folder / "am") as told,
        prometheus(folder / "prom", past, {"api": [page.address]}, told) as server,
    ):
        yield World(server, page, told, week)


@pytest.fixture
def world(running: World) -> World:
    """All is well, and what was before this test does not count."""
    running.page.down = False
    running.page.values = {"errors": 0.0, "usual": 1.0, "latency": 0.5}
    if running.server.config["scrape_configs"] != (scraped := jobs({"api": [running.page.address]})):
        running.server.reload(scrape_configs=scraped)
    running.server.rules(*RULES)
    until(lambda: running.server.ask("/api/v1/alertmanagers")["activeAlertmanagers"])
    running.began = datetime.now(UTC)
    return running


async def test_what_fires_always_and_what_fired_before_is_the_baseline(world: World) -> None:
    verdict = await world.passes()
    assert verdict.observed == "4 rules evaluated, 1 targets scraped, fires as before: Usual"
    data = AlertsBaselineOutput.model_validate(verdict.data)
    assert (data.rules, data.targets, data.firing, data.faults) == (4, 1, [], [])


async def test_an_alert_that_fires_fails_until_it_is_cured(world: World) -> None:
    world.page.values["errors"] = 3.0
    verdict = await world.until(lambda v: v.observed.startswith("Errors"))
    assert verdict.status is Status.FAIL
    assert verdict.observed.startswith(f"Errors ({world.page.address}) fires since ")
    world.page.values["errors"] = 0.0
    await world.passes()


async def test_an_alert_that_stopped_only_because_its_series_is_gone_fails(world: World) -> None:
    world.page.values["latency"] = 3.0
    await world.until(lambda v: "Slow fires" in v.observed)
    del world.page.values["latency"]
    verdict = await world.until(lambda v: "Slow fires" not in v.observed)
    assert verdict.status is Status.FAIL
    assert "Slow stopped at " in verdict.observed
    assert "only because what it watches is gone" in verdict.observed
    world.page.values["latency"] = 0.5
    await world.passes()


async def test_another_pod_in_place_of_the_one_that_failed_is_a_cure(world: World) -> None:
    world.page.values["errors"] = 3.0
    await world.until(lambda v: "Errors" in v.observed)
    with exporter(errors=0.0, usual=1.0, latency=0.5) as fresh:
        world.server.reload(scrape_configs=jobs({"api": [fresh.address]}))
        await world.passes()


async def test_a_target_that_cannot_be_scraped_fails_although_its_alerts_are_quiet(world: World) -> None:
    world.page.down = True
    verdict = await world.until(lambda v: "cannot be scraped" in v.observed)
    assert verdict.status is Status.FAIL
    assert f"api {world.page.address} cannot be scraped (server returned HTTP status 500" in verdict.observed
    world.page.down = False
    await world.passes()


async def test_a_job_that_is_scraped_no_more_fails_by_the_catalogue_and_by_the_good_time(world: World) -> None:
    await world.passes()
    named = await world.look(jobs={"api": 2, "worker": 1})
    assert named.status is Status.FAIL
    assert "1 of job api is scraped" in named.observed
    assert "none of job worker is scraped" in named.observed
    world.server.reload(scrape_configs=jobs({"other": [world.page.address]}))
    verdict = await world.until(lambda v: "none of job api is scraped" in v.observed)
    assert verdict.status is Status.FAIL
    assert "1 were while the release served well" in verdict.observed


async def test_a_broken_rule_fails_and_one_never_evaluated_is_unknown(world: World) -> None:
    world.server.rules(*RULES, {"alert": "Odd", "expr": 'label_replace(errors, "a", "$1", "__name__", "(") > 0'})
    verdict = await world.until(lambda v: "rule Odd is broken" in v.observed)
    assert verdict.status is Status.FAIL
    world.server.rules(*RULES, interval="24h")
    verdict = await world.look()
    assert "rule Errors has not been evaluated yet" in verdict.observed
    assert verdict.status is not Status.PASS


async def test_a_silence_over_an_alert_of_the_service_fails_until_it_ends(world: World) -> None:
    await world.passes()
    now = datetime.now(UTC)
    ours = silence(world.told, now, now + timedelta(hours=2), "while deploying", service="shop")
    other = silence(world.told, now, now + timedelta(hours=2), "not ours", service="billing")
    verdict = await world.look()
    assert verdict.status is Status.FAIL
    assert "a silence of dee until" in verdict.observed
    assert "keeps Errors, Usual, Slow, Watchdog quiet (while deploying)" in verdict.observed
    assert "not ours" not in verdict.observed
    unsilence(world.told, ours)
    await world.passes()
    unsilence(world.told, other)


async def test_a_silence_of_before_the_trouble_or_of_unknown_labels_is_told_and_does_not_fail(world: World) -> None:
    await world.passes()
    now = datetime.now(UTC)
    before = silence(world.told, now, now + timedelta(hours=2), "long ago", alertname="Errors")
    world.began = datetime.now(UTC)
    assert (await world.look()).status is Status.WARN
    unsilence(world.told, before)
    perhaps = silence(world.told, datetime.now(UTC), now + timedelta(hours=2), code="500")
    verdict = await world.look()
    assert verdict.status is Status.WARN
    assert "may keep Errors" in verdict.observed
    unsilence(world.told, perhaps)


async def test_a_monitor_that_has_just_begun_has_not_looked_long_enough(world: World) -> None:
    world.server.rules(ERRORS, USUAL, ALIVE, {**SLOW, "for": "1h"})
    world.server.restart()
    verdict = await world.until(lambda v: v.status is Status.UNKNOWN and "yet" not in v.observed)
    assert "an alert may take 3602 s to fire" in verdict.observed


async def test_what_always_fires_and_does_not_fails(world: World) -> None:
    await world.passes()
    verdict = await world.look(always=("Watchdog", "Deadman"))
    assert (verdict.status, verdict.observed) == (Status.FAIL, "Deadman does not fire, and always should")


async def test_what_fires_and_reaches_nobody_fails(world: World, tmp_path: Path) -> None:
    await world.passes()
    with alertmanager(tmp_path) as other:
        of: dict[str, Any] = {"labels": {"service": "shop"}, "groups": ("shop",), "always": ("Watchdog",)}
        early = await world.look(adapter(world.server.url, alertmanager=other, **of))
        late = await world.look(adapter(world.server.url, alertmanager=other, **of), later=timedelta(minutes=5))
    assert early.status is not Status.PASS
    assert late.status is Status.FAIL
    assert "Watchdog fires and the Alertmanager does not have it: nobody would be told" in late.observed


@pytest.mark.parametrize(
    ("monitor", "why"),
    [
        ({"labels": {"service": "billing"}}, "nothing of the service is scraped"),
        ({"groups": ("billing",)}, "there are no alerting rules in group billing"),
    ],
)
async def test_nothing_to_look_at_is_unknown(world: World, monitor: Mapping[str, Any], why: str) -> None:
    verdict = await world.until(lambda v: "yet" not in v.observed, **{"always": (), **monitor})
    assert verdict.status is not Status.PASS
    assert why in verdict.observed


async def test_what_does_not_answer_is_unknown_and_nothing_at_all_passes_in_words(world: World) -> None:
    away = adapter("http://127.0.0.1:9")
    verdict = await world.look(away)
    assert (verdict.status, "prom cannot be reached" in verdict.observed) == (Status.UNKNOWN, True)
    world.server.rules(ERRORS, USUAL, SLOW)
    await world.passes(always=())
    half = adapter(world.server.url, alertmanager="http://127.0.0.1:9", labels={"service": "shop"}, groups=("shop",))
    verdict = await world.look(half)
    assert verdict.status is Status.UNKNOWN
    assert "its Alertmanager: no connection" in verdict.observed
    verdict = await world.look(Prometheus([]))
    assert (verdict.status, verdict.observed[:33]) == (Status.PASS, "no monitor is in the catalogue: n")
