"""`schema.upgrade` on a real PostgreSQL: what rolling forward again needs."""

from __future__ import annotations

import pytest

from actions.schema_upgrade import SchemaUpgrade, SchemaUpgradeParams
from bot.adapters.postgres import PostgresDatabases
from bot.contract import Edit, Fatal
from bot.ports import Ports, Record
from bot.testing import MemoryBlobs, PortsFor, TestCtx, assert_lifecycle, ports
from tests.fixtures.service_database import SHOP, Place, Rev, world

UP = SchemaUpgrade()
TO_0042 = SchemaUpgradeParams(revision="0042", migrations="2.4.1", version="2.4.1", newer="2.4.1")


def ports_for(databases: PostgresDatabases) -> PortsFor:
    def bound(record: Record) -> Ports:
        return ports(databases=databases.bind(record), blobs=MemoryBlobs())

    return bound


async def at_0041(place: Place) -> Place:
    place.release("2.4.1", *SHOP)
    await place.upgrade("2.4.1", "0041")
    return place


async def test_lifecycle(database: Place) -> None:
    place = await at_0041(database)

    async def drift() -> None:
        place.release(
            "2.4.1", *SHOP[:2], Rev("0042", "0041", [*SHOP[2].up, "COMMENT ON TABLE orders IS ''"], SHOP[2].down)
        )

    change = await assert_lifecycle(
        UP, ports_for(place.databases), TO_0042, world=lambda: world(place), drift=drift
    )  # fmt: skip
    assert change.edits == (Edit("db/schema/0042", "0041", "0042"),)
    assert change.summary == "db: schema 0041 to 0042, takes nothing away, by the migrations of 2.4.1"


async def test_a_way_up_that_takes_data_says_so(database: Place) -> None:
    place = await at_0041(database)
    place.sql("INSERT INTO orders (total) VALUES (1), (2)")
    place.release("2.4.1", *SHOP[:2], Rev("0042", "0041", ["ALTER TABLE orders DROP COLUMN at"]))
    change = await UP.plan(TestCtx(ports_for(place.databases), UP.needs), TO_0042)
    assert ("rows lost", 2) in [(f.name, f.value) for f in change.facts]
    assert not change.reversible


async def test_down_is_not_up(migrated: Place) -> None:
    with pytest.raises(Fatal, match="db is at 0042: 0041 is down from there"):
        await UP.plan(TestCtx(ports_for(migrated.databases), UP.needs), TO_0042.model_copy(update={"revision": "0041"}))
