"""`artifacts.present` over the real adapters: what is not there is named, with where it was looked for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

import pytest

from bot.adapters.registry import RegistryClient
from bot.contract import Json, Status, Verdict
from bot.playground.cluster import Registry
from bot.ports import Blob
from bot.testing import run_check
from checks.artifacts_present import ArtifactsPresent, ArtifactsPresentOutput, ArtifactsPresentParams
from tests.fixtures.cluster import deployment
from tests.fixtures.clusters_workers import Fleet, fleet, image

PASSWORD = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "shop-db", "key": "password"}}}
REFERENCE: Mapping[str, Json] = {
    "eu-1/configmap/shop-settings/data/PAYMENTS": "live",
    "eu-1/deployment/shop-worker/env/shop-worker/PASSWORD": {"secret": "shop-db", "key": "password"},
}


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    async with Registry() as registry:
        yield registry


@pytest.fixture
async def shop() -> AsyncIterator[Fleet]:
    images = RegistryClient(timeout=10.0, environment={})
    async with fleet(registry=images) as shop:
        yield shop
    await images.close()


@pytest.fixture
def api(registry: Registry) -> str:
    return registry.add(f"{registry.host}/shop/api", "2.4.0", ["true"])


async def kept(shop: Fleet, settings: object = REFERENCE) -> Blob:
    return await shop.blobs.put(json.dumps(settings).encode(), "application/json")


async def look(shop: Fleet, settings: Blob | None, **images: str) -> Verdict:
    return await run_check(ArtifactsPresent(), shop.ports_for, ArtifactsPresentParams(images=images, settings=settings))


async def use_the_secret(shop: Fleet) -> None:
    """The worker that serves today has it too, and is ready."""
    shop.eu.apply(deployment(image("worker", "2.4.1"), "shop-worker", 1, probe=False))
    body = deployment(image("worker", "2.4.1"), "shop-worker", 1, probe=False)
    body["spec"]["template"]["spec"]["containers"][0]["env"] = [PASSWORD]
    shop.eu.apply(body)
    for _ in range(3):
        await shop.beat()


async def test_images_and_settings_that_are_there_pass(shop: Fleet, api: str) -> None:
    await use_the_secret(shop)
    verdict = await look(shop, await kept(shop), api=api)
    assert (verdict.status, verdict.observed) == (Status.PASS, "1 image there")


async def test_a_secret_that_no_ready_pod_uses_is_said_to_be_unseen_and_never_read(shop: Fleet, api: str) -> None:
    verdict = await look(shop, await kept(shop), api=api)
    assert verdict.status is Status.WARN
    assert verdict.observed == (
        "1 image there; Secrets not looked at, which the bot may not read: eu-1: shop-db/password"
    )
    assert shop.eu.requests.count(user="bot", resource="secrets") == 0


async def test_an_image_that_is_gone_is_named_with_its_registry(shop: Fleet, registry: Registry, api: str) -> None:
    repository, _, digest = api.partition("@")
    registry.remove(f"{registry.host}/shop/api", digest)
    verdict = await look(shop, await kept(shop, {}), api=api)
    assert verdict.status is Status.FAIL
    assert verdict.data["missing"] == {"image of api": f"{digest[:19]}… is not in {repository}"}


async def test_an_image_without_a_digest_proves_nothing(shop: Fleet) -> None:
    verdict = await look(shop, await kept(shop, {}), api="registry.example/shop/api:2.4.0")
    assert verdict.status is Status.FAIL
    assert verdict.observed == "image of api: registry.example/shop/api:2.4.0 is not pinned by digest"


async def test_a_registry_that_does_not_answer_is_unknown(shop: Fleet, api: str) -> None:
    verdict = await look(shop, await kept(shop, {}), api=f"127.0.0.1:9/shop/api@{api.partition('@')[2]}")
    assert (verdict.status, verdict.data["missing"]) == (Status.UNKNOWN, {})


async def test_a_snapshot_that_is_gone_is_missing(shop: Fleet, api: str) -> None:
    lost = Blob(f"sha256:{'0' * 64}", 2, "application/json")
    verdict = await look(shop, lost, api=api)
    assert (verdict.status, verdict.observed) == (
        Status.FAIL, "settings: sha256:000000000000… is not in the bot's files"
    )  # fmt: skip


@pytest.mark.parametrize("text", ["[]", "no json"])
async def test_a_snapshot_that_is_none_is_missing(shop: Fleet, api: str, text: str) -> None:
    blob = await shop.blobs.put(text.encode(), "application/json")
    assert (await look(shop, blob, api=api)).status is Status.FAIL


async def test_a_release_without_a_snapshot_only_warns(shop: Fleet, api: str) -> None:
    verdict = await look(shop, None, api=api)
    assert (verdict.status, verdict.observed) == (
        Status.WARN, "1 image there; no settings were kept of it: those of today stay"
    )  # fmt: skip


async def test_a_cluster_that_does_not_answer_leaves_its_secrets_unknown(shop: Fleet, api: str) -> None:
    blob = await kept(shop)
    await shop.eu.disconnect()
    verdict = await look(shop, blob, api=api)
    seen = ArtifactsPresentOutput.model_validate(verdict.data)
    assert (verdict.status, [*seen.unknown]) == (Status.UNKNOWN, ["Secrets in eu-1"])
