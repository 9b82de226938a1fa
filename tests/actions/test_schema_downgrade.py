"""`schema.downgrade` on a real PostgreSQL, by real migrations."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import pytest

from actions.schema_downgrade import SchemaDowngrade, SchemaDowngradeParams
from bot.adapters.kubernetes import Clusters
from bot.adapters.postgres import PostgresDatabases
from bot.contract import Change, Edit, Fatal, Json, NotYet, Receipt, Retryable
from bot.ports import Ports, Record, Unreachable
from bot.testing import MemoryBlobs, PortsFor, TestCtx, assert_lifecycle, ports
from tests.fixtures.service_database import SHOP, Place, Rev, world
from tests.fixtures.waiting import until

DOWN = SchemaDowngrade()
TO_0041 = SchemaDowngradeParams(revision="0041", migrations="2.4.1", version="2.4.0", newer="2.4.1")
TO_0040 = SchemaDowngradeParams(revision="0040", migrations="2.4.1", version="2.3.9", newer="2.4.1")


def ports_for(databases: PostgresDatabases, blobs: MemoryBlobs | None = None) -> PortsFor:
    kept = blobs or MemoryBlobs()

    def bound(record: Record) -> Ports:
        return ports(databases=databases.bind(record), blobs=kept, kubernetes=Clusters([]))

    return bound


async def plan(databases: PostgresDatabases, p: SchemaDowngradeParams = TO_0041) -> Change:
    return await DOWN.plan(TestCtx(ports_for(databases), DOWN.needs), p)


async def apply(
    databases: PostgresDatabases, change: Change, p: SchemaDowngradeParams = TO_0041, *,
    blobs: MemoryBlobs | None = None, memo: dict[str, Json] | None = None,
) -> Receipt:  # fmt: skip
    ctx = TestCtx(ports_for(databases, blobs), DOWN.needs, acting=True, memo=memo)
    return await DOWN.apply(ctx, p, change)


async def test_lifecycle_of_two_revisions_that_lose_nothing(migrated: Place) -> None:
    async def drift() -> None:
        migrated.release(
            "2.4.1", *SHOP[:2], Rev("0042", "0041", SHOP[2].up, [*SHOP[2].down, "COMMENT ON TABLE orders IS ''"])
        )

    async def exceed() -> None:
        migrated.sql("INSERT INTO coupons (code) SELECT n::text FROM generate_series(1, 600) n")

    change = await assert_lifecycle(
        DOWN, ports_for(migrated.databases), TO_0040, world=lambda: world(migrated), drift=drift,
        elsewhere=lambda: asyncio.to_thread(migrated.sql, "CREATE TABLE theirs (n int)"), exceed=exceed,
    )  # fmt: skip
    assert change.edits == (Edit("db/schema/0042", "0042", "0041"), Edit("db/schema/0041", "0041", "0040"))
    assert change.reversible


async def test_what_goes_is_exported_first_and_named_in_the_record(migrated: Place) -> None:
    migrated.sql("INSERT INTO coupons (code) VALUES ('a'), ('b')")
    migrated.sql("INSERT INTO orders (coupon_id) VALUES (1), (NULL)")
    change = await plan(migrated.databases)
    assert not change.reversible
    assert [(f.name, f.value, f.ceiling) for f in change.facts if f.ceiling is not None] == [("rows lost", 3, 500.0)]
    blobs = MemoryBlobs()
    receipt = await apply(migrated.databases, change, blobs=blobs)
    assert migrated.stamp() == ["0041"]
    kept = {what: said for what, said in receipt.evidence.items() if isinstance(said, dict)}
    assert set(kept) == {"db/column orders.coupon_id", "db/table coupons"}
    found = {what: blobs.data[str(said["digest"])] for what, said in kept.items()}
    assert found == {"db/column orders.coupon_id": b"id,coupon_id\n1,1\n", "db/table coupons": b"id,code\n1,a\n2,b\n"}
    assert [said["rows"] for said in kept.values()] == [1, 2]


async def test_exports_of_an_attempt_that_died_are_still_named(migrated: Place) -> None:
    migrated.sql("INSERT INTO coupons (code) VALUES ('a')")
    change, memo, blobs = await plan(migrated.databases), dict[str, Json](), MemoryBlobs()
    first = await apply(migrated.databases, change, memo=memo, blobs=blobs)
    again = await apply(migrated.databases, change, memo=memo, blobs=blobs)
    assert dict(again.evidence) == dict(first.evidence)
    assert len(first.evidence) == 1


async def test_a_loss_that_grows_past_its_ceiling_after_the_yes_is_not_taken(migrated: Place) -> None:
    databases = migrated.like(at={"ceiling": 5})
    migrated.sql("INSERT INTO coupons (code) VALUES ('a')")
    change = await plan(databases)
    migrated.sql("INSERT INTO coupons (code) SELECT n::text FROM generate_series(1, 9) n")
    assert (await plan(databases)).beyond(change) == ("rows lost: 10 rows now, the limit shown was 5",)
    with pytest.raises(Fatal, match="10 rows would be lost by now, 1 were shown and 5 are allowed"):
        await apply(databases, change)
    assert migrated.stamp() == ["0042"]


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ({"others": ("billing",)}, "also the database of billing"),
        ({"own": True}, "holds the bot's own tables"),
    ],
)
async def test_a_database_that_others_need_is_refused(migrated: Place, at: dict[str, Any], said: str) -> None:
    with pytest.raises(Fatal, match=said):
        await plan(migrated.like(at=at))


async def test_the_bots_tables_are_found_whatever_the_address_says(migrated: Place) -> None:
    migrated.sql("CREATE SCHEMA elsewhere")
    migrated.sql("CREATE TABLE elsewhere.event (run text, seq bigint, prev text, hash text)")
    with pytest.raises(Fatal, match="holds the bot's own tables"):
        await plan(migrated.databases)


async def test_a_script_that_does_nothing_is_refused_before_it_sets_the_stamp(migrated: Place) -> None:
    migrated.release("2.4.1", *SHOP[:2], Rev("0042", "0041", SHOP[2].up))
    with pytest.raises(Fatal, match="script of 0042 does nothing, and would only set the stamp"):
        await plan(migrated.databases)


async def test_what_would_make_the_script_fail_is_said_before_and_leaves_nothing_behind(migrated: Place) -> None:
    migrated.sql("CREATE VIEW used AS SELECT coupon_id FROM orders")
    change, before = await plan(migrated.databases), await world(migrated)
    said = "db: the script would fail, view used, with column orders.coupon_id stands in its way"
    assert said in change.warnings
    with pytest.raises(Fatal, match=r"other objects depend on it.*db is as it was, at 0042"):
        await apply(migrated.databases, change)
    assert await world(migrated) == before


async def test_rows_that_break_a_rule_that_comes_back_are_told_unless_the_script_mends_them(migrated: Place) -> None:
    rule = "ALTER TABLE orders ADD CONSTRAINT small CHECK (total < 100)"
    migrated.sql("INSERT INTO orders (total) VALUES (500)")
    migrated.release("2.4.1", *SHOP[:2], Rev("0042", "0041", SHOP[2].up, [*SHOP[2].down, rule]))
    assert "db: the script would fail, 1 row against small on orders" in (await plan(migrated.databases)).warnings
    mends = "UPDATE orders SET total = 99 WHERE total >= 100"
    migrated.release("2.4.1", *SHOP[:2], Rev("0042", "0041", SHOP[2].up, [mends, *SHOP[2].down, rule]))
    change = await plan(migrated.databases)
    assert not [w for w in change.warnings if "would fail" in w]
    assert "db: 1 row that the older release does not know: small on orders" in change.warnings
    await apply(migrated.databases, change)
    assert migrated.sql("SELECT total::text FROM orders") == [("99.00",)]


@pytest.mark.parametrize(
    ("options", "models"),
    [("", "import sqlalchemy as sa\nfrom sqlalchemy import event\n")],
    ids=["a read before configure"],
)
async def test_migrations_that_end_well_and_commit_nothing_are_found_out(
    migrated: Place, options: str, models: str
) -> None:
    del options, models
    env = migrated.releases / "2.4.1" / "migrations" / "env.py"
    env.write_text(env.read_text().replace(
        "        context.configure(connection=connection",
        "        connection.exec_driver_sql('SELECT 1')\n        context.configure(connection=connection",
    ))  # fmt: skip
    change = await plan(migrated.databases)
    with pytest.raises(Fatal, match=r"ended well, and the stamp is 0042 instead of 0041: nothing was changed"):
        await apply(migrated.databases, change)
    assert migrated.stamp() == ["0042"]


async def test_a_failure_that_left_nothing_and_one_half_way_are_told_apart(migrated: Place) -> None:
    fails = [*SHOP[2].down, "SELECT 1 / 0 FROM customers HAVING count(*) >= 0"]
    migrated.release("2.4.1", *SHOP[:2], Rev("0042", "0041", SHOP[2].up, fails))
    change = await plan(migrated.databases)
    with pytest.raises(Fatal, match=r"division by zero.*; db is as it was, at 0042"):
        await apply(migrated.databases, change)
    half = """
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX IF EXISTS orders_at")
    op.execute("ALTER TABLE orders DROP COLUMN coupon_id")
    raise RuntimeError("no further")
    """
    migrated.release("2.4.1", *SHOP[:2], Rev("0042", "0041", SHOP[2].up, half))
    change = await plan(migrated.databases)
    with pytest.raises(Fatal, match=r"half down: .*stamp says 0042\. gone: index orders_at\. It said: .*no further"):
        await apply(migrated.databases, change)


async def test_a_stamp_without_its_change_is_found_out(migrated: Place) -> None:
    migrated.sql("INSERT INTO coupons (code) VALUES ('a')")
    sly = "op.execute('DROP TABLE coupons') if op.get_context().as_sql else None"
    migrated.release("2.4.1", *SHOP[:2], Rev("0042", "0041", SHOP[2].up, sly))
    change = await plan(migrated.databases)
    with pytest.raises(Fatal, match="its stamp says 0041, and table coupons is still there"):
        await apply(migrated.databases, change)


async def test_a_script_that_nobody_could_read_and_that_did_nothing_is_found_out(migrated: Place) -> None:
    sly = "if op.get_bind().exec_driver_sql('SELECT count(*) FROM coupons').scalar() > 1000: op.drop_table('coupons')"
    migrated.release("2.4.1", *SHOP[:2], Rev("0042", "0041", SHOP[2].up, sly))
    change = await plan(migrated.databases)
    assert any("cannot be read, may take anything: revision 0042" in w for w in change.warnings)
    with pytest.raises(Fatal, match=r"has changed nothing: its stamp says 0041, and column orders\.coupon_id, table "):
        await apply(migrated.databases, change)


async def test_a_lock_that_somebody_holds_is_waited_for_and_named(migrated: Place) -> None:
    databases = migrated.like(lock=1.2)
    change = await plan(databases)
    with migrated.connect() as other:
        other.execute("SET application_name = 'a report'")
        other.execute("BEGIN")
        other.execute("SELECT * FROM orders")
        with pytest.raises(NotYet, match=r"lock timeout: waiting for session \d+ of shop_owner \(a report\)"):
            await apply(databases, change)
    await apply(databases, change)
    assert migrated.stamp() == ["0041"]


async def test_a_migration_of_somebody_elses_under_way_is_waited_for_and_counts(migrated: Place) -> None:
    change = await plan(migrated.databases)
    with migrated.connect() as other:
        other.execute("BEGIN")
        for statement in (*SHOP[2].down, "UPDATE alembic_version SET version_num = '0041'"):
            other.execute(statement.encode())
        with pytest.raises(NotYet, match=r"column orders\.coupon_id, table coupons cannot be counted now"):
            await apply(migrated.databases, change)
        other.execute("COMMIT")
    receipt = await apply(migrated.databases, change)
    assert "db is at 0041, stamp and schema read back" in receipt.detail


async def test_somebody_elses_migration_meanwhile_counts_as_done_or_is_told(migrated: Place) -> None:
    change = await plan(migrated.databases)
    for statement in (*SHOP[2].down, "UPDATE alembic_version SET version_num = '0041'"):
        migrated.sql(statement)
    receipt = await apply(migrated.databases, change)
    assert "db is at 0041" in receipt.detail
    assert (await plan(migrated.databases)).is_noop
    migrated.sql("UPDATE alembic_version SET version_num = '0040'")
    assert (await DOWN.observe(TestCtx(ports_for(migrated.databases), DOWN.needs), TO_0041, ["db/schema/0042"])) == {
        "db/schema/0042": "0041"
    }


async def test_without_a_stamp_nothing_is_done(migrated: Place) -> None:
    migrated.sql("DELETE FROM alembic_version")
    with pytest.raises(Fatal, match="an empty version table"):
        await plan(migrated.databases)


async def test_a_database_that_is_away_is_named_as_a_part(migrated: Place) -> None:
    with pytest.raises(Unreachable) as caught:
        await plan(migrated.like(host="127.0.0.1", port=1, tls=False))
    assert caught.value.parts.keys() == {"db"}


async def test_a_database_that_goes_away_in_the_middle_is_looked_at_again(migrated: Place) -> None:
    change = await plan(migrated.databases)
    with pytest.raises(Retryable, match="db cannot be reached"):
        await apply(migrated.like(host="127.0.0.1", port=1, tls=False), change)
    await apply(migrated.databases, change)
    assert migrated.stamp() == ["0041"]


async def test_without_a_catalogued_database_there_is_nothing_to_do(migrated: Place) -> None:
    assert (await plan(PostgresDatabases([]))).is_noop
    change = await plan(migrated.like(at={"scripts": False}))
    assert change.is_noop
    assert change.warnings == ("db: the catalogue names no migrations for it; it is left as it is",)


async def test_a_release_without_a_revision_is_told(migrated: Place) -> None:
    nothing = TO_0041.model_copy(update={"revision": None})
    with pytest.raises(Fatal, match=r"2\.4\.0 is registered without a schema revision"):
        await plan(migrated.databases, nothing)


KILLED = """
import asyncio, os, sys
from actions.schema_downgrade import SchemaDowngrade, SchemaDowngradeParams
from bot.adapters.postgres import DatabaseTarget, PostgresDatabases
from bot.ports.databases import Database
from bot.testing import MemoryBlobs, TestCtx, ports

