"""Edges over real HTTP: Varnish and nginx from the system, and servers that misbehave."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from actions.edge_invalidate import EdgeInvalidate, EdgeInvalidateParams
from bot.adapters.aws.sites import S3Sites
from bot.adapters.edges import EdgeEndpoint, EdgesClient
from bot.contract import Status
from bot.ports import Ports, ReadOnly, Record, Unreachable
from bot.ports.builds import REMOVER, Headers
from bot.ports.sites import StoreRefused
from bot.testing import TestCtx, ports, run_check
from checks.edge_converged import EdgeConverged, EdgeConvergedParams
from tests.fixtures.frontend_bucket import BAD, GOOD, Bucket, outgoing
from tests.fixtures.http_caches import nginx, varnish
from tests.fixtures.s3 import bucket as bucket
from tests.fixtures.served import everything, served

TOKEN: dict[str, Any] = {"headers": {"X-Purge-Token": "letmein"}, "variables": {"X-Purge-Token": "TOKEN"}}
Serve = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[str]]


async def nothing(command: str) -> None:
    pass


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves everything with one function; "127.0.0.1:port"."""
    async with AsyncExitStack() as stack:
        yield lambda answer: stack.enter_async_context(served(everything(answer)))


class Story:
    """The bad build stands published behind an edge that has it, and the good one was just published."""

    def __init__(self, bucket: Bucket, edge: EdgeEndpoint) -> None:
        bucket.acl = "public-read"
        self.bucket, self.good, self.bad = bucket, bucket.build("2.4.0", GOOD), bucket.build("2.4.1", BAD)
        self.sites, self.edges = S3Sites({"www": bucket.target()}), EdgesClient({"cdn": edge})
        bucket.publish(BAD)

    async def go_back(self) -> None:
        await self.edges.served("cdn", ["/", *(f"/{key}" for key in BAD)])
        self.bucket.publish(GOOD)

    def ports_for(self, record: Record) -> Ports:
        return ports(sites=self.sites.bind(record), edges=self.edges.bind(record))

    @property
    def params(self) -> dict[str, Any]:
        return {"build": str(self.good), "outgoing": [outgoing("2.4.1", self.bad)]}

    async def invalidate(self) -> None:
        p = EdgeInvalidateParams(**self.params)
        change = await EdgeInvalidate().plan(TestCtx(self.ports_for, EdgeInvalidate.needs), p)
        await EdgeInvalidate().apply(TestCtx(self.ports_for, EdgeInvalidate.needs, acting=True), p, change)

    async def converged(self) -> tuple[Status, str]:
        verdict = await run_check(EdgeConverged(), self.ports_for, EdgeConvergedParams(**self.params))
        return verdict.status, verdict.observed

    async def close(self) -> None:
        await self.sites.close()
        await self.edges.close()


async def test_varnish_serves_the_old_build_until_it_is_purged_and_then_the_right_one(
    bucket: Bucket, tmp_path: Path
) -> None:
    with varnish(bucket, tmp_path) as address:
        edge = EdgeEndpoint("http://shop.example", purge=(f"http://{address}",), addresses=(address,), **TOKEN)
        s = Story(bucket, edge)
        await s.go_back()
        status, words = await s.converged()
        assert status is Status.FAIL and "/index.html: still serves 2.4.1, " in words
        await s.invalidate()
        assert await s.converged() == (Status.PASS, "6 of 6 right")
        await s.close()


async def test_a_purge_under_another_host_leaves_what_people_get(bucket: Bucket, tmp_path: Path) -> None:
    with varnish(bucket, tmp_path) as address:
        edge = EdgeEndpoint("http://shop.example", purge=(f"http://{address}",), addresses=(address,), **TOKEN)
        other = EdgeEndpoint("http://m.shop.example", purge=(f"http://{address}",), addresses=(address,), **TOKEN)
        s = Story(bucket, edge)
        await s.go_back()
        elsewhere = EdgesClient({"cdn": other}).bind(nothing)
        await elsewhere.invalidate("cdn", ["/index.html"], "k")
        [seen] = await s.edges.served("cdn", ["/index.html"])
        assert seen.body == BAD["index.html"]
        await s.edges.bind(nothing).invalidate("cdn", ["/index.html"], "k")
        [seen] = await s.edges.served("cdn", ["/index.html"])
        assert seen.body == GOOD["index.html"]
        await elsewhere.close()
        await s.close()


async def test_nginx_without_a_way_to_purge_is_seen_to_serve_the_old_build(bucket: Bucket, tmp_path: Path) -> None:
    with nginx(bucket, tmp_path) as address:
        s = Story(bucket, EdgeEndpoint("http://shop.example", addresses=(address,)))
        await s.go_back()
        status, words = await s.converged()
        assert status is Status.FAIL and "still serves 2.4.1" in words
        bucket.put("www/sw.js", REMOVER, Headers("text/javascript", "no-store"))
        [fresh] = await s.edges.served("cdn", ["/logo.png"])
        assert fresh.body == BAD["logo.png"]
        await s.close()


# -- what an edge may answer ---------------------------------------------------------------------------------------


