"""`service.quiesce` against a real shop, and a real database."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

from actions.service_quiesce import ServiceQuiesce, ServiceQuiesceParams
from bot.adapters.absent import NoDatabases, NoMaintenance
from bot.adapters.backups import ServiceBackups
from bot.adapters.postgres.maintenance import PostgresMaintenance
from bot.contract import Change, Edit, Fatal, Json, Receipt, Retryable
from bot.ports import Ports, Record
from bot.testing import PortsFor, TestCtx, assert_lifecycle, ports
from tests.fixtures.lone_shop import Fault, Shop
from tests.fixtures.restores import Home, home

_numbers = itertools.count(1)
SHOP = ServiceQuiesceParams(target="shop")
CHANGE = Change("shop: read-only, writes are refused", edits=(Edit("shop/maintenance/read_only", False, True),))


async def test_lifecycle(shop: Shop, ports_for: PortsFor) -> None:
    change = await assert_lifecycle(
        ServiceQuiesce(),
        ports_for,
        SHOP,
        world=shop.world,
        drift=None,
        elsewhere=lambda: shop.edit("maintenance", notice="back in a minute"),
    )
    assert change == CHANGE


async def test_what_others_made_read_only_is_left_to_them(shop: Shop, ports_for: PortsFor) -> None:
    await shop.edit("maintenance", read_only=True)
    change = await ServiceQuiesce().plan(TestCtx(ports_for, {"http"}), SHOP)
    assert change == Change("shop is read-only already, which is not ours to lift")


async def test_a_lost_answer_is_tried_again_and_writes_once(shop: Shop, ports_for: PortsFor) -> None:
    shop.break_next(Fault(method="PUT", answer="drop"))
    with pytest.raises(Retryable):
        await apply(ports_for)
    assert await apply(ports_for) == Receipt(CHANGE.summary)
    assert len(shop.log) == 1


@pytest.mark.parametrize("status", [412, 500, 503])
async def test_a_write_that_did_not_go_through_can_be_tried_again(shop: Shop, ports_for: PortsFor, status: int) -> None:
    shop.break_next(Fault(method="PUT", status=status))
    with pytest.raises(Retryable, match=str(status)):
        await apply(ports_for)


async def test_a_refusal_is_fatal(shop: Shop, ports_for: PortsFor) -> None:
    shop.break_next(Fault(method="PUT", status=403))
    with pytest.raises(Fatal, match=r"PUT shop/maintenance: refused \(403\)"):
        await apply(ports_for)


async def test_a_page_without_the_switch_is_fatal(shop: Shop, ports_for: PortsFor) -> None:
    with pytest.raises(Fatal, match="no read_only"):
        await ServiceQuiesce().plan(TestCtx(ports_for, {"http"}), ServiceQuiesceParams(target="shop", path="/release"))


async def apply(ports_for: PortsFor) -> Receipt:
    return await ServiceQuiesce().apply(TestCtx(ports_for, {"http"}, acting=True), SHOP, CHANGE)


# -- databases


@pytest.fixture
def db(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("RES_LOGIN", "res_reader")
    monkeypatch.setenv("RES_ADMIN", "res_admin")
    with home(postgres_url, f"quiet_{next(_numbers)}", tmp_path) as found:
        yield found


def reaching(db: Home) -> PortsFor:
    def bound(record: Record) -> Ports:
        here = PostgresMaintenance(db.databases, ServiceBackups({}), record)
        return ports(databases=db.databases, maintenance=here)

    return bound


async def test_every_database_refuses_writes_until_it_is_undone(db: Home) -> None:
    async def world() -> Mapping[str, Json]:
        settings = "SELECT coalesce(setconfig::text, '') FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM "
        rows = db.sql(f"{settings} pg_database WHERE datname = current_database())", "postgres")
        comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
        [[text]] = db.sql(comment, "postgres")
        return {"settings": str(sorted(map(str, rows))), "comment": str(text).partition("\n")[0]}

    async def drift() -> None:
        db.sql(f"ALTER DATABASE {db.name} SET default_transaction_read_only = off", "postgres")

    change = await assert_lifecycle(ServiceQuiesce(), reaching(db), ServiceQuiesceParams(), world=world, drift=drift)
    assert change == Change("db refuses writes, its sessions begin anew", edits=(Edit("db/read_only", None, "on"),))


async def test_a_database_that_others_made_read_only_is_left_to_them(db: Home) -> None:
    db.sql(f"ALTER DATABASE {db.name} SET default_transaction_read_only = on", "postgres")
    change = await ServiceQuiesce().plan(TestCtx(reaching(db), ServiceQuiesce.needs), ServiceQuiesceParams())
    assert change == Change("db refuses writes already, which is not ours to lift")


async def test_the_bots_own_statements_pass_while_the_services_are_refused(db: Home) -> None:
    ctx = TestCtx(reaching(db), ServiceQuiesce.needs, acting=True)
    change = await ServiceQuiesce().plan(TestCtx(reaching(db), ServiceQuiesce.needs), ServiceQuiesceParams())
    await ServiceQuiesce().apply(ctx, ServiceQuiesceParams(), change)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        db.sql("DELETE FROM orders", "res_app")
    async with db.databases.servers["db"].changing() as c:
        await c.execute(b"DELETE FROM orders WHERE id = 1")
    assert ctx.commands[0].endswith(f"""-c 'ALTER DATABASE "{db.name}" SET default_transaction_read_only = on'""")


LETS_WRITE = """
CREATE FUNCTION lets_write() RETURNS event_trigger LANGUAGE plpgsql
AS $$ BEGIN PERFORM set_config('default_transaction_read_only', 'off', false); END $$;
CREATE EVENT TRIGGER lets_write ON login EXECUTE FUNCTION lets_write()
"""
"""Stands for whatever sets it for each session behind the catalog's back, as poolers do."""