host, port, name, releases = sys.argv[1:]
target = DatabaseTarget(Database("db", name, scripts=True), host, int(port), "SHOP_DB_LOGIN", "SHOP_DB_ADMIN",
                        folder=releases)
p = SchemaDowngradeParams(revision="0041", migrations="2.4.1")

async def main():
    down, blobs = SchemaDowngrade(), MemoryBlobs()
    make = lambda record: ports(databases=PostgresDatabases([target]).bind(record), blobs=blobs)
    change = await down.plan(TestCtx(make, down.needs), p)
    await down.apply(TestCtx(make, down.needs, acting=True), p, change)

asyncio.run(main())
"""


async def test_a_bot_that_is_killed_in_the_middle_leaves_nothing_half_done(migrated: Place) -> None:
    slow = Rev("0042", "0041", SHOP[2].up, [*SHOP[2].down, "SELECT pg_sleep(3) WHERE true"])
    migrated.release("2.4.1", *SHOP[:2], slow)
    before, t = await world(migrated), migrated.target
    arguments = [t.host, str(t.port), t.at.database, str(migrated.releases)]
    bot = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, *arguments)
    ours = "FROM pg_stat_activity WHERE application_name = 'rollback-bot 0042'"
    await until(lambda: migrated.sql(f"SELECT count(*) {ours} AND wait_event = 'PgSleep'") == [(1,)], 30)
    bot.send_signal(signal.SIGKILL)
    await bot.wait()
    await until(lambda: migrated.sql(f"SELECT count(*) {ours}") == [(0,)], 30)
    assert migrated.stamp() == ["0042"]
    assert await world(migrated) == before
    await apply(migrated.databases, await plan(migrated.databases))
    assert migrated.stamp() == ["0041"]
