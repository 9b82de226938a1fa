"""What a downgrade would take with it, read from its SQL and from a real database."""

from __future__ import annotations

import pytest

from bot.adapters.postgres.statements import Constraint, Gone, Made, Opaque, Touched, read
from bot.ports.databases import Loss, Toll
from tests.fixtures.service_database import SHOP, Place, Rev


async def toll_of(db: Place, *down: str, up: list[str] | None = None, to: str = "0042") -> Toll:
    """Of a revision on top of the shop's that goes down so."""
    db.release("next", *SHOP, Rev("0043", "0042", up or [], [*down]))
    await db.upgrade("next", "0043")
    route = await db.databases.route("db", "next", to)
    return await db.databases.toll("db", route)


async def test_rows_of_a_table_and_values_of_a_column_are_counted(shop: Place) -> None:
    shop.sql("INSERT INTO coupons (code) SELECT 'c' || n FROM generate_series(1, 3) n")
    shop.sql("INSERT INTO orders (coupon_id) VALUES (1), (2), (NULL)")
    route = await shop.databases.route("db", "2.4.1", "0041")
    toll = await shop.databases.toll("db", route)
    assert [(loss.what, loss.rows) for loss in toll.losses] == [("column orders.coupon_id", 2), ("table coupons", 3)]
    assert toll.rows == 5
    assert toll.bytes is not None
    assert 5 * 8 < toll.bytes < 100_000
    assert (toll.unread, toll.refused, toll.stays, toll.idle, dict(toll.unfit)) == ((), (), (), (), {})
    column, table = toll.losses
    assert await shop.databases.export("db", column) == b"id,coupon_id\n1,1\n2,2\n"
    assert await shop.databases.export("db", table) == b"id,code\n1,c1\n2,c2\n3,c3\n"


@pytest.mark.parametrize("rewritten", [False, True], ids=["as added", "rewritten"])
async def test_a_default_that_nobody_wrote_is_no_loss(shop: Place, rewritten: bool) -> None:
    shop.sql("INSERT INTO orders (total) SELECT n FROM generate_series(1, 50) n")
    up = ["ALTER TABLE orders ADD COLUMN channel text NOT NULL DEFAULT 'web'"]
    shop.release("next", *SHOP, Rev("0043", "0042", up, ["ALTER TABLE orders DROP COLUMN channel"]))
    await shop.upgrade("next", "0043")
    shop.sql("UPDATE orders SET channel = 'app' WHERE id <= 4")
    if rewritten:
        shop.sql("VACUUM FULL orders")  # attmissingval goes with it
    toll = await shop.databases.toll("db", await shop.databases.route("db", "next", "0042"))
    assert [(loss.what, loss.rows) for loss in toll.losses] == [("column orders.channel", 4)]


async def test_what_goes_along_with_a_column_is_listed(shop: Place) -> None:
    up = [
        "ALTER TABLE orders ADD COLUMN code text, ADD COLUMN note text",
        "CREATE INDEX two ON orders (customer, code)",
        "CREATE INDEX partly ON orders (customer) WHERE code IS NOT NULL",
        "CREATE INDEX more ON orders (customer) INCLUDE (code)",
        "CREATE INDEX made ON orders (lower(code))",
        "ALTER TABLE orders ADD CONSTRAINT once UNIQUE (customer, code)",
        "ALTER TABLE orders ADD CONSTRAINT sane CHECK (code <> note)",
        "CREATE STATISTICS pair ON customer, code FROM orders",
    ]
    toll = await toll_of(shop, "ALTER TABLE orders DROP COLUMN code", up=up)
    assert {line.partition(",")[0] for line in toll.along} == {
        "index two", "index partly", "index more", "index made", "constraint once on table orders",
        "constraint sane on table orders", "statistics object pair",
    }  # fmt: skip
    assert toll.refused == ()
    shop.sql("ALTER TABLE orders DROP COLUMN code")
    left = await shop.databases.shape("db")
    assert not {"index two", "index partly", "index more", "index made", "statistics pair"} & left.keys()
    assert "constraint orders.once" not in left
    assert "constraint orders.sane" not in left


