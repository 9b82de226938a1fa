"""The shop's second half: orders in PostgreSQL, jobs and cache in Valkey, and what its bad release leaves in both."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from bot.catalogue import load_catalogue
from bot.playground.postgres import database, tools
from bot.playground.shop import schema
from bot.playground.shop.cache import Refused, Valkey
from bot.playground.shop.catalogue import NAMED
from bot.playground.shop.data import Data, database_server
from bot.playground.shop.orders import JOBS, TAKEN, Orders, ReadOnly, Unreadable
from bot.playground.shop.schema.models import tables
from bot.playground.shop.shop import Shop

ORDER = {"amount": "15.00", "customer": {"reference": "c"}, "card": "plain"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with database_server() as url:
        yield url


@pytest.fixture
def data(tmp_path: Path, server: str) -> Iterator[Data]:
    """Servers and a database at 0042, without any pod."""
    with Data(tmp_path, server) as made:
        made.upgrade("0042")
        yield made


@pytest.fixture
def orders(data: Data) -> Iterator[Orders]:
    found = Orders(data.dsn(), data.valkey)
    yield found
    found.pool.close()


@pytest.fixture
async def shop(tmp_path: Path, server: str) -> AsyncIterator[Shop]:
    """Serves 2.4.0 in one cluster."""
    async with Shop(tmp_path, ("eu-1",), deployed=("2.4.0",), second=True, server=server) as made:
        yield made


async def ask(
    shop: Shop, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, Any, Mapping[str, str]]:
    """Status, body and headers of what the shop answers in its first cluster."""
    url = f"http://{next(iter(shop.doors.values()))}{path}"
    async with aiohttp.ClientSession(headers=headers) as http, http.request(method, url, json=body) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if text.startswith(("{", "[")) else text, answer.headers


async def until(holds: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something in the real world. TimeoutError."""
    end = time.monotonic() + seconds
    while not await asyncio.to_thread(holds):
        if time.monotonic() > end:
            raise TimeoutError("it did not come to hold")
        await asyncio.sleep(0.1)


def of(shop: Shop) -> Data:
    assert shop.data is not None
    return shop.data


async def logs(shop: Shop, app: str) -> str:
    """What the pods of an app write, and wrote before they were started again, through the API."""
    cluster, found = shop.clusters["eu-1"], []
    pods = [p["metadata"] for p in cluster.all("Pod", "shop") if p["metadata"]["labels"]["app"] == app]
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer playground-admin"}) as http:
        for pod in pods:
            for more in ("", "?previous=true"):
                url = f"{cluster.url}/api/v1/namespaces/shop/pods/{pod['name']}/log{more}"
                async with http.get(url) as answer:
                    found.append(await answer.text())
    return "\n".join(found)


# -- with pods --------------------------------------------------------------------------------------------------------


async def test_the_bad_release_leaves_rows_jobs_and_keys_that_the_good_one_cannot_read(shop: Shop) -> None:
    data = of(shop)
    assert data.revision() == "0041"
    assert (await ask(shop, "POST", "/pay", {**ORDER, "id": "before"}))[0] == 200
    await until(lambda: data.books().queued == 0)
    assert await shop.deploy("2.4.1") == {"eu-1": ""}
    assert data.revision() == "0042"
    assert (await ask(shop, "POST", "/pay", {**ORDER, "id": "during"}))[0] == 200
    assert (await ask(shop, "POST", "/pay", {**ORDER, "id": "guest", "customer": None}))[0] == 500
    assert data.rows("SELECT status, coupon_id IS NOT NULL FROM orders ORDER BY at") == [
        ("paid", False), ("discounted", True)
    ]  # fmt: skip
    assert data.rows("SELECT code, percent FROM coupons") == [("THANKS-during", 10)]
    assert data.keys("shop:2.4.1:") == ["shop:2.4.1:order:during"]
    assert data.keys("shop:2.4.0:") == ["shop:2.4.0:order:before"]
    await until(lambda: data.queue() == {"receipt": 1, "coupon": 1})
    assert await shop.deploy("2.4.0") == {"eu-1": ""}
    assert data.revision() == "0042"  # a deploy never goes down
    await until(lambda: data.books().queued == 0)
    assert (await ask(shop, "POST", "/pay", {**ORDER, "id": "after"}))[0] == 200
    await until(lambda: data.queue() == {"coupon": 1} and data.books().queued == 0)
    truth = await shop.truth()
    assert (truth.lost, truth.doubled) == ((), ())

    await asyncio.sleep(1.0)
    assert "Unreadable: jobs of kind 'coupon' are unknown to 2.4.0" in await logs(shop, "shop-worker")


