"""Every check of the end (V1-V8) over the whole shop: broken for its reason, cured, and where nothing can be known.

What is asserted is what docs/checks.md tells people: each row there is held to by this file.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from bot.catalogue import load_catalogue
from bot.cli.building import BuildOptions, build
from bot.contract import AnyCheck, Json, Status, Verdict
from bot.playground.cluster.resources import RESOURCES
from bot.playground.free_port import free_port
from bot.playground.prometheus import installed
from bot.playground.shop.front import Front
from bot.playground.shop.hands import Hands
from bot.playground.shop.manifests import NAMESPACE
from bot.playground.shop.shop import Shop
from bot.ports import Ports, Record
from bot.ports.releases import Served
from bot.settings import Settings
from bot.targets.factory import adapters_of
from bot.testing import MemoryReleases, ports, run_check
from checks.alerts_baseline import AlertsBaseline
from checks.cdn_caching import CdnCaching
from checks.crons_running import CronsRunning
from checks.exceptions_quiet import ExceptionsQuiet
from checks.health_serving import HealthServing
from checks.journeys_pass import JourneysPass
from checks.metrics_steady import MetricsSteady
from checks.partners_answering import PartnersAnswering
from checks.queues_draining import QueuesDraining
from checks.schema_expected import SchemaExpected
from tests.adapters.test_journeys import Remembered

GOOD, EU = "2.4.0", "eu-1"
PAGE = Path("docs/checks.md").read_text("utf-8")
PATIENCE = 240.0
"""Seconds that something may take to show, on a busy machine."""
ALL: tuple[AnyCheck, ...] = (
    HealthServing(), JourneysPass(), SchemaExpected(), QueuesDraining(), CronsRunning(), ExceptionsQuiet(),
    MetricsSteady(), CdnCaching(), PartnersAnswering(), AlertsBaseline(),
)  # fmt: skip
CHECKS = {check.name: check for check in ALL}
BROKEN = {
    "health.serving": "errors",
    "journeys.pass": "payments: step 3 of 4",
    "schema.expected": "index orders_at is missing",
    "queues.draining": r"nothing was taken|does not become less|\(limit",
    "crons.running": "job settle-by-hand",
    "exceptions.quiet": "Refused",
    "metrics.steady": "payments_failing",
    "cdn.caching": "other content than the build has",
    "partners.answering": "the fault is theirs",
    "alerts.baseline": "ShopPaymentsFail fires",
}
"""What each says of its broken world: a pattern."""
AWAY = "nobody listens where it is asked"
EMPTY = "what is asked answers, and holds nothing"
Targets = dict[str, dict[str, Any]]


@dataclass
class World:
    """The shop in one cluster, on its good release, as customers use it. served: when the release did; began: since
    when alerts count."""

    folder: Path
    shop: Shop
    front: Front
    build: str
    served: datetime
    began: datetime

    def watched_for(self, seconds: float) -> timedelta:
        """How far back it was when Prometheus had worked for so long."""
        assert self.shop.monitoring is not None
        with urllib.request.urlopen(f"{self.shop.monitoring.url}/api/v1/status/runtimeinfo", timeout=10) as answer:
            began = datetime.fromisoformat(json.load(answer)["data"]["startTime"])
        return began + timedelta(seconds=seconds) - datetime.now(UTC)

    def params(self, more: Mapping[str, Mapping[str, Json]]) -> dict[str, dict[str, Any]]:
        """As the standard plan has them, with windows that can be waited for."""
        release = self.shop.releases[GOOD]
        of = {"release": GOOD, "images": release["images"], "outgoing": [{"version": "2.4.1"}]}
        found: dict[str, dict[str, Any]] = {
            "health.serving": {"target": "api", "release": GOOD},
            "schema.expected": {"revision": release["schema"], "migrations": release["migrations"]},
            "crons.running": {"soon": 900},
            "exceptions.quiet": {**of, "window": 10},
            "metrics.steady": {**of, "window": 15, "step": 1},
            "cdn.caching": {"build": self.build},
            "alerts.baseline": {"release": GOOD},
        }
        return {name: {**found.get(name, {}), **more.get(name, {})} for name in CHECKS}

    async def look(
        self,
        names: Collection[str] = CHECKS.keys(),
        *,
        edit: Callable[[Targets], None] = lambda _: None,
        kubeconfig: Path | None = None,
        later: Mapping[str, timedelta] | None = None,
        more: Mapping[str, Mapping[str, Json]] | None = None,
    ) -> dict[str, Verdict]:
        """One look of these checks. edit: what the catalogue says otherwise; later: how far on the check's clock is;
        more: other parameters."""
        told = yaml.safe_load(self.shop.catalogue())
        told["services"]["shop"]["targets"] |= self.front.targets("api")
        edit(told["services"]["shop"]["targets"])
        (self.folder / "rollback.yaml").write_text(yaml.safe_dump(told))
        catalogue = load_catalogue((self.folder / "rollback.yaml").read_text(), "rollback.yaml")
        there = adapters_of(Settings(kubeconfig=str(kubeconfig or self.shop.kubeconfig)), catalogue)["shop"]
        now = datetime.now(UTC)
        long = Served(now - timedelta(days=6), now - timedelta(hours=1))
        ledger = MemoryReleases(**{GOOD: [long, Served(self.served)]})
        walked = Remembered()
        kept: dict[str, Json] = {"raised": {}, "before": {}, "seen": True, "began": self.began.isoformat(),
                                 "ended": now.isoformat()}  # fmt: skip

        def bound(record: Record) -> Ports:
            return ports(
                http=there.http.bind(record), kubernetes=there.kubernetes.bind(record),
                journeys=there.journeys.bind(walked), databases=there.databases.bind(record),
                caches=there.caches.bind(record), metrics=there.metrics,
                sites=there.sites.bind(record), edges=there.edges.bind(record), partners=there.partners,
                releases=ledger,
            )  # fmt: skip

        async def one(name: str) -> Verdict:
            check, params = CHECKS[name], self.params(more or {})[name]
            at = datetime.now(UTC) + (later or {}).get(name, timedelta())
            return await run_check(check, bound, check.Params(**params), now=at, baseline=kept)

        try:
            return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))
        finally:
            await there.close()

    async def until(
        self, holds: Callable[[str, Verdict], bool], what: str, more: Mapping[str, Mapping[str, Json]] | None = None
    ) -> dict[str, Verdict]:
        """The first verdict of each check of which this holds."""
        found: dict[str, Verdict] = {}
        end = time.monotonic() + PATIENCE
        while True:
            seen = await self.look([n for n in CHECKS if n not in found], more=more)
            found |= {n: v for n, v in seen.items() if holds(n, v)}
            if len(found) == len(CHECKS):
                return found
            late = {n: f"{v.status}: {v.observed}" for n, v in seen.items() if n not in found}
            assert time.monotonic() < end, f"{what}: {late}"
            await asyncio.sleep(1.0)


@asynccontextmanager
async def standing(folder: Path, set_variable: Callable[[str, str], None]) -> AsyncIterator[World]:
    shop = Shop(folder / "shop", (EU,), deployed=(GOOD,), schedule="* * * * *", second=True, watched=True)
    async with shop, Front(folder / "builds") as front, shop.traffic(6.0):
        beside = shop.beside
        assert beside is not None
        for name, value in {**beside.variables, **front.variables}.items():
            set_variable(name, value)
        made = await asyncio.to_thread(build, front.make(GOOD), BuildOptions((), (), "config.json", (), (), ()))
        await front.upload(GOOD)
        await front.publish(GOOD)
        now = datetime.now(UTC)
        yield World(folder, shop, front, f"builds/{GOOD}@{made.digest}", now, now)


async def breaks(world: World) -> Callable[[], Awaitable[None]]:
    """Everything at once, each check's reason in a target of its own; gives its cure."""
    shop = world.shop
    data, cluster = shop.data, shop.clusters[EU]
    assert data is not None
    await shop.expire(GOOD)  # the certificate that it pays with: pages, journeys, logs, numbers and alerts
    world.shop.partner.down, world.shop.partner.says = True, "major"
    (kept,) = data.rows("SELECT pg_get_indexdef('orders_at'::regclass)")
    data.rows("DROP INDEX orders_at")
    paused = {"metadata": {"annotations": {"autoscaling.keda.sh/paused-replicas": "0"}}}
    async with Hands(cluster, "admin") as hands:
        await hands.merge("ScaledObject", NAMESPACE, "shop-worker", paused)
    await world.front.publish("2.4.1")
    job = cluster.get("CronJob", "shop-settle", NAMESPACE)["spec"]["jobTemplate"]["spec"]
    [container] = job["template"]["spec"]["containers"]
    pod = {**job["template"]["spec"], "containers": [{**container, "env": []}]}
    meta = {"name": "settle-by-hand", "namespace": NAMESPACE}
    async with Hands(cluster, "admin") as hands:
        await hands.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta,
                            "spec": {**job, "template": {**job["template"], "spec": pod}}})  # fmt: skip

    async def cure() -> None:
        await shop.renew(GOOD)
        world.shop.partner.down, world.shop.partner.says = False, "none"
        data.rows(kept[0])
        back = {"metadata": {"annotations": {"autoscaling.keda.sh/paused-replicas": None}}}
        async with Hands(cluster, "admin") as hands:
            await hands.merge("ScaledObject", NAMESPACE, "shop-worker", back)
        await world.front.publish(GOOD)
        jobs = next(r for r in RESOURCES if r.kind == "Job")
        cluster.core.delete(cluster.access.users["admin"], jobs, NAMESPACE, "settle-by-hand")

    return cure