@pytest.mark.parametrize(
    ("uses", "named"),
    [
        ("CREATE VIEW coded AS SELECT id, code FROM orders", "view coded"),
        ("CREATE POLICY mine ON orders USING (code = current_user)", "policy mine on table orders"),
        ("ALTER TABLE orders ADD COLUMN twice text GENERATED ALWAYS AS (code || code) STORED", "column twice of"),
        (
            "CREATE FUNCTION f() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT max(code) FROM orders; END",
            "function f()",
        ),
    ],
)
async def test_what_makes_the_script_fail_is_said_before_it_does(shop: Place, uses: str, named: str) -> None:
    up = ["ALTER TABLE orders ADD COLUMN code text", uses]
    toll = await toll_of(shop, "ALTER TABLE orders DROP COLUMN code", up=up)
    assert any(named in line for line in toll.refused), toll
    with pytest.raises(Exception, match="cannot drop column code"):
        shop.sql("ALTER TABLE orders DROP COLUMN code")


async def test_with_cascade_or_dropped_before_it_goes_along(shop: Place) -> None:
    up = ["ALTER TABLE orders ADD COLUMN code text", "CREATE VIEW coded AS SELECT id, code FROM orders"]
    toll = await toll_of(shop, "DROP VIEW coded", "ALTER TABLE orders DROP COLUMN code", up=up)
    assert toll.refused == ()
    shop.release("next", *SHOP, Rev("0043", "0042", up, ["ALTER TABLE orders DROP COLUMN code CASCADE"]))
    toll = await shop.databases.toll("db", await shop.databases.route("db", "next", "0042"))
    assert (toll.refused, ["view coded" in line for line in toll.along]) == ((), [True])


async def test_a_table_that_others_refer_to_stands_in_the_way(shop: Place) -> None:
    up = ["ALTER TABLE orders ADD CONSTRAINT used FOREIGN KEY (coupon_id) REFERENCES coupons"]
    toll = await toll_of(shop, "DROP TABLE coupons", up=up)
    assert any("constraint used on table orders" in line for line in toll.refused)


async def test_what_goes_along_with_a_column_stands_in_no_ones_way_afterwards(shop: Place) -> None:
    up = ["ALTER TABLE orders ADD CONSTRAINT used FOREIGN KEY (coupon_id) REFERENCES coupons"]
    toll = await toll_of(shop, "ALTER TABLE orders DROP COLUMN coupon_id", "DROP TABLE coupons", up=up)
    assert (toll.refused, ["constraint used" in line for line in toll.along]) == ((), [True])


async def test_what_is_left_behind_is_named(shop: Place) -> None:
    up = ["CREATE TYPE mood AS ENUM ('good')", "CREATE TABLE notes (m mood)"]
    toll = await toll_of(shop, "DROP TABLE notes", up=up)
    assert toll.stays == ("type mood",)


async def test_a_script_that_does_nothing_is_told_from_one_that_has_nothing_to_do(shop: Place) -> None:
    toll = await toll_of(shop, up=["CREATE TABLE notes (n int)"])
    assert (toll.idle, toll.stays) == (("0043",), ("table notes",))
    shop.release("empty", *SHOP, Rev("0043", "0042"))
    toll = await shop.databases.toll("db", await shop.databases.route("db", "empty", "0042"))
    assert toll.idle == ()


async def test_values_that_the_older_release_does_not_know_are_looked_for(shop: Place) -> None:
    toll = await toll_of(shop, "SELECT 1 WHERE false", up=["ALTER TYPE status ADD VALUE 'held'"])
    assert dict(toll.foreign) == {}
    shop.sql("INSERT INTO orders (status) VALUES ('held'), ('held'), ('paid')")
    toll = await shop.databases.toll("db", await shop.databases.route("db", "next", "0042"))
    assert dict(toll.foreign) == {"orders.status = 'held'": 2}
    assert toll.stays == ("label status.held",)


