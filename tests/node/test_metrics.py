"""/metrics: what happened and how things stand, as Prometheus reads it; answering asks nobody."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

import migrations
from bot.node.metrics import STATES, BotMetrics
from bot.ports import Unreachable
from tests.cli.conftest import bot, house
from tests.engine.conftest import desk
from tests.engine.documents import ANA, CHO, World, gate, plan, put, start
from tests.fixtures.whole_bot import Running

__all__ = ["bot", "house"]

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
"""What Prometheus 2.42 sends."""


def values(metrics: BotMetrics) -> dict[str, float]:
    """Sample with its labels -> value."""
    found: dict[str, float] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_what_a_run_does_is_counted_and_how_it_stands_is_looked_up(database_url: str) -> None:
    await asyncio.to_thread(migrations.upgrade, database_url)
    world = World()
    world.hold["a"] = asyncio.Event()
    async with desk(database_url, world) as there:
        metrics = BotMetrics(there.store, there.engine.clock)
        there.engine.watchers = (metrics.watch,)
        await metrics.look()
        assert not [name for name in values(metrics) if name.startswith("rollback_runs_open")]
        run_id = await there.open(plan(start(), put("a", after=["start"], decision="a"), decisions=[gate("a", "a")]))
        await there.until(run_id, lambda r: r.asked["start"].opened)
        await metrics.look()
        found = values(metrics)
        assert {s: found[f"rollback_runs_open{{service=shop,state={s}}}"] for s in STATES} == {
            "stopped": 0, "halted": 0, "waits for people": 1, "at work": 0,
        }  # fmt: skip
        assert found["rollback_decisions_open{service=shop}"] >= 1
        assert found["rollback_decision_oldest_seconds{service=shop}"] >= 0
        await there.approve(run_id, "start", ANA)
        await there.approve(run_id, "a", CHO)
        await there.until(run_id, lambda r: world.entered["a"])
        await metrics.look()
        assert values(metrics)["rollback_runs_open{service=shop,state=at work}"] == 1
        assert values(metrics)["rollback_engine_attempts"] == 1
        world.hold["a"].set()
        await there.step(run_id, "a", lambda s: s.end == "done")
        kinds = await there.kinds(run_id)
    found = values(metrics)
    assert found["rollback_steps_total{outcome=done,uses=doc.set}"] == 1
    assert found["rollback_step_seconds_count{uses=doc.set}"] == 1
    assert found["rollback_decision_wait_seconds_count{service=shop}"] == 2
    assert {k: found[f"rollback_events_total{{kind={k}}}"] for k in set(kinds)} == {k: kinds.count(k) for k in kinds}


async def test_each_call_of_a_port_is_counted_by_what_came_of_it() -> None:
    class Port:
        """A port with a call that works and one that does not."""

        clusters = ("eu-1",)

        async def get(self, there: str) -> str:
            if there == "away":
                raise Unreachable("no answer")
            if there == "odd":
                raise KeyError(there)
            return there

    metrics = BotMetrics(None, lambda: 0.0)  # type: ignore[arg-type]  # it is never looked up here
    port = metrics.counted("http", Port())
    assert (await port.get("x"), port.clusters) == ("x", ("eu-1",))
    for where, error in (("away", Unreachable), ("odd", KeyError)):
        with pytest.raises(error):
            await port.get(where)
    found = values(metrics)
    for outcome in ("ok", "unreachable", "KeyError"):
        assert found[f"rollback_port_calls_total{{call=get,outcome={outcome},port=http}}"] == 1


def test_every_name_is_of_small_letters_and_alerts_and_dashboard_name_what_there_is(bot: Running) -> None:
    names = {family.name for family in bot.bot.metrics.registry.collect()}
    assert len(names) > 15 and all(re.fullmatch(r"rollback_[a-z_:]+", name) for name in names)
    known = names | {f"{name}{end}" for name in names for end in ("_total", "_bucket", "_count", "_sum")}
    house = Path(__file__).parents[2]
    for file in ("prometheus/rules.yaml", "prometheus/rules_test.yaml", "grafana/rollback-bot.json"):
        used = set(re.findall(r"rollback_[a-z_]+", (house / "deploy" / file).read_text(encoding="utf-8")))
        assert used and used <= known, file
    page = (house / "docs" / "operators.md").read_text(encoding="utf-8")
    table = page.partition("## Metrics")[2].partition("What to be alerted of")[0]
    listed = set(re.findall(r"`(rollback_[a-z_]+)", table))
    assert {n.removesuffix("_total") for n in listed} == names


def test_prometheus_reads_it_without_a_token_and_no_database_is_asked(
    bot: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> tuple[int, str, str]:
        async with (
            aiohttp.ClientSession(headers={"Accept": PROMETHEUS}) as session,
            session.get(f"{bot.house.url}/metrics") as answer,
        ):
            return answer.status, answer.headers["Content-Type"], await answer.text()

    assert bot.house.say("ana", "rollback", "shop", "to", "2.4.0", "because", "it", "fails").exit_code == 0
    bot.call(bot.bot.metrics.look())

    async def refused(*_: object, **__: object) -> None:
        raise AssertionError("the database was asked")

    monkeypatch.setattr(bot.bot.metrics._store, "heads", refused)
    status, kind, text = asyncio.run(ask())
    assert status == 200 and kind.startswith("application/openmetrics-text; version=1.0.0")
    assert 'rollback_events_total{kind="created"} 1.0' in text and "rollback_lease_live 1.0" in text
    plain = text.replace("# EOF\n", "")
    assert {f.name for f in text_string_to_metric_families(plain)}
