"""`schema.keep`: nothing is done, and what speaks for it is said."""

from __future__ import annotations

from typing import Any

import pytest

from actions.schema_keep import SchemaKeep, SchemaKeepParams
from bot.adapters.kubernetes import Clusters
from bot.adapters.postgres import PostgresDatabases
from bot.contract import Change
from bot.ports import Ports, Record
from bot.testing import PortsFor, TestCtx, assert_idle, ports
from tests.fixtures.service_database import SHOP, Place, Rev, world

KEEP = SchemaKeep()


def ports_for(databases: PostgresDatabases) -> PortsFor:
    def bound(record: Record) -> Ports:
        return ports(databases=databases.bind(record), kubernetes=Clusters([]))

    return bound


async def plan(databases: PostgresDatabases, **given: Any) -> Change:
    p = SchemaKeepParams(**{"revision": "0041", "migrations": "2.4.1", "version": "2.4.0", "newer": "2.4.1", **given})
    return await KEEP.plan(TestCtx(ports_for(databases), KEEP.needs), p)


async def test_unproven_it_says_so_and_changes_nothing(migrated: Place) -> None:
    p = SchemaKeepParams(revision="0041", migrations="2.4.1", version="2.4.0", newer="2.4.1")
    change = await assert_idle(KEEP, ports_for(migrated.databases), p, world=lambda: world(migrated))
    assert change.summary == (
        "db stays at 0042: nothing is lost, 0 min. Not proven: 2.4.0 has not been seen on 0042, and 2.4.1 declares "
        "nothing"
    )


@pytest.mark.parametrize(
    ("compatible", "said"),
    [
        ("0040", "Proven: 2.4.1 declares that releases from 0040 on work on its schema"),
        ("0041", "Proven: 2.4.1 declares that releases from 0041 on work on its schema"),
        ("0042", "Not proven: 2.4.1 declares releases from 0042 on to work on its schema, not 2.4.0"),
        ("nine", "Not proven: what 2.4.1 declares could not be looked up: 2.4.1: Can't locate revision"),
    ],
)
async def test_what_the_newer_release_declares_proves_it(migrated: Place, compatible: str, said: str) -> None:
    assert said in (await plan(migrated.databases, compatible=compatible)).summary


async def test_rows_that_the_older_release_cannot_read_take_the_proof_away(migrated: Place) -> None:
    migrated.sql("INSERT INTO orders (coupon_id) VALUES (7)")
    unreadable = {"orders with a coupon": ("0042", "SELECT id FROM orders WHERE coupon_id IS NOT NULL")}
    change = await plan(migrated.like(at={"unreadable": unreadable}), compatible="0041")
    assert "Not proven: there are rows in db that 2.4.0 cannot read (orders with a coupon: 1)" in change.summary
    assert change.warnings == ("db: 1 row that 2.4.0 does not know: orders with a coupon",)
    older = {"old": ("0041", "SELECT id FROM orders")}
    assert "Proven" in (await plan(migrated.like(at={"unreadable": older}), compatible="0041")).summary


async def test_a_value_of_an_enum_takes_the_proof_away(database: Place) -> None:
    database.release("2.4.1", *SHOP[:2], Rev("0042", "0041", ["ALTER TYPE status ADD VALUE 'held'"]))
    await database.upgrade("2.4.1", "0042")
    assert "Proven" in (await plan(database.databases, compatible="0041")).summary
    database.sql("INSERT INTO orders (status) VALUES ('held')")
    assert "orders.status = 'held': 1" in (await plan(database.databases, compatible="0041")).summary


async def test_where_the_schema_is_right_there_is_nothing_to_prove(migrated: Place) -> None:
    assert "Proven: the schema is the one that it needs" in (await plan(migrated.databases, revision="0042")).summary


async def test_what_cannot_be_reached_is_not_proven(migrated: Place) -> None:
    away = migrated.like(host="127.0.0.1", port=1, tls=False)
    change = await plan(away)
    assert change.summary.startswith("db stays at not known: nothing is lost, 0 min. Not proven:")
