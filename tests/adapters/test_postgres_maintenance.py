"""Refusing writes, and restoring beside and switching, on a real server."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest

from bot.adapters.postgres.maintenance import PostgresMaintenance
from bot.contract import Edit
from bot.playground.postgres import execute, private_postgres, stopped
from bot.ports import ReadOnly, Record, unbound
from bot.ports.maintenance import Unfit
from tests.fixtures.archives import calls_itself, client_programs
from tests.fixtures.restores import Home, home

_numbers = itertools.count(1)
ON = {"": "on"}
OFF: dict[str, str | None] = {"": None}


@pytest.fixture
def db(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("RES_LOGIN", "res_reader")
    monkeypatch.setenv("RES_ADMIN", "res_admin")
    with home(postgres_url, f"res_{next(_numbers)}", tmp_path) as found:
        yield found


class Recorded:
    def __init__(self, dies_at: int = 0) -> None:
        self.commands: list[str] = []
        self.dies_at = dies_at

    async def __call__(self, command: str) -> None:
        self.commands.append(command)
        if len(self.commands) == self.dies_at:
            raise ConnectionAbortedError(command)


async def quiet(db: Home, settings: dict[str, str | None], record: Record | None = None) -> list[str]:
    said = Recorded()
    await db.maintenance.bind(record or said).set_quiet("db", settings)
    return said.commands


async def nothing(text: str, done: int | None, total: int | None) -> None:
    """Progress that nobody looks at."""


async def restored(db: Home, record: Record | None = None) -> str:
    """Restores the newest backup beside; its label."""
    backup, proof = await db.newest()
    maintenance = db.maintenance.bind(record or Recorded())
    await maintenance.restore("db", "db-backups", backup, proof, 2, nothing)
    return f"restored from {backup.name} ({proof.digest[:19]})"


# -- writing


async def test_writing_is_refused_to_sessions_that_were_open_and_to_new_ones(db: Home) -> None:
    with db.connect() as before:
        before.execute("INSERT INTO orders (note) VALUES ('x')")
        await quiet(db, dict(ON))
        with pytest.raises(psycopg.OperationalError):
            before.execute("INSERT INTO orders (note) VALUES ('x')")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        db.sql("INSERT INTO orders (note) VALUES ('x')", "res_app")
    assert db.sql("SELECT count(*) FROM orders", "res_app") == [(201,)]
    assert (await db.maintenance.quiet("db")).writers == ()


async def test_a_role_with_a_setting_of_its_own_does_not_get_past_it(db: Home) -> None:
    db.sql("ALTER ROLE res_app SET default_transaction_read_only = off", "postgres")
    try:
        seen = await db.maintenance.quiet("db")
        assert seen.settings == {"": None, "res_app": None}
        db.sql("GRANT res_app TO res_admin WITH ADMIN OPTION; ALTER ROLE res_admin CREATEROLE", "postgres")
        await quiet(db, {"": "on", "res_app": "on"})
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            db.sql("INSERT INTO orders (note) VALUES ('x')", "res_app")
        await quiet(db, {"": None, "res_app": None})
        db.sql("INSERT INTO orders (note) VALUES ('x')", "res_app")
        assert (await db.maintenance.quiet("db")).settings == seen.settings
    finally:
        db.sql(
            "ALTER ROLE res_app RESET ALL; ALTER ROLE res_admin NOCREATEROLE; REVOKE res_app FROM res_admin", "postgres"
        )


async def test_a_session_that_asks_for_writing_by_itself_is_named(db: Home) -> None:
    await quiet(db, dict(ON))
    with db.connect() as stubborn:
        stubborn.execute("BEGIN READ WRITE")
        stubborn.execute("INSERT INTO orders (note) VALUES ('x')")
        [line] = (await db.maintenance.quiet("db")).writers
        assert "of res_app" in line and "is writing, as it asks for that by itself" in line


async def test_taking_it_back_gives_what_was_there_and_lets_sessions_write_that_began_meanwhile(db: Home) -> None:
    comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    await quiet(db, dict(ON))
    with db.connect() as meanwhile:
        await quiet(db, dict(OFF))
        with pytest.raises(psycopg.OperationalError):
            meanwhile.execute("SELECT 1")
    db.sql("INSERT INTO orders (note) VALUES ('x')", "res_app")
    assert db.sql("SHOW work_mem") == [("7MB",)]
    assert db.sql(comment) == [("the shop's own",)]


async def test_again_it_does_nothing_and_a_crash_before_any_call_is_made_up_for(db: Home) -> None:
    for settings in (ON, OFF):
        for dies_at in (1, 2, 3, 4):
            with db.connect():
                died = Recorded(dies_at)
                try:
                    await quiet(db, dict(settings), died)
                except ConnectionAbortedError:
                    await quiet(db, dict(settings))
                assert await quiet(db, dict(settings)) == []
                assert (await db.maintenance.quiet("db")).settings == settings


# -- restoring


async def test_what_is_restored_is_whole_and_has_what_belongs_to_the_database(db: Home) -> None:
    db.dump()
    db.sql("INSERT INTO orders (note) VALUES ('later'); UPDATE alembic_version SET version_num = '0042'")
    label = await restored(db)
    _, proof = await db.newest()
    assert await db.maintenance.unlike("db", proof) == []
    await db.maintenance.bind(Recorded()).switch("db", label, "before_restore")
    assert db.sql("SELECT count(*) FROM orders", "res_app") == [(200,)]
    assert db.sql("SELECT version_num FROM alembic_version") == [("0041",)]
    assert db.sql("SHOW work_mem") == [("7MB",)]
    assert db.sql("SHOW search_path") == [("public, other",)]
    db.sql("INSERT INTO orders (note) VALUES ('next')", "res_app")
    assert db.sql("SELECT max(id) FROM orders") == [(201,)]
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        db.connect("res_stranger")
    [kept] = [n for n in db.names() if n != db.name]
    assert kept.endswith("_before_restore")
    assert db.sql("SELECT count(*) FROM orders", "postgres", kept) == [(201,)]


async def test_the_old_one_says_since_when_it_is_kept_and_the_new_one_where_it_came_from(db: Home) -> None:
    db.dump()
    before = (await db.maintenance.standing("db")).live.label
    label = await restored(db)
    await db.maintenance.bind(Recorded()).switch("db", label, "before_restore")
    standing = await db.maintenance.standing("db")
    assert before.startswith("oid ")
    assert standing.live.label == label
    [kept] = standing.kept
    assert (kept.label, kept.why.startswith(f"kept of {db.name} since 20")) == (before, True)
    await db.maintenance.bind(Recorded()).switch("db", before, "undone_restore")
    standing = await db.maintenance.standing("db")
    assert standing.live.label == before
    assert [k.why.split(" ")[0] for k in standing.kept] == ["undone"]


async def test_a_crash_before_any_call_of_a_restore_is_made_up_for(db: Home) -> None:
    db.dump()
    died = 0
    for dies_at in range(1, 9):
        try:
            await restored(db, Recorded(dies_at))
        except ConnectionAbortedError:
            died += 1
    await restored(db)
    _, proof = await db.newest()
    assert await db.maintenance.unlike("db", proof) == []
    assert died == 4
    assert len(db.names()) == 2
    again = Recorded()
    await restored(db, again)
    assert again.commands == []


async def test_one_left_half_restored_is_filled_again_after_whoever_still_fills_it_was_ended(db: Home) -> None:
    db.dump()
    await restored(db, Recorded())
    _, proof = await db.newest()
    beside = next(n for n in db.names() if n != db.name)
    db.sql("DELETE FROM orders; CREATE TABLE left_over (a int)", "res_owner", beside)
    half = f"rollback-bot: being restored for {db.name} from shop.dump ({proof.digest})"
    db.sql(f"COMMENT ON DATABASE {beside} IS '{half}'", "res_owner")
    assert (await db.maintenance.unlike("db", proof))[0] == "table public.orders has 0 rows, the backup 200"
    orphan = db.connect("res_owner", beside)
    orphan.execute("BEGIN; LOCK TABLE orders")
    await restored(db)
    orphan.close()
    assert await db.maintenance.unlike("db", proof) == []


async def test_a_database_that_the_bot_has_not_made_is_left_alone(db: Home) -> None:
    db.dump()
    _, proof = await db.newest()
    name = f"{db.name}_restore_{proof.digest[7:15]}"
    db.sql(f"CREATE DATABASE {name} OWNER res_owner", "postgres")
    db.sql("CREATE TABLE mine (a int)", "res_owner", name)
    with pytest.raises(Unfit, match="that the bot has not made"):
        await restored(db)
    assert db.sql("SELECT count(*) FROM mine", "res_owner", name) == [(0,)]


async def test_what_pg_restore_cannot_do_is_told_in_its_words(db: Home) -> None:
    db.sql("CREATE ROLE res_gone; GRANT SELECT ON orders TO res_gone", "postgres")
    db.dump()
    db.sql("DROP OWNED BY res_gone; DROP ROLE res_gone", "postgres")
    with pytest.raises(Unfit, match=r'pg_restore failed: .*role "res_gone" does not exist'):
        await restored(db)
    assert (await db.maintenance.standing("db")).live.name == db.name


async def test_a_backup_without_rights_or_of_other_owners_is_not_switched_to(db: Home) -> None:
    db.dump("shop.dump", "-Fc", "--no-acl")
    db.sql("ALTER TABLE orders OWNER TO res_stranger", "postgres")
    await restored(db)
    _, proof = await db.newest()
    assert await db.maintenance.unlike("db", proof) == [
        "1 of 2 tables have another owner (public.orders: res_owner, not res_stranger)",
        "nothing is granted to res_app, who had rights in tables",
    ]


async def test_rows_and_sequences_that_are_not_those_of_the_backup_are_told(db: Home) -> None:
    db.dump()
    await restored(db)
    _, proof = await db.newest()
    beside = next(n for n in db.names() if n != db.name)
    db.sql("DELETE FROM orders WHERE id < 3; SELECT setval('orders_id_seq', 7); DROP VIEW recent", "res_owner", beside)
    db.sql(f"ALTER DATABASE {beside} RESET work_mem", "res_owner")
    assert await db.maintenance.unlike("db", proof) == [
        "table public.orders has 198 rows, the backup 200",
        "sequence public.orders_id_seq stands at 7, in the backup at 200",
        f"""not given yet: ALTER DATABASE "{beside}" SET "work_mem" TO '7MB'""",
    ]


async def test_the_sessions_move_over_and_a_crash_before_any_call_of_the_switch_is_made_up_for(db: Home) -> None:
    db.dump()
    label, before = await restored(db), (await db.maintenance.standing("db")).live.label
    for dies_at in (1, 2, 3):
        for to in (label, before):
            with db.connect() as open_one:
                with pytest.raises(ConnectionAbortedError):
                    await db.maintenance.bind(Recorded(dies_at)).switch("db", to, "why")
                assert (await db.maintenance.standing("db")).between == (label if dies_at > 1 else "")
                await db.maintenance.bind(Recorded()).switch("db", to, "why")
                with pytest.raises(psycopg.OperationalError):
                    open_one.execute("SELECT 1")
            assert (await db.maintenance.standing("db")).live.label == to
            assert db.sql("SELECT 1", "res_app") == [(1,)]
            if to == before:  # what was taken back is not used again
                label = await restored(db)
    assert len(db.names()) == 5


async def test_one_that_was_closed_for_a_switch_that_is_taken_back_is_opened_again(db: Home) -> None:
    db.dump()
    label, before = await restored(db), (await db.maintenance.standing("db")).live.label
    with db.connect(), pytest.raises(ConnectionAbortedError):
        await db.maintenance.bind(Recorded(2)).switch("db", label, "why")
    with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
        db.connect()
    await db.maintenance.bind(Recorded()).switch("db", before, "why")
    assert db.sql(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"
    ) == [("the shop's own",)]


async def test_read_only_goes_on_with_the_name(db: Home) -> None:
    db.dump()
    await quiet(db, dict(ON))
    label = await restored(db)
    await db.maintenance.bind(Recorded()).switch("db", label, "before_restore")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        db.sql("INSERT INTO orders (note) VALUES ('x')", "res_app")
    with db.connect() as meanwhile:
        await quiet(db, dict(OFF))
        with pytest.raises(psycopg.OperationalError):
            meanwhile.execute("SELECT 1")
    db.sql("INSERT INTO orders (note) VALUES ('x')", "res_app")


async def test_a_backup_made_while_nobody_could_write_is_whole_and_can_be_written_to(db: Home) -> None:
    await quiet(db, dict(ON))
    db.dump()
    await quiet(db, dict(OFF))
    label = await restored(db)
    _, proof = await db.newest()
    assert await db.maintenance.unlike("db", proof) == []
    await db.maintenance.bind(Recorded()).switch("db", label, "before_restore")
    assert db.sql("SELECT count(*) FROM orders", "res_app") == [(200,)]
    db.sql("INSERT INTO orders (note) VALUES ('x')", "res_app")


async def test_a_preview_writes_nothing(db: Home) -> None:
    db.dump()
    backup, proof = await db.newest()
    maintenance = db.maintenance.bind(unbound)
    with pytest.raises(ReadOnly):
        await maintenance.restore("db", "db-backups", backup, proof, 1, nothing)
    with pytest.raises(ReadOnly):
        await maintenance.set_quiet("db", dict(ON))
    assert db.names() == [db.name]


async def test_rights_that_are_missing_are_named_with_what_grants_them(
    db: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RES_ADMIN", "res_owner")
    said = dict((await db.maintenance.standing("db")).hindrances)
    assert said == {
        "res_owner may not create databases": "ALTER ROLE res_owner CREATEDB",
        "res_owner may not end the sessions of others": "GRANT pg_signal_backend TO res_owner",
        "res_owner is not shown the sessions of others": "GRANT pg_monitor TO res_owner",
    }


async def test_a_superusers_session_is_named_and_left_before_anybody_is_kept_out(db: Home) -> None:
    """pg_signal_backend does not reach it: PostgreSQL refuses the whole statement that would end it."""
    db.dump()
    label = await restored(db)
    with db.connect("postgres") as report, db.connect() as other:
        [[pid]] = report.execute("SELECT pg_backend_pid()").fetchall()
        end = time.monotonic() + 60
        while not (said := dict((await db.maintenance.standing("db")).hindrances)):
            assert time.monotonic() < end
            await asyncio.sleep(0.2)
        assert [*said] == [f"session {pid} of postgres (client backend) keeps {db.name} from being renamed"]
        with pytest.raises(Unfit, match=f"session {pid} of postgres"):
            await db.maintenance.bind(Recorded()).switch("db", label, "before_restore")
        assert other.execute("SELECT datallowconn FROM pg_database WHERE datname = current_database()").fetchall() == [
            (True,)
        ]
        await quiet(db, dict(ON))
        [line] = (await db.maintenance.quiet("db")).writers
        assert line.endswith("began before and can still write, and only a superuser can end it")
        with pytest.raises(psycopg.OperationalError):
            other.execute("SELECT 1")
    assert (await db.maintenance.quiet("db")).writers == ()


async def test_a_bare_dump_of_the_bots_log_is_told_apart(db: Home) -> None:
    db.sql("CREATE TABLE event (run text, seq int, prev text, hash text)")
    said = dict((await db.maintenance.standing("db")).hindrances)
    assert "the bot's own tables lie in db" in said


# -- by hand, and what is asked of this machine


async def test_what_a_person_types_does_the_same(db: Home) -> None:
    db.dump()
    backup, proof = await db.newest()
    label = f"restored from {backup.name} ({proof.digest[:19]})"
    typed(db, db.maintenance.by_hand([Edit("db/read_only", None, "on")]))
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        db.sql("DELETE FROM orders", "res_app")
    typed(db, db.maintenance.by_hand([Edit("db/read_only", "on", None)]))
    db.sql("DELETE FROM orders", "res_app")
    before = (await db.maintenance.standing("db")).live.label
    typed(db, db.maintenance.by_hand([Edit("db/database", before, label)]))
    assert db.sql("SELECT count(*) FROM orders", "postgres") == [(200,)]
    assert any(n.endswith("_before_restore") for n in db.names())


def typed(db: Home, lines: Sequence[str]) -> None:
    for line in lines:
        here = line.replace("<the folder of the backups>", str(db.folder))
        environment = {"PATH": f"{client_programs()}:{os.environ['PATH']}", "RES_ADMIN": "res_admin:unused"}
        done = subprocess.run(["bash", "-c", here], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (here, done.stderr)


async def test_a_pg_restore_that_is_newer_than_the_server_is_told_before_it_is_needed(db: Home, tmp_path: Path) -> None:
    assert await db.maintenance.ping() == {"db-backups": ""}
    upkeep = PostgresMaintenance(db.databases, db.backups(calls_itself(tmp_path / ".programs", "99.1")))
    assert (await upkeep.ping())["db-backups"].startswith("restoring takes a pg_restore no newer than the server (18.")
    db.dump()
    _, proof = await db.newest()
    assert "it takes a pg_restore of version 18, here is 99.1" in upkeep.usable("db-backups", proof, "18.4")
    assert "is of PostgreSQL 18.4" in upkeep.usable("db-backups", proof, "15.2")


async def test_slots_and_prepared_transactions_are_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RES_LOGIN", "res_reader")
    monkeypatch.setenv("RES_ADMIN", "res_admin")
    with private_postgres(durable=False) as server:
        execute(server, "ALTER SYSTEM SET wal_level = logical")
        execute(server, "ALTER SYSTEM SET max_prepared_transactions = 2")
        with stopped(server):
            pass
        with home(server, "slotted", tmp_path) as there:
            there.sql("SELECT pg_create_logical_replication_slot('s1', 'pgoutput')", "postgres")
            there.sql("BEGIN; INSERT INTO orders (note) VALUES ('x'); PREPARE TRANSACTION 'p1'")
            said = dict((await there.maintenance.standing("db")).hindrances)
            there.sql("ROLLBACK PREPARED 'p1'")
            there.sql("SELECT pg_drop_replication_slot('s1')", "postgres")
    assert [*said] == [
        "1 prepared transactions in slotted keep it from being renamed",
        "replication slots would go on reading the old database: s1",
    ]
