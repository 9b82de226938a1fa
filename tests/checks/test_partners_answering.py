"""`partners.answering`: a probe and a status page that may disagree, each over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from bot.adapters.http import HttpClient, HttpEndpoint
from bot.catalogue import load_catalogue
from bot.contract import Status, Verdict
from bot.located import Faults
from bot.ports.partners import CataloguedPartners
from bot.testing import PortsFor, ports, run_check
from checks.partners_answering import PartnersAnswering, PartnersAnsweringParams
from tests.fixtures.served import served

HEAD = """\
roles: {commander: {people: [U1]}, approver: {people: [U2]}}
services:
  shop:
    targets: {gateway: {http: "http://a"}, page: {http: "http://b"}, eu: {kubernetes: eu, namespace: shop}}
    partners:
"""
GATEWAY = """\
      payments:
        title: Payment gateway
        probe: {target: gateway, path: /ping, within: 300ms}
        page: {target: page, path: /summary.json, components: [api]}
"""
WELL = {
    "page": {"name": "Gateway", "updated_at": "2026-11-01T10:00:00Z"},
    "status": {"indicator": "minor", "description": "Partially Degraded Service"},
    "components": [
        {"name": "API", "status": "operational"},
        {"name": "Dashboard", "status": "partial_outage"},
        {"name": None},
    ],
    "incidents": [],
}
DOWN = {
    **WELL,
    "components": [{"name": "API", "status": "major_outage"}],
    "incidents": [{"name": "Elevated errors", "status": "investigating"}],
}


@dataclass
class Gateway:
    """A partner. status, delay: of the probe; page: what its status page answers, None: the connection breaks."""

    status: int = 200
    delay: float = 0.0
    page: Any = field(default_factory=lambda: WELL)
    type: str = "application/json"
    page_status: int = 200

    async def ping(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.delay)
        return web.json_response({}, status=self.status)

    async def summary(self, request: web.Request) -> web.StreamResponse:
        if self.page is None and request.transport is not None:
            request.transport.abort()
        if isinstance(self.page, str):
            return web.Response(text=self.page, status=self.page_status)
        return web.json_response(self.page, status=self.page_status)


@asynccontextmanager
async def partner(
    gateway: Gateway | None = None, file: str = GATEWAY, away: str = ""
) -> AsyncIterator[tuple[Gateway, PortsFor]]:
    """away: a target that nobody listens at."""
    there = gateway or Gateway()
    app = web.Application()
    app.router.add_get("/ping", there.ping)
    app.router.add_get("/summary.json", there.summary)
    known = CataloguedPartners(load_catalogue(HEAD + file, "r").services["shop"].partners)
    async with served(app) as at:
        urls = {t: "http://127.0.0.1:9" if t == away else f"http://{at}" for t in ("gateway", "page")}
        http = HttpClient({t: HttpEndpoint(url) for t, url in urls.items()})
        try:
            yield there, lambda record: ports(http=http.bind(record), partners=known)
        finally:
            await http.close()


async def look(ports_for: PortsFor, params: PartnersAnsweringParams = PartnersAnsweringParams()) -> Verdict:  # noqa: B008
    return await run_check(PartnersAnswering(), ports_for, params)


async def test_a_partner_that_answers_and_says_it_is_well_passes() -> None:
    async with partner() as (_, ports_for):
        verdict = await look(ports_for)
        assert (verdict.status, verdict.observed) == (Status.PASS, "Payment gateway answers (200)")
        assert verdict.data == {
            "partners": {"payments": "pass"}, "probes": {"payments": "200"}, "pages": {"payments": "api operational"}
        }  # fmt: skip


@pytest.mark.parametrize(
    ("gateway", "away", "status", "said"),
    [
        (
            Gateway(500), "", Status.FAIL,
            "Payment gateway: 500, not 2xx within 0.3 s, but its status page says api operational: look at our "
            "credentials, our way out and our requests",
        ),
        (
            Gateway(401), "", Status.FAIL,
            "Payment gateway: 401 (refuses us), not 2xx within 0.3 s, but its status page says api operational: look "
            "at our credentials, our way out and our requests",
        ),
        (
            Gateway(page=DOWN), "", Status.WARN,
            "Payment gateway answers us (200), but its status page says api major outage (Elevated errors)",
        ),
        (
            Gateway(503, page=DOWN), "", Status.FAIL,
            "Payment gateway: 503, and its status page says api major outage (Elevated errors): the fault is theirs",
        ),
        (
            Gateway(delay=1.0), "", Status.FAIL,
            "Payment gateway: no answer within 0.3 s, not 2xx within 0.3 s, but its status page says api operational: "
            "look at our credentials, our way out and our requests",
        ),
        (
            Gateway(), "gateway", Status.UNKNOWN,
            "Payment gateway cannot be reached from here (GET gateway/ping: no connection to 127.0.0.1:9 (nothing "
            "answers there)), while its status page says api operational: nothing is known of it",
        ),
        (
            Gateway(page=DOWN), "gateway", Status.FAIL,
            "Payment gateway: GET gateway/ping: no connection to 127.0.0.1:9 (nothing answers there), and its status "
            "page says api major outage (Elevated errors): the fault is theirs",
        ),
        (
            Gateway(), "page", Status.WARN,
            "Payment gateway answers us (200), but its status page cannot be read (GET page/summary.json: no "
            "connection to 127.0.0.1:9 (nothing answers there))",
        ),
        (
            Gateway(500, page={"status": {}}), "", Status.FAIL,
            "Payment gateway: 500, not 2xx within 0.3 s; its status page cannot be read (it has no component api)",
        ),
    ],
)  # fmt: skip
async def test_probe_and_page_are_told_apart_however_they_disagree(
    gateway: Gateway, away: str, status: Status, said: str
) -> None:
    async with partner(gateway, away=away) as (_, ports_for):
        verdict = await look(ports_for)
        assert (verdict.status, verdict.observed) == (status, said)


@pytest.mark.parametrize(
    ("page", "status", "says"),
    [
        ({"status": {"indicator": "none", "description": "All is well"}}, Status.PASS, "All is well"),
        ({"status": {"indicator": "critical"}, "incidents": [{"name": "x"}, 5]}, Status.WARN, "critical (x)"),
        ({"status": {"indicator": "maintenance", "description": "Planned"}}, Status.WARN, "Planned"),
        ({"status": "none"}, Status.WARN, "it is no summary with a status"),
        ([], Status.WARN, "it is no summary with a status"),
        ("<html>", Status.WARN, "it is no summary with a status"),
    ],
)  # fmt: skip
async def test_a_page_without_named_components_counts_as_a_whole(page: Any, status: Status, says: str) -> None:
    async with partner(Gateway(page=page), GATEWAY.replace(", components: [api]", "")) as (_, ports_for):
        verdict = await look(ports_for)
        assert verdict.status is status
        assert verdict.data["pages"] == {"payments": says}


@pytest.mark.parametrize(
    ("page", "how", "status", "says"),
    [
        ("All services are\n up.\n", "good: '(?i)all services are up'", Status.PASS, "'All services are up.'"),
        ("Card payments are delayed", "good: '(?i)are up'", Status.WARN, "'Card payments are delayed'"),
        ("", "good: up", Status.WARN, "it is empty"),
        ({"health": "green"}, "good: ^green$, at: /health", Status.PASS, "'green'"),
        ({"health": "red"}, "good: ^green$, at: /health", Status.WARN, "'red'"),
        ({"state": "green"}, "good: ^green$, at: /health", Status.WARN, "nothing stands at /health"),
    ],
)
async def test_a_plain_page_says_what_it_says_when_all_is_well(page: Any, how: str, status: Status, says: str) -> None:
    async with partner(Gateway(page=page), GATEWAY.replace("components: [api]", f"form: plain, {how}")) as (_, got):
        verdict = await look(got)
        assert verdict.status is status
        assert verdict.data["pages"] == {"payments": says}


async def test_of_several_the_ones_that_are_not_well_are_told() -> None:
    more = "      mail: {probe: {target: page, path: /summary.json}}\n"
    async with partner(Gateway(500), GATEWAY + more) as (_, ports_for):
        verdict = await look(ports_for)
        assert verdict.status is Status.FAIL
        assert verdict.observed.startswith("Payment gateway: 500") and verdict.observed.endswith("; 1 of 2 answer")
        assert (await look(ports_for, PartnersAnsweringParams(only=["mail"]))).observed == "Mail answers (200)"
        assert (await look(ports_for, PartnersAnsweringParams(only=["mial"]))).status is Status.UNKNOWN


async def test_a_service_without_partners_passes_and_says_why() -> None:
    verdict = await look(lambda record: ports(http=HttpClient({}), partners=CataloguedPartners({})))
    assert (verdict.status, verdict.observed) == (Status.PASS, "the service has no partners in the catalogue")


def test_every_mistake_of_the_catalogue_is_said_with_its_place() -> None:
    with pytest.raises(Faults) as caught:
        load_catalogue(f"""{HEAD}\
      a: {{probe: {{target: gatway, path: ping}}, page: {{target: eu, form: plain, components: [x], good: "["}}}}
      b: {{probe: {{target: page}}, page: {{target: page, good: up}}}}
      c: {{page: {{target: page}}}}
""", "r")  # fmt: skip
    assert [str(f).removeprefix("r:").replace("services.shop.partners.", "") for f in caught.value.faults] == [
        "6:27: a.probe.target: there is no HTTP target 'gatway'; did you mean 'gateway'?",
        "6:41: a.probe.path: a path starts with one /, and is put behind the target's address",
        "6:54: a.page: a plain page needs `good`: what it says when all is well",
        "6:63: a.page.target: eu is no HTTP target",
        "6:92: a.page.components: a plain page has no components",
        "6:103: a.page.good: no regular expression: unterminated character set",
        "7:40: b.page: `good` and `at` are for a plain page: say form: plain",
        "8:10: c: 'probe' is missing",
    ]