async def test_rows_that_break_a_rule_that_comes_back_are_counted(shop: Place) -> None:
    up = ["ALTER TABLE orders ALTER COLUMN total DROP NOT NULL"]
    down = [
        "ALTER TABLE orders ALTER COLUMN total SET NOT NULL",
        "ALTER TABLE orders ADD CONSTRAINT small CHECK (total < 100)",
        "ALTER TABLE orders ADD COLUMN legacy int NOT NULL",
    ]
    await toll_of(shop, *down, up=up)
    shop.sql("INSERT INTO orders (total) VALUES (NULL), (5), (500), (600)")
    toll = await shop.databases.toll("db", await shop.databases.route("db", "next", "0042"))
    assert dict(toll.unfit) == {
        "orders.total not null": 1, "small on orders": 2, "orders.legacy comes back not null and without a default": 4,
    }  # fmt: skip


async def test_rows_that_a_script_deletes_or_writes_over_are_counted(shop: Place) -> None:
    shop.sql("INSERT INTO orders (total) SELECT n FROM generate_series(1, 10) n")
    toll = await toll_of(shop, "DELETE FROM orders WHERE total > 7", "UPDATE orders SET total = 0 WHERE total = 1")
    assert [(loss.what, loss.rows) for loss in toll.losses] == [
        ("DELETE orders WHERE total > 7", 3), ("UPDATE orders WHERE total = 1", 1),
    ]  # fmt: skip


async def test_a_count_that_takes_too_long_is_not_known(shop: Place) -> None:
    shop.sql("INSERT INTO coupons (code) SELECT n::text FROM generate_series(1, 400000) n")
    databases = shop.like(timeout=2.0)
    route = await databases.route("db", "2.4.1", "0041")
    hasty = shop.like(timeout=0.3)
    with shop.connect() as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE coupons IN ACCESS EXCLUSIVE MODE")
        toll = await hasty.toll("db", route)
    assert [loss.rows for loss in toll.losses] == [0, None]
    assert toll.rows is None


@pytest.mark.parametrize(
    "statement",
    [
        "DO $$ BEGIN EXECUTE 'DROP TABLE orders'; END $$",
        "CALL tidy()",
        "SELECT drop_everything()",
        "DROP OWNED BY shop_owner",
        "ALTER TABLE orders DETACH PARTITION old",
        "ALTER TABLE orders ALTER COLUMN total TYPE integer",
        "DROP SCHEMA public CASCADE",
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone",
        "no SQL at all",
    ],
)
def test_what_cannot_be_read_is_never_called_safe(statement: str) -> None:
    [found] = read(statement)
    assert isinstance(found, Opaque)


def test_statements_are_read_by_postgresqls_own_grammar() -> None:
    sql = """
    BEGIN; -- Running downgrade 0042 -> 0041
    DROP TABLE a, s.b;
    DROP INDEX i, j;
    ALTER TABLE é DROP COLUMN "Straße", DROP CONSTRAINT c CASCADE;
    CREATE TABLE t (a int, b int GENERATED ALWAYS AS (a * 2) VIRTUAL);
    CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;
    UPDATE alembic_version SET version_num='0041' WHERE alembic_version.version_num = '0042';
    DROP TRIGGER g ON t; TRUNCATE u; ALTER TYPE x ADD VALUE 'y'; CREATE UNIQUE INDEX k ON t (a);
    COMMIT;
    """
    assert read(sql) == (
        Gone("table", "a"), Gone("table", "b", schema="s"), Gone("index", "i"), Gone("index", "j"),
        Gone("column", "Straße", "é"), Gone("constraint", "c", "é", cascade=True), Made("table", "t"),
        Gone("trigger", "g", "t"), Touched("TRUNCATE", "u"), Made("label", "y", "x"), Made("index", "k"),
        Constraint("CREATE UNIQUE INDEX k ON t (a)", "t"),
    )  # fmt: skip


def test_a_sum_of_many_terms_is_not_too_deep_to_be_read() -> None:
    deep = " + ".join(["total"] * 5000)
    [found] = read(f"DELETE FROM orders WHERE {deep} > 1")
    assert isinstance(found, Opaque | Touched)


def test_what_is_lost_says_nothing_of_the_rows_themselves() -> None:
    assert "SELECT" not in repr(Loss("table t", 1, 1, "SELECT * FROM t WHERE email = 'ann@example.org'"))