async def test_a_visitor_is_asked_for_who_has_no_cookie_and_knows_nothing(serve: Serve) -> None:
    seen: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append({name.lower(): value for name, value in request.headers.items()})
        response = web.Response(text="page")
        response.set_cookie("session", "1")
        return response

    edges = EdgesClient({"cdn": EdgeEndpoint("https://shop.example:443", addresses=(await serve(answer),))})
    await edges.close()
    edges = EdgesClient({"cdn": EdgeEndpoint("http://shop.example", addresses=(await serve(answer),))})
    for _ in range(2):
        await edges.served("cdn", ["/"])
    assert [s["host"] for s in seen] == ["shop.example"] * 2
    assert not any({"cookie", "if-none-match", "if-modified-since"} & {*s} for s in seen)
    assert {s["accept-encoding"] for s in seen} == {"identity"}
    await edges.close()


async def test_a_packed_answer_is_told_both_ways(serve: Serve) -> None:
    packed = gzip.compress(b"page")

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    edges = EdgesClient({"cdn": EdgeEndpoint("http://x", addresses=(await serve(answer),))})
    [seen] = await edges.served("cdn", ["/"])
    assert seen.digests == {sha256(packed).hexdigest(), sha256(b"page").hexdigest()}
    assert seen.body == b"page"
    await edges.close()


async def test_a_redirect_is_an_answer_and_not_followed(serve: Serve) -> None:
    async def answer(request: web.Request) -> web.Response:
        raise web.HTTPFound("http://127.0.0.1:9/")

    edges = EdgesClient({"cdn": EdgeEndpoint("http://x", addresses=(await serve(answer),))})
    [seen] = await edges.served("cdn", ["/"])
    assert (seen.status, seen.fault) == (302, "")
    await edges.close()


async def test_every_address_is_asked_and_each_says_for_itself_what_is_wrong(serve: Serve) -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(5)
        return web.Response()

    async def torn(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.close()
        return response

    addresses = (await serve(slow), await serve(torn), "127.0.0.1:9")
    edges = EdgesClient({"cdn": EdgeEndpoint("http://x", timeout=0.5, addresses=addresses)})
    assert [s.fault for s in await edges.served("cdn", ["/"])] == [
        "no answer within 0.5 s",
        "the connection broke before the answer was whole",
        "no connection (connection refused)",
    ]
    assert "no answer within 0.5 s" in (await edges.ping())["cdn"]
    await edges.close()


async def test_a_name_that_does_not_resolve_is_said() -> None:
    edges = EdgesClient({"cdn": EdgeEndpoint("http://no-such-host.invalid")})
    [seen] = await edges.served("cdn", ["/"])
    assert seen.fault.startswith("its name does not resolve")
    await edges.close()


async def test_without_addresses_a_name_is_asked_where_it_resolves_to(serve: Serve) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.host)

    port = (await serve(answer)).rpartition(":")[2]
    edges = EdgesClient({"cdn": EdgeEndpoint(f"http://localhost:{port}")})
    seen = await edges.served("cdn", ["/"])
    assert f"localhost:{port}".encode() in [s.body for s in seen]
    await edges.close()


@pytest.mark.parametrize(
    ("path", "asked"), [("/caf\u00e9 1+2%.js", "/caf%C3%A9%201+2%25.js"), ("/a?b#c", "/a%3Fb%23c")]
)
async def test_a_path_is_quoted_as_the_file_is_named(serve: Serve, path: str, asked: str) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response()

    at = await serve(answer)
    edges = EdgesClient({"cdn": EdgeEndpoint("http://x/base", addresses=(at,), purge=(f"http://{at}",))})
    await edges.served("cdn", [path])
    await edges.bind(nothing).invalidate("cdn", [path], "k")
    assert seen == [f"/base{asked}", asked]
    await edges.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, None), (404, None), (403, StoreRefused), (405, StoreRefused), (500, Unreachable), (503, Unreachable)],
)
async def test_what_a_purge_is_answered(serve: Serve, status: int, error: type[Exception] | None) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    edges = EdgesClient({"cdn": EdgeEndpoint("http://x", purge=(f"http://{await serve(answer)}",))}).bind(nothing)
    if error is None:
        assert await edges.invalidate("cdn", ["/"], "k") == ""
        assert await edges.invalidated("cdn", "")
    else:
        with pytest.raises(error):
            await edges.invalidate("cdn", ["/"], "k")
    await edges.close()


async def test_a_purge_is_recorded_first_and_refused_where_a_secret_is_missing(serve: Serve) -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.method)
        return web.Response()

    at = await serve(answer)
    edges = EdgesClient({"cdn": EdgeEndpoint("http://x", purge=(f"http://{at}",))})
    with pytest.raises(ReadOnly):
        await edges.invalidate("cdn", ["/"], "k")
    lacking = EdgesClient({"cdn": EdgeEndpoint("http://x", purge=(f"http://{at}",), lacking=("TOKEN",))}).bind(nothing)
    with pytest.raises(StoreRefused, match="TOKEN: not set in the bot's environment"):
        await lacking.invalidate("cdn", ["/"], "k")
    assert seen == []
    with pytest.raises(LookupError, match="has no edge 'cdm'; there are cdn"):
        await edges.served("cdm", ["/"])
    await edges.close()


async def test_a_place_is_told_by_address_and_by_what_purges_it_not_by_who_purges() -> None:
    def digest(target: EdgeEndpoint) -> str:
        return EdgesClient({"cdn": target}).where()["cdn"].digest

    one = EdgeEndpoint("http://x", purge=("http://a",))
    assert digest(one) == digest(EdgeEndpoint("http://x", purge=("http://a",), **TOKEN))
    others = [EdgeEndpoint("http://y", purge=("http://a",)), EdgeEndpoint("http://x", purge=("http://b",)),
              EdgeEndpoint("http://x", cloudfront="E1")]  # fmt: skip
    assert len({digest(one), *map(digest, others)}) == 4
