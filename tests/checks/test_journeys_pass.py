"""`journeys.pass`: what customers do, told journey by journey; nothing that is not known passes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bot.adapters.http import HttpEndpoint
from bot.adapters.journeys import Walks
from bot.adapters.session import Session
from bot.catalogue import load_catalogue
from bot.contract import Status, Verdict
from bot.testing import PortsFor, ports, run_check
from checks.journeys_pass import JourneysPass, JourneysPassParams
from tests.adapters.test_journeys import Remembered
from tests.fixtures.customers import PASSWORD, Customers, customers

FILE = """
roles: {commander: {people: [U1]}, approver: {people: [U2]}}
services:
  shop:
    targets: {api: {http: "http://shop"}, api-us: {http: "http://us"}}
    journeys:
      shelf: {target: [api, api-us], reads: true, steps: [{get: /page, expect: {json: {/ok: true}}}]}
      authentication:
        target: api
        variables: {password: SHOP_PASSWORD}
        steps:
          - title: sign in
            post: /sessions
            body: {user: synthetic-1, password: "${password}"}
            capture: {session: /token}
        clean_up: [{delete: "/sessions/${session}"}]
"""


@asynccontextmanager
async def service(us: str = "") -> AsyncIterator[tuple[Customers, PortsFor]]:
    """us: address of the other way in, where it is not the same."""
    journeys = load_catalogue(FILE, "r").services["shop"].journeys
    session = Session()
    async with customers() as shop:
        targets = {"api": HttpEndpoint(shop.url), "api-us": HttpEndpoint(us or shop.url, timeout=20.0)}
        values = {"authentication": {"password": PASSWORD}}
        walks = Walks("shop", journeys, targets, session, values, memory=Remembered())
        yield shop, lambda record: ports(journeys=walks)
    await session.close()


async def look(ports_for: PortsFor, params: JourneysPassParams = JourneysPassParams()) -> Verdict:  # noqa: B008
    return await run_check(JourneysPass(), ports_for, params)


async def test_every_journey_on_each_of_its_targets_passes() -> None:
    async with service() as (shop, ports_for):
        verdict = await look(ports_for)
        assert verdict.status is Status.PASS
        assert verdict.expected == "3 of 3 as the catalogue says"
        assert (verdict.data["passed"], verdict.data["walks"], verdict.data["left"]) == (3, 3, [])
        assert verdict.observed.startswith("shelf on api 1 of 1 in ")
        assert not shop.sessions


async def test_a_failing_journey_says_step_what_came_and_what_was_expected() -> None:
    async with service() as (shop, ports_for):
        shop.broken["/sessions"] = 503
        verdict = await look(ports_for)
        assert verdict.status is Status.FAIL
        assert verdict.observed == (
            "authentication: step 1 of 1, sign in (POST /sessions): "
            '503 ({"error": "as asked for"}), not 2xx; 2 of 3 pass'
        )
        assert verdict.data["failed"] == ["authentication"]


async def test_a_region_that_cannot_be_reached_is_unknown_however_well_the_other_is() -> None:
    async with service(us="http://127.0.0.1:9") as (_, ports_for):
        verdict = await look(ports_for)
        assert verdict.status is Status.UNKNOWN
        assert "shelf on api-us: step 1, GET /page: GET api-us/page: no connection" in verdict.observed
        assert verdict.data["unknown"] == ["shelf on api-us"]


async def test_a_journey_that_passes_and_is_not_cleaned_up_is_a_warning() -> None:
    async with service() as (shop, ports_for):
        shop.broken["/sessions/session-of-0-synthetic-1"] = 500
        verdict = await look(ports_for)
        assert verdict.status is Status.WARN
        assert "not cleaned up: walk rb-" in verdict.observed and "answered 500" in verdict.observed


async def test_what_only_reads_can_be_walked_alone() -> None:
    async with service() as (shop, ports_for):
        verdict = await look(ports_for, JourneysPassParams(reads=True))
        assert verdict.data["walks"] == 2 and {a.partition("?")[0] for a in shop.asked} == {"GET /page"}


@pytest.mark.parametrize(
    ("params", "words"),
    [
        (JourneysPassParams(only=["payments"]), "the catalogue has no journey payments"),
        (JourneysPassParams(only=["authentication"], reads=True), "none of the journeys only reads"),
    ],
)
async def test_nothing_to_walk_is_no_pass(params: JourneysPassParams, words: str) -> None:
    async with service() as (_, ports_for):
        verdict = await look(ports_for, params)
        assert (verdict.status, verdict.observed) == (Status.UNKNOWN, words)


async def test_a_service_without_journeys_passes_and_says_why() -> None:
    walks = Walks("shop", {}, {}, Session())
    verdict = await look(lambda record: ports(journeys=walks))
    assert (verdict.status, verdict.observed) == (Status.PASS, "the service has no journeys in the catalogue")
