"""The adapter to Redis and Valkey: lines that are never asked twice, clusters, and what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bot.adapters.redis import Pacing, RedisCaches, RedisEndpoint, RedisServer
from bot.adapters.redis.line import opened, reached, slot_of
from bot.adapters.redis.sweep import SLOWEST, Pace, pattern
from bot.ports import ReadOnly, Unreachable, Where
from bot.ports.caches import Cache, CacheRefused, TooMany, prefixes, unfit
from tests.fixtures.valkey import Served, cluster_of_three, one_server, raw, settled

TLS = Path(__file__).parent.parent / "tls"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with one_server(password="sesame") as served:
        yield served


@pytest.fixture(scope="module")
def cluster() -> Iterator[Served]:
    with cluster_of_three() as served:
        asyncio.run(settled(served))
        yield served


async def recorded(command: str) -> None:
    """An attempt that may write."""


async def flushed(served: Served, prefix: str, most: int = 100_000) -> int:
    removed = 0
    async for swept in served.adapter.bind(recorded).flush("cache", prefix, most):
        removed = swept.removed
    return removed


# -- one server --------------------------------------------------------------------------------------------------------


async def test_a_password_lets_in_and_never_shows(server: Served) -> None:
    assert await server.adapter.ping() == {"cache": ""}
    wrong = Served(replace(server.server, password="open"))
    [fault] = (await wrong.adapter.ping()).values()
    assert "does not let us in: WRONGPASS" in fault
    assert "sesame" not in repr(server.server)
    none = Served(replace(server.server, password=""))
    assert "NOAUTH" in (await none.adapter.ping())["cache"]


async def test_a_variable_that_is_not_set_is_named_and_nobody_is_asked() -> None:
    there = Served(RedisServer("127.0.0.1", 1, lacking=("SHOP_CACHE_PASSWORD",)))
    assert (await there.adapter.ping())["cache"] == (
        "127.0.0.1:1 is not asked, SHOP_CACHE_PASSWORD: not set in the bot's environment"
    )


async def test_where_it_is_says_the_address_and_no_login(server: Served) -> None:
    where = server.adapter.where()["cache"]
    assert where == Where(f"redis://127.0.0.1:{server.port}/0", where.digest, "caches")
    assert Served(replace(server.server, password="other")).adapter.where()["cache"] == where
    assert Served(replace(server.server, db=1)).adapter.where()["cache"].digest != where.digest


async def test_a_preview_cannot_remove(server: Served) -> None:
    await server.ask("SET", "shop:2.4.1:a", 1)
    with pytest.raises(ReadOnly):
        async for _ in server.adapter.flush("cache", "shop:2.4.1:", 10):
            pass
    assert await server.keys() == {b"shop:2.4.1:a"}


async def test_a_prefix_with_no_key_behind_it_makes_no_changing_call(server: Served) -> None:
    async for swept in server.adapter.flush("cache", "shop:nothing:", 0):
        assert swept.removed == 0


async def test_another_database_of_the_server_is_left_alone(server: Served) -> None:
    other = Served(replace(server.server, db=3))
    await other.ask("SET", "shop:2.4.1:a", 1)
    await flushed(server, "shop:2.4.1:")
    assert await other.keys() == {b"shop:2.4.1:a"}
    assert await flushed(other, "shop:2.4.1:") == 1


async def test_a_limit_is_kept_before_the_key_beyond_it_goes(server: Served) -> None:
    for n in range(20):
        await server.ask("SET", f"shop:few:{n}", 1)
    with pytest.raises(TooMany) as told:
        await flushed(server, "shop:few:", 19)
    assert told.value.removed <= 19
    assert await flushed(server, "shop:few:", 20) + told.value.removed == 20


async def test_names_that_are_not_catalogued_get_a_guess(server: Served) -> None:
    with pytest.raises(LookupError, match="did you mean 'cache'"):
        await server.adapter.count("cashe", "shop:x:")
    with pytest.raises(LookupError, match="there are jobs, mail"):
        await server.adapter.kinds("cache", "job")


async def test_errors_are_the_servers_own_words(server: Served) -> None:
    await server.ask("SET", "shop:text", 1)
    with pytest.raises(CacheRefused, match="WRONGTYPE"):
        await server.ask("LLEN", "shop:text")
    async with opened(server.server) as line:
        with pytest.raises(CacheRefused, match="unknown command"):
            await line.ask_all([("NONSENSE",), ("PING",)])
        assert await line.ask("PING") == b"PONG"  # the answers of the others were taken as well


# -- what answers badly ------------------------------------------------------------------------------------------------

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def saying(talk: Talk, timeout: float = 5.0, context: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    """Something that listens and is no good server."""
    talks: list[asyncio.Task[None]] = []

    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.ensure_future(_to_its_end(talk, reader, writer)))

    listens = await asyncio.start_server(kept, "127.0.0.1", 0, ssl=context)
    port = listens.sockets[0].getsockname()[1]
    try:
        yield Served(RedisServer("127.0.0.1", port, timeout=timeout))
    finally:
        listens.close()
        await listens.wait_closed()
        await asyncio.gather(*talks)


async def _to_its_end(talk: Talk, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Whatever is said, the connection is closed behind it."""
    with contextlib.suppress(ConnectionError):
        await talk(reader, writer)
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