@asynccontextmanager
async def hollow() -> AsyncIterator[str]:
    """`host:port` of something that answers 200 to everything, and says nothing."""

    async def nothing(_: web.Request) -> web.Response:
        return web.Response(text="")

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", nothing)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def elsewhere(place: str, *, database: str, number: int) -> Callable[[Targets], None]:
    """Every target is asked at this place instead; database, number: of PostgreSQL and of Valkey."""

    def edit(targets: Targets) -> None:
        for told in targets.values():
            for key in ("http", "prometheus", "alertmanager"):
                told |= {key: f"http://{place}"} if key in told else {}
            told |= {"probes": [place]} if "probes" in told else {}
            told |= {"postgres": database} if "postgres" in told else {}
            if "redis" in told:
                told["redis"] = f"{place if not number else told['redis'].partition('/')[0]}/{number}"
            if "kubernetes" in told and number:
                told["namespace"] = "nothing"

    return edit


def beside(world: World, name: str) -> str:
    """Another database of the shop's server, as the catalogue names it."""
    assert world.shop.data is not None
    return f"{world.shop.data.place.rpartition('/')[0]}/{name}"


def much(targets: Targets) -> None:
    """Its numbers say something only when they rest upon a million payments."""
    for told in targets["monitor"]["series"].values():
        told["minimum"] = 1_000_000


