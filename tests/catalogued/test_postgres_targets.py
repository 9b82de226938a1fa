"""Databases as targets: read from the catalogue, reached by their own logins, narrowed like every place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bot.adapters.absent import NoDatabases
from bot.adapters.postgres import PostgresDatabases
from bot.catalogue import load_catalogue
from bot.catalogued.postgres import PostgresTarget, UnreadableQuery
from bot.contract import Scope
from bot.handlers.narrow import narrow
from bot.located import Faults
from bot.ports import ReadOnly, Where
from bot.ports.databases import Database
from bot.redaction import held
from bot.redaction.redactor import Redactor
from bot.settings import Settings
from bot.targets.factory import adapters_of
from bot.testing import ports

ROLES = "roles: {commander: {people: [ana]}, approver: {people: [ben]}}\npeople: {ana: Ana, ben: Ben}\n"
SHOP = """\
services:
  shop:
    targets:
      db:
        postgres: "db.internal:5432/shop"
        login: SHOP_DB_LOGIN
        admin: SHOP_DB_ADMIN
        migrations: /srv/shop
        lock_timeout: 1s
        rows: 100
        integrity: {orders without a customer: "SELECT id FROM orders WHERE customer IS NULL"}
        unreadable: {held orders: {since: "0042", query: "SELECT id FROM orders WHERE status = 'held'"}}
"""


def test_a_database_is_a_target_with_logins_by_variable() -> None:
    [target] = load_catalogue(ROLES + SHOP, "r").services["shop"].targets.values()
    assert target == PostgresTarget(
        "db.internal:5432/shop", "SHOP_DB_LOGIN", "SHOP_DB_ADMIN", migrations="/srv/shop", lock_timeout=1.0, rows=100,
        integrity={"orders without a customer": "SELECT id FROM orders WHERE customer IS NULL"},
        unreadable={"held orders": UnreadableQuery("0042", "SELECT id FROM orders WHERE status = 'held'")},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("db.internal:5432/shop", ("db.internal", 5432, "shop")),
        ("[::1]:5433/shop", ("::1", 5433, "shop")),
        ("/run/postgresql:5432/shop", ("/run/postgresql", 5432, "shop")),
    ],
)
def test_an_address_has_three_parts(address: str, parts: tuple[str, int, str]) -> None:
    assert PostgresTarget(address, "X").parts == parts


@pytest.mark.parametrize("address", ["db.internal/shop", "db.internal:5432", "db:0/shop", "ann:pw@db:5432/shop", ""])
def test_an_address_that_is_none_is_told(address: str) -> None:
    with pytest.raises(Faults, match="must be host:port/database"):
        load_catalogue(f"{ROLES}services: {{shop: {{targets: {{db: {{postgres: '{address}', login: A}}}}}}}}", "r")


def made(text: str, tmp_path: Path, **settings: str) -> dict[str, PostgresDatabases | NoDatabases]:
    found = Settings(database_url=settings.get("database_url", f"sqlite:///{tmp_path / 'bot.db'}"))
    return {name: a.databases for name, a in adapters_of(found, load_catalogue(ROLES + text, "r")).items()}


def test_who_else_is_on_the_same_database_is_known(tmp_path: Path) -> None:
    billing = SHOP.removeprefix("services:\n").replace("  shop:\n", "  billing:\n", 1)
    found = made(SHOP + billing, tmp_path)
    assert {name: [d.others for d in each.databases] for name, each in found.items()} == {
        "shop": [("billing",)], "billing": [("shop",)],
    }  # fmt: skip


def test_the_bots_own_database_is_known(tmp_path: Path) -> None:
    own = "postgresql+psycopg://bot:x@db.internal/shop"
    assert [d.own for d in made(SHOP, tmp_path, database_url=own)["shop"].databases] == [True]
    assert [d.own for d in made(SHOP, tmp_path)["shop"].databases] == [False]


def test_passwords_are_hidden_wherever_they_show_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DB_LOGIN", "shop_reader:correct-horse-7")
    monkeypatch.setenv("SHOP_DB_ADMIN", "shop_owner:staple-battery-9")
    redactor = Redactor(held.by_catalogue(load_catalogue(ROLES + SHOP, "r")))
    said = redactor.text("no way in with correct-horse-7 nor with staple-battery-9 as shop_owner")
    assert "horse" not in said
    assert "battery" not in said
    assert "shop_owner" in said


def test_a_database_that_a_run_goes_on_without_is_not_there() -> None:
    class Two:
        databases = (Database("db", "shop"), Database("ledger", "ledger"))

    seen = narrow(ports(databases=Two()), {"databases"}, Scope(without=frozenset({"ledger"})))
    assert [d.name for d in seen.databases.databases] == ["db"]


async def test_without_a_database_there_is_nothing_to_ask() -> None:
    none = NoDatabases()
    assert (await none.where(), await none.ping(), none.by_hand([])) == ({}, {}, [])
    none.hold({"db": Where("x", "y", "databases")})

    async def refuse(command: str) -> None:
        raise ReadOnly(command)

    assert none.bind(refuse).databases == ()
    with pytest.raises(LookupError, match="no database"):
        await none.bind(refuse).state("db")


def test_a_bot_without_a_database_to_look_at_imports_no_grammar_of_sql() -> None:
    code = "import sys, bot.wiring; print([m for m in ('pglast', 'bot.adapters.postgres') if m in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