async def test_what_never_answers_is_asked_once_and_given_up_in_time() -> None:
    asked: list[bytes] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            asked.append(data)

    async with saying(silent, 0.2) as served:
        with pytest.raises(Unreachable, match=r"no answer within 0\.2 s"):
            await served.ask("LMOVE", "a", "b", "LEFT", "LEFT")
    assert len(asked) == 1


async def test_a_connection_that_breaks_is_told_and_nothing_is_sent_again() -> None:
    asked: list[bytes] = []

    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(1000))
        writer.write(b"*2\r\n$1\r\n0")

    async with saying(rude) as served:
        with pytest.raises(Unreachable, match="the connection broke before the answer was whole"):
            await served.ask("SCAN", 0)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there is no Redis"),
        (b"-LOADING Redis is loading the dataset in memory\r\n", "cannot answer now"),
        (b"-READONLY You can't write against a read only replica.\r\n", "cannot answer now"),
        (b"-CLUSTERDOWN The cluster is down\r\n", "cannot answer now"),
        (b"-MOVED 3999 127.0.0.1:6381\r\n", "cannot answer now"),
    ],
)
async def test_an_answer_that_is_none_is_unreachable(answer: bytes, words: str) -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(answer)
        await reader.read(1000)

    async with saying(odd) as served:
        with pytest.raises(Unreachable, match=words):
            await served.ask("UNLINK", "a")


async def test_after_a_cancelled_command_the_line_is_cut(server: Served) -> None:
    async with opened(server.server) as line:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(line.ask("BLPOP", "shop:none", 2), 0.05)
        with pytest.raises(Unreachable, match="the call was cancelled"):
            await line.ask("PING")


async def test_over_tls_the_certificate_is_checked() -> None:
    async def pong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(b"+PONG\r\n")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    trusted = ssl.create_default_context(cafile=str(TLS / "cert.pem"))
    async with saying(pong, context=context) as served:
        known = Served(replace(served.server, trust=trusted))
        assert await known.adapter.ping() == {"cache": ""}
        strange = Served(replace(served.server, trust=ssl.create_default_context()))
        assert "TLS" in (await strange.adapter.ping())["cache"]


# -- a cluster ---------------------------------------------------------------------------------------------------------