async def test_that_it_holds_is_tried_by_a_write_which_must_be_refused(db: Home) -> None:
    change = await ServiceQuiesce().plan(TestCtx(reaching(db), ServiceQuiesce.needs), ServiceQuiesceParams())
    ctx = TestCtx(reaching(db), ServiceQuiesce.needs, acting=True)
    db.sql(LETS_WRITE, "postgres")
    with pytest.raises(Retryable, match="a new session of res_reader can write all the same; look what sets"):
        await ServiceQuiesce().apply(ctx, ServiceQuiesceParams(), change)
    assert db.sql("SELECT count(*) FROM pg_class WHERE relname = 'tried'") == [(0,)]
    db.sql("DROP EVENT TRIGGER lets_write", "postgres")
    await ServiceQuiesce().apply(ctx, ServiceQuiesceParams(), change)


async def test_a_session_that_writes_all_the_same_keeps_the_step_from_being_done(db: Home) -> None:
    change = await ServiceQuiesce().plan(TestCtx(reaching(db), ServiceQuiesce.needs), ServiceQuiesceParams())
    ctx = TestCtx(reaching(db), ServiceQuiesce.needs, acting=True)
    await ServiceQuiesce().apply(ctx, ServiceQuiesceParams(), change)
    with db.connect() as stubborn:
        stubborn.execute("BEGIN READ WRITE")
        stubborn.execute("DELETE FROM orders WHERE id = 1")
        with pytest.raises(Retryable, match=r"of res_app .* is writing, as it asks for that"):
            await ServiceQuiesce().apply(ctx, ServiceQuiesceParams(), change)


async def test_a_service_without_databases_has_none_to_make_read_only() -> None:
    def none(record: Record) -> Ports:
        return ports(databases=NoDatabases(), maintenance=NoMaintenance())

    change = await ServiceQuiesce().plan(TestCtx(none, ServiceQuiesce.needs), ServiceQuiesceParams())
    assert change == Change("this service has no database to make read-only")
