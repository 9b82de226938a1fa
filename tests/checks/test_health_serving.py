"""`health.serving` against a real shop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from bot.adapters.http import HttpClient, HttpEndpoint
from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.contract import Status, Verdict
from bot.ports import Page, Reply
from bot.ports.kubernetes import Cluster
from bot.testing import PortsFor, ports, run_check
from checks.health_serving import HealthServing, HealthServingParams, _judge, _read
from tests.fixtures.lone_shop import Fault, Shop
from tests.fixtures.served import served


async def look(ports_for: PortsFor, release: str | None = "2.4.0", path: str = "/healthz") -> Verdict:
    return await run_check(HealthServing(), ports_for, HealthServingParams(target="shop", release=release, path=path))


@pytest.mark.parametrize("release", ["2.4.0", None])
async def test_a_healthy_service_on_the_expected_release_passes(ports_for: PortsFor, release: str | None) -> None:
    verdict = await look(ports_for, release)
    assert verdict.status is Status.PASS
    assert verdict.observed == "200, from release 2.4.0, 0.0% errors"
    assert verdict.expected == ("200 from release 2.4.0" if release else "200")
    assert verdict.data == {"status": 200, "release": "2.4.0", "errors": 0.0}


async def test_another_release_fails_however_healthy(shop: Shop, ports_for: PortsFor) -> None:
    await shop.edit("release", release="2.3.9")
    verdict = await look(ports_for)
    assert (verdict.status, verdict.observed) == (Status.FAIL, "200, from release 2.3.9, 0.0% errors")


async def test_the_bad_release_fails_with_its_errors(shop: Shop, ports_for: PortsFor) -> None:
    await shop.edit("release", release="2.4.1")
    verdict = await look(ports_for, "2.4.1")
    assert (verdict.status, verdict.observed) == (Status.FAIL, "503, from release 2.4.1, 100.0% errors")


@pytest.mark.parametrize("answer", ["drop", "hang"])
async def test_no_answer_is_unknown(shop: Shop, ports_for: PortsFor, answer: str) -> None:
    shop.break_next(Fault(answer="drop" if answer == "drop" else "hang"))
    verdict = await look(ports_for)
    assert verdict.status is Status.UNKNOWN
    assert "GET shop/healthz" in verdict.observed
    assert not verdict.data


@pytest.mark.parametrize("status", [204, 302, 401, 404, 429])
async def test_an_answer_about_something_else_is_unknown(shop: Shop, ports_for: PortsFor, status: int) -> None:
    shop.break_next(Fault(status=status))
    assert (await look(ports_for)).status is Status.UNKNOWN


async def test_a_page_that_names_no_release_passes_only_where_none_is_expected(ports_for: PortsFor) -> None:
    assert (await look(ports_for, "2.4.0", "/maintenance")).status is Status.UNKNOWN
    assert (await look(ports_for, None, "/maintenance")).status is Status.PASS


async def _failed_payment(shop: Shop) -> None:
    shop.break_next(Fault(path="/pay", status=500))
    async with aiohttp.ClientSession() as customer, customer.post(f"{shop.url}/pay", json={"amount": 1}) as answer:
        assert answer.status == 500


async def test_a_share_of_errors_above_the_limit_fails_whatever_the_status(shop: Shop, ports_for: PortsFor) -> None:
    await _failed_payment(shop)
    verdict = await look(ports_for)
    assert (verdict.status, verdict.observed) == (Status.FAIL, "200, from release 2.4.0, 50.0% errors")


@asynccontextmanager
async def regions(errors: float = 0.01) -> AsyncIterator[tuple[Mapping[str, Shop], PortsFor]]:
    """Two ways in, each with its page; and a catalogue that names `eu-1` and `us-1`."""
    async with AsyncExitStack() as stack:
        shops = {name: await stack.enter_async_context(Shop()) for name in ("eu-1", "us-1")}
        pages = {
            f"api-{name}": HttpEndpoint(shop.url, timeout=10.0, page=Page("/healthz", errors, name))
            for name, shop in shops.items()
        }
        http = HttpClient({"shop": HttpEndpoint(shops["eu-1"].url), **pages})
        stack.push_async_callback(http.close)
        clusters = Clusters([ClusterTarget(Cluster(name, "shop"), name) for name in shops])
        yield shops, lambda record: ports(http=http.bind(record), kubernetes=clusters)


async def test_a_region_that_fails_every_payment_keeps_the_service_from_passing() -> None:
    async with regions() as (shops, ports_for):
        assert (await look(ports_for)).status is Status.PASS
        await _failed_payment(shops["us-1"])
        verdict = await look(ports_for)
        assert verdict.status is Status.FAIL
        assert verdict.observed == "api-us-1: 200, from release 2.4.0, 33.3% errors"


async def test_a_region_that_does_not_answer_is_unknown_however_well_the_others_are() -> None:
    async with regions() as (shops, ports_for):
        shops["us-1"].break_next(Fault(answer="drop"))
        verdict = await look(ports_for)
        assert verdict.status is Status.UNKNOWN
        assert verdict.observed.startswith("api-us-1: GET api-us-1/healthz")


async def test_errors_up_to_the_limit_of_the_catalogue_pass() -> None:
    async with regions(errors=0.6) as (shops, ports_for):
        await _failed_payment(shops["us-1"])
        verdict = await look(ports_for)
        assert (verdict.status, verdict.observed) == (
            Status.PASS, "shop: 200, from release 2.4.0, 0.0% errors (3 of 3 targets)"
        )  # fmt: skip


@asynccontextmanager
async def front(answer: web.StreamResponse | None) -> AsyncIterator[PortsFor]:
    """A backend that is well, and a page that visitors open; answer None: nobody listens there."""
    app = web.Application()

    async def page(request: web.Request) -> web.StreamResponse:
        assert answer is not None
        return answer

    app.router.add_get("/shop/", page)
    async with Shop() as shop, served(app) as at:
        url = f"http://{at}" if answer is not None else "http://127.0.0.1:9"
        http = HttpClient({"shop": HttpEndpoint(shop.url), "web": HttpEndpoint(url, entry=Page("/shop/"))})
        try:
            yield lambda record: ports(http=http.bind(record), kubernetes=Clusters([]))
        finally:
            await http.close()


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (lambda: web.Response(text="<html>", content_type="text/html"), Status.PASS,
         "200, from release 2.4.0, 0.0% errors; 1 entry page there"),
        (lambda: web.Response(status=404), Status.FAIL,
         "web/shop/: visitors get 404; 200, from release 2.4.0, 0.0% errors"),
        (lambda: web.Response(status=502), Status.FAIL,
         "web/shop/: visitors get 502; 200, from release 2.4.0, 0.0% errors"),
        (lambda: web.Response(text=" ", content_type="text/html"), Status.FAIL,
         "web/shop/: visitors get an empty page; 200, from release 2.4.0, 0.0% errors"),
        (lambda: web.json_response({}), Status.FAIL,
         "web/shop/: visitors get application/json, no page; 200, from release 2.4.0, 0.0% errors"),
        (lambda: web.Response(status=401), Status.UNKNOWN,
         "web/shop/: answers 401, which says nothing of the page; 200, from release 2.4.0, 0.0% errors"),
        (lambda: None, Status.UNKNOWN,
         "GET web/shop/: no connection to 127.0.0.1:9 (nothing answers there); 200, from release 2.4.0, 0.0% errors"),
    ],
)  # fmt: skip
async def test_what_visitors_open_has_to_be_there_too(
    answer: Callable[[], web.StreamResponse | None], status: Status, said: str
) -> None:
    async with front(answer()) as ports_for:
        verdict = await look(ports_for)
        assert (verdict.status, verdict.observed) == (status, said)
        assert verdict.expected == "200 from release 2.4.0, and HTML where visitors enter"


@pytest.mark.parametrize("name", ["x" * 40_000, "2.4.0\x1b[2J", ""])
async def test_what_can_be_no_release_is_none_and_never_recorded(name: str) -> None:
    page = Reply(200, {}, "", {"release": name, "errors": 0.0})
    assert _read(page).release is None
    assert _judge(_read(page), "2.4.0", Page("/healthz")) is Status.UNKNOWN