async def test_an_old_release_that_is_strict_does_not_start_on_the_new_schema_and_its_log_says_why(
    tmp_path: Path, server: str
) -> None:
    async with Shop(tmp_path, ("eu-1",), deployed=("2.4.0",), second=True, server=server, strict=("2.4.0",)) as shop:
        await asyncio.to_thread(of(shop).upgrade, "0042")
        cluster = shop.clusters["eu-1"]
        await shop.scale("eu-1", "shop-api-canary", 0)  # and Argo CD brings it back, with a new pod

        def failed() -> bool:
            found = [c for p in cluster.all("Pod", "shop") for c in p["status"].get("containerStatuses", ())]
            return any(c["restartCount"] > 0 for c in found)

        await until(failed)
        said = await logs(shop, "shop-api")
        assert "CRITICAL 2.4.0 the database is at revision 0042, which 2.4.0 does not know" in said


async def test_an_account_logs_in_pays_writes_disputes_and_is_removed_with_all_of_it(shop: Shop) -> None:
    data, account = of(shop), {"name": "synthetic-1", "secret": "s"}
    assert (await ask(shop, "POST", "/tenants", {"name": "real", "secret": "s"}))[0] == 422
    assert (await ask(shop, "POST", "/tenants", account))[0] == 201
    assert (await ask(shop, "POST", "/tenants", account))[0] == 409
    assert (await ask(shop, "POST", "/login", {**account, "secret": "wrong"}))[0] == 401
    status, said, _ = await ask(shop, "POST", "/login", account)
    assert status == 200
    bearer = {"Authorization": f"Bearer {said['token']}"}
    assert (await ask(shop, "GET", "/account"))[0] == 401
    assert (await ask(shop, "POST", "/pay", {**ORDER, "id": "mine"}, **bearer))[0] == 200
    assert (await ask(shop, "POST", "/pay", {**ORDER, "id": "a-stranger's"}))[0] == 200
    mine = {"name": "synthetic-1", "orders": [{"id": "mine", "cents": 1500, "status": "paid"}]}
    assert (await ask(shop, "GET", "/account", **bearer))[:2] == (200, mine)
    status, message, _ = await ask(shop, "POST", "/messages", {"text": "where is it"}, **bearer)
    assert (status, message["state"]) == (201, "queued")
    await until(lambda: data.rows("SELECT state FROM messages") == [("delivered",)])
    assert (await ask(shop, "GET", f"/messages/{message['id']}", **bearer))[1]["state"] == "delivered"
    status, dispute, _ = await ask(shop, "POST", "/disputes", {"order": "mine", "reason": "broken"}, **bearer)
    assert (status, dispute["state"]) == (201, "received")
    assert (await ask(shop, "GET", f"/disputes/{dispute['id']}", **bearer))[0] == 200
    theirs = {"order": "a-stranger's", "reason": "broken"}
    assert (await ask(shop, "POST", "/disputes", theirs, **bearer))[0] == 404
    assert (await ask(shop, "DELETE", "/tenants/real"))[0] == 403
    for _ in range(2):
        assert (await ask(shop, "DELETE", "/tenants/synthetic-1"))[0] == 204
    assert (await ask(shop, "GET", "/account", **bearer))[0] == 401
    left = {table: data.rows(f"SELECT count(*) FROM {table}")[0][0] for table in ("tenants", "messages", "disputes")}
    assert left == {"tenants": 0, "messages": 0, "disputes": 0}
    assert data.rows("SELECT id FROM orders") == [("a-stranger's",)]


