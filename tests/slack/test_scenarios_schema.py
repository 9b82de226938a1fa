"""The database's part of a rollback as people live it in Slack, on the shop's database: what is refused and why, what a
yes does not cover, and how a step that stopped is gone on with.

The plan is the standard plan's own steps about data, in its own words. The ways that end well are the demo's stories.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from bot import wiring
from bot.catalogue import Release
from bot.playground.postgres import execute, tools
from bot.playground.shop.beside import Beside
from bot.playground.shop.data import Data, database_server
from bot.playground.shop.releases import VERSIONS
from bot.playground.workspace import Post
from tests.slack.conftest import Desk, Mode, desk_in

STEPS = {"backups", "schema", "start", "quiet", "probe", "known", "schema-way", "schema-kept", "reopen",
         "reopen-restored", "tables"}  # fmt: skip
ROLES = """\
roles:
  commander: {groups: [S0COMMAND1]}
  approver: {groups: [S0APPROVE1], on_call: {groups: [S0ONCALL01]}}
  dba: {groups: ["@dbas"]}
"""
DOWN = """
op.execute("UPDATE orders SET status = 'paid' WHERE status = 'discounted'")
op.drop_constraint("orders_status", "orders")
op.create_check_constraint("orders_status", "orders", "status in ('paid', 'refunded')")
op.drop_column("orders", "coupon_id")
op.drop_table("coupons")
"""
"""The way down as it is."""
NEWEST = 900.0
"""Seconds that the newest backup is old."""
WROTE = """
INSERT INTO coupons (code, percent) SELECT 'C' || i, 10 FROM generate_series(1, 5) i;
INSERT INTO orders (id, cents, status, release, cluster, coupon_id)
SELECT 'o' || i, 100, CASE WHEN i <= 3 THEN 'discounted' ELSE 'paid' END, '2.4.1', 'eu-1',
       CASE WHEN i <= 3 THEN i END FROM generate_series(1, 8) i;
INSERT INTO jobs (kind, order_id) SELECT 'receipt', id FROM orders
"""
"""What 2.4.1 has written: 5 coupons, 3 orders with one."""


def plan() -> str:
    """The standard plan's steps about data."""
    text = resources.files("bot").joinpath("plans", "standard.yaml").read_text(encoding="utf-8")
    told: dict[str, Any] = yaml.safe_load(text)
    tracks = {}
    for name, steps in told["tracks"].items():
        flat = [s for each in steps for s in (each if isinstance(each, list) else [each])]
        kept = [{**s, "after": [a for a in s["after"] if a in STEPS]} if "after" in s else s for s in flat]
        tracks[name] = [{k: v for k, v in s.items() if v != []} for s in kept if s["id"] in STEPS]
    first = tracks["backend"][0]
    tracks["backend"][0] = {**first, "after": ["start"]}
    tracks["verify"] = [{**s, "after": ["reopen-restored"]} for s in tracks["verify"]]
    told["tracks"] = {name: steps for name, steps in tracks.items() if steps}
    return yaml.safe_dump(told, sort_keys=False)


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Data]:
    """The shop's database after 2.4.1 has served on it, with two backups of before; to be copied."""
    with database_server() as server, Data(tmp_path_factory.mktemp("shops"), server) as data:
        data.upgrade("0041")
        data.backup(6 * 3600)
        data.backup(NEWEST)
        data.upgrade("0042")
        data.rows(WROTE)
        yield data


