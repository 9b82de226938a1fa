"""What the adapter reads of a real PostgreSQL, and how it moves a schema there."""

from __future__ import annotations

import asyncio

import pytest

from bot.adapters.postgres import PostgresDatabases
from bot.ports import ReadOnly, Unreachable
from bot.ports.databases import BadScripts, Blocked, NotAllowed, ScriptFailed
from tests.fixtures.service_database import SHOP, Place, Rev


class Recorded:
    def __init__(self) -> None:
        self.commands: list[str] = []

    async def __call__(self, command: str) -> None:
        self.commands.append(command)


async def test_a_database_says_its_version_its_stamp_and_who_is_busy(shop: Place) -> None:
    with shop.connect() as other:
        other.execute("BEGIN")
        other.execute("SELECT 1")
        state = await shop.databases.state("db")
    assert state.stamp == ("0042",)
    assert int(state.server.split(".")[0]) >= 15
    assert (state.replica, state.read_only, state.bot, state.holds) == (False, False, False, ())
    assert state.size > 1_000_000
    rules = [what for name, what in (await shop.databases.shape("db")).items() if name.startswith("constraint ")]
    assert rules and not [r for r in rules if r.startswith("NOT NULL")], "18 has rows for these, 15 has not"


async def test_no_stamp_is_none_and_an_empty_one_is_empty(db: Place) -> None:
    db.release("2.4.1", *SHOP)
    assert (await db.databases.state("db")).stamp is None
    with pytest.raises(BadScripts, match="no version table in schema public"):
        await db.databases.route("db", "2.4.1", "0041")
    db.sql("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    assert (await db.databases.state("db")).stamp == ()
    with pytest.raises(BadScripts, match="an empty version table"):
        await db.databases.route("db", "2.4.1", "base")


async def test_the_way_down_names_every_revision_with_its_sql(shop: Place) -> None:
    route = await shop.databases.route("db", "2.4.1", "0040")
    assert route.direction == "down"
    assert [(s.revision, s.below, s.stamp, s.title) for s in route.steps] == [
        ("0042", "0041", ("0041",), "Coupons"),
        ("0041", "0040", ("0040",), "Orders by time"),
    ]
    assert "DROP TABLE coupons" in (route.steps[0].sql or "")
    assert "CREATE TABLE coupons" in route.inverse["0042"]
    assert await shop.databases.standing("db", "2.4.1", ["0040", "0042"]) == {"0040": "0040", "0042": "0042"}
    up = await shop.databases.route("db", "2.4.1", "0042")
    assert up.steps == ()


async def test_a_script_that_reads_the_database_cannot_be_read(db: Place) -> None:
    asks = "op.get_bind().execute(sa.text('SELECT 1')).scalar()"
    db.release("2", *SHOP[:1], Rev("0041", "0040", "pass", asks))
    await db.upgrade("2", "0041")
    route = await db.databases.route("db", "2", "0040")
    assert route.steps[0].sql is None
    toll = await db.databases.toll("db", route)
    assert toll.unread == ("revision 0041: its script reads the database before it decides",)
    assert toll.rows is None


@pytest.mark.parametrize(
    ("scripts", "to", "said"),
    [
        ("2.4.1", "9999", "no way from 0042 to 9999"),
        ("old", "0041", "Can't locate revision identified by '0042'"),
        ("../releases/2.4.1/../..", "0041", "is no folder below"),
        ("registry.example/shop@sha256:" + "0" * 64, "0041", "is no folder below"),
        ("none", "0041", "there is no alembic.ini"),
    ],
)
async def test_where_there_is_no_way_it_says_why(shop: Place, scripts: str, to: str, said: str) -> None:
    shop.release("old", *SHOP[:2])
    with pytest.raises(BadScripts, match=said.replace(".", r"\.")):
        await shop.databases.route("db", scripts, to)


async def test_two_heads_are_left_to_people(db: Place) -> None:
    db.release("2", *SHOP[:1], Rev("a", "0040"), Rev("b", "0040"), Rev("m", ("a", "b")))
    await db.upgrade("2", "a", "b")
    with pytest.raises(BadScripts, match=r"at 2 heads \(a, b\)"):
        await db.databases.route("db", "2", "0040")
    await db.upgrade("2", "m")
    with pytest.raises(BadScripts, match="m is a merge"):
        await db.databases.route("db", "2", "a")


async def test_a_revision_that_no_row_names_is_in_force_by_what_depends_on_it(db: Place) -> None:
    db.release("2", Rev("a1", None), Rev("b1", None), Rev("b2", "b1", depends="a1"))
    await db.upgrade("2", "b2")
    assert db.stamp() == ["b2"]
    assert await db.databases.standing("db", "2", ["a1", "b1", "b2"]) == {"a1": "a1", "b1": "b1", "b2": "b2"}


async def test_a_changed_script_has_another_digest(shop: Place) -> None:
    first = await shop.databases.route("db", "2.4.1", "0041")
    shop.release("2.4.1", *SHOP[:2], Rev("0042", "0041", SHOP[2].up, ["DROP TABLE coupons"]))
    again = await shop.databases.route("db", "2.4.1", "0041")
    assert first.digest != again.digest
    assert "coupon_id" not in (again.steps[0].sql or "")


# -- moving ------------------------------------------------------------------------------------------------------------


async def test_one_revision_goes_down_and_up_and_each_is_recorded_first(shop: Place) -> None:
    recorded = Recorded()
    databases = shop.databases.bind(recorded)
    before = await databases.shape("db")
    [step] = (await databases.route("db", "2.4.1", "0041")).steps
    await databases.migrate("db", "2.4.1", step, "down")
    assert shop.stamp() == ["0041"]
    gone = before.keys() - (await databases.shape("db")).keys()
    assert gone == {
        "table coupons", "column coupons.id", "column coupons.code", "column orders.coupon_id", "index coupons_pkey",
        "index coupons_code_key", "constraint coupons.coupons_pkey", "constraint coupons.coupons_code_key",
        "sequence coupons_id_seq",
    }  # fmt: skip
    [up] = (await databases.route("db", "2.4.1", "0042")).steps
    await databases.migrate("db", "2.4.1", up, "up")
    assert await databases.shape("db") == before
    assert [c.partition("alembic ")[2] for c in recorded.commands] == ["downgrade 0041", "upgrade 0042"]
    assert all("$SHOP_DB_ADMIN@" in c for c in recorded.commands)


async def test_nothing_moves_where_nothing_may_be_recorded(shop: Place) -> None:
    [step] = (await shop.databases.route("db", "2.4.1", "0041")).steps
    with pytest.raises(ReadOnly):
        await shop.databases.migrate("db", "2.4.1", step, "down")
    assert shop.stamp() == ["0042"]


async def test_what_waits_for_a_lock_gives_up_and_names_who_holds_it(shop: Place) -> None:
    databases = shop.like(lock=1.5).bind(Recorded())
    [step] = (await databases.route("db", "2.4.1", "0041")).steps
    before = await databases.shape("db")
    with shop.connect() as other:
        other.execute("SET application_name = 'a report'")
        other.execute("BEGIN")
        other.execute("SELECT * FROM orders")
        with pytest.raises(Blocked, match="lock timeout") as caught:
            await databases.migrate("db", "2.4.1", step, "down")
        assert shop.sql("SELECT count(*) FROM orders", "shop_reader") == [(0,)]  # nobody queues behind us any more
    [holder] = caught.value.holders
    assert "of shop_owner (a report)" in holder
    assert shop.stamp() == ["0042"]
    assert await databases.shape("db") == before
    await databases.migrate("db", "2.4.1", step, "down")
    assert shop.stamp() == ["0041"]


async def test_two_do_not_migrate_at_once(shop: Place) -> None:
    slow = Rev("0042", "0041", SHOP[2].up, ["SELECT pg_sleep(2)", *SHOP[2].down])
    shop.release("2.4.1", *SHOP[:2], slow)
    one, other = shop.databases.bind(Recorded()), shop.databases.bind(Recorded())
    [step] = (await one.route("db", "2.4.1", "0041")).steps
    done = await asyncio.gather(
        one.migrate("db", "2.4.1", step, "down"), other.migrate("db", "2.4.1", step, "down"), return_exceptions=True
    )
    assert {type(d) for d in done} == {type(None), Blocked}
    assert "something else migrates" in str(next(d for d in done if d is not None))
    assert shop.stamp() == ["0041"]


async def test_a_script_that_fails_half_way_leaves_everything_as_it_was(shop: Place) -> None:
    shop.release("2.4.1", *SHOP[:2], Rev("0042", "0041", SHOP[2].up, ["DROP TABLE coupons", "DROP TABLE nothing"]))
    databases = shop.databases.bind(Recorded())
    before = await databases.shape("db")
    [step] = (await databases.route("db", "2.4.1", "0041")).steps
    with pytest.raises(ScriptFailed, match='table "nothing" does not exist'):
        await databases.migrate("db", "2.4.1", step, "down")
    assert shop.stamp() == ["0042"]
    assert await databases.shape("db") == before


async def test_a_cancelled_move_is_rolled_back_and_its_process_is_gone(shop: Place) -> None:
    slow = Rev("0042", "0041", SHOP[2].up, ["DROP TABLE coupons", "SELECT pg_sleep(20)"])
    shop.release("2.4.1", *SHOP[:2], slow)
    databases = shop.databases.bind(Recorded())
    before = await databases.shape("db")
    [step] = (await databases.route("db", "2.4.1", "0041")).steps
    moving = asyncio.create_task(databases.migrate("db", "2.4.1", step, "down"))
    of_it = "FROM pg_stat_activity WHERE application_name = 'rollback-bot 0042'"
    asleep = f"SELECT count(*) {of_it} AND wait_event = 'PgSleep'"
    for _ in range(400):
        if shop.sql(asleep) != [(0,)]:
            break
        await asyncio.sleep(0.05)
    moving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await moving
    shop.sql(f"SELECT pg_terminate_backend(pid) {of_it}")
    assert shop.stamp() == ["0042"]
    assert await databases.shape("db") == before


async def test_scripts_see_nothing_of_the_bots_environment(db: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-of-the-bot")
    monkeypatch.setenv("SHOP_TENANT", "acme")
    looks = """
    import os
    assert 'SLACK_BOT_TOKEN' not in os.environ
    op.execute("COMMENT ON SCHEMA public IS " + repr(os.environ['SHOP_TENANT']))
    """
    db.release("2", Rev("0040", None), Rev("0041", "0040", "pass", looks))
    await db.upgrade("2", "0041")
    databases = db.like(passed=("SHOP_TENANT",)).bind(Recorded())
    [step] = (await databases.route("db", "2", "0040")).steps
    await databases.migrate("db", "2", step, "down")
    assert db.sql("SELECT obj_description('public'::regnamespace)") == [("acme",)]


# -- who is let in -----------------------------------------------------------------------------------------------------


async def test_a_reader_cannot_write_and_a_missing_login_is_named(shop: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    server = shop.databases.servers["db"]
    with pytest.raises(Exception, match="read-only transaction"):
        async with server.reading() as c:
            await c.execute("CREATE TABLE mine ()")
    monkeypatch.delenv("SHOP_DB_LOGIN")
    with pytest.raises(NotAllowed, match="SHOP_DB_LOGIN is not set"):
        await shop.databases.state("db")
    [step] = (await shop.like(reader="SHOP_DB_ADMIN").route("db", "2.4.1", "0041")).steps
    with pytest.raises(NotAllowed, match="names no admin login"):
        await shop.like(admin="", reader="SHOP_DB_ADMIN").bind(Recorded()).migrate("db", "2.4.1", step, "down")


async def test_a_server_that_is_away_is_unreachable_by_name(shop: Place) -> None:
    away = shop.like(host="127.0.0.1", port=1, tls=False)
    with pytest.raises(Unreachable) as caught:
        await away.state("db")
    assert caught.value.parts.keys() == {"db"}
    assert (await away.where())["db"].digest == ""
    assert "db cannot be reached" in (await away.ping())["db"]


async def test_what_others_have_locked_is_not_known_and_no_crash(shop: Place) -> None:
    with shop.connect() as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE alembic_version IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unreachable, match=r"db cannot be reached \(no answer in time"):
            await shop.databases.state("db")
    assert (await shop.databases.state("db")).stamp == ("0042",)


async def test_where_is_the_server_and_the_database_and_changes_are_held_to_it(shop: Place) -> None:
    databases = shop.databases.bind(Recorded())
    where = (await databases.where())["db"]
    assert where.at.endswith(f"/{shop.target.at.database}")
    assert len(where.digest) == 32
    assert await databases.ping() == {"db": ""}
    databases.hold({"db": where})
    [step] = (await databases.route("db", "2.4.1", "0041")).steps
    await databases.migrate("db", "2.4.1", step, "down")
    databases.servers["db"].hold("0" * 32)
    [up] = (await databases.route("db", "2.4.1", "0042")).steps
    with pytest.raises(Unreachable, match="is another server by now"):
        await databases.migrate("db", "2.4.1", up, "up")


def test_an_unknown_database_is_named() -> None:
    with pytest.raises(LookupError, match="no database 'dbb'"):
        asyncio.run(PostgresDatabases([]).state("dbb"))