async def test_a_flush_reaches_every_node_of_a_cluster(cluster: Served) -> None:
    async with reached(cluster.server) as nodes:
        assert len(nodes.lines) == 3
        for n in range(300):
            for prefix in ("shop:2.4.1:", "shop:sessions:"):
                key = f"{prefix}{n}"
                await nodes.of(key).ask("SET", key, 1)
        sizes = [int(await line.ask("DBSIZE")) for line in nodes.lines]
    assert min(sizes) > 0
    assert await cluster.adapter.count("cache", "shop:2.4.1:") == 300
    commands: list[str] = []

    async def record(command: str) -> None:
        commands.append(command)

    async for swept in cluster.adapter.bind(record).flush("cache", "shop:2.4.1:", 300):
        assert swept.removed <= 300
    assert {key.rpartition(b":")[0] for key in await cluster.keys()} == {b"shop:sessions"}
    assert len(commands) == 3
    assert all("-c --scan --pattern 'shop:2.4.1:*' | xargs -n 1 " in command for command in commands)


async def test_slots_are_where_the_cluster_has_them(cluster: Served) -> None:
    for key in ("shop:jobs", "{shop:jobs}:parked", "a{b}c{d}", "{}x", "x{}", "é", "}a{b", "{a"):
        assert slot_of(key) == await cluster.ask("CLUSTER", "KEYSLOT", key)


async def test_a_node_that_is_away_makes_the_cluster_unreachable(cluster: Served) -> None:
    async with reached(cluster.server) as nodes:
        away = next(line.node[1] for line in nodes.lines if line.node[1] != cluster.port)
    raw(away, "CLIENT", "PAUSE", 400, "ALL")
    hasty = Served(replace(cluster.server, timeout=0.2))
    with pytest.raises(Unreachable, match=f"{away}: no answer within"):
        await hasty.adapter.count("cache", "shop:2.4.1:")


# -- pure --------------------------------------------------------------------------------------------------------------


def test_a_pattern_is_the_prefix_by_the_letter() -> None:
    assert pattern("v[2]:*?\\é") == b"v\\[2\\]:\\*\\?\\\\" + "é".encode() + b"*"


def test_versions_are_put_into_prefixes() -> None:
    assert prefixes("shop:{release}:", ["2.4.1", "2.4.2"], "2.4.0") == ["shop:2.4.1:", "shop:2.4.2:", "shop:2.4.0:"]
    assert prefixes("shop:{removed}:", ["2.4.1"], "2.4.0") == ["shop:2.4.1:"]
    assert prefixes("shop:prices:", ["2.4.1"], "2.4.0") == ["shop:prices:"]
    assert not unfit("shop:") and unfit("**") and unfit("\t")


def test_a_flush_goes_slower_the_longer_others_wait_and_faster_again() -> None:
    pace = Pace(Pacing(latency=0.02, share=0.5))
    assert pace.wait(0.004, 1000) == 0.004  # half of the time is others'
    for _ in range(20):
        pace.saw(0.05, "")
    assert pace.wait(0.004, 1000) == 0.004 * SLOWEST
    assert pace.why == "the server takes 50 ms to answer"
    for _ in range(20):
        pace.saw(0.001, "")
    assert pace.wait(0.004, 1000) == 0.004
    assert pace.why == ""


def test_a_rate_is_kept() -> None:
    pace = Pace(Pacing(rate=10_000))
    assert pace.wait(0.01, 1000) == pytest.approx(0.09)


async def test_a_paced_flush_removes_all_the_same(server: Served) -> None:
    raw_keys = [f"shop:2.4.9:{n}".encode() for n in range(3000)]
    open_server = Served(replace(server.server, db=5), pacing=Pacing(rate=100_000))
    async with opened(open_server.server) as line:
        await line.ask("MSET", *(part for key in raw_keys for part in (key, b"x")))
    assert await flushed(open_server, "shop:2.4.9:") == 3000


def test_a_target_that_is_not_there_costs_nothing() -> None:
    none = RedisCaches([])
    assert none.where() == {} and none.caches == []
    assert [t.name for t in RedisCaches([RedisEndpoint(Cache("c"), RedisServer("h", 1))]).caches] == ["c"]
