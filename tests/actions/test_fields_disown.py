"""`fields.disown` over the real adapter: after it the team's next server-side apply meets no conflict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest

from actions.fields_disown import FieldsDisown, FieldsDisownParams
from bot.contract import Fatal
from bot.ports import Json
from bot.ports.kubernetes import Place
from bot.testing import assert_lifecycle
from tests.fixtures.cluster import deployment
from tests.fixtures.clusters_guarded import Paths, api, part, paths, unrecorded
from tests.fixtures.clusters_workers import image

DISOWN, PARAMS = FieldsDisown(), FieldsDisownParams()
API = Place("eu-1", "deployment", "shop-api")


async def upgrade(shop: Paths, release: str, name: str = "shop-api") -> str:
    """What `helm upgrade` does, as the team's pipeline; why not, "" where it went through."""
    body = api(release) if name == "shop-api" else web(release)
    body["metadata"].pop("namespace")
    url = f"{shop.eu.url}/apis/apps/v1/namespaces/shop/deployments/{name}?fieldManager=helm"
    headers = {"Authorization": "Bearer playground-ci", "Content-Type": "application/apply-patch+yaml"}
    async with aiohttp.ClientSession() as http, http.patch(url, json=body, headers=headers) as answer:
        said = await answer.json()
        return "" if answer.status in (200, 201) else str(said["message"])


def web(release: str) -> Any:
    return part("shop", deployment(image("web", release), "shop-web", 1, probe=False))


@pytest.fixture
async def shop() -> AsyncIterator[Paths]:
    """A chart was installed with the bad release, and the bot has put its image back."""
    async with paths() as found:
        for name in ("shop-api", "billing"):
            found.eu.core.delete(found.eu.access.users["admin"], _deployments(), "shop", name)
        for name in ("shop-api", "shop-web"):
            assert await upgrade(found, "2.4.1", name) == ""
        await put_back(found, API)
        yield found


def _deployments() -> Any:
    from bot.playground.cluster import resources

    return resources.DEPLOYMENTS


async def put_back(shop: Paths, place: Place) -> None:
    adapter = shop.adapter.bind(unrecorded)
    seen = await adapter.get(place)
    assert seen is not None
    container = place.name
    await adapter.write(seen, {f"image/{container}": image(container.removeprefix("shop-"), "2.4.0")})


def managers(shop: Paths) -> Mapping[str, Json]:
    """Who owns something, and what runs."""
    found: dict[str, Json] = {}
    for obj in shop.eu.all("Deployment", "shop"):
        name = obj["metadata"]["name"]
        found[f"{name}/managers"] = sorted(e["manager"] for e in obj["metadata"].get("managedFields") or ())
        found[f"{name}/spec"] = obj["spec"]
    return found


async def test_lifecycle(shop: Paths) -> None:
    async def world() -> Mapping[str, Json]:
        return managers(shop)

    async def drift() -> None:
        for name in ("shop-api", "shop-web"):
            seen = await shop.adapter.get(Place("eu-1", "deployment", name))
            assert seen is not None
            await shop.adapter.bind(unrecorded).write(seen, {"annotation/example.com/note": "x"})

    change = await assert_lifecycle(DISOWN, shop.ports_for, PARAMS, world=world, drift=drift, wait=shop.wait)
    assert change.summary == "eu-1: 1 object can be applied by their own tools again, no value changes"


async def test_the_teams_next_upgrade_fails_before_and_goes_through_after(shop: Paths) -> None:
    told = await upgrade(shop, "2.4.2")
    assert 'conflict with "rollback-bot"' in told and told.endswith("image")
    before = managers(shop)["shop-api/spec"]
    _, commands = await shop.apply(DISOWN, PARAMS, await shop.plan(DISOWN, PARAMS))
    assert managers(shop)["shop-api/spec"] == before
    (line,) = commands
    assert line.startswith("kubectl --context eu-1 -n shop patch deployment/shop-api --type=json -p ")
    assert '"op": "test"' in line and "managedFields" in line
    assert await upgrade(shop, "2.4.2") == ""
    assert await shop.deploy(api("2.4.3")) == "", "client-side tools go on as before"


async def test_it_gives_up_the_only_entry_too(shop: Paths) -> None:
    shop.eu.apply(web("2.4.1"))  # by nobody that the cluster knows of
    obj = shop.eu.get("Deployment", "shop-web", "shop")
    shop.eu.store.put(_deployments(), obj | {"metadata": {k: v for k, v in obj["metadata"].items()
                                                        if k != "managedFields"}})  # fmt: skip
    await put_back(shop, Place("eu-1", "deployment", "shop-web"))
    assert managers(shop)["shop-web/managers"] == ["rollback-bot"]
    await shop.apply(DISOWN, PARAMS, await shop.plan(DISOWN, PARAMS))
    assert managers(shop)["shop-web/managers"] == []
    assert (await shop.plan(DISOWN, PARAMS)).is_noop


async def test_one_cluster_that_cannot_be_reached_is_named_and_the_others_are_done() -> None:
    async with paths("eu-1", "us-1") as shop:
        await put_back(shop, API)
        await shop.clusters["us-1"].disconnect()
        change = await shop.plan(DISOWN, PARAMS)
        assert change.warnings[0].startswith("not reached: us-1")
        with pytest.raises(Fatal, match="us-1 could not be reached"):
            await shop.apply(DISOWN, PARAMS, change)
        assert managers(shop)["shop-api/managers"] == []
