"""`caches.flush` against a real server: by prefix, counted, paced, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import pytest

import bot
from actions.caches_flush import CachesFlush, CachesFlushParams
from bot.adapters.redis import Behind, Pacing
from bot.contract import Change, Effect, Fatal, Json, Outgoing, Receipt, Retryable
from bot.ports import Unreachable
from bot.ports.caches import Cache
from bot.testing import TestCtx, assert_lifecycle
from tests.fixtures.valkey import Served, fill, one_server, watched

BACK = CachesFlushParams(release="2.4.0", outgoing=[Outgoing(version="2.4.1")])


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with one_server("--enable-debug-command", "local") as served:
        yield served


@pytest.fixture
async def shop(server: Served) -> AsyncIterator[Served]:
    await server.ask("FLUSHALL")  # the test's own
    seed(server)
    yield Served(server.server)


def seed(served: Served, each: int = 30) -> None:
    prefixes = ("shop:2.4.1:", "shop:2.4.0:", "shop:prices:", "shop:sessions:", "shop:2.4.10:")
    fill(served.port, [f"{p}{n}".encode() for p in prefixes for n in range(each)])


async def plan(served: Served, p: CachesFlushParams = BACK) -> Change:
    return await CachesFlush().plan(TestCtx(served.ports_for, {"caches"}), p)


async def apply(
    served: Served, change: Change, memo: dict[str, Json] | None = None, dies_at: int | None = None
) -> tuple[Receipt, TestCtx]:
    ctx = TestCtx(served.ports_for, {"caches"}, acting=True, memo=memo, dies_at=dies_at)
    return await CachesFlush().apply(ctx, BACK, change), ctx


async def test_lifecycle(shop: Served) -> None:
    async def world() -> Mapping[str, Json]:  # an effect has no before: what is left alone must stay
        return {k: v for k, v in (await shop.world()).items() if k.startswith(("shop:sessions:", "shop:2.4.10:"))}

    async def grow() -> None:
        fill(shop.port, [b"shop:prices:more:%d" % n for n in range(10_001)])

    async def grow_again() -> None:
        fill(shop.port, [b"shop:prices:more:%d" % n for n in range(20_003)])

    await assert_lifecycle(
        CachesFlush(),
        shop.ports_for,
        BACK,
        world=world,
        drift=grow,
        exceed=grow_again,
        replayed=3,
    )
    await apply(shop, await plan(shop))


async def test_what_hangs_together_with_the_releases_goes_and_nothing_else(shop: Served) -> None:
    change = await plan(shop)
    assert change.summary == ("remove 90 keys by prefix from cache: 30 shop:2.4.1:, 30 shop:2.4.0:, 30 shop:prices:")
    assert [e.what for e in change.effects] == [
        f"cache: remove all keys that begin with {p}" for p in ("shop:2.4.1:", "shop:2.4.0:", "shop:prices:")
    ]
    receipt, ctx = await apply(shop, change)
    assert receipt.detail == "removed 30 shop:2.4.1:, 30 shop:2.4.0:, 30 shop:prices:"
    left = {key.rpartition(b":")[0] for key in await shop.keys()}
    assert left == {b"shop:sessions", b"shop:2.4.10"}
    assert ctx.commands[0] == (
        f"redis-cli -h 127.0.0.1 -p {shop.port} -n 0 --scan --pattern 'shop:2.4.1:*' | "
        f"xargs -d '\\n' redis-cli -h 127.0.0.1 -p {shop.port} -n 0 unlink"
    )
    assert ctx.reports[-1].startswith("cache shop:prices: 30/30")


async def test_no_command_that_empties_a_database_is_sent_or_written(shop: Served) -> None:
    async with watched(shop) as seen:
        await apply(shop, await plan(shop))
    assert {"SCAN", "UNLINK"} <= seen <= {"SCAN", "UNLINK", "PING", "DBSIZE"}
    house = Path(bot.__file__).parent
    texts = [f.read_text().upper() for f in [*house.rglob("*.py"), *house.parent.glob("actions/*.py")]]
    assert not any("FLUSHALL" in text or "FLUSHDB" in text for text in texts)


async def test_a_prefix_is_meant_by_the_letter(shop: Served) -> None:
    await shop.ask("SET", "v[2]:x", 1)
    await shop.ask("SET", "v2:x", 1)
    shop.cache = Cache("cache", ("v[2]:",))
    await apply(shop, await plan(shop))
    assert {b"v2:x"} == {k for k in await shop.keys() if k.startswith(b"v")}


@pytest.mark.parametrize("tail", [b"\xff\xfe", b"\x00", b"a\nb", b"\r\n", "é→".encode(), b"'\"$(x)", b" "])
async def test_keys_of_any_bytes_go(shop: Served, tail: bytes) -> None:
    await shop.ask("SET", b"shop:2.4.1:" + tail, b"\xff")
    await apply(shop, await plan(shop))
    assert not [k for k in await shop.keys() if k.startswith(b"shop:2.4.1:")]


@pytest.mark.parametrize("prefix", ["", "*", " ", "shop:*", ":", "::", "a"])
async def test_a_prefix_that_says_nothing_is_refused_and_nothing_is_asked(shop: Served, prefix: str) -> None:
    shop.cache = Cache("cache", (prefix,))
    with pytest.raises(Fatal, match="prefix"):
        await plan(shop)
    with pytest.raises(ValueError, match="prefix"):
        await anext(aiter(shop.adapter.flush("cache", prefix, 10)))


async def test_more_than_twice_what_was_shown_is_not_removed(shop: Served) -> None:
    fill(shop.port, [b"shop:prices:%d" % n for n in range(6_000)])
    change = await plan(shop)
    assert [f.ceiling for f in change.facts] == [10_000, 10_000, 12_000]
    fill(shop.port, [b"shop:prices:more:%d" % n for n in range(8_000)])
    with pytest.raises(Fatal, match="more than 12000 keys begin with shop:prices:") as told:
        await apply(shop, change)
    assert "were removed, the rest was left" in str(told.value)
    left = [k for k in await shop.keys() if k.startswith(b"shop:prices:")]
    assert 14_000 - 12_000 <= len(left) < 14_000


async def test_a_step_has_the_time_that_its_pace_takes(shop: Served) -> None:
    fill(shop.port, [b"shop:prices:more:%d" % n for n in range(1_970)])
    assert (await plan(shop)).within == 60.0
    shop.cache = Cache("cache", ("shop:prices:",), rate=10.0)
    assert (await plan(shop)).within == 200.0


async def test_what_has_expired_does_not_count(shop: Served) -> None:
    await shop.ask("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    for n in range(20):
        await shop.ask("SET", f"shop:2.4.1:gone:{n}", 1, "PX", 1)
    await asyncio.sleep(0.01)  # by the server's clock
    assert await shop.ask("DBSIZE") == 170
    assert "30 shop:2.4.1:" in (await plan(shop)).summary
    await shop.ask("DEBUG", "SET-ACTIVE-EXPIRE", 1)


async def test_an_interrupted_flush_goes_on_with_the_prefix_it_was_at(shop: Served) -> None:
    change, memo = await plan(shop), dict[str, Json]()
    with pytest.raises(BaseException, match=r"shop:2\.4\.0:"):
        await apply(shop, change, memo, dies_at=2)
    first, second = (e.what for e in change.effects[:2])
    assert [*memo] == [f"{first}: counted", first, f"{second}: counted"]
    _, ctx = await apply(shop, change, memo)
    assert [c.partition("--pattern ")[2].partition(" ")[0] for c in ctx.commands] == [
        "'shop:2.4.0:*'", "'shop:prices:*'",
    ]  # fmt: skip


async def test_what_an_attempt_that_died_has_removed_counts_in_the_end(shop: Served) -> None:
    change, memo = await plan(shop), dict[str, Json]()
    with pytest.raises(BaseException, match=r"shop:2\.4\.0:"):
        await apply(shop, change, memo, dies_at=2)
    assert await shop.ask("UNLINK", "shop:2.4.0:0") == 1  # as if sent by the attempt that died, and never answered
    receipt, _ = await apply(shop, change, memo)
    assert receipt.detail.startswith("removed 30 shop:2.4.1:, 30 shop:2.4.0:, 30 shop:prices:")


async def test_keys_that_come_back_meanwhile_are_told(shop: Served) -> None:
    change = await plan(shop)
    memo: dict[str, Json] = {e.what: 30 for e in change.effects}  # walked through, as an earlier attempt has noted
    receipt, _ = await apply(shop, change, memo)
    assert "30 shop:prices: again since" in receipt.detail


async def test_a_cache_that_does_not_answer_is_owed_by_name(shop: Served) -> None:
    away = Served(shop.server.__class__("127.0.0.1", 1, timeout=1.0))
    with pytest.raises(Unreachable) as told:
        await plan(away)
    assert told.value.parts == {"cache": "127.0.0.1:1: no connection (refused)"}
    with pytest.raises(Retryable):
        await apply(
            away, Change("x", effects=(Effect("cache: remove all keys that begin with shop:prices:", "repeat"),))
        )


async def test_a_login_that_is_refused_is_told_with_what_to_do(shop: Served) -> None:
    await shop.ask("ACL", "SETUSER", "limited", "on", ">secret", "~*", "+scan", "+ping", "+dbsize")
    from dataclasses import replace

    limited = Served(replace(shop.server, username="limited", password="secret"))
    with pytest.raises(Fatal, match="no permissions to run the 'unlink' command"):
        await apply(limited, await plan(limited))
    wrong = Served(replace(shop.server, username="limited", password="wrong"))
    with pytest.raises(Fatal, match="does not let us in"):
        await plan(wrong)


async def test_nothing_catalogued_is_nothing_to_do(shop: Served) -> None:
    shop.cache = Cache("cache")
    change = await plan(shop)
    assert change.is_noop
    assert "no Redis target of the service names prefixes" in change.summary


async def test_a_busy_database_behind_the_cache_holds_the_flush_and_says_so(shop: Served) -> None:
    stands = [Behind("db has 40 sessions at work, above 30", hold=True), Behind()]

    async def behind() -> Behind:
        return stands.pop(0) if len(stands) > 1 else stands[0]

    shop.pacing = Pacing(behind=behind)
    _, ctx = await apply(shop, await plan(shop))
    assert any("slowed down: db has 40 sessions at work, above 30" in line for line in ctx.reports)
