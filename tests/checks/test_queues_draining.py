"""`queues.draining` against a real server: each way to be broken, and each way not to be known."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace

import pytest

from bot.adapters.redis import RedisServer
from bot.adapters.redis.line import opened
from bot.contract import Json, Status, Verdict
from bot.ports.caches import Cache, Depth, Queue
from bot.testing import run_check
from checks.queues_draining import QueuesDraining, QueuesDrainingOutput, QueuesDrainingParams, judge
from tests.fixtures.valkey import Served, one_server

KEY, STREAM = "shop:jobs", "shop:mail"
JOBS = Queue("jobs", KEY, kind="/kind", at="/at", dead="shop:jobs:dead", done="shop:jobs:done", depth=10)
MAIL = Queue("mail", STREAM, group="mailers", kind="/kind", depth=10)
QUICK = QueuesDrainingParams(seconds=0.6, looks=4)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with one_server() as served:
        yield served


@pytest.fixture
async def shop(server: Served) -> Served:
    await server.ask("FLUSHALL")  # the test's own
    await server.ask("CONFIG", "RESETSTAT")
    return Served(server.server, Cache("cache", (), (JOBS,)))


@pytest.fixture
async def mail(server: Served) -> Served:
    await server.ask("FLUSHALL")
    await server.ask("XGROUP", "CREATE", STREAM, "mailers", "$", "MKSTREAM")
    return Served(server.server, Cache("cache", (), (MAIL,)))


async def look(served: Served, p: QueuesDrainingParams = QUICK, baseline: Mapping[str, Json] | None = None) -> Verdict:
    verdict = await run_check(QueuesDraining(), served.ports_for, p, baseline=baseline)
    QueuesDrainingOutput.model_validate(verdict.data)
    return verdict


async def queued(served: Served, many: int, at: float | None = None) -> None:
    now = time.time() if at is None else at
    for n in range(many):
        await served.ask("LPUSH", KEY, json.dumps({"kind": "receipt", "id": n, "at": now}))


@contextlib.asynccontextmanager
async def worker(served: Served, every: float = 0.05, polls: bool = False) -> AsyncIterator[None]:
    """Takes jobs from the list."""

    async def work() -> None:
        async with opened(served.server) as line:
            while True:
                if polls:
                    await line.ask("LMOVE", KEY, "shop:jobs:taken", "RIGHT", "LEFT")
                    await line.ask("PING")
                else:
                    await line.ask("BRPOP", KEY, 1)
                await asyncio.sleep(every)

    task = asyncio.create_task(work())
    await asyncio.sleep(0.05)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


# -- lists -------------------------------------------------------------------------------------------------------------


async def test_a_queue_that_becomes_less_passes(shop: Served) -> None:
    await queued(shop, 400)
    async with worker(shop, 0.002):
        verdict = await look(shop)
    assert verdict.status is Status.PASS
    assert "fewer each second" in verdict.observed


async def test_a_queue_that_nobody_works_on_fails(shop: Served) -> None:
    await queued(shop, 40, time.time() - 300)
    verdict = await look(shop)
    assert verdict.status is Status.FAIL
    assert verdict.observed == "cache/jobs: 40 wait, the oldest for 5 min, and it does not become less (limit 10)"
    assert verdict.data["waiting"] == {"cache/jobs": 40}


async def test_a_few_jobs_that_move_pass_and_a_few_that_stand_still_do_not(shop: Served) -> None:
    await queued(shop, 5, time.time() - 300)
    verdict = await look(shop)
    assert verdict.status is Status.FAIL
    assert "5 wait, the oldest for 5 min, and nothing was taken for 1 s" in verdict.observed
    await queued(shop, 5)
    async with worker(shop, 0.2):
        assert (await look(shop)).status is Status.PASS


async def test_a_job_that_waits_for_too_long_fails_although_there_are_few(shop: Served) -> None:
    shop.cache = Cache("cache", (), (replace(JOBS, oldest=60.0),))
    await queued(shop, 3, time.time() - 600)
    verdict = await look(shop)
    assert (verdict.status, verdict.observed) == (
        Status.FAIL, "cache/jobs: 3 wait, the oldest for 10 min (limit 60 s)",
    )  # fmt: skip


async def test_an_empty_queue_is_unknown_until_somebody_is_seen_to_take_from_it(shop: Served) -> None:
    verdict = await look(shop)
    assert (verdict.status, verdict.observed) == (
        Status.UNKNOWN, "cache/jobs: empty, and nobody is seen to take from shop:jobs",
    )  # fmt: skip
    async with worker(shop):
        assert (await look(shop)).observed == "cache/jobs: empty, 1 wait for jobs"
    async with worker(shop, polls=True):
        verdict = await look(shop)
        assert verdict.status is Status.PASS
        assert "looks for jobs in" in verdict.observed


async def test_a_counter_of_what_is_done_is_proof(shop: Served) -> None:
    async def done() -> None:
        while True:
            await shop.ask("INCR", "shop:jobs:done")
            await asyncio.sleep(0.05)

    task = asyncio.create_task(done())
    verdict = await look(shop)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert verdict.status is Status.PASS
    assert "done in 1 s" in verdict.observed


async def test_jobs_that_fail_for_good_fail_it_and_old_ones_are_told_apart(shop: Served) -> None:
    await shop.ask("LPUSH", "shop:jobs:dead", "a", "b")
    async with worker(shop):
        verdict = await look(shop)
        assert verdict.status is Status.WARN
        assert "2 have failed for good, since when is not known" in verdict.observed
        assert (await look(shop, baseline={"dead": {"cache/jobs": 2}})).status is Status.PASS
        verdict = await look(shop, baseline={"dead": {"cache/jobs": 1}})
        assert verdict.status is Status.FAIL
        assert "1 have failed for good since" in verdict.observed
        task = asyncio.create_task(look(shop))
        await asyncio.sleep(0.3)
        await shop.ask("LPUSH", "shop:jobs:dead", "c")
        verdict = await task
    assert verdict.status is Status.FAIL
    assert "1 failed for good just now, 3 in all" in verdict.observed


# -- what is not known -------------------------------------------------------------------------------------------------


async def test_a_server_that_does_not_answer_is_unknown(shop: Served) -> None:
    away = Served(RedisServer("127.0.0.1", 1, timeout=1.0), shop.cache)
    verdict = await look(away)
    assert verdict.status is Status.UNKNOWN
    assert "no connection (refused)" in verdict.observed


async def test_a_key_of_another_type_is_unknown(shop: Served) -> None:
    await shop.ask("SET", KEY, 1)
    verdict = await look(shop)
    assert verdict.status is Status.UNKNOWN
    assert "WRONGTYPE" in verdict.observed


async def test_too_few_looks_are_unknown(shop: Served) -> None:
    async with worker(shop):
        for p in (QueuesDrainingParams(seconds=0.6, looks=2), QueuesDrainingParams(seconds=0.1, looks=5)):
            verdict = await look(shop, p)
            assert verdict.status is Status.UNKNOWN
            assert "tell nothing" in verdict.observed


async def test_a_queue_that_is_well_is_looked_at_no_longer_than_that_takes(shop: Served) -> None:
    """And one with jobs that failed is looked at to the end: they may become more."""
    whole = QueuesDrainingParams(seconds=30, looks=30)
    async with asyncio.timeout(20), worker(shop):
        assert (await look(shop, whole)).status is Status.PASS
    await shop.ask("LPUSH", "shop:jobs:dead", "{}")
    late = QueuesDrainingParams(seconds=2, looks=2)

    async def fails_later() -> None:
        await asyncio.sleep(1.2)
        await shop.ask("LPUSH", "shop:jobs:dead", "{}")

    async with asyncio.TaskGroup() as beside, worker(shop):
        beside.create_task(fails_later())
        assert "1 failed for good just now, 2 in all" in (await look(shop, late)).observed


async def test_without_the_right_to_see_clients_an_empty_queue_stays_unknown(shop: Served) -> None:
    await shop.ask("ACL", "SETUSER", "narrow", "on", ">pw", "~*", "+llen", "+lindex", "+type", "+get", "+time", "+llen")
    narrow = Served(replace(shop.server, username="narrow", password="pw"), shop.cache)
    async with worker(shop):
        assert (await look(narrow)).status is Status.UNKNOWN


async def test_no_queues_at_all_pass_in_words(shop: Served) -> None:
    shop.cache = Cache("cache")
    verdict = await look(shop)
    assert (verdict.status, verdict.observed) == (Status.PASS, "there are no job queues in the catalogue")


# -- streams -----------------------------------------------------------------------------------------------------------


async def add(served: Served, many: int, at: str = "*") -> None:
    for n in range(many):
        await served.ask("XADD", STREAM, at, "kind", "receipt", "n", n)


async def read(served: Served, many: int, ack: bool = True, who: str = "w") -> None:
    found = await served.ask("XREADGROUP", "GROUP", "mailers", who, "COUNT", many, "STREAMS", STREAM, ">")
    if found and ack:
        await served.ask("XACK", STREAM, "mailers", *(e[0] for e in found[0][1]))


async def test_a_stream_whose_group_keeps_up_passes(mail: Served) -> None:
    await add(mail, 5)
    await read(mail, 10)
    verdict = await look(mail)
    assert (verdict.status, verdict.observed) == (Status.PASS, "cache/mail: empty, 1 wait for jobs")


async def test_a_stream_that_nobody_reads_is_no_pass(mail: Served) -> None:
    await add(mail, 5)
    assert (await look(mail)).status is Status.UNKNOWN
    await add(mail, 20)
    assert (await look(mail)).status is Status.FAIL


async def test_where_the_lag_is_null_jobs_are_counted(mail: Served) -> None:
    """FACTS: null behind a deleted entry that was not delivered."""
    await add(mail, 30)
    entries = await mail.ask("XRANGE", STREAM, "-", "+")
    await mail.ask("XDEL", STREAM, entries[3][0])
    [group] = await mail.ask("XINFO", "GROUPS", STREAM)
    assert dict(zip(group[::2], group[1::2], strict=True))[b"lag"] is None
    assert (await look(mail)).data["waiting"] == {"cache/mail": 29}


async def test_what_a_trim_has_removed_does_not_count(mail: Served) -> None:
    await add(mail, 8)
    await mail.ask("XTRIM", STREAM, "MAXLEN", 4)
    assert (await look(mail)).data["waiting"] == {"cache/mail": 4}


async def test_more_than_can_be_counted_with_a_null_lag_is_unknown(
    mail: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.adapters.redis.depths.COUNTED", 10)
    monkeypatch.setattr("bot.adapters.redis.depths.PAGE", 5)
    await add(mail, 30)
    entries = await mail.ask("XRANGE", STREAM, "-", "+")
    assert (await look(mail)).data["waiting"] == {"cache/mail": 30}  # the lag is right
    await mail.ask("XDEL", STREAM, entries[3][0])
    verdict = await look(mail)
    assert verdict.status is Status.UNKNOWN
    assert "the group's lag is null" in verdict.observed


async def test_jobs_that_were_taken_and_never_done_are_no_pass(mail: Served) -> None:
    mail.cache = Cache("cache", (), (replace(MAIL, claim=0.01),))
    await add(mail, 3)
    await read(mail, 3, ack=False)
    verdict = await look(mail)
    assert verdict.status is Status.FAIL
    assert verdict.observed.startswith("cache/mail: 0 wait, 3 in hand, the oldest for 1 s")


@pytest.mark.parametrize("gone", ["stream", "group"])
async def test_a_stream_or_group_that_is_not_there_is_unknown(mail: Served, gone: str) -> None:
    await (mail.ask("UNLINK", STREAM) if gone == "stream" else mail.ask("XGROUP", "DESTROY", STREAM, "mailers"))
    verdict = await look(mail)
    assert (verdict.status, verdict.observed) == (
        Status.UNKNOWN, "cache/mail: there is no stream shop:mail with a group mailers",
    )  # fmt: skip


def test_workers_that_have_not_asked_since_are_no_proof() -> None:
    """Of before the rollback: the group lists them for ever."""
    seen = [Depth(float(n), True, 0, takers=0) for n in range(4)]
    assert judge(MAIL, seen, None).status is Status.UNKNOWN
    alive = [replace(d, takers=2) for d in seen]
    assert judge(MAIL, alive, None).status is Status.PASS


def test_a_queue_above_its_limit_that_grows_a_little_fails_whatever_is_done() -> None:
    seen = [Depth(float(n), True, 100 + n, done=50 * n) for n in range(4)]
    assert judge(JOBS, seen, None).status is Status.FAIL
