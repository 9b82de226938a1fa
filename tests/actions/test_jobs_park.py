"""`jobs.park` against a real server: what cannot be read stands aside, and no crash loses or doubles a job."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from actions.jobs_park import JobsPark, JobsParkParams
from bot.adapters.redis import RedisServer
from bot.adapters.redis.line import reached
from bot.contract import Change, Edit, Fatal, Json, NotYet, Receipt, Retryable
from bot.ports import Unreachable
from bot.ports.caches import Cache
from bot.testing import Died, TestCtx, assert_lifecycle
from tests.fixtures.valkey import JOBS, MAIL, Served, cluster_of_three, one_server, settled

BACK = JobsParkParams(release="2.4.0")
QUEUE, ASIDE, NOTE = "shop:jobs", "{shop:jobs}:parked", "{shop:jobs}:parked:note"
STREAM, STREAM_ASIDE = "shop:mail", "{shop:mail}:parked"
ORDER = ["receipt", "coupon", "receipt", "bonus", "coupon", "receipt"]
"""Kinds, those that are taken first first."""


@pytest.fixture(scope="module")
def one() -> Iterator[Served]:
    with one_server() as served:
        yield served


@pytest.fixture(scope="module")
def three() -> Iterator[Served]:
    with cluster_of_three() as served:
        asyncio.run(settled(served))
        yield served


@pytest.fixture
async def shop(one: Served) -> Served:
    await one.ask("FLUSHALL")  # the test's own
    served = Served(one.server, Cache("cache", (), (replace(JOBS, kinds={"2.4.0": ("receipt",)}),)))
    await queued(served, *ORDER)
    return served


@pytest.fixture
async def mail(one: Served) -> Served:
    await one.ask("FLUSHALL")
    await one.ask("XGROUP", "CREATE", STREAM, "mailers", "$", "MKSTREAM")
    served = Served(one.server, Cache("cache", (), (replace(MAIL, kinds={"2.4.0": ("receipt",)}, claim=0.001),)))
    for n, kind in enumerate(ORDER):
        await one.ask("XADD", STREAM, "*", "kind", kind, "n", n)
    return served


def job(kind: str, n: int) -> str:
    return json.dumps({"id": n, "kind": kind})


async def queued(served: Served, *kinds: str, first: int = 0) -> None:
    for n, kind in enumerate(kinds, first):
        await served.ask("LPUSH", QUEUE, job(kind, n))


async def waiting(served: Served, key: str = QUEUE) -> list[tuple[str, int]]:
    """The jobs as workers would take them."""
    found = [json.loads(j) for j in reversed(await served.ask("LRANGE", key, 0, -1))]
    return [(j["kind"], j["id"]) for j in found]


async def in_stream(served: Served, key: str = STREAM) -> list[tuple[str, int]]:
    entries = await served.ask("XRANGE", key, "-", "+")
    named = [dict(zip(f[::2], f[1::2], strict=True)) for _, f in entries]
    return [(f[b"kind"].decode(), int(f[b"n"])) for f in named]


async def plan(served: Served, p: JobsParkParams = BACK) -> Change:
    return await JobsPark().plan(TestCtx(served.ports_for, {"caches"}), p)


async def apply(served: Served, change: Change, dies_at: int | None = None) -> tuple[Receipt, TestCtx]:
    ctx = TestCtx(served.ports_for, {"caches"}, acting=True, key="run-7/park/1", dies_at=dies_at)
    return await JobsPark().apply(ctx, BACK, change), ctx


async def seen(served: Served, change: Change) -> Mapping[str, Any]:
    return await JobsPark().observe(TestCtx(served.ports_for, {"caches"}), BACK, change.targets)


def ordered(world: Mapping[str, Json]) -> Mapping[str, Json]:
    """Without the order between kinds, which an undo cannot know: jobs were taken in between."""
    return {k: sorted(v, key=str) if isinstance(v, list) and ":note" not in k else v for k, v in world.items()}


async def test_lifecycle(shop: Served) -> None:
    async def world() -> Mapping[str, Json]:
        return {k: v for k, v in ordered(await shop.world()).items() if ":note" not in k}

    async def more() -> None:
        await queued(shop, "refund", first=100)

    async def beside() -> None:
        await shop.ask("LPUSH", "shop:other", "x")

    async def flood() -> None:
        await queued(shop, *["coupon"] * 150, first=200)

    await assert_lifecycle(
        JobsPark(), shop.ports_for, BACK, world=world, drift=more, elsewhere=beside, exceed=flood
    )  # fmt: skip


async def test_lifecycle_of_a_stream(mail: Served) -> None:
    async def world() -> Mapping[str, Json]:
        return {k: v for k, v in ordered(await mail.world()).items() if ":note" not in k}

    async def more() -> None:
        await mail.ask("XADD", STREAM, "*", "kind", "refund", "n", 9)

    async def flood() -> None:
        for n in range(150):
            await mail.ask("XADD", STREAM, "*", "kind", "coupon", "n", n)

    await assert_lifecycle(JobsPark(), mail.ports_for, BACK, world=world, drift=more, exceed=flood)


async def test_what_the_release_cannot_read_stands_aside_in_its_order_with_an_owner(shop: Served) -> None:
    change = await plan(shop)
    assert change.summary == "set aside 3 jobs that 2.4.0 cannot read: cache/jobs: 1 bonus, 2 coupon"
    assert change.edits == (Edit("cache/jobs/parked", None, ["bonus", "coupon"]),)
    assert [(f.name, f.value, f.ceiling) for f in change.facts] == [("jobs cache/jobs/parked", 3, 100)]
    receipt, ctx = await apply(shop, change)
    assert receipt.detail == "cache/jobs: 3 jobs stand aside for run-7"
    assert await waiting(shop) == [("receipt", 0), ("receipt", 2), ("receipt", 5)]
    assert await waiting(shop, ASIDE) == [("coupon", 1), ("bonus", 3), ("coupon", 4)]
    assert (await shop.ask("HGET", NOTE, "owner"), await shop.ask("HGET", NOTE, "kinds")) == (
        b"run-7", b'["bonus","coupon"]',
    )  # fmt: skip
    here = f"redis-cli -h 127.0.0.1 -p {shop.port} -n 0"
    assert ctx.commands == [
        f"""{here} HSET {NOTE!r} kinds '["bonus","coupon"]' owner run-7""",
        f"{here} EVAL '<move>' 2 shop:jobs '{ASIDE}'  # 3 jobs, each in one step",
    ]


async def test_the_undo_puts_them_back_in_their_order_as_the_next_to_be_taken(shop: Served) -> None:
    change = await plan(shop)
    await apply(shop, change)
    assert await shop.ask("RPOP", QUEUE) is not None  # the oldest was done in the meantime
    await queued(shop, "receipt", first=10)
    receipt, _ = await apply(shop, change.inverted())
    assert receipt.detail == "cache/jobs: 3 jobs put back"
    assert await waiting(shop) == [
        ("coupon", 1), ("bonus", 3), ("coupon", 4), ("receipt", 2), ("receipt", 5), ("receipt", 10),
    ]  # fmt: skip
    assert not await shop.ask("EXISTS", ASIDE, NOTE)
    assert await seen(shop, change) == {"cache/jobs/parked": None}


async def test_a_list_that_is_taken_from_the_left_keeps_its_order_too(shop: Served) -> None:
    [queue] = shop.cache.queues
    shop.cache = Cache("cache", (), (replace(queue, take="left"),))
    change = await plan(shop)
    before = (await waiting(shop))[::-1]
    await apply(shop, change)
    assert (await waiting(shop, ASIDE))[::-1] == [j for j in before if j[0] != "receipt"]
    await apply(shop, change.inverted())
    assert (await waiting(shop))[::-1] == sorted(before, key=lambda j: j[0] == "receipt")


async def test_no_crash_loses_or_doubles_a_job(shop: Served) -> None:
    """Right before each of the calls of a move of 250 jobs, and back."""
    await queued(shop, *["coupon", "receipt"] * 250, first=10)
    whole = Counter([*await waiting(shop)])
    change = await plan(shop)
    for there in (change, change.inverted()):
        for call in range(1, 10):
            try:
                await apply(shop, there, dies_at=call)
            except Died:
                both = Counter([*await waiting(shop), *await waiting(shop, ASIDE)])
                assert both == whole, f"after a crash before call {call}"
                continue
            break
        else:
            pytest.fail("it never came to its end")
    assert Counter(await waiting(shop)) == whole


async def test_a_server_without_memory_refuses_before_a_job_is_taken_away(shop: Served) -> None:
    change = await plan(shop)
    await apply(shop, change, dies_at=None)
    await apply(shop, change.inverted())
    whole = await waiting(shop)
    await shop.ask("HSET", NOTE, "kinds", '["bonus","coupon"]', "owner", "run-7")
    await shop.ask("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(Fatal, match="OOM"):
            await apply(shop, change)
    finally:
        await shop.ask("CONFIG", "SET", "maxmemory", 0)
    assert await waiting(shop) == whole


async def test_two_jobs_of_the_same_bytes_are_two_jobs(shop: Served) -> None:
    await shop.ask("LPUSH", QUEUE, job("coupon", 1), job("coupon", 1))
    change = await plan(shop)
    await apply(shop, change)
    assert (await waiting(shop, ASIDE)).count(("coupon", 1)) == 3
    await apply(shop, change.inverted())
    assert (await waiting(shop)).count(("coupon", 1)) == 3


async def test_what_stands_aside_already_is_told_apart_and_left_to_its_owner(shop: Served) -> None:
    await apply(shop, await plan(shop))
    await queued(shop, "refund", first=20)
    change = await plan(shop)
    assert change.edits == (Edit("cache/jobs/parked", ["bonus", "coupon"], ["bonus", "coupon", "refund"]),)
    await apply(shop, change)
    await apply(shop, change.inverted())
    assert await seen(shop, change) == {"cache/jobs/parked": ["bonus", "coupon"]}
    assert ("refund", 20) in await waiting(shop)
    assert await shop.ask("LLEN", ASIDE) == 3


async def test_a_job_that_says_no_kind_is_left_and_told(shop: Served) -> None:
    await shop.ask("LPUSH", QUEUE, b"\xff\x00", "no json", "[]", json.dumps({"kind": 7}))
    change = await plan(shop)
    assert change.warnings == ("cache/jobs: 4 jobs whose kind cannot be read are left",)
    await apply(shop, change)
    assert await shop.ask("LLEN", QUEUE) == 7


async def test_where_nobody_says_what_is_read_nothing_is_moved_and_that_is_said(shop: Served) -> None:
    change = await plan(shop, JobsParkParams(release="2.3.9"))
    assert change == Change(
        "not known which kinds of jobs 2.3.9 reads",
        warnings=("cache/jobs: nobody says which kinds of jobs it reads, so none is set aside",),
    )
    told = await plan(shop, JobsParkParams(release="2.3.9", jobs=["receipt", "bonus"]))
    assert told.edits == (Edit("cache/jobs/parked", None, ["coupon"]),)


async def test_a_release_that_reads_all_leaves_nothing_to_do(shop: Served) -> None:
    change = await plan(shop, JobsParkParams(release="2.4.1", jobs=["receipt", "bonus", "coupon"]))
    assert change == Change("2.4.1 reads every kind of job that waits")


async def test_no_queues_are_nothing_to_do(shop: Served) -> None:
    shop.cache = Cache("cache")
    assert await plan(shop) == Change("there are no job queues in the catalogue")


async def test_a_server_that_is_away_is_owed_by_name(shop: Served) -> None:
    change = await plan(shop)
    away = Served(RedisServer("127.0.0.1", 1, timeout=1.0), shop.cache)
    with pytest.raises(Unreachable) as told:
        await plan(away)
    assert [*told.value.parts] == ["cache"]
    with pytest.raises(Retryable):
        await apply(away, change)


async def test_a_key_of_another_type_is_told(shop: Served) -> None:
    await shop.ask("UNLINK", QUEUE)
    await shop.ask("SET", QUEUE, 1)
    with pytest.raises(Fatal, match="WRONGTYPE"):
        await plan(shop)


# -- streams -----------------------------------------------------------------------------------------------------------


async def test_jobs_of_a_stream_move_aside_and_come_back_as_new_ones(mail: Served) -> None:
    change = await plan(mail)
    assert change.edits == (Edit("cache/mail/parked", None, ["bonus", "coupon"]),)
    await apply(mail, change)
    assert await in_stream(mail) == [("receipt", 0), ("receipt", 2), ("receipt", 5)]
    assert await in_stream(mail, STREAM_ASIDE) == [("coupon", 1), ("bonus", 3), ("coupon", 4)]
    await apply(mail, change.inverted())
    assert await in_stream(mail) == [
        ("receipt", 0), ("receipt", 2), ("receipt", 5), ("coupon", 1), ("bonus", 3), ("coupon", 4),
    ]  # fmt: skip
    assert not await mail.ask("XLEN", STREAM_ASIDE)
    fresh = await mail.ask("XREADGROUP", "GROUP", "mailers", "w", "COUNT", 10, "STREAMS", STREAM, ">")
    assert len(fresh[0][1]) == 6


async def test_what_the_group_has_done_is_not_set_aside(mail: Served) -> None:
    taken = await mail.ask("XREADGROUP", "GROUP", "mailers", "w", "COUNT", 2, "STREAMS", STREAM, ">")
    await mail.ask("XACK", STREAM, "mailers", *(e[0] for e in taken[0][1]))
    assert (await plan(mail)).facts[0].value == 2  # the first coupon is done, though the stream still holds it


async def test_a_job_that_a_worker_may_still_be_at_is_waited_for_and_then_set_aside(mail: Served) -> None:
    [queue] = mail.cache.queues
    await mail.ask("XREADGROUP", "GROUP", "mailers", "w", "COUNT", 2, "STREAMS", STREAM, ">")
    mail.cache = Cache("cache", (), (replace(queue, claim=60.0),))
    change = await plan(mail)
    assert change.facts[0].value == 3
    with pytest.raises(NotYet, match="a worker has taken 1 of these jobs and may still be at them"):
        await apply(mail, change)
    assert await in_stream(mail, STREAM_ASIDE) == [("bonus", 3), ("coupon", 4)]
    mail.cache = Cache("cache", (), (replace(queue, claim=0.001),))
    await apply(mail, change)
    assert ("coupon", 1) in await in_stream(mail, STREAM_ASIDE)
    pending = await mail.ask("XPENDING", STREAM, "mailers")
    assert pending[0] == 1  # the receipt, whoever takes it over


async def test_a_stream_that_others_read_as_well_is_left(mail: Served) -> None:
    await mail.ask("XGROUP", "CREATE", STREAM, "audit", "0")
    with pytest.raises(Fatal, match="is read by audit as well"):
        await apply(mail, await plan(mail))
    assert len(await in_stream(mail)) == 6


# -- a cluster ---------------------------------------------------------------------------------------------------------


async def test_in_a_cluster_they_stay_on_their_node(three: Served) -> None:
    [queue] = [replace(JOBS, kinds={"2.4.0": ("receipt",)})]
    served = Served(three.server, Cache("cache", (), (queue,)))
    async with reached(served.server) as cluster:
        line = cluster.of(QUEUE)
        for n, kind in enumerate(ORDER):
            await line.ask("LPUSH", QUEUE, job(kind, n))
        change = await plan(served)
        await apply(served, change)
        assert await line.ask("LLEN", ASIDE) == 3
        await apply(served, change.inverted())
        assert await line.ask("LLEN", QUEUE) == 6
