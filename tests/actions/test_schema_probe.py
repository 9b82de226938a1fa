"""`schema.probe`: a pod of the older release on the real shop, through the API server's proxy, without a customer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from actions.schema_probe import STARTS, SchemaProbe, SchemaProbeParams
from bot.adapters.http import HttpEndpoint
from bot.adapters.journeys import Walks
from bot.adapters.kubernetes import Clusters, ClusterTarget
from bot.adapters.postgres import PostgresDatabases
from bot.adapters.session import Session
from bot.contract import Json, NotYet, Outgoing, Receipt
from bot.playground.shop.shop import Shop
from bot.ports import Ports, Record
from bot.ports.journeys import Assertion, ExpectedAnswer, Journey, Request
from bot.ports.kubernetes import Cluster
from bot.redaction.redactor import Redactor
from bot.testing import Died, MemoryBlobs, MemoryRegistry, TestCtx, assert_lifecycle, ports

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROBE = SchemaProbe()
HERE = Cluster(
    "eu-1", "shop", settings=("shop-settings",), selector="app.kubernetes.io/part-of=shop",
    probe="deployment/shop-api:8080",
)  # fmt: skip
ANSWER = ExpectedAnswer(json={"/mug": (Assertion("is", "12.95"),)})
SHELF = Journey(
    "shelf", "Shelf", ("api",), (Request("GET", "/catalogue", "look around", expect=ANSWER),), reads=True,
    ways={"api": "eu-1"},
)  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """2.4.1 serves in one cluster."""
    async with Shop(tmp_path_factory.mktemp("probed"), ("eu-1",), deployed=("2.4.1",)) as made:
        yield made


class Trying:
    """One application of the action on the shop."""

    def __init__(self, shop: Shop, journey: Journey = SHELF, cluster: Cluster = HERE, **given: Any) -> None:
        self.shop, self.memo = shop, dict[str, Json]()
        self.now = datetime.now(UTC)
        self.clusters = Clusters([ClusterTarget(cluster, "eu-1")], str(shop.kubeconfig))
        away = {"api": HttpEndpoint("http://127.0.0.1:1")}  # nothing of it goes the way of customers
        self.walks = Walks("shop", {journey.name: journey}, away, Session())
        outgoing = [Outgoing(version="2.4.1", images=dict(self._images("2.4.1")))]
        self.p = SchemaProbeParams(
            **{"version": "2.4.0", "images": dict(self._images("2.4.0")), "outgoing": outgoing, **given}
        )
        self.key = f"run-1/probe/{id(self)}"

    def _images(self, version: str) -> Mapping[str, str]:
        return dict(self.shop.releases[version]["images"])

    def bound(self, record: Record) -> Ports:
        """Ports as wiring makes them."""
        return ports(
            kubernetes=self.clusters.bind(record), journeys=self.walks, databases=PostgresDatabases([]),
            blobs=MemoryBlobs(), registry=MemoryRegistry(), secrets=Redactor(),
        )  # fmt: skip

    def ctx(self, **how: Any) -> TestCtx:
        return TestCtx(self.bound, PROBE.needs, key=self.key, memo=self.memo, now=self.now, **how)

    async def once(self, **how: Any) -> Receipt:
        """One attempt."""
        return await PROBE.apply(self.ctx(acting=True, **how), self.p, await PROBE.plan(self.ctx(), self.p))

    async def whole(self) -> Receipt:
        """Attempts until it ends."""
        while True:
            try:
                return await self.once()
            except NotYet as wait:
                self.pods = self.there()
                await asyncio.sleep(min(wait.after, 0.1))

    def there(self) -> list[dict[str, Any]]:
        """The pods that the bot has made."""
        every = self.shop.clusters["eu-1"].all("Pod", "shop")
        return [p for p in every if "-probe-" in p["metadata"]["name"]]

    async def gone(self) -> None:
        """Returns once nothing of it is left."""
        await self.shop.clusters["eu-1"].until(lambda: not self.there(), 60)


@pytest_asyncio.fixture(loop_scope="module")
async def tries(shop: Shop) -> AsyncIterator[Callable[..., Trying]]:
    """Makes them, and closes what they have opened."""
    made: list[Trying] = []

    def one(*how: Any, **given: Any) -> Trying:
        made.append(Trying(shop, *how, **given))
        return made[-1]

    yield one
    for each in made:
        await each.clusters.close()
        await each.walks.close()


@pytest.fixture
def trying(tries: Callable[..., Trying]) -> Trying:
    return tries()


async def test_what_it_passes_is_a_proof_and_nothing_of_it_stays(trying: Trying) -> None:
    before = len(trying.shop.clusters["eu-1"].requests.writes("bot"))
    change = await PROBE.plan(trying.ctx(), trying.p)
    assert [e.what for e in change.effects] == [
        "eu-1/deployment/shop-api: start one pod of 2.4.0 beside it, without traffic, walk shelf, remove it"
    ]
    assert len(trying.shop.clusters["eu-1"].requests.writes("bot")) == before
    receipt = await trying.whole()
    assert receipt.output["passed"] == (
        "a pod of 2.4.0 without traffic in eu-1 passed 1 request of shelf on the schema as it is"
    )
    [pod] = trying.pods
    assert pod["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "rollback-bot"}
    assert not pod["metadata"].get("ownerReferences") and pod["spec"]["restartPolicy"] == "Never"
    assert pod["spec"]["activeDeadlineSeconds"] == 600
    assert pod["spec"]["containers"][0]["image"] == trying.shop.releases["2.4.0"]["images"]["shop-api"]
    await trying.gone()
    done = [(r.verb, r.resource) for r in trying.shop.clusters["eu-1"].requests.writes("bot")][before:]
    assert [d for d in done if d[0] != "patch"] == [("create", "pods"), ("delete", "pods")]


async def test_a_journey_that_fails_proves_nothing_and_is_told(tries: Callable[..., Trying]) -> None:
    dearer = replace(SHELF.steps[0], expect=ExpectedAnswer(json={"/mug": (Assertion("is", "99.00"),)}))
    trying = tries(replace(SHELF, steps=(dearer,)))
    receipt = await trying.whole()
    assert receipt.output == {"passed": ""}
    said = "2.4.0 on this schema: shelf, look around (GET /catalogue): /mug is \"12.95\", expected '99.00'"
    assert receipt.detail == said
    await trying.gone()


async def test_an_image_that_does_not_come_up_proves_nothing(shop: Shop, tries: Callable[..., Trying]) -> None:
    image = shop.releases["2.4.0"]["images"]["shop-api"]
    nowhere = f"{image.partition('@')[0]}@sha256:{'0' * 64}"
    trying = tries(images={**shop.releases["2.4.0"]["images"], "shop-api": nowhere})
    receipt = await trying.whole()
    assert receipt.output == {"passed": ""} and "2.4.0 does not come up on this schema" in receipt.detail
    await trying.gone()


async def test_one_that_is_never_ready_is_given_up(trying: Trying) -> None:
    with pytest.raises(NotYet):
        await trying.once()
    trying.shop.clusters["eu-1"].requests.clear()
    [pod] = trying.there()
    trying.now += STARTS + timedelta(seconds=1)
    receipt = await trying.once()
    given_up = "was not ready after 120 s" in receipt.detail
    assert given_up or receipt.output["passed"], receipt.detail  # it may have come up since
    assert pod["metadata"]["name"].startswith("shop-api-probe-")
    await trying.gone()


async def test_a_crash_before_each_changing_call_leaves_one_pod_at_most_and_none_in_the_end(trying: Trying) -> None:
    with pytest.raises(Died):
        await trying.once(dies_at=1)
    assert not trying.there()
    with pytest.raises(NotYet):
        await trying.once()
    died = False
    while not died:
        try:
            await trying.once(dies_at=1)
        except NotYet:
            await asyncio.sleep(0.1)
        except Died as death:
            died = True
            assert "delete pod shop-api-probe-" in str(death)
    assert len(trying.there()) == 1
    assert (await trying.whole()).output["passed"]
    await trying.gone()


async def test_where_the_bot_may_not_start_pods_nothing_is_proven_and_nothing_stops(trying: Trying) -> None:
    cluster = trying.shop.clusters["eu-1"]
    [role] = [r for r in cluster.all("Role", "shop") if r["metadata"]["name"] == "rollback-bot"]
    rules = [r for r in role["rules"] if "pods" not in r["resources"]]
    cluster.apply({**role, "rules": [*rules, {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]})
    try:
        receipt = await trying.whole()
    finally:
        cluster.apply({"apiVersion": role["apiVersion"], "kind": "Role", "metadata": {
            "name": "rollback-bot", "namespace": "shop"}, "rules": role["rules"]})  # fmt: skip
    assert receipt.output == {"passed": ""} and "could not be tried: eu-1: " in receipt.detail


@pytest.mark.parametrize(
    ("cluster", "journey", "why"),
    [
        (replace(HERE, probe=""), SHELF, "no cluster of the catalogue names a `probe`"),
        (HERE, replace(SHELF, reads=False), "no journey of the catalogue only reads"),
        (HERE, replace(SHELF, ways={}), "no journey that only reads leads into eu-1"),
    ],
)
async def test_without_a_place_or_a_journey_for_it_nothing_is_tried(
    tries: Callable[..., Trying], cluster: Cluster, journey: Journey, why: str
) -> None:
    trying = tries(journey, cluster)
    change = await PROBE.plan(trying.ctx(), trying.p)
    assert change.is_noop and change.summary == f"not tried: {why}"
    assert (await trying.once()).output == {"passed": ""}


async def test_a_header_that_does_not_pass_the_api_server_leaves_it_unknown(tries: Callable[..., Trying]) -> None:
    step = replace(SHELF.steps[0], headers={"Authorization": "Bearer synthetic"})
    trying = tries(replace(SHELF, steps=(step,)))
    receipt = await trying.whole()
    assert receipt.output == {"passed": ""} and "a header Authorization does not pass the API server" in receipt.detail
    await trying.gone()


async def test_lifecycle(trying: Trying) -> None:
    async def world() -> Mapping[str, Json]:  # its pod is an effect: the workloads are what must stay as they are
        every = trying.shop.clusters["eu-1"].all("Deployment", "shop")
        return {d["metadata"]["name"]: d["metadata"]["generation"] for d in every}

    await assert_lifecycle(PROBE, trying.bound, trying.p, world=world, drift=None, replayed=2)
    assert all(
        p["spec"]["activeDeadlineSeconds"] == 600 for p in trying.there()
    )  # what a crash has left ends by itself
