"""The HTTP adapter over real sockets, with everything that a server can do to it."""

from __future__ import annotations

import asyncio
import gzip
import shlex
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from bot.adapters.http import ANSWER_LIMIT, HttpClient, HttpEndpoint
from bot.ports import Http, Json, ReadOnly, Unreachable
from tests.fixtures.lone_shop import Fault, Shop
from tests.fixtures.served import everything, served

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Answer], Awaitable[str]]
Reach = Callable[..., HttpClient]
SECRET = "Bearer s3cr3t"


class Commands(list[str]):
    """A `record` that keeps what it is told."""

    async def __call__(self, command: str) -> None:
        self.append(command)


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with Shop("2.4.1", delay=0.0) as shop:
        yield shop


@pytest.fixture
async def reach(commands: Commands) -> AsyncIterator[Reach]:
    """Makes adapters that lead to the given targets; closes them in the end."""
    made: list[HttpClient] = []

    def make(**targets: HttpEndpoint) -> HttpClient:
        made.append(HttpClient(targets, commands))
        return made[-1]

    yield make
    for adapter in made:
        await adapter.close()


@pytest.fixture
def http(shop: Shop, reach: Reach) -> HttpClient:
    return reach(shop=HttpEndpoint(shop.url, timeout=4.0, headers={"Authorization": SECRET}))


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server that answers everything with the given handler; gives its URL."""
    async with AsyncExitStack() as stack:

        async def start(answer: Answer) -> str:
            return f"http://{await stack.enter_async_context(served(everything(answer)))}"

        yield start


# -- reading and writing ---------------------------------------------------------------------------------------------


async def test_a_document_is_read_with_its_version(http: Http) -> None:
    reply = await http.get("shop", "/release")
    assert (reply.status, reply.json, reply.etag) == (200, {"release": "2.4.1"}, '"1"')
    assert reply.headers["content-type"].startswith("application/json")


async def test_a_document_is_written_over_the_version_that_was_read(http: Http, shop: Shop) -> None:
    reply = await http.put("shop", "/release", {"release": "2.4.0"}, if_match='"1"', key="run-7/deploy/1")
    assert (reply.status, reply.etag) == (200, '"2"')
    late = await http.put("shop", "/release", {"release": "2.3.9"}, if_match='"1"')
    assert (late.status, shop.serving) == (412, "2.4.0")
    assert [line["key"] for line in shop.log] == ["run-7/deploy/1", None]


async def test_an_answer_that_is_no_json_is_text(serve: Serve, reach: Reach) -> None:
    async def answer(request: web.Request) -> web.Response:
        kind = "application/json" if request.path != "/plain" else "text/plain"
        return web.Response(text={"/nan": "NaN", "/deep": "[" * 9000}.get(request.path, "17"), content_type=kind)

    http = reach(it=HttpEndpoint(await serve(answer)))
    assert [(await http.get("it", p)).json for p in ("/plain", "/nan", "/deep", "/good")] == [None, None, None, 17]
    assert (await http.get("it", "/plain")).text == "17"


async def test_an_encoding_that_is_none_is_read_as_utf_8(serve: Serve, reach: Reach) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body="é".encode(), headers={"Content-Type": "text/plain; charset=hex"})

    http = reach(it=HttpEndpoint(await serve(answer)))
    assert (await http.get("it", "/")).text == "é"


async def test_headers_come_by_lower_case_name_with_repeated_ones_joined(
    serve: Serve,
    reach: Reach,
) -> None:
    async def answer(request: web.Request) -> web.Response:
        reply = web.Response()
        reply.headers.add("X-Who", "a")
        reply.headers.add("x-who", "b")
        return reply

    http = reach(it=HttpEndpoint(await serve(answer)))
    assert (await http.get("it", "/")).headers["x-who"] == "a, b"


# -- what is recorded ------------------------------------------------------------------------------------------------


async def test_a_write_is_recorded_before_it_is_sent_as_a_command_that_works(
    http: Http, shop: Shop, commands: Commands
) -> None:
    notice = "it's $HOME; `id`"
    body: dict[str, Json] = {"read_only": False, "notice": notice}
    await http.put("shop", "/maintenance", body, if_match='"1"', key="run-7/x/1")
    (command,) = commands
    await shop.edit("maintenance", read_only=True, notice="")

    typed = command.replace('"1"', '"3"')
    args = shlex.split(typed)
    assert args[:3] == ["curl", "-X", "PUT"]
    done = await asyncio.to_thread(subprocess.run, ["bash", "-c", f"{typed} -sS"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert await shop.world() == {
        "release/release": "2.4.1",
        "maintenance/read_only": False,
        "maintenance/notice": notice,
    }
    assert shop.log[-1]["key"] == "run-7/x/1"


async def test_reading_is_not_recorded(http: Http, commands: Commands) -> None:
    await http.get("shop", "/healthz")
    assert not commands


async def test_nothing_is_sent_where_recording_fails(http: HttpClient, shop: Shop) -> None:
    async def superseded(command: str) -> None:
        raise RuntimeError("another attempt owns this step")

    with pytest.raises(RuntimeError, match="another attempt"):
        await http.bind(superseded).put("shop", "/release", {"release": "2.4.0"})
    assert not shop.log


async def test_without_an_attempt_nothing_is_written(shop: Shop) -> None:
    http = HttpClient({"shop": HttpEndpoint(shop.url)})
    with pytest.raises(ReadOnly, match=r"no attempt is under way.*curl -X PUT"):
        await http.put("shop", "/release", {"release": "2.4.0"})
    assert not shop.log


async def test_each_copy_records_for_its_own_attempt(http: HttpClient, commands: Commands) -> None:
    one, two = Commands(), Commands()
    await http.bind(one).put("shop", "/release", {"release": "2.4.0"})
    await http.bind(two).put("shop", "/release", {"release": "2.3.9"})
    assert [len(c) for c in (commands, one, two)] == [0, 1, 1]


async def test_a_targets_headers_are_sent_and_never_shown(serve: Serve, reach: Reach, commands: Commands) -> None:
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        if request.path == "/gone" and request.transport is not None:
            request.transport.abort()
        return web.Response()

    target = HttpEndpoint(await serve(answer), headers={"Authorization": SECRET})
    http = reach(it=target)
    await http.put("it", "/", 1)
    with pytest.raises(Unreachable) as raised:
        await http.put("it", "/gone", 1)
    assert seen == [SECRET, SECRET]
    assert "s3cr3t" not in f"{commands} {target!r} {raised.value}"


# -- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("served", [True, False])
@pytest.mark.parametrize(
    ("answer", "words"),
    [("drop", "the connection broke before the answer was whole"), ("hang", "no answer within 4 s")],
)
async def test_a_lost_answer_is_unreachable_and_the_write_is_not_repeated(
    http: Http, shop: Shop, commands: Commands, served: bool, answer: str, words: str
) -> None:
    shop.break_next(Fault(serve=served, answer="drop" if answer == "drop" else "hang"))
    with pytest.raises(Unreachable, match=f"PUT shop/release: {words}; whether it took the change is unknown"):
        await http.put("shop", "/release", {"release": "2.4.0"})
    assert (len(shop.log), len(commands)) == (int(served), 1)


async def test_a_read_that_breaks_is_unreachable_and_says_nothing_of_changes(http: Http, shop: Shop) -> None:
    shop.break_next(Fault(answer="drop"))
    with pytest.raises(Unreachable, match=r"GET shop/release: the connection broke before the answer was whole$"):
        await http.get("shop", "/release")


async def test_a_slow_answer_within_the_timeout_is_an_answer(http: Http, shop: Shop) -> None:
    shop.break_next(Fault(delay=0.1))
    assert (await http.get("shop", "/release")).status == 200
    shop.break_next(Fault(delay=60))
    with pytest.raises(Unreachable, match=r"no answer within 4 s$"):
        await http.get("shop", "/release")


async def test_an_error_status_is_an_answer(http: Http, shop: Shop) -> None:
    shop.break_next(Fault(status=503, next=2))
    assert (await http.get("shop", "/release")).status == 503
    assert (await http.put("shop", "/release", {"release": "2.4.0"})).status == 503
    assert not shop.log


async def test_a_closed_port_is_unreachable_and_comes_back(http: Http, shop: Shop) -> None:
    await shop.stop()
    with pytest.raises(Unreachable, match=r"PUT shop/release: no connection to 127\.0\.0\.1:\d+ \(.+\)$"):
        await http.put("shop", "/release", {"release": "2.4.0"})
    await shop.start()
    assert (await http.get("shop", "/release")).json == {"release": "2.4.1"}


async def test_too_large_an_answer_is_not_read_however_small_it_is_packed(
    serve: Serve,
    reach: Reach,
) -> None:
    async def answer(request: web.Request) -> web.Response:
        size = ANSWER_LIMIT + (request.path == "/more")
        packed = gzip.compress(b" " * size)
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    http = reach(it=HttpEndpoint(await serve(answer)))
    assert len((await http.get("it", "/just")).text) == ANSWER_LIMIT
    with pytest.raises(Unreachable, match="GET it/more: answered 200 with more than 1048576 bytes"):
        await http.get("it", "/more")


# -- where it may go -------------------------------------------------------------------------------------------------


async def test_an_unknown_target_is_refused_with_a_guess(http: Http) -> None:
    with pytest.raises(LookupError, match=r"no HTTP target 'shpo'; did you mean 'shop'\?"):
        await http.get("shpo", "/release")
    with pytest.raises(LookupError, match="no HTTP target 'billing'; there are shop"):
        await http.put("billing", "/release", {})


@pytest.mark.parametrize(
    "path",
    [
        "release", "", "http://127.0.0.1:1/x", "//127.0.0.1:1/x", "/../admin", "/a/../../admin", "/a/..", "/./a",
        "/%2e%2e/admin", "/%252e%252e/admin", "/a%2f..%2fb", "/..%5cadmin", "/..\\admin", "/..;/admin", "/a%3f/../b",
        "/a b", "/a\r\nX: y", "/a%0d%0aX: y", "/a#b", "/a\x00",
    ],
)  # fmt: skip
async def test_a_path_that_leads_elsewhere_is_refused(http: Http, shop: Shop, commands: Commands, path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        await http.get("shop", path)
    with pytest.raises(ValueError, match="path"):
        await http.put("shop", path, {})
    assert not commands
    assert not shop.log


async def test_a_path_stays_below_the_targets_own(serve: Serve, reach: Reach) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.raw_path)

    url = await serve(answer)
    http = reach(api=HttpEndpoint(f"{url}/shop/v1/"))
    assert (await http.get("api", "/release%2Fx?full=1")).text == "/shop/v1/release%2Fx?full=1"


@pytest.mark.parametrize(
    ("location", "reached"),
    [
        ("/app/there", True), ("there", True), ("http://{host}/app/there", True),
        ("/elsewhere", False), ("/app/../x", False), ("/app/%2e%2e/x", False), ("http://127.0.0.1:9/app/x", False),
        ("//other.example/app/", False), ("https://{host}/app/x", False), ("mailto:a", False), ("http://[", False),
    ],
)  # fmt: skip
async def test_a_redirect_is_followed_only_below_the_target(
    serve: Serve, reach: Reach, location: str, reached: bool
) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/app/there":
            return web.Response(text="there")
        return web.Response(status=302, headers={"Location": location.format(host=request.host)})

    http = reach(app=HttpEndpoint(f"{await serve(answer)}/app", headers={"Authorization": SECRET}))
    if reached:
        assert (await http.get("app", "/page")).text == "there"
    else:
        with pytest.raises(Unreachable, match=r"sends us (elsewhere|nowhere)"):
            await http.get("app", "/page")


async def test_redirects_in_a_circle_end(serve: Serve, reach: Reach) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": request.path})

    http = reach(it=HttpEndpoint(await serve(answer)))
    with pytest.raises(Unreachable, match="round in circles"):
        await http.get("it", "/page")


async def test_a_write_follows_no_redirect(serve: Serve, reach: Reach, commands: Commands) -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=307, headers={"Location": "/other"})

    http = reach(it=HttpEndpoint(await serve(answer)))
    assert (await http.put("it", "/page", {})).status == 307
    assert asked == ["/page"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("shop.example", "no http"), ("ftp://shop.example", "no http"), ("http://", "no http"),
        ("https://ana:pw@shop.example", "holds a user or password"), ("https://shop.example/?a=1", "neither"),
    ],
)  # fmt: skip
def test_a_target_needs_a_plain_url(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        HttpEndpoint(url)
    assert "pw" not in str(raised.value)


# -- standing by -----------------------------------------------------------------------------------------------------


async def test_ping_says_what_is_wrong_with_each_target(shop: Shop, serve: Serve, reach: Reach) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=401)

    locked = await serve(answer)
    http = reach(
        shop=HttpEndpoint(shop.url, ping="/healthz"),
        locked=HttpEndpoint(locked),
        gone=HttpEndpoint("http://127.0.0.1:1", timeout=1.0),
    )
    faults = await http.ping()
    assert (faults["shop"], faults["locked"]) == ("", "GET locked/: refuses us (401)")
    assert faults["gone"].startswith("GET gone/: no connection to 127.0.0.1:1 (")


async def test_closing_again_is_harmless(http: HttpClient) -> None:
    await http.get("shop", "/release")
    await http.close()
    await http.close()
