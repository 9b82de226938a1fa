"""`access.granted` over the real adapters: what is missing is named with what it is needed for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from bot.adapters.http import HttpClient, HttpEndpoint
from bot.adapters.registry import RegistryClient
from bot.contract import Status, Verdict
from bot.playground.cluster import Registry
from bot.testing import run_check
from checks.access_granted import AccessGranted, AccessGrantedOutput, AccessGrantedParams
from tests.fixtures.clusters_workers import Fleet, fleet
from tests.fixtures.lone_shop import Fault, Shop


@pytest.fixture
async def site() -> AsyncIterator[Shop]:
    async with Shop("2.4.1", delay=0.0) as site:
        yield site


@pytest.fixture
async def shop(site: Shop) -> AsyncIterator[Fleet]:
    images, http = (
        RegistryClient(timeout=10.0, environment={}),
        HttpClient({"api": HttpEndpoint(site.url, timeout=10.0)}),
    )
    async with fleet("eu-1", "us-1", registry=images, http=http) as shop:
        yield shop
    await http.close()
    await images.close()


@pytest.fixture
async def api(shop: Fleet) -> AsyncIterator[str]:
    """An image that is really in a registry."""
    async with Registry() as registry:
        yield registry.add(f"{registry.host}/shop/api", "2.4.0", ["true"])


async def look(shop: Fleet, image: str) -> Verdict:
    params = AccessGrantedParams(images={"api": image}, http={"api": "/healthz"})
    return await run_check(AccessGranted(), shop.ports_for, params)


async def test_rights_and_answers_pass_and_say_who_was_asked(shop: Fleet, api: str) -> None:
    verdict = await look(shop, api)
    repository = api.partition("@")[0]
    assert (verdict.status, verdict.observed) == (
        Status.PASS, f"all there, and allowed: eu-1, us-1, {repository}, api"
    )  # fmt: skip
    assert not shop.eu.requests.writes("bot")


async def test_a_right_that_is_missing_is_named_with_what_it_is_for(shop: Fleet, api: str) -> None:
    role = json.loads(json.dumps(shop.eu.get("ClusterRole", "rollback-bot", "")))
    for rule in role["rules"]:
        if "cronjobs" in rule["resources"]:
            rule["verbs"] = [v for v in rule["verbs"] if v not in ("patch", "*")]
    shop.eu.apply(role)
    verdict = await look(shop, api)
    assert verdict.status is Status.FAIL
    wanted = "patch cronjobs.batch in shop, to pause workers and put the release back"
    assert verdict.data["missing"] == {"eu-1": [wanted]}
    assert verdict.observed == f"eu-1: may not {wanted}"


async def test_without_the_right_to_make_workloads_it_warns_of_what_is_lost(shop: Fleet, api: str) -> None:
    role = json.loads(json.dumps(shop.eu.get("ClusterRole", "rollback-bot", "")))
    for rule in role["rules"]:
        if rule["apiGroups"] == ["batch"]:
            rule["verbs"] = [v for v in rule["verbs"] if v not in ("create", "delete")]
    shop.eu.apply(role)
    verdict = await look(shop, api)
    lost = "to bring back what is gone, which is only named without it"
    assert verdict.status is Status.WARN
    assert verdict.data["missing"] == {
        "eu-1": [f"{verb} cronjobs.batch in shop, {lost}" for verb in ("create", "delete")]
    }


async def test_a_cluster_that_does_not_answer_is_unknown(shop: Fleet, api: str) -> None:
    await shop.clusters["us-1"].disconnect()
    verdict = await look(shop, api)
    assert verdict.status is Status.UNKNOWN
    assert verdict.observed.startswith("us-1: no connection to ")


async def test_a_registry_that_does_not_answer_is_unknown(shop: Fleet, api: str) -> None:
    gone = f"127.0.0.1:9/shop/api@{api.partition('@')[2]}"
    verdict = await look(shop, gone)
    seen = AccessGrantedOutput.model_validate(verdict.data)
    assert (verdict.status, [*seen.unreachable]) == (Status.UNKNOWN, ["127.0.0.1:9/shop/api"])


async def test_an_image_that_is_gone_is_another_checks_business(shop: Fleet, api: str) -> None:
    other = f"{api.partition('@')[0]}@sha256:{'0' * 64}"
    assert (await look(shop, other)).status is Status.PASS


@pytest.mark.parametrize(("status", "verdict"), [(401, Status.FAIL), (403, Status.FAIL), (500, Status.PASS)])
async def test_a_target_that_does_not_let_us_in_fails(
    shop: Fleet, site: Shop, api: str, status: int, verdict: Status
) -> None:
    site.break_next(Fault(status=status))
    seen = await look(shop, api)
    assert seen.status is verdict  # what it answers is the health check's business
    if verdict is Status.FAIL:
        assert seen.observed == f"api: may not GET /healthz, to see how the service is (refused with {status})"