async def test_a_closed_shop_sells_nothing_until_it_is_opened_and_late_writes_of_the_switch_are_refused(
    shop: Shop,
) -> None:
    status, document, headers = await ask(shop, "GET", "/maintenance")
    tag = headers["ETag"]
    assert (status, document, tag) == (200, {"read_only": False, "notice": ""}, '"0"')
    closed = {"read_only": True, "notice": "back at nine"}
    assert (await ask(shop, "PUT", "/maintenance", closed, **{"If-Match": tag}))[:2] == (200, closed)
    assert (await ask(shop, "PUT", "/maintenance", document, **{"If-Match": tag}))[0] == 412
    await asyncio.sleep(0.4)  # what each pod still believes
    status, said, headers = await ask(shop, "POST", "/pay", {**ORDER, "id": "x"})
    assert (status, said, headers["Retry-After"]) == (503, {"error": "back at nine"}, "60")
    assert (await ask(shop, "GET", "/catalogue"))[0] == 200
    assert {page["status"] for page in await shop.health("eu-1")} == {"ok"}
    assert (await ask(shop, "PUT", "/maintenance", {"read_only": "no"}))[0] == 422
    assert (await ask(shop, "PUT", "/maintenance", {"read_only": False}))[0] == 200
    await asyncio.sleep(0.4)
    data = of(shop)
    data.rows(f'ALTER DATABASE "{data.name}" SET default_transaction_read_only = on')
    data.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop_app'", database="postgres")
    status, said, _ = await ask(shop, "POST", "/pay", {**ORDER, "id": "y"})
    assert (status, said) == (503, {"error": "the database is read-only at the moment"})
    data.rows(f'ALTER DATABASE "{data.name}" RESET default_transaction_read_only', database="postgres")
    data.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop_app'", database="postgres")
    assert (await ask(shop, "POST", "/pay", {**ORDER, "id": "z"}))[0] == 200


async def test_the_catalogue_names_its_servers_and_holds_no_secret(tmp_path: Path, server: str) -> None:
    async with Shop(tmp_path, ("eu-1",), deployed=(), second=True, server=server) as shop:
        text, beside = shop.catalogue(), shop.beside
        assert beside is not None
        service = load_catalogue(text, "rollback.yaml").services["shop"]
        assert {*NAMED} - {"monitor"} <= {*service.targets}  # that one is there where the shop is watched
        named = {v for target in service.targets.values() for v in getattr(target, "variables", ())}
        assert named <= set(beside.variables)
        for secret in beside.variables.values():
            assert secret.rpartition(":")[2] not in text
        assert shop.releases["2.4.1"]["migrations"] == "2.4.1"
        assert (of(shop).migrations / "2.4.1" / "alembic.ini").exists()


# -- without pods -----------------------------------------------------------------------------------------------------


def test_each_release_has_the_revisions_up_to_its_own_and_the_database_is_what_its_models_say(data: Data) -> None:
    def names(version: str) -> list[str]:
        return sorted(file.name[:4] for file in (data.trees[version] / "versions").iterdir() if file.suffix == ".py")

    assert names("2.4.1") == schema.revisions() == ["0040", "0041", "0042"]
    assert names("2.4.0") == ["0040", "0041"]
    assert _differences(data, "0042") == []
    data.rows("INSERT INTO orders (id, cents, status, release, cluster) VALUES ('a', 1, 'discounted', '2.4.1', 'eu')")
    with pytest.raises(RuntimeError, match="Can't locate revision identified by '0042'"):
        data.alembic("2.4.0", "downgrade", "0041")
    data.alembic("2.4.1", "downgrade", "0041")
    assert data.revision() == "0041"
    assert _differences(data, "0041") == []
    assert data.rows("SELECT id, status FROM orders") == [("a", "paid")]
    with pytest.raises(psycopg.errors.CheckViolation):
        data.rows("UPDATE orders SET status = 'discounted'")
    data.upgrade("0041")
    assert data.revision() == "0041"


def _differences(data: Data, revision: str) -> list[Any]:
    engine = sa.create_engine(data.dsn("owner").replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True, "compare_type": True})
        return [*compare_metadata(context, tables(revision))]


