"""`schema.expected` on a real PostgreSQL, against models of SQLAlchemy and queries of the catalogue."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bot.adapters.postgres import PostgresDatabases, catalog
from bot.contract import Status, Verdict
from bot.ports import Ports, Record
from bot.testing import ports, run_check
from checks.schema_expected import SchemaExpected, SchemaExpectedParams
from tests.fixtures.service_database import SHOP, Place

MODELS = """
import sqlalchemy as sa
models = sa.MetaData()
key = lambda: sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True)
sa.Table("customers", models, key(), sa.Column("name", sa.Text, nullable=False))
sa.Table("orders", models, key(),
    sa.Column("customer", sa.BigInteger, sa.ForeignKey("customers.id")),
    sa.Column("total", sa.Numeric(10, 2), nullable=False, server_default=sa.text("0")),
    sa.Column("status", sa.Enum("open", "paid", name="status"), nullable=False, server_default="open"),
    sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now()),
    sa.CheckConstraint("note IN ('gift', 'it''s late')", name="orders_note"),
    sa.Column("note", sa.Text),
    sa.Index("orders_at", "at"))
"""
NEWER = (
    MODELS
    + """
sa.Table("coupons", models, key(), sa.Column("code", sa.Text, nullable=False, unique=True))
models.tables["orders"].append_column(sa.Column("coupon_id", sa.BigInteger))
"""
)


@pytest.fixture
async def whole(database: Place) -> Place:
    """At 0041, as the models of 2.4.0 say; those of 2.4.1 say what 0042 is."""
    database.release("2.4.0", *SHOP[:2], models=MODELS, metadata="models")
    database.release("2.4.1", *SHOP, models=NEWER, metadata="models")
    await database.upgrade("2.4.0", "0041")
    database.sql("ALTER TABLE orders ADD note text CONSTRAINT orders_note CHECK (note IN ('gift', 'it''s late'))")
    return database


async def look(databases: PostgresDatabases, **given: Any) -> Verdict:
    of = {"revision": "0041", "migrations": "2.4.0", "kept": "0042", "kept_migrations": "2.4.1"}

    def bound(record: Record) -> Ports:
        return ports(databases=databases.bind(record))

    return await run_check(SchemaExpected(), bound, SchemaExpectedParams(**{**of, **given}))


async def test_a_schema_as_its_models_say_passes_and_so_does_one_that_was_kept(whole: Place) -> None:
    verdict = await look(whole.databases)
    assert (verdict.status, verdict.observed) == (Status.PASS, "db: at 0041; as its models say")
    await whole.upgrade("2.4.1", "0042")
    verdict = await look(whole.databases)
    assert (verdict.status, verdict.observed) == (Status.PASS, "db: at 0042, kept; as its models say")


async def test_a_revision_that_nobody_decided_on_fails(whole: Place) -> None:
    verdict = await look(whole.databases, revision="0040", kept=None)
    assert verdict.status is Status.FAIL
    assert "at 0041, which nobody decided on" in verdict.observed


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("ALTER TABLE orders DROP CONSTRAINT orders_pkey", "primary key of orders: none there, id in the models"),
        ("ALTER TABLE orders ALTER COLUMN id DROP IDENTITY", "orders.id"),
        ("ALTER TYPE status RENAME VALUE 'paid' TO 'settled'", "type status lacks 'paid'"),
        ("ALTER TABLE orders ADD CONSTRAINT c CHECK (total < 9) NOT VALID", "constraint orders.c was never validated"),
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_note, "
            "ADD CONSTRAINT orders_note CHECK (note IN ('gift', 'new'))",
            "check orders.orders_note is about gift, new there, gift, it's late in the models",
        ),
        (
            "DROP INDEX orders_at; CREATE INDEX orders_at ON orders (at) WHERE total > 0",
            "index orders_at covers some rows only there, and not in the models",
        ),
        ("ALTER TABLE orders ALTER COLUMN total SET DEFAULT 7", "default of orders.total"),
        ("DROP INDEX orders_at", "index orders_at is missing"),
        ("ALTER TABLE orders ALTER COLUMN total TYPE numeric(12, 2)", "type of orders.total"),
        ("DROP TABLE orders", "table orders is missing"),
        (
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_at'::regclass",
            "index orders_at is invalid",
        ),
    ],
)
async def test_what_differs_from_the_models_fails_and_is_named(whole: Place, damage: str, said: str) -> None:
    whole.sql(damage, "postgres" if "pg_index" in damage else "shop_owner")
    verdict = await look(whole.databases)
    assert (verdict.status, said in verdict.observed) == (Status.FAIL, True), verdict.observed


async def test_models_are_asked_again_only_once_something_is_another(whole: Place, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    noting = f"{MODELS}\nwith open({str(asked)!r}, 'a') as file:\n    file.write('x')\n"
    whole.release("2.4.0", *SHOP[:2], models=noting, metadata="models")
    databases = whole.databases
    whole.sql("INSERT INTO orders (total) VALUES (1)")
    for _ in range(3):
        assert (await look(databases)).status is Status.PASS
        whole.sql("UPDATE orders SET total = total + 1; ANALYZE orders")
    assert asked.read_text() == "x"
    whole.sql("ALTER TABLE orders ALTER COLUMN total SET DEFAULT 7")
    assert (await look(databases)).status is Status.FAIL
    whole.sql("ALTER TABLE orders ALTER COLUMN total SET DEFAULT 0")
    assert (await look(databases)).status is Status.PASS
    assert asked.read_text() == "xxx"
    whole.release("2.4.0", *SHOP[:2], models=f"{noting}sa.Table('new', models, key())", metadata="models")
    assert "table new is missing" in (await look(databases)).observed


@pytest.mark.parametrize("of", ["orders", "away.there"])
async def test_whatever_models_could_differ_in_has_them_asked_again(whole: Place, of: str) -> None:
    whole.sql("CREATE SCHEMA away; CREATE TABLE away.there (id int PRIMARY KEY, total numeric)", "postgres")
    changes = (
        f"ALTER TABLE {of} ADD COLUMN more int", f"ALTER TABLE {of} ALTER COLUMN more TYPE bigint",
        f"ALTER TABLE {of} ALTER COLUMN more SET NOT NULL", f"ALTER TABLE {of} ALTER COLUMN more SET DEFAULT 1",
        f"COMMENT ON COLUMN {of}.more IS 'said'", f"COMMENT ON TABLE {of} IS 'said'",
        f"CREATE INDEX beside ON {of} (more)", f"ALTER TABLE {of} ADD CONSTRAINT small CHECK (more < 9)",
        f"ALTER TABLE {of} ADD FOREIGN KEY (more) REFERENCES customers (id)", f"ALTER TABLE {of} RENAME more TO less",
        f"ALTER TABLE {of} DROP COLUMN less", "ALTER TYPE status ADD VALUE 'late'", "DROP TABLE away.there",
    )  # fmt: skip
    seen = []
    for change in ("SELECT 1", *changes):
        whole.sql(change, "postgres")
        async with whole.databases.servers["db"].reading() as c:
            seen.append(await catalog.marker(c))
    assert len({*seen}) == len(seen), [c for c, (was, now) in zip(changes, pairwise(seen), strict=True) if was == now]


async def test_what_is_there_beside_the_models_is_a_warning(whole: Place) -> None:
    whole.sql("CREATE INDEX by_hand ON orders (total)")
    verdict = await look(whole.databases)
    assert (verdict.status, "by_hand" in verdict.observed) == (Status.WARN, True)


async def test_queries_of_the_catalogue_find_what_must_not_be_there(whole: Place) -> None:
    whole.sql("INSERT INTO orders (total) VALUES (1)")
    asked = {
        "orders without a customer": "SELECT id FROM orders WHERE customer IS NULL;",
        "none": "SELECT 1 WHERE false",
    }
    verdict = await look(whole.like(at={"integrity": asked}))
    assert (verdict.status, "orders without a customer: 1 row" in verdict.observed) == (Status.FAIL, True)
    assert (await look(whole.like(at={"integrity": {"none": "SELECT 1 WHERE false"}}))).status is Status.PASS


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("DELETE FROM orders", "must be one SELECT"),
        ("SELECT 1; DROP TABLE orders", "must be one SELECT"),
        ("SELECT nothing FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT pg_sleep(9)", "not counted in time"),
        ("no SQL", "no SQL that PostgreSQL knows"),
    ],
)
async def test_a_query_that_cannot_be_asked_is_unknown_and_changes_nothing(whole: Place, query: str, said: str) -> None:
    verdict = await look(whole.like(at={"integrity": {"it": query}}, timeout=1.0))
    assert (verdict.status, said in verdict.observed) == (Status.UNKNOWN, True), verdict.observed
    assert whole.sql("SELECT count(*) FROM orders") == [(0,)]


async def test_rows_that_the_older_release_cannot_read_fail_where_the_schema_was_kept(whole: Place) -> None:
    held = {"orders with a coupon": ("0042", "SELECT id FROM orders WHERE coupon_id IS NOT NULL")}
    assert (await look(whole.like(at={"unreadable": held}))).status is Status.PASS
    await whole.upgrade("2.4.1", "0042")
    whole.sql("INSERT INTO orders (coupon_id) VALUES (1)")
    assert "orders with a coupon: 1 row" in (await look(whole.like(at={"unreadable": held}))).observed


async def test_what_cannot_be_compared_is_said(whole: Place) -> None:
    assert (await look(whole.databases, migrations="gone")).status is Status.UNKNOWN
    whole.release("bare", *SHOP[:2])
    verdict = await look(whole.databases, migrations="bare")
    assert (verdict.status, "names no models" in verdict.observed) == (Status.WARN, True)
    broken = whole.release("broken", *SHOP[:2], models="raise RuntimeError('no models today')", metadata="None")
    verdict = await look(whole.databases, migrations=broken)
    assert (verdict.status, "no models today" in verdict.observed) == (Status.UNKNOWN, True)


async def test_nothing_catalogued_is_a_pass_and_nothing_known_is_unknown(whole: Place) -> None:
    assert (await look(PostgresDatabases([]))).status is Status.PASS
    away = await look(whole.like(host="127.0.0.1", port=1, tls=False))
    assert away.status is Status.UNKNOWN
    whole.sql("DELETE FROM alembic_version")
    verdict = await look(whole.databases)
    assert (verdict.status, "an empty version table" in verdict.observed) == (Status.UNKNOWN, True)