def row(check: str, words: str) -> str:
    """The row of docs/checks.md that has these words of the check. AssertionError."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| V") and f"`{check}`" in line]
    assert len(rows) == 2, f"docs/checks.md tells of {check} in both tables"
    return next((line for line in rows if re.search(words, line)), "")


@pytest.mark.skipif(not installed(), reason="needs Prometheus: apt-get install prometheus prometheus-alertmanager")
async def test_each_check_fails_for_its_reason_passes_when_cured_and_never_passes_on_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with standing(tmp_path, monkeypatch.setenv) as world:
        await world.until(lambda _, v: v.status is Status.PASS, "all is well")
        cure = await breaks(world)
        short: dict[str, dict[str, Json]] = {"queues.draining": {"seconds": 0.6, "looks": 4}}

        def for_its_reason(check: str, v: Verdict) -> bool:
            return v.status is Status.FAIL and re.search(BROKEN[check], v.observed) is not None

        for check in await world.until(for_its_reason, "broken", short):
            assert row(check, BROKEN[check]), check
        await cure()
        world.began = datetime.now(UTC)
        await world.until(lambda _, v: v.status is Status.PASS, "cured")
        await nobody_there(world)
        await nothing_in_it(world)
        await too_few(world)
        await too_old(world)


async def nobody_there(world: World) -> None:
    place = f"127.0.0.1:{free_port()}"
    away = world.folder / "kubeconfig-away"
    away.write_text(re.sub(r"server: \S+", f"server: https://{place}", world.shop.kubeconfig.read_text()))
    seen = await world.look(edit=elsewhere(place, database=f"{place}/shop", number=0), kubeconfig=away)
    assert {n: v.status for n, v in seen.items()} == dict.fromkeys(CHECKS, Status.UNKNOWN), told(seen)


async def nothing_in_it(world: World) -> None:
    """Answers without a word, a database without tables, a cache without keys, a namespace that is none of ours."""
    async with hollow() as place:
        seen = await world.look(edit=elsewhere(place, database=beside(world, "postgres"), number=5))
    assert Status.PASS not in {v.status for v in seen.values()}, told(seen)


async def too_few(world: World) -> None:
    """Looks at a queue that lie too close together are tried where time stands still: `test_queues_draining.py`."""
    few: dict[str, dict[str, Json]] = {
        "exceptions.quiet": {"lines": 1_000_000},
        "metrics.steady": {"window": 15}, "alerts.baseline": {},
    }  # fmt: skip
    seen = await world.look([*few], edit=much, later={"alerts.baseline": world.watched_for(1.0)}, more=few)
    assert {v.status for v in seen.values()} == {Status.UNKNOWN}, told(seen)


async def too_old(world: World) -> None:
    """What ran before its schedule was on again, pods and measurements of before tell nothing of what is back."""
    async with Hands(world.shop.clusters[EU], "admin") as hands:
        for off in (True, False):
            await hands.merge("CronJob", NAMESPACE, "shop-settle", {"spec": {"suspend": off}})
    hour: dict[str, dict[str, Json]] = {
        "crons.running": {}, "exceptions.quiet": {"window": 3600}, "metrics.steady": {"window": 3600},
        "alerts.baseline": {},
    }  # fmt: skip
    seen = await world.look([*hour], later={"alerts.baseline": timedelta(minutes=10)}, more=hour)
    assert not [n for n, v in seen.items() if v.status.good], told(seen)


def told(seen: Mapping[str, Verdict]) -> dict[str, str]:
    return {n: f"{v.status}: {v.observed}" for n, v in seen.items()}
