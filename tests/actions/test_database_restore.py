"""`database.restore` against a real server and archives of a real pg_dump."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pickle
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from actions.database_restore import DatabaseRestore, DatabaseRestoreParams
from bot.adapters.absent import NoDatabases, NoMaintenance
from bot.adapters.backups import ServiceBackups
from bot.adapters.backups.shelves import ProcessMemory
from bot.adapters.postgres.maintenance import PostgresMaintenance
from bot.contract import Change, Fatal, Json, Receipt, Retryable, Value
from bot.ports import Ports, Record, Unreachable
from bot.ports.backups import Rules
from bot.testing import Died, PortsFor, TestCtx, assert_lifecycle, ports
from tests.fixtures.archives import calls_itself
from tests.fixtures.restores import Home, home
from tests.fixtures.waiting import until

_numbers = itertools.count(1)
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""As in `TestCtx`."""
ALL = DatabaseRestoreParams()


@pytest.fixture
def db(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """A database with a backup that is 26 minutes old, and 5 orders of after it."""
    monkeypatch.setenv("RES_LOGIN", "res_reader")
    monkeypatch.setenv("RES_ADMIN", "res_admin")
    with home(postgres_url, f"restored_{next(_numbers)}", tmp_path) as found:
        age(found.dump(), 26)
        found.sql("INSERT INTO orders (note) SELECT 'later' FROM generate_series(1, 5)")
        yield found


def age(path: Path, minutes: float) -> None:
    at = (NOW - timedelta(minutes=minutes)).timestamp()
    os.utime(path, (at, at))


def ports_of(db: Home, programs: str = "", rules: Rules | None = None) -> PortsFor:
    backups = db.backups(programs, rules)

    def bound(record: Record) -> Ports:
        here = PostgresMaintenance(db.databases, backups, record)
        return ports(databases=db.databases, backups=backups, maintenance=here)

    return bound


async def plan(db: Home, params: DatabaseRestoreParams = ALL, **how: object) -> Change:
    ctx = TestCtx(ports_of(db, **how), DatabaseRestore.needs, now=NOW)  # type: ignore[arg-type]
    return await DatabaseRestore().plan(ctx, params)


async def apply(db: Home, change: Change, dies_at: int | None = None) -> tuple[Receipt, TestCtx]:
    ctx = TestCtx(ports_of(db), DatabaseRestore.needs, acting=True, now=NOW, dies_at=dies_at)
    return await DatabaseRestore().apply(ctx, ALL, change), ctx


async def refused(db: Home, params: DatabaseRestoreParams = ALL, **how: object) -> Fatal:
    with pytest.raises(Fatal) as caught:
        await plan(db, params, **how)
    return caught.value


async def test_lifecycle(db: Home) -> None:
    async def world() -> Mapping[str, Json]:
        [[rows]] = db.sql("SELECT count(*) FROM orders", "postgres")
        [[work_mem]] = db.sql("SHOW work_mem", "postgres")
        [[note]] = db.sql("SELECT note FROM orders WHERE id = 1", "postgres")
        return {"rows": rows, "work_mem": work_mem, "note": note}

    async def newer() -> None:
        age(db.dump("newer.dump"), 5)

    async def busier() -> None:
        db.sql("INSERT INTO orders (note) SELECT 'x' FROM generate_series(1, 600)")

    change = await assert_lifecycle(
        DatabaseRestore(), ports_of(db), ALL, world=world, drift=newer, exceed=busier, elsewhere=None
    )
    [edit] = change.edits
    assert edit.target == "db/database"
    assert str(edit.before).startswith("oid ")
    assert str(edit.after).startswith("restored from shop.dump (sha256:")
    assert {f.name: f.value for f in change.facts} == {"rows lost": 5, "minutes lost": 26.0}
    assert change.reversible
    assert DatabaseRestore.destructive


async def test_rows_of_after_are_kept_in_the_old_database_and_come_back_by_the_undo(db: Home) -> None:
    change = await plan(db)
    receipt, ctx = await apply(db, change)
    assert db.sql("SELECT count(*) FROM orders", "res_app") == [(200,)]
    [kept] = [n for n in db.names() if n.endswith("_before_restore")]
    assert receipt.evidence["kept"] == [f"db: {kept} ({change.edits[0].before})"]
    assert [c.split(" ")[0].rpartition("/")[2] for c in ctx.commands] == [
        "psql", "psql", "pg_restore", "psql", "vacuumdb", "psql", "psql", "psql",
    ]  # fmt: skip
    assert "restoring" in ctx.reports[0] if ctx.reports else True
    await apply(db, change.inverted())
    assert db.sql("SELECT count(*) FROM orders", "res_app") == [(205,)]
    assert (await plan(db)).edits


async def test_no_password_is_in_a_command(db: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RES_ADMIN", "res_admin:s3cret-word")
    _, ctx = await apply(db, await plan(db))
    assert not any("s3cret-word" in command for command in ctx.commands)


async def test_a_bot_that_is_killed_before_any_call_is_made_up_for_and_can_be_taken_back(db: Home) -> None:
    change = await plan(db)
    deaths = 0
    for dies_at in range(1, 9):
        with contextlib.suppress(Died):
            await apply(db, change, dies_at)
            continue
        deaths += 1
        seen = await observed(db, change)
        assert seen == change.edits[0].after if dies_at > 7 else seen in (change.edits[0].before, change.edits[0].after)
        back, moved = change.undo_from({change.edits[0].target: seen})  # it may have been closed for the switch
        assert not moved
        if not back.is_noop:
            await apply(db, back)
        assert db.sql("SELECT count(*) FROM orders", "res_app") == [(205,)]
        await apply(db, change)
        assert db.sql("SELECT count(*) FROM orders", "res_app") == [(200,)]
        await apply(db, change.inverted())
        assert db.sql("SELECT count(*) FROM orders", "res_app") == [(205,)]
    assert deaths == 8


async def observed(db: Home, change: Change) -> Value:
    ctx = TestCtx(ports_of(db), DatabaseRestore.needs)
    [value] = (await DatabaseRestore().observe(ctx, ALL, change.targets)).values()
    return value


async def test_a_restore_that_is_cancelled_leaves_no_pg_restore_behind_and_goes_on(db: Home) -> None:
    slow(db)
    change = await plan(db)
    task = asyncio.create_task(apply(db, change))
    await until(lambda: restoring(db) > 0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await until(lambda: restoring(db) == 0)
    assert not restoring(db)
    await apply(db, change)
    assert db.sql("SELECT count(*) FROM slow", "postgres") == [(100,)]


def slow(db: Home) -> None:
    """A newer backup, whose rows take 4 s to be restored: one after the other is looked at."""
    body = "RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep({}); RETURN true; END $$"
    db.sql(f"CREATE FUNCTION slowly(text) {body.format(0)}")
    db.sql("CREATE TABLE slow (t text CHECK (slowly(t)))")
    db.sql("INSERT INTO slow SELECT i::text FROM generate_series(1, 100) i")
    db.sql(f"CREATE OR REPLACE FUNCTION slowly(text) {body.format(0.04)}")
    age(db.dump("slow.dump"), 5)


def restoring(db: Home) -> int:
    [[n]] = db.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rollback-bot restore'", "postgres")
    return int(n)


async def test_what_it_holds_already_is_not_restored_again(db: Home) -> None:
    await apply(db, await plan(db))
    assert (await plan(db)).summary == "db holds shop.dump already"
    age(db.dump("between.dump"), 10)
    assert (await plan(db)).summary.startswith("db holds shop.dump already, and no later backup was there then")
    named = DatabaseRestoreParams(backups={"db-backups": "between.dump"})
    assert (await plan(db, named)).edits


async def test_a_backup_that_is_replaced_between_approval_and_start_is_not_restored(db: Home) -> None:
    change = await plan(db)
    db.sql("DELETE FROM orders")
    age(db.dump(), 26)
    assert (await plan(db)).beyond(change)
    with pytest.raises(Fatal, match="is not what it was when it was shown"):
        await apply(db, change)
    assert db.names() == [db.name]


async def test_one_that_is_cut_is_passed_over_for_one_that_is_whole(db: Home) -> None:
    path = db.dump("cut.dump")
    path.write_bytes(path.read_bytes()[:-200])
    age(path, 5)
    assert "from shop.dump" in (await plan(db)).summary
    error = await refused(db, DatabaseRestoreParams(backups={"db-backups": "cut.dump"}))
    assert "cut.dump cannot be restored: it is cut off" in str(error)


async def test_another_service_on_the_same_database_refuses_it(db: Home) -> None:
    error = await refused(db.like(others=("billing",)))
    assert str(error) == "not restored: billing works on the same database as this service"


async def test_the_bots_own_database_refuses_it(db: Home) -> None:
    assert "is the bot's own database" in str(await refused(db.like(own=True)))
    db.sql("CREATE TABLE event (run text, seq int, prev text, hash text)")
    assert "the bot's own tables lie in db" in str(await refused(db))


async def test_a_disk_that_is_too_small_refuses_it_before_anything_is_made(
    db: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**12, 10**12, 5_000_000))
    assert "the server's disk takes 5 MB more, it needs" in str(await refused(db))


async def test_a_bot_that_is_killed_while_pg_restore_works_is_made_up_for(db: Home) -> None:
    slow(db)
    change = await plan(db)
    (db.folder / ".change").write_bytes(pickle.dumps((db.target, db.folder, change)))
    code = "import sys; from tests.actions.test_database_restore import work; work(sys.argv[1])"
    bot = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(db.folder / ".change"))
    await until(lambda: restoring(db) > 0)
    bot.kill()
    await bot.wait()
    await apply(db, change)
    assert db.sql("SELECT count(*) FROM slow", "postgres") == [(100,)]
    assert not restoring(db)


def work(path: str) -> None:
    """A bot of its own."""
    target, folder, change = pickle.loads(Path(path).read_bytes())
    asyncio.run(apply(Home("", target, folder, ProcessMemory()), change))


async def test_a_restore_that_ended_before_its_first_table_is_gone_on_with(db: Home) -> None:
    made = "CREATE FUNCTION double(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1'"
    db.sql(made)
    age(db.dump(), 26)
    change = await plan(db)
    with contextlib.suppress(Died):
        await apply(db, change, 3)  # made and marked; pg_restore was not started yet
    [beside] = [n for n in db.names() if "_restore_" in n]
    db.sql(made, "postgres", beside)
    await apply(db, change)
    assert db.sql("SELECT count(*), double(1) FROM orders", "postgres") == [(205, 2)]


async def test_a_pg_restore_that_is_killed_is_told_and_can_be_tried_again(db: Home) -> None:
    slow(db)
    change = await plan(db)
    task = asyncio.create_task(apply(db, change))
    await until(lambda: restoring(db) > 0)
    ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rollback-bot restore'"
    db.sql(ending, "postgres")
    with pytest.raises(Fatal, match="pg_restore failed"):
        await task
    await apply(db, change)
    assert db.sql("SELECT count(*) FROM slow", "postgres") == [(100,)]


async def test_a_server_that_is_away_is_tried_again_as_every_attempt_looks_first(db: Home) -> None:
    change = await plan(db)
    away = replace(db, target=replace(db.target, host="/nowhere"))
    with pytest.raises(Retryable, match="db cannot be reached"):
        await apply(away, change)
    with pytest.raises(Unreachable) as caught:
        await plan(away)
    assert [*caught.value.parts] == ["db"]


async def test_missing_rights_refuse_it_with_what_grants_them(db: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RES_ADMIN", "res_owner")
    error = await refused(db)
    assert "res_owner may not create databases" in str(error)
    assert "ALTER ROLE res_owner CREATEDB" in error.hint


async def test_a_revision_that_the_release_does_not_know_refuses_it(db: Home) -> None:
    error = await refused(db, DatabaseRestoreParams(revision="0039"))
    assert str(error) == "not restored: shop.dump is at revision 0041, the release needs 0039"


async def test_a_plain_dump_is_restored_by_hand(db: Home) -> None:
    age(db.dump("p.sql", "-Fp"), 5)
    assert "p.sql is a plain dump, which pg_restore does not take" in str(await refused(db))


async def test_without_a_pg_restore_of_the_servers_version_it_is_refused(db: Home) -> None:
    await plan(db)  # proven, and remembered
    error = await refused(db, programs=calls_itself(db.folder / ".programs", "15.18"))
    assert "it takes a pg_restore of version 18, here is 15.18" in str(error)


async def test_what_was_restored_and_is_not_as_the_backup_is_not_switched_to(db: Home) -> None:
    age(db.dump("bare.dump", "-Fc", "--no-acl"), 5)
    with pytest.raises(Fatal, match="was restored, but not switched to: nothing is granted to res_app") as caught:
        await apply(db, await plan(db))
    assert caught.value.hint
    assert db.sql("SELECT count(*) FROM orders", "res_app") == [(205,)]


async def test_a_loss_that_grows_past_its_ceiling_after_the_yes_is_asked_about_anew(db: Home) -> None:
    limited = db.like(ceiling=8)
    approved = await plan(limited)
    assert [f.value for f in approved.facts if f.name == "rows lost"] == [5]
    db.sql("INSERT INTO orders (note) SELECT 'more' FROM generate_series(1, 3)")
    assert (await plan(limited)).beyond(approved) == ()
    db.sql("INSERT INTO orders (note) VALUES ('one too many')")
    assert (await plan(limited)).beyond(approved) == ("rows lost: 9 rows now, the limit shown was 8",)


async def test_the_backup_that_was_named_is_taken_although_a_newer_one_has_come(db: Home) -> None:
    named = DatabaseRestoreParams(backups={"db-backups": "shop.dump"})
    approved = await plan(db, named)
    age(db.dump("newer.dump"), 1)
    assert (await plan(db, named)).edits == approved.edits
    assert "from newer.dump" in (await plan(db)).summary
    gone = DatabaseRestoreParams(backups={"db-backups": "lost.dump"})
    assert "there is no backup lost.dump" in str(await refused(db, gone))


async def test_minutes_that_pass_do_not_ask_people_again(db: Home) -> None:
    for minutes in (44, 46, 80, 104):
        age(db.folder / "shop.dump", minutes)
        change = await plan(db)
        age(db.folder / "shop.dump", minutes + 14)
        assert (await plan(db)).beyond(change) == (), minutes


async def test_a_service_without_databases_or_without_backups_has_nothing_to_restore(db: Home) -> None:
    def none(record: Record) -> Ports:
        nothing, upkeep = NoDatabases(), NoMaintenance()
        return ports(databases=nothing, backups=ServiceBackups({}), maintenance=upkeep)

    change = await DatabaseRestore().plan(TestCtx(none, DatabaseRestore.needs), ALL)
    assert (change.is_noop, change.summary[:30]) == (True, "no database of this service ha")
    error = await refused(db, DatabaseRestoreParams(databases=["other"]))
    assert str(error) == "there is no database other in the catalogue"
