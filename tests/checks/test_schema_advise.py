"""`schema.advise` on a real PostgreSQL: the card's words, and the order that they lead to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bot.adapters.kubernetes import Clusters
from bot.adapters.postgres import PostgresDatabases
from bot.contract import Status, Verdict
from bot.ports import Ports, Record
from bot.ports.kubernetes import Cluster, Pod
from bot.testing import PortsFor, ports, run_check
from checks.schema_advise import SchemaAdvise, SchemaAdviseParams
from tests.fixtures.service_database import SHOP, Place, Rev

IMAGE = f"registry.example/shop/api@sha256:{'a' * 64}"


class Seen(Clusters):
    """Clusters in which these pods are: what the proof asks of `ports.kubernetes` and nothing else."""

    def __init__(self, *pods: Pod) -> None:
        super().__init__([])
        self.pods_there = pods

    @property
    def clusters(self) -> Sequence[Cluster]:
        return [Cluster("eu-1", "shop")]

    async def every_pod(self, cluster: str) -> Sequence[Pod]:
        return self.pods_there


async def look(databases: PostgresDatabases, clusters: Clusters | None = None, **given: Any) -> Verdict:
    p = SchemaAdviseParams(**{"revision": "0041", "migrations": "2.4.1", "version": "2.4.0", "newer": "2.4.1", **given})

    def bound(record: Record) -> Ports:
        return ports(databases=databases.bind(record), kubernetes=clusters or Clusters([]))

    ports_for: PortsFor = bound
    return await run_check(SchemaAdvise(), ports_for, p)


async def test_the_card_says_what_keeping_and_going_down_mean(migrated: Place) -> None:
    migrated.sql("INSERT INTO coupons (code) SELECT n::text FROM generate_series(1, 1200) n")
    verdict = await look(migrated.databases)
    assert verdict.status is Status.WARN
    assert verdict.observed == (
        "db 0042 → 0041. Keep: nothing lost, 0 min; not proven: 2.4.0 has not been seen on 0042, and 2.4.1 declares "
        "nothing. Down: takes column orders.coupon_id and table coupons, 1,200 rows, about 0-1 min."
    )
    assert dict(verdict.data) == {"order": "down-first", "keep_proven": False, "option": "", "rows": 1200}


async def test_a_declared_schema_lets_the_code_go_first(migrated: Place) -> None:
    verdict = await look(migrated.databases, compatible="0041")
    assert (verdict.status, verdict.data["order"], verdict.data["option"]) == (Status.PASS, "deploy-first", "keep")


OWNER = "replicaset/shop-api-5d8f"


async def test_what_a_pod_without_traffic_has_passed_proves_it_unless_rows_speak_against_it(migrated: Place) -> None:
    passed = "a pod of 2.4.0 without traffic in eu-1 passed 1 request of shelf on 0042"
    verdict = await look(migrated.databases, probed=passed)
    assert f"proven: {passed}" in verdict.observed and verdict.data["keep_proven"] is True
    migrated.sql("INSERT INTO orders (coupon_id) VALUES (7)")
    unreadable = {"orders with a coupon": ("0042", "SELECT id FROM orders WHERE coupon_id IS NOT NULL")}
    verdict = await look(migrated.like(at={"unreadable": unreadable}), probed=passed)
    assert verdict.data["keep_proven"] is False


async def test_pods_that_serve_on_it_prove_it_and_pods_in_trouble_do_not(migrated: Place) -> None:
    def pod(**how: Any) -> Pod:
        return Pod("shop-api-1", (IMAGE,), **{"ready": True, "phase": "Running", "owner": OWNER, **how})

    serving = await look(migrated.databases, Seen(pod()), images={"api": IMAGE})
    assert "proven: 2.4.0 serves on 0042 now: 1 pods in eu-1" in serving.observed
    assert serving.data["order"] == "deploy-first"
    for troubled in (pod(ready=False), pod(restarts=3), pod(owner="")):
        verdict = await look(migrated.databases, Seen(troubled), images={"api": IMAGE})
        assert verdict.data["keep_proven"] is False
    mixed = await look(migrated.databases, Seen(pod(), pod(ready=False)), images={"api": IMAGE})
    assert mixed.data["keep_proven"] is False


async def test_a_schema_that_is_right_needs_no_decision(migrated: Place) -> None:
    verdict = await look(migrated.databases, revision="0042")
    assert (verdict.status, verdict.observed) == (Status.PASS, "db is at 0042, as it is to be.")
    assert verdict.data["order"] == "none"


async def test_what_cannot_be_read_is_said_and_not_called_safe(migrated: Place) -> None:
    down = [*SHOP[2].down, "DO $$ BEGIN PERFORM 1; END $$"]
    migrated.release("2.4.1", *SHOP[:2], Rev("0042", "0041", SHOP[2].up, down))
    verdict = await look(migrated.databases)
    assert "an unknown number of rows" in verdict.observed
    assert "parts cannot be read, so nothing says that it is safe" in verdict.observed
    assert verdict.data["rows"] is None


async def test_why_going_down_would_be_refused_stands_there_before_anybody_decides(migrated: Place) -> None:
    verdict = await look(migrated.like(at={"others": ("billing",)}))
    assert "refused: db is also the database of billing" in verdict.observed


async def test_nothing_known_is_unknown_and_no_database_is_a_pass(migrated: Place) -> None:
    away = await look(migrated.like(host="127.0.0.1", port=1, tls=False))
    assert away.status is Status.UNKNOWN
    assert away.data["order"] == "down-first"
    unstamped = await look(migrated.databases, revision=None)
    assert (unstamped.status, "registered without a schema revision" in unstamped.observed) == (Status.UNKNOWN, True)
    assert (await look(migrated.like(at={"scripts": False}))).status is Status.UNKNOWN
    none = await look(PostgresDatabases([]))
    assert (none.status, none.data["order"]) == (Status.PASS, "none")
