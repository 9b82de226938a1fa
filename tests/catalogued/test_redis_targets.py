"""`redis:` targets of the catalogue: what they may say, and every mistake at its place."""

from __future__ import annotations

import pytest

from bot.adapters.redis import RedisServer
from bot.catalogue import load_catalogue
from bot.catalogued.redis import RedisTarget
from bot.contract import Scope
from bot.handlers.narrow import narrow
from bot.located import Faults
from bot.ports.caches import Queue
from bot.redaction import held
from bot.settings import Settings
from bot.targets.factory import adapters_of
from bot.testing import ports

HEAD = "roles: {commander: {people: [ann]}, approver: {people: [bo]}}\npeople: {ann: Ann, bo: Bo}\n"
WHOLE = """
services:
  shop:
    targets:
      cache:
        redis: "cache.internal:6379/2"
        username: bot
        password: SHOP_CACHE_PASSWORD
        tls: true
        flush: ["shop:{release}:", "shop:prices:"]
        latency: 30ms
        rate: 5000
        queues:
          jobs: {list: "shop:jobs", take: left, kind: /kind, at: /at, depth: 10, oldest: 5m, kinds: {"2.4.0": receipt}}
          events: {stream: "shop:events", group: workers, kind: /payload/kind, claim: 30s}
      other: {redis: "[::1]:6380/0", cluster: true}
"""


def target(text: str) -> str:
    return f'services:\n  shop:\n    targets:\n      cache: {{redis: "c:1/0", {text}}}\n{HEAD}'


def test_a_target_says_where_it_is_what_goes_and_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_CACHE_PASSWORD", "sesame-123")
    catalogue = load_catalogue(WHOLE + HEAD, "rollback.yaml")
    shop = catalogue.services["shop"]
    found = shop.targets["cache"]
    assert isinstance(found, RedisTarget)
    cache = found.cache("cache")
    assert cache.prefixes == ("shop:{release}:", "shop:prices:")
    jobs, events = cache.queues
    assert jobs == Queue(
        "jobs", "shop:jobs", take="left", kind="/kind", at="/at", depth=10, oldest=300.0, kinds={"2.4.0": ("receipt",)}
    )
    assert events.stream and (events.group, events.kind, events.claim) == ("workers", "/payload/kind", 30.0)
    assert shop.kinds == ("redis",)
    assert "sesame-123" in held.by_catalogue(catalogue)


async def test_adapters_lead_there_and_are_left_out_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_CACHE_PASSWORD", "sesame-123")
    there = adapters_of(Settings(), load_catalogue(WHOLE + HEAD, "rollback.yaml"))["shop"]
    assert {n: w.at for n, w in (await there.where()).items()} == {
        "cache": "redis://cache.internal:6379/2", "other": "redis://[::1]:6380/cluster",
    }  # fmt: skip
    given = ports(caches=there.caches)
    left = narrow(given, {"caches"}, Scope(without=frozenset({"cache"})))
    assert [c.name for c in left.caches.caches] == ["other"]
    assert RedisServer("h", 1, password="sesame-123") == RedisServer("h", 1, password="sesame-123")
    await there.close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('flush: [""]', "every key begins with it"),
        ('flush: ["*"]', "ends with a star"),
        ('flush: ["shop:*"]', "write it without"),
        ('flush: [":"]', "says too little"),
        ('flush: ["shop:{release}"]', "ends with a version"),
        ("queues: {jobs: {kind: /kind}}", "list or stream"),
        ("queues: {jobs: {list: a, stream: b, group: c}}", "list or stream"),
        ("queues: {jobs: {stream: b}}", "stream and group go together"),
        ("queues: {jobs: {list: a, kind: kind}}", "a JSON pointer begins with /"),
        ("queues: {jobs: {list: a, take: top}}", "left"),
        ("password: not-a-variable", "environment variable"),
        ("database: db", "shop has no PostgreSQL target 'db'"),
        ("flsh: [a]", "flush"),
        ("latency: quick", "duration"),
    ],
)
def test_a_mistake_is_told_at_its_place(text: str, words: str) -> None:
    with pytest.raises(Faults) as told:
        load_catalogue(target(text), "rollback.yaml")
    assert words in str(told.value)
    assert "rollback.yaml:4:" in str(told.value)


@pytest.mark.parametrize("address", ["cache:6379", "redis://cache:6379/0", "user:pw@cache:6379/0", "cache/0", "c:0/0"])
def test_an_address_is_host_port_and_number(address: str) -> None:
    with pytest.raises(Faults, match="must be host:port/number"):
        load_catalogue(target("").replace("c:1/0", address), "rollback.yaml")


def test_a_cluster_has_one_database() -> None:
    with pytest.raises(Faults, match="a cluster has the database 0 only"):
        load_catalogue(target("cluster: true").replace("c:1/0", "c:1/2"), "rollback.yaml")
