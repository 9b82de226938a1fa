"""`ports.metrics` over a real Prometheus and a real Alertmanager."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from bot.adapters.http import HttpEndpoint
from bot.adapters.prometheus import STEPS, Prometheus, PrometheusEndpoint
from bot.ports import Unreachable
from bot.ports.metrics import Matcher, Monitor, QueryRefused, Silence
from tests.fixtures.prometheus import (
    Server,
    adapter,
    alertmanager,
    comes,
    exporter,
    prometheus,
    silence,
    unsilence,
    until,
)

NOW = datetime(2026, 11, 25, 14, 10, tzinfo=UTC)
START = NOW - timedelta(minutes=40)


def at(minutes: float) -> datetime:
    """Minutes before NOW."""
    return NOW - timedelta(minutes=minutes)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    def steady(now: float) -> float:
        return (now - START.timestamp()) * 2

    def restarted(now: float) -> float:
        return steady(now) if now < at(5).timestamp() else (now - at(5).timestamp()) * 2

    with prometheus(
        tmp_path_factory.mktemp("past"),
        [
            ('steady_total{pod="a"}', steady, START, NOW),
            ('steady_total{pod="b"}', steady, START, NOW),
            ('reset_total{pod="a"}', restarted, START, NOW),
            ('replaced_total{pod="a"}', steady, START, at(6)),
            ('replaced_total{pod="b"}', lambda now: 40.0, at(4), NOW),
            ("stopped", lambda now: 1.0, START, at(3)),
            ("level", lambda now: 7.0, START, NOW),
        ],
    ) as server:
        yield server


@pytest.fixture
async def prom(past: Server) -> AsyncIterator[Prometheus]:
    there = adapter(past.url)
    yield there
    await there.close()


async def test_a_number_comes_with_its_labels_and_moment(prom: Prometheus) -> None:
    answer = await prom.instant("prom", "sum by (pod) (rate(steady_total[1m]))", NOW)
    assert {s.labels["pod"]: s.value for s in answer.samples} == {"a": pytest.approx(2.0), "b": pytest.approx(2.0)}
    assert {s.at for s in answer.samples} == {NOW}
    assert (await prom.instant("prom", "1 + 1", NOW)).samples[0].value == 2.0


async def test_nothing_is_never_zero(prom: Prometheus) -> None:
    assert (await prom.instant("prom", "never_was", NOW)).samples == ()
    assert (await prom.instant("prom", "sum(never_was) + sum(level)", NOW)).samples == ()
    [nan] = (await prom.instant("prom", "level * 0 / (level * 0)", NOW)).samples
    [inf] = (await prom.instant("prom", "level / 0", NOW)).samples
    assert math.isnan(nan.value)
    assert math.isinf(inf.value)


async def test_two_ranges_lie_on_one_grid(prom: Prometheus) -> None:
    one, other = [
        (await prom.range("prom", "level", start, end, 30)).lines[0].points
        for start, end in ((at(9.3), at(5.1)), (at(5.2), NOW))
    ]
    assert {t % 30 for t, _ in (*one, *other)} == {0.0}
    assert [t for t, _ in other][-1] == NOW.timestamp()
    with pytest.raises(ValueError, match="at most"):
        await prom.range("prom", "level", NOW - timedelta(seconds=STEPS), NOW, 1)


async def test_a_counter_that_began_anew_is_counted(prom: Prometheus) -> None:
    assert await prom.began("prom", "sum(rate(steady_total[1m]))", at(10), NOW) == 0
    assert await prom.began("prom", "sum(rate(reset_total[1m]))", at(10), NOW) == 1
    assert await prom.began("prom", "sum(rate(reset_total[1m]))", at(2), NOW) == 0
    assert await prom.began("prom", "sum(rate(reset_total[4m]))", at(2), NOW) == 1, "the query looks back itself"
    assert await prom.began("prom", "avg(level)", at(10), NOW) == 0, "no counter"


async def test_a_counter_of_a_new_pod_has_counted_what_no_rate_shows(prom: Prometheus) -> None:
    [unseen] = (await prom.instant("prom", "sum(increase(replaced_total[4m]))", NOW)).samples
    assert unseen.value == 0.0, "40 happened before it was read first"
    assert await prom.began("prom", "sum(increase(replaced_total[4m]))", at(4), NOW) == 1


async def test_it_is_told_when_nobody_measures_any_more(prom: Prometheus) -> None:
    assert await prom.newest("prom", "level", NOW) == NOW
    assert (await prom.instant("prom", "stopped", NOW)).samples, "a value is still given"
    assert await prom.newest("prom", "stopped + on() level", NOW) == at(3)
    assert await prom.newest("prom", "level / never_was", NOW) is None
    assert await prom.newest("prom", "level or vector(0) + never_was", NOW) == NOW
    assert await prom.newest("prom", "never_was or vector(0)", NOW) is None


async def test_a_query_that_is_wrong_is_refused_in_its_words(prom: Prometheus) -> None:
    with pytest.raises(QueryRefused, match="unclosed left parenthesis"):
        await prom.instant("prom", "sum(level", NOW)
    with pytest.raises(QueryRefused, match="not one number"):
        await prom.instant("prom", "level[1m]", NOW)
    with pytest.raises(LookupError, match="no monitor 'other'; there are prom"):
        await prom.instant("other", "level", NOW)


async def test_what_does_not_answer_is_unreachable_by_its_name(past: Server) -> None:
    nobody = adapter("http://127.0.0.1:9", alertmanager="http://127.0.0.1:9")
    for call in (nobody.instant("prom", "level", NOW), nobody.silences("prom"), nobody.scraped("prom")):
        with pytest.raises(Unreachable) as caught:
            await call
        assert [*caught.value.parts] == ["prom"]
    assert "no connection to 127.0.0.1:9" in (await nobody.ping())["prom"]
    half = adapter(past.url, alertmanager="http://127.0.0.1:9")
    assert "its Alertmanager: no connection" in (await half.ping())["prom"]
    with exporter(up=1) as page:
        other = adapter(f"http://{page.address}")
        assert "answered 200: no JSON" in (await other.ping())["prom"]
    for each in (nobody, half, other):
        await each.close()


async def test_it_is_told_apart_by_its_addresses_and_never_by_a_token(past: Server) -> None:
    def where(url: str, alerts: str = "", **headers: str) -> str:
        target = PrometheusEndpoint(Monitor("prom"), HttpEndpoint(url, headers=headers), alerts)
        return Prometheus([target]).where()["prom"].digest

    assert where(past.url) == where(past.url, Authorization="Bearer x")
    assert len({where(past.url), where("http://127.0.0.1:9"), where(past.url, "http://127.0.0.1:9")}) == 3


def test_a_token_goes_to_the_alertmanager_only_on_the_same_host() -> None:
    def sent(alerts: str) -> dict[str, str]:
        ours = HttpEndpoint("https://prom.internal", headers={"Authorization": "Bearer x"})
        teller = PrometheusEndpoint(Monitor("prom"), ours, alerts).teller
        assert teller is not None
        return teller.sent()

    assert sent("https://prom.internal:9093") == {"Authorization": "Bearer x"}
    assert sent("https://elsewhere.example:9093") == {}


def test_a_silence_covers_what_its_terms_meet() -> None:
    def covers(*terms: Matcher, whole: bool = True, **labels: str) -> bool:
        return Silence("1", terms, NOW, NOW, "dee", "", "active").covers(labels, whole=whole)

    assert covers(Matcher("a", "x|y", regex=True), a="y")
    assert not covers(Matcher("a", "x", regex=True), a="xx")
    assert covers(Matcher("team", "shop", equal=False), alertname="Down"), "a lone negative term covers all without it"
    assert not covers(Matcher("pod", "a"), alertname="Down")
    assert covers(Matcher("pod", "a"), alertname="Down", whole=False), "the alert may have that label"


async def test_alerts_targets_rules_and_silences_are_read(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("live")
    with (
        exporter(errors=1) as page,
        alertmanager(folder / "am") as told,
        prometheus(
            folder / "prom", scraped={"api": [page.address], "gone": ["127.0.0.1:9"]}, alertmanager=told
        ) as server,
    ):
        server.rules(
            {"alert": "Errors", "expr": "errors > 0", "labels": {"severity": "page"}},
            {"alert": "Broken", "expr": 'label_replace(errors, "a", "$1", "__name__", "(") > 0'},
            {"record": "errors:worst", "expr": "max(errors)"},
        )
        there = adapter(server.url, alertmanager=told, labels={"service": "shop"}, groups=("shop",))
        until(lambda: any(a["state"] == "firing" for a in server.ask("/api/v1/alerts")["alerts"]))
        until(lambda: {t["health"] for t in server.ask("/api/v1/targets")["activeTargets"]} == {"up", "down"})
        until(lambda: "unknown" not in {r["health"] for r in server.ask("/api/v1/rules")["groups"][0]["rules"]})
        up, down = sorted(await there.scraped("prom"), key=lambda t: t.job)
        assert (up.what, up.health) == (f"api {page.address}", "up")
        assert (down.health, "refused" in down.error) == ("down", True)
        rules = {r.name: r for r in await there.rules("prom")}
        assert rules["Errors"].health == "ok"
        assert [a.state for a in rules["Errors"].alerts] == ["firing"]
        assert (rules["Broken"].health, "invalid regular expression" in rules["Broken"].error) == ("err", True)
        now = datetime.now(UTC)
        assert now - timedelta(minutes=1) < rules["Errors"].evaluated < now
        assert await there.receivers("prom") == 1
        began = await there.started("prom")
        assert began is not None
        assert now - timedelta(minutes=1) < began < now
        id = silence(told, now, now + timedelta(hours=1), alertname="Errors")

        async def quiet() -> bool:
            return [h.by for h in await there.held("prom") if h.name == "Errors"] == [(id,)]

        await comes(quiet)
        found = [s for s in await there.silences("prom") if s.id == id]
        assert [(s.by, s.state, s.matchers) for s in found] == [("dee", "active", (Matcher("alertname", "Errors"),))]
        unsilence(told, id)
        assert await there.silences("prom") == [], "an expired one is none"
        assert [f.name for f in await there.fired("prom", now - timedelta(minutes=1), datetime.now(UTC))] == ["Errors"]
        assert await there.newest("prom", "errors:worst * 1", datetime.now(UTC)) is not None
        await there.close()