def test_the_application_may_change_rows_and_nothing_else(data: Data) -> None:
    assert data.rows("SELECT count(*) FROM coupons", who="app") == [(0,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        data.rows("DROP TABLE coupons", who="app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        data.rows("CREATE TABLE mine (n integer)", who="app")


def test_a_job_that_the_queue_lost_or_whose_worker_died_is_handed_over_again_and_done_once(
    data: Data, orders: Orders
) -> None:
    assert orders.pay("p", 1500, "2.4.0", "eu-1")
    assert not orders.pay("p", 1500, "2.4.0", "eu-1")
    job = orders.take("2.4.0")
    assert job is not None and (job.kind, job.payment, job.tries) == ("receipt", "p", 1)
    with Valkey(data.valkey) as valkey:
        assert (valkey.ask("LLEN", JOBS), valkey.ask("LLEN", TAKEN)) == (0, 1)
    assert orders.take("2.4.0") is None
    data.rows("UPDATE jobs SET since = since - interval '1 minute'")  # its worker is dead, or only slow
    orders._swept -= 60
    assert orders.take("2.4.0") is None  # handed over now
    again = orders.take("2.4.0")
    assert again is not None and (again.id, again.tries) == (job.id, 2)
    assert orders.done(again, "2.4.0")
    assert not orders.done(job, "2.4.0")
    with Valkey(data.valkey) as valkey:
        assert (valkey.ask("LLEN", JOBS), valkey.ask("LLEN", TAKEN)) == (0, 0)
    books = data.books()
    assert (books.lost, books.doubled, books.queued) == ((), (), 0)
    assert books.payments == frozenset({"p"})


def test_a_job_that_was_moved_aside_is_not_handed_over_by_a_release_that_cannot_read_it(
    data: Data, orders: Orders
) -> None:
    orders.pay("p", 1500, "2.4.1", "eu-1")
    with Valkey(data.valkey) as valkey:
        valkey.ask("RENAME", JOBS, "aside")
        data.rows("UPDATE jobs SET since = since - interval '1 minute'")
        orders._swept -= 60
        assert orders.take("2.4.0") is None
        assert [json.loads(job)["kind"] for job in valkey.ask("LRANGE", JOBS, 0, -1)] == ["receipt"]


def test_the_books_tell_what_was_lost_and_what_was_done_twice(data: Data, orders: Orders) -> None:
    for id in ("a", "b", "c"):
        orders.pay(id, 100, "2.4.0", "eu-1")
    data.rows("DELETE FROM jobs WHERE order_id = 'a'")
    data.rows("UPDATE jobs SET state = 'done' WHERE order_id = 'b'")
    assert orders.settle(10, "2.4.0") == 3
    assert orders.settle(10, "2.4.0") == 0
    data.rows("INSERT INTO settlements (order_id, release) VALUES ('c', '2.4.0')")
    assert sorted(data.books().lost) == ["a", "b"]
    assert data.books().doubled == ("c",)


def test_an_event_that_a_release_cannot_read_stays_pending(data: Data, orders: Orders) -> None:
    orders.pay("p", 1500, "2.4.1", "eu-1")
    [(event, fields)] = orders.told("one", "2.4.0")
    with pytest.raises(Unreadable, match=r"event 'order\.discounted' is unknown to 2\.4\.0"):
        orders.heard(event, fields, "2.4.0")
    assert data.pending() == 1
    orders.heard(event, fields, "2.4.1")
    assert data.pending() == 0


def test_a_backup_restores_to_what_was_there(data: Data, orders: Orders, server: str, tmp_path: Path) -> None:
    orders.pay("p", 1500, "2.4.1", "eu-1")
    file = data.backup(age=600)
    assert file.parent == data.backups
    assert 599 < time.time() - file.stat().st_mtime < 660
    assert file.name == time.strftime("shop-%Y%m%dT%H%M%SZ.dump", time.gmtime(file.stat().st_mtime))
    with database(server, f"{data.name}_again"):
        command = [str(tools() / "pg_restore"), "--dbname", data.dsn("admin", f"{data.name}_again"), str(file)]
        subprocess.run(command, check=True, capture_output=True)
        assert data.rows("SELECT id, status FROM orders", database=f"{data.name}_again") == [("p", "discounted")]


def test_payments_that_stand_in_a_database_that_was_kept_are_told_apart_from_lost_ones(
    data: Data, orders: Orders, server: str
) -> None:
    orders.pay("old", 1500, "2.4.1", "eu-1")
    assert data.second().kept == frozenset()
    orders.pool.close()
    with database(server, f"{data.name}_kept", data.name):
        data.rows("DELETE FROM orders WHERE id = 'old'")
        assert data.second().kept == frozenset({"old"})


def test_writes_to_a_read_only_database_are_refused_in_words_and_broken_sessions_replaced(
    data: Data, orders: Orders
) -> None:
    assert not orders.paid("p")
    data.rows(f'ALTER DATABASE "{data.name}" SET default_transaction_read_only = on')
    assert orders.pay("p", 100, "2.4.0", "eu-1")  # a session that was open already
    data.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop_app'", database="postgres")
    assert orders.paid("p")
    with pytest.raises(ReadOnly):
        orders.pay("q", 100, "2.4.0", "eu-1")


def test_valkey_says_no_in_its_own_words(data: Data) -> None:
    with Valkey(data.valkey) as valkey:
        assert valkey.together(("SET", "k", "v"), ("GET", "k"), ("GET", "none")) == ["OK", "v", None]
        with pytest.raises(Refused, match="WRONGTYPE"):
            valkey.ask("LPUSH", "k", "x")
        assert valkey.ask("GET", "k") == "v"