@pytest.fixture
def data(shops: Data, tmp_path: Path) -> Iterator[Data]:
    """A copy of it, with backups and migrations of its own."""
    for name in ("backups", "migrations"):
        shutil.copytree(getattr(shops, name), tmp_path / "data" / name)
    copy = Data(tmp_path / "data", shops.server, f"{shops.name}_copy", shops.valkey)
    execute(shops.server, f"CREATE DATABASE {copy.name} TEMPLATE {shops.name} OWNER {shops.logins['owner'][0]}")
    yield copy
    for (name,) in shops.rows("SELECT datname FROM pg_database WHERE datname LIKE %s", f"{copy.name}%"):
        execute(shops.server, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def catalogue(data: Data) -> dict[str, Any]:
    """The services of rollback.yaml, to be changed before the bot starts."""
    targets = Beside(data, "", tools(), []).targets()
    mine = {name: targets[name] for name in ("db", "backups")}
    channels = {"incident": ["#inc-4211"], "stakeholders": ["#status"]}
    return {"shop": {"channels": channels, "targets": mine}}


@pytest.fixture
async def desk(
    tmp_path: Path, mode: Mode, data: Data, catalogue: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    """The bot, not started yet."""
    for name, value in Beside(data, "", tools(), []).variables.items():
        monkeypatch.setenv(name, value)

    async def stock(desk: Desk) -> None:
        tell(desk, catalogue)
        (desk.folder / "plans" / "standard.yaml").write_text(plan())
        async with wiring.offline(desk.settings) as bot:
            for version, days in (("2.4.0", 6.0), ("2.4.1", 0.1)):
                release = Release(version, schema=VERSIONS[version].schema, migrations=version)
                await bot.releases.record("shop", release, by="ci", serving_since=bot.clock() - days * 86400)

    folder = tmp_path / "desk"
    folder.mkdir()
    async with desk_in(folder, mode, start=False, stock=stock) as found:
        yield found


def tell(desk: Desk, services: dict[str, Any]) -> None:
    """Writes them into rollback.yaml."""
    (desk.folder / "rollback.yaml").write_text(ROLES + yaml.safe_dump({"services": services}))


async def decision(desk: Desk) -> Post:
    """The bot is up, ana has asked for a rollback and started it; the card of the schema's decision."""
    await desk.up()
    assert "opened as" in (await desk.slash("ana", "shop because checkout fails")).text
    await desk.until(lambda r: r.asked["start"].opened)
    await desk.click("ana", await desk.button("Start rollback"), "Start rollback")
    return await desk.button("Keep")


def newest(data: Data) -> Path:
    """The newest backup."""
    return max(data.backups.glob("*.dump"))


async def agreed(desk: Desk, way: str, *who: str) -> None:
    """Each of these presses a way that asks for a phrase, and types it."""
    for person in who:
        card = await desk.button(way)
        label = next(b for b in card.buttons if b.rstrip("…") == way)
        seen = await desk.click(person, card, label)
        assert seen.modal is not None, seen
        assert (await desk.workspace.driver.submit(person, {"phrase": f"{way.lower()} shop"})).ok


async def said(desk: Desk, *words: str) -> str:
    """What stands in the channel and its threads, once all of this does."""
    driver = desk.workspace.driver

    def there() -> str | None:
        text = " ".join(" ".join(p.plain.split()) for p in driver.read("inc-4211"))
        return text if all(w in text for w in words) else None

    return await desk.shown(there, f"{words}")


async def again(desk: Desk) -> None:
    """Ana has what stopped tried again."""
    await desk.click("ana", await desk.button("Try again"), "Try again")


def untouched(data: Data) -> None:
    """The database is as 2.4.1 left it, takes writes, and no other was made beside it."""
    assert data.revision() == "0042"
    assert data.rows("SELECT count(*) FROM coupons") == [(5,)]
    data.rows("UPDATE orders SET cents = 100", who="app")
    assert len(data.rows("SELECT 1 FROM pg_database WHERE datname LIKE %s", f"{data.name}%")) == 1


def script(data: Data, down: str) -> None:
    """2.4.1 has this way down."""
    [file] = (data.migrations / "2.4.1" / "versions").glob("0042*.py")
    head = file.read_text().partition("def downgrade()")[0]
    file.write_text(f"{head}def downgrade() -> None:\n{textwrap.indent(textwrap.dedent(down), '    ')}")


# -- what is refused ---------------------------------------------------------------------------------------------------


def shared(data: Data, services: dict[str, Any]) -> None:
    """With another service, and with the bot."""
    services["billing"] = {"targets": {"ledger": services["shop"]["targets"]["db"]}}
    data.rows("CREATE TABLE event (run text, seq int, prev text, hash text)")


def idle_and_newer(data: Data, services: dict[str, Any]) -> None:
    script(data, "pass")
    version = data.rows("SHOW server_version")[0][0].split()[0].encode()
    for dump in data.backups.glob("*.dump"):
        changed(dump, lambda whole: whole.replace(version, b"9" + version[1:], 1))


def cut_and_unreadable(data: Data, services: dict[str, Any]) -> None:
    older, newer = sorted(data.backups.glob("*.dump"))
    changed(older, lambda whole: whole[: len(whole) // 2])
    changed(newer, lambda whole: b"no archive" + whole)


def changed(file: Path, how: Callable[[bytes], bytes]) -> None:
    """Its bytes, and not its time."""
    was = file.stat()
    file.write_bytes(how(file.read_bytes()))
    os.utime(file, (was.st_atime, was.st_mtime))


REFUSED: dict[Callable[[Data, dict[str, Any]], None], tuple[str, ...]] = {
    shared: (
        "Down · refused: db is also the database of billing: what goes would go for them too; db holds the bot's own",
        "Restore · refused: not restored: the bot's own tables lie in db; billing works on the same database as this",
    ),
    idle_and_newer: (
        "Down · refused: db: the script of 0042 does nothing, and would only set the stamp",
        "Restore · refused: not restored: shop-",
        "is of PostgreSQL 98",
    ),
    cut_and_unreadable: ("Restore · refused: shop-", "cannot be restored: it is cut off", "is no archive of pg_dump"),
}


@pytest.mark.parametrize("wrong", REFUSED, ids=lambda f: f.__name__)
async def test_a_way_that_must_not_be_gone_is_refused_on_the_card_and_keeping_is_left(
    desk: Desk, data: Data, catalogue: dict[str, Any], wrong: Callable[[Data, dict[str, Any]], None]
) -> None:
    wrong(data, catalogue)
    tell(desk, catalogue)
    await decision(desk)
    await said(desk, *REFUSED[wrong])
    untouched(data)
    if wrong is shared:
        await desk.click("ben", await desk.button("Keep"), "Keep")
        run = await desk.until(lambda r: r.closed)
        assert run.closed is not None and run.closed.outcome == "verified"
        untouched(data)


async def test_a_backup_that_is_gone_or_older_than_shown_is_not_restored(desk: Desk, data: Data) -> None:
    await decision(desk)
    await said(desk, f"from {newest(data).name}")
    await agreed(desk, "Restore", "ben")
    older, shown = sorted(data.backups.glob("*.dump"))
    shown.write_bytes(older.read_bytes())  # under the name that was shown, and it is of six hours ago
    os.utime(shown, (older.stat().st_mtime,) * 2)
    await agreed(desk, "Restore", "cho")
    await said(desk, "Changed since it was looked at. No longer valid: the approval of @ben")
    shown.unlink()
    await agreed(desk, "Restore", "ben")
    await said(desk, f"there is no backup {shown.name}")
    await desk.slash("ana", "abort because the backup is gone")
    await desk.until(lambda r: r.aborted)
    await desk.slash("ana", "restore schema-way.restore.quiesce because nothing is restored")
    run = await desk.until(lambda r: r.closed)
    assert run.closed is not None and run.closed.outcome == "aborted"
    untouched(data)


# -- what a yes does not cover -----------------------------------------------------------------------------------------


async def test_a_loss_that_grows_is_shown_anew_and_one_that_grows_behind_a_lock_is_not_taken(
    desk: Desk, data: Data, catalogue: dict[str, Any]
) -> None:
    """Rows come between two people's yes; then a report holds the table, and somebody writes whom no switch binds."""
    catalogue["shop"]["targets"]["db"]["rows"] = 12
    tell(desk, catalogue)
    waits = "import time\nif not op.get_context().as_sql:\n    time.sleep(2)"  # so that the report is there first
    script(data, f"{waits}\n{DOWN}")
    await decision(desk)
    await agreed(desk, "Down", "ben")
    coupons(data, 2)
    await agreed(desk, "Down", "cho")
    await said(desk, "No longer valid: the approval of @ben", "rows lost: 13 rows now, the limit shown was 12")
    assert data.revision() == "0042" and data.rows("SELECT count(*) FROM coupons") == [(7,)]

    ended = asyncio.Event()
    report = asyncio.create_task(reporting(data, ended))
    await agreed(desk, "Down", "ben", "cho")
    await said(desk, "Take the schema down: at work (db: ", "waiting for session", "(a report), idle in transaction")
    coupons(data, 2)
    ended.set()
    await report
    await said(desk, "15 rows would be lost by now, 13 were shown and 12 are allowed")
    assert data.revision() == "0042"
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        data.rows("UPDATE orders SET cents = 100", who="app")

    await again(desk)
    await agreed(desk, "Down", "ben", "cho")
    run = await desk.until(lambda r: r.closed)
    assert run.closed is not None and run.closed.outcome == "verified"
    assert data.revision() == "0041"
    data.rows("UPDATE orders SET cents = 100", who="app")


def coupons(data: Data, many: int) -> None:
    """Somebody writes so many more, whatever is set for everybody."""
    made = f"INSERT INTO coupons (code, percent) SELECT md5(random()::text), 1 FROM generate_series(1, {many})"
    data.rows(f"SET TRANSACTION READ WRITE; {made}")


async def reporting(data: Data, ended: asyncio.Event) -> None:
    """Once the database takes no more writes: reads the orders, and leaves its transaction open."""
    on = "SELECT current_setting('default_transaction_read_only')"
    while True:
        async with await psycopg.AsyncConnection.connect(data.dsn("owner"), application_name="a report") as c:
            if (await (await c.execute(on)).fetchone()) == ("on",):
                await c.execute("SELECT count(*) FROM orders")
                await ended.wait()
                return
        await asyncio.sleep(0.02)


async def test_a_script_that_fails_half_way_is_told_by_what_it_left_and_gone_on_with_once_people_have_finished_it(
    desk: Desk, data: Data
) -> None:
    script(data, "with op.get_context().autocommit_block():\n"
                 "    op.execute('ALTER TABLE orders DROP COLUMN coupon_id')\n"
                 "op.drop_table('coupons')\nraise RuntimeError('no further')")  # fmt: skip
    await decision(desk)
    await agreed(desk, "Down", "ben", "cho")
    told = await said(desk, "db is half down: the script of 0042 failed after it had changed things", "no further")
    assert "its stamp says 0042" in told and "gone: " in told and "column orders.coupon_id" in told
    assert data.revision() == "0042" and data.rows("SELECT count(*) FROM coupons") == [(5,)]

    data.rows("SET TRANSACTION READ WRITE; DROP TABLE coupons; UPDATE orders SET status = 'paid';"
              "ALTER TABLE orders DROP CONSTRAINT orders_status, ADD CONSTRAINT orders_status CHECK (status IN ('paid',"
              "'refunded')); UPDATE alembic_version SET version_num = '0041'")  # fmt: skip
    await again(desk)
    run = await desk.until(lambda r: r.closed)
    assert run.closed is not None and run.closed.outcome == "verified"
    data.rows("UPDATE orders SET cents = 100", who="app")
