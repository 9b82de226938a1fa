"""The choice of a schema's way through a real engine: what docs/databases.md shows, on a service's real database."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import actions
import checks
from bot.adapters.kubernetes import Clusters
from bot.adapters.postgres import PostgresDatabases
from bot.catalogue import Release, Service
from bot.catalogued.postgres import PostgresTarget
from bot.contract import Json
from bot.handlers.registry import Registry
from bot.plan.compile import compile_plan
from bot.plan.model import Plan
from bot.policy import Actor
from bot.ports import Ports, Record
from bot.run import events as ev
from bot.run.state import Run
from bot.testing import MemoryBlobs, ports
from tests.engine.conftest import Desk, desk
from tests.engine.documents import ANA, BEN, CHO, World
from tests.fixtures.service_database import SHOP, Place, Rev, place

REGISTRY = Registry.discover(actions, checks, entry_points=False)
PAGE = Path(__file__).parents[2] / "docs" / "databases.md"
OLD = Release("2.4.0", schema="0041")
NEW = Release("2.4.1", schema="0042", migrations="2.4.1")


@dataclass
class Shop(World):
    """A world with a database in it."""

    databases: PostgresDatabases = field(default_factory=lambda: PostgresDatabases([]))
    blobs: MemoryBlobs = field(default_factory=MemoryBlobs)

    def ports(self, run: Run, record: Record) -> Ports:
        return ports(databases=self.databases.bind(record), blobs=self.blobs, kubernetes=Clusters([]))


def plan() -> Plan:
    """That of the page."""
    [steps] = re.findall(r"```yaml\n(- id: schema\n.*?)```", PAGE.read_text(), re.DOTALL)
    text = "name: schema\ntracks:\n  t:\n" + "".join(f"    {line}\n" for line in steps.splitlines())
    service = Service("shop", "Shop", targets={"db": PostgresTarget("db.internal:5432/shop", "SHOP_DB_LOGIN")})
    return compile_plan(
        text, source="p.yaml", registry=REGISTRY, service=service, roles=("commander", "approver", "dba")
    )


@pytest.fixture
def database(pg_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with place(pg_database, tmp_path / "releases", monkeypatch) as found:
        yield found


@pytest.fixture
async def shop(database: Place, tmp_path: Path) -> AsyncIterator[tuple[Desk, Place, Shop]]:
    """At 0042, with two coupons."""
    from tests.fixtures.databases import copy_to

    database.release("2.4.1", *SHOP)
    await database.upgrade("2.4.1", "0042")
    database.sql("INSERT INTO coupons (code) VALUES ('a'), ('b')")
    world = Shop(databases=database.databases)
    async with desk(copy_to(tmp_path / "bot.db"), world) as found:
        found.engine.registry = REGISTRY
        yield found, database, world


async def opened(bot: Desk, removed: Release = NEW) -> str:
    made = plan()
    by = Actor.of(ANA, "test")
    await bot.engine.create("shop-1", ev.Created("shop", made, made.digest, removed, OLD, "checkout fails", by))
    return "shop-1"


async def test_down_is_decided_by_two_and_what_went_is_in_the_record(shop: tuple[Desk, Place, Shop]) -> None:
    bot, database, world = shop
    run_id = await opened(bot)
    run = await bot.until(run_id, lambda r: r.asked["schema-first.down"].opened is not None, within=60)
    advice = run.steps["schema"].verdict
    assert advice is not None and "Keep: nothing lost, 0 min; not proven" in advice.observed
    phrase = run.phrase("schema-first.down")
    await bot.approve(run_id, "schema-first.down", BEN, phrase)
    await bot.approve(run_id, "schema-first.down", CHO, phrase)
    run = await bot.until(run_id, lambda r: r.steps["schema-first.down"].end or r.steps["schema-first.down"].halt, 60)
    step = run.steps["schema-first.down"]
    assert (step.end, step.halt, run.steps["schema-first.keep"].end) == ("done", None, "not needed")
    assert database.stamp() == ["0041"]
    evidence: Json = dict(step.receipt.evidence) if step.receipt is not None else None
    assert isinstance(evidence, dict) and set(evidence) == {"db/table coupons"}
    assert list(world.blobs.data.values()) == [b"id,code\n1,a\n2,b\n"]
    told = [json.loads(e.body) for e in await bot.store.events(run_id) if e.kind == ev.Recorded.kind]
    commands = [str(t["command"]) for t in told]
    assert [c.partition("alembic ")[2] for c in commands] == ["downgrade 0041"]


async def test_where_down_is_refused_keep_can_still_be_chosen(shop: tuple[Desk, Place, Shop]) -> None:
    bot, database, _ = shop
    database.release("2.4.1", *SHOP[:2], Rev("0042", "0041", SHOP[2].up))
    run_id = await opened(bot)
    run = await bot.until(run_id, lambda r: r.steps["schema-first.down"].halt, within=60)
    halt = run.steps["schema-first.down"].halt
    assert halt is not None and "does nothing, and would only set the stamp" in halt.error
    await bot.approve(run_id, "schema-first.keep", BEN)
    run = await bot.until(run_id, lambda r: all(not s.open for s in r.steps.values()), within=60)
    assert run.steps["schema-first.keep"].end == "done"
    assert database.stamp() == ["0042"]


async def test_what_is_proven_needs_no_choice(shop: tuple[Desk, Place, Shop]) -> None:
    bot, database, _ = shop
    run_id = await opened(bot, Release("2.4.1", schema="0042", migrations="2.4.1", compatible="0041"))
    run = await bot.until(run_id, lambda r: all(not s.open for s in r.steps.values()), within=60)
    assert {i: s.end for i, s in run.steps.items()} == {
        "schema": "done", "schema-first.keep": "not needed", "schema-first.down": "not needed",
    }  # fmt: skip
    assert database.stamp() == ["0042"]
