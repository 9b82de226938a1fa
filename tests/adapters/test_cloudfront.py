"""CloudFront over its real protocol (ministack): what is begun once, and an origin that is switched; and its S3, which
holds a write to the version that it names."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from actions.edge_invalidate import EdgeInvalidate, EdgeInvalidateParams
from actions.frontend_publish import FrontendPublish, FrontendPublishParams
from bot.adapters.aws.account import Access
from bot.adapters.aws.sites import S3Sites
from bot.adapters.edges import EdgeEndpoint, EdgesClient
from bot.contract import Fatal, Json, NotYet, Retryable
from bot.ports import Ports, ReadOnly, Record, Unreachable
from bot.ports.edges import Origin
from bot.ports.sites import Missing
from bot.testing import MemoryBlobs, TestCtx, assert_lifecycle, ports
from tests.fixtures.cloudfront import Cloud, cloud
from tests.fixtures.frontend_bucket import BAD, CREDENTIALS, GOOD, Bucket, bucket_on, outgoing
from tests.fixtures.s3 import bucket as bucket

PATHS = ["/", "/index.html", "/caf\u00e9 1.html"]


@pytest.fixture(scope="module")
def aws() -> Iterator[Cloud]:
    with cloud() as found:
        yield found


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")):
        monkeypatch.setenv(name, value)


class At:
    """An edge at one distribution."""

    def __init__(self, aws: Cloud, id: str, origin: str = "") -> None:
        self.id, self.commands = id, list[str]()
        access = Access("us-east-1", aws.url, timeout=10.0)
        self.edges = EdgesClient(
            {"cdn": EdgeEndpoint("http://shop.example", cloudfront=id, origin=origin, access=access)}
        )

    async def record(self, command: str) -> None:
        self.commands.append(command)

    @property
    def writing(self) -> EdgesClient:
        return self.edges.bind(self.record)


@pytest.fixture
async def at(aws: Cloud) -> AsyncIterator[At]:
    there = At(aws, aws.distribution(path="/builds/2.4.1"))
    yield there
    await there.edges.close()


async def test_an_invalidation_is_begun_once_for_a_key_and_its_paths(aws: Cloud, at: At) -> None:
    first = await at.writing.invalidate("cdn", PATHS, "r1/invalidate/1")
    assert await at.writing.invalidate("cdn", PATHS, "r1/invalidate/1") == first
    assert await at.writing.invalidate("cdn", PATHS, "r1/invalidate/2") != first
    assert await at.writing.invalidate("cdn", ["/"], "r1/invalidate/1") != first
    assert await at.edges.invalidated("cdn", first)
    begun = aws.invalidations(at.id)
    assert len(begun) == 3
    assert {"/", "/index.html", "/caf%C3%A9%201.html"} in [{*b["Paths"]["Items"]} for b in begun]


async def test_what_is_recorded_is_what_a_person_types(aws: Cloud, at: At) -> None:
    await at.writing.invalidate("cdn", PATHS, "k")
    assert at.commands == [
        f"aws --endpoint-url {aws.url} --region us-east-1 cloudfront create-invalidation "
        f"--distribution-id {at.id} --paths / /index.html /caf%C3%A9%201.html"
    ]
    assert at.edges.commands("cdn", PATHS) == at.commands


async def test_nothing_is_begun_where_the_record_refuses(aws: Cloud, at: At) -> None:
    with pytest.raises(ReadOnly):
        await at.edges.invalidate("cdn", PATHS, "k")
    with pytest.raises(ReadOnly):
        await at.edges.point("cdn", "/x", await at.edges.origin("cdn"))
    assert aws.invalidations(at.id) == []


async def test_an_origin_is_pointed_over_the_version_that_was_read(aws: Cloud, at: At) -> None:
    read = await at.edges.origin("cdn")
    assert read.path == "/builds/2.4.1"
    await at.writing.point("cdn", "/builds/2.4.0", read)
    now = await at.edges.origin("cdn")
    assert now.path == "/builds/2.4.0" and now.version != read.version
    with pytest.raises(ValueError, match="changed by somebody else just now"):
        await at.writing.point("cdn", "/builds/9", read)
    assert (await at.edges.origin("cdn")).path == "/builds/2.4.0"


async def test_of_several_origins_one_is_named_and_no_other_is_touched(aws: Cloud) -> None:
    id = aws.distribution("site", "api", path="/old")
    unnamed, named = At(aws, id), At(aws, id, "site")
    with pytest.raises(Missing, match=r"name one of its origins \(site, api\)"):
        await unnamed.edges.origin("cdn")
    await named.writing.point("cdn", "/new", await named.edges.origin("cdn"))
    config = aws.front.get_distribution_config(Id=id)["DistributionConfig"]
    assert {o["Id"]: o["OriginPath"] for o in config["Origins"]["Items"]} == {"site": "/new", "api": "/old"}
    for there in (unnamed, named):
        await there.edges.close()


async def test_a_distribution_that_is_not_there_is_told(aws: Cloud) -> None:
    gone = At(aws, "E0NOSUCH")
    with pytest.raises(Missing, match="NoSuchDistribution"):
        await gone.edges.origin("cdn")
    await gone.edges.close()


async def test_no_answer_is_unreachable() -> None:
    away = EdgesClient(
        {"cdn": EdgeEndpoint("http://x", cloudfront="E1", access=Access("us-east-1", "http://127.0.0.1:9"))}
    )
    with pytest.raises(Unreachable, match="Could not connect"):
        await away.origin("cdn")
    await away.close()


async def test_lifecycle_of_an_invalidation(aws: Cloud, bucket: Bucket, at: At) -> None:
    good, bad = bucket.build("2.4.0", GOOD), bucket.build("2.4.1", {k: v for k, v in BAD.items() if k != "sw.js"})
    sites = S3Sites({"www": bucket.target()})

    def bound(record: Record) -> Ports:
        return ports(sites=sites.bind(record), edges=at.edges.bind(record))

    async def nothing() -> dict[str, Json]:
        return {}

    p = EdgeInvalidateParams(build=str(good), outgoing=[outgoing("2.4.1", bad)])
    await assert_lifecycle(EdgeInvalidate(), bound, p, world=nothing, drift=None, replayed=1)
    begun = aws.invalidations(at.id)
    assert len({b["CallerReference"] for b in begun}) == len(begun)
    assert all(b["CallerReference"].startswith("run-1/step/") for b in begun)
    await sites.close()


# -- a site that is switched -----------------------------------------------------------------------------------------


class Switched:
    """A site whose edge reads the build's own folder."""

    def __init__(self, aws: Cloud, bucket: Bucket, at: At) -> None:
        self.aws, self.at = aws, at
        self.good, self.bad = bucket.build("2.4.0", GOOD, served=True), bucket.build("2.4.1", BAD, served=True)
        self.sites = S3Sites({"www": bucket.target(switch="cdn")})
        self.params = FrontendPublishParams(build=str(self.good), outgoing=[outgoing("2.4.1", self.bad)])

    def ports_for(self, record: Record) -> Ports:
        sites, edges = self.sites.bind(record), self.at.edges.bind(record)
        return ports(sites=sites, edges=edges, blobs=MemoryBlobs())

    async def world(self) -> dict[str, Json]:
        return {"origin": (await self.at.edges.origin("cdn")).path}

    async def move(self) -> None:
        await self.at.writing.point("cdn", "/elsewhere", await self.at.edges.origin("cdn"))


async def test_lifecycle_of_a_switch(aws: Cloud, bucket: Bucket, at: At) -> None:
    s = Switched(aws, bucket, at)
    before = bucket.there("")
    change = await assert_lifecycle(
        FrontendPublish(), s.ports_for, s.params, world=s.world, drift=s.move,
    )  # fmt: skip
    assert [(e.target, e.before, e.after) for e in change.edits] == [("www/origin", "/builds/2.4.1", "/builds/2.4.0")]
    assert change.effects == () and bucket.there("") == before  # no object is copied
    assert any("no longer find files of the build that goes" in w for w in change.warnings)
    await s.sites.close()


async def test_an_edge_is_not_switched_to_a_build_that_is_not_whole(aws: Cloud, bucket: Bucket, at: At) -> None:
    s = Switched(aws, bucket, at)
    bucket.s3.delete_object(Bucket=bucket.name, Key="builds/2.4.0/logo.png")
    with pytest.raises(Fatal, match=r"builds/2\.4\.0 is not whole: logo\.png: missing"):
        await FrontendPublish().plan(TestCtx(s.ports_for, FrontendPublish.needs), s.params)
    bucket.put("builds/2.4.0/logo.png", GOOD["logo.png"])
    with pytest.raises(Fatal, match=r"logo\.png: is served with binary/octet-stream, no Cache-Control, not image/png"):
        await FrontendPublish().plan(TestCtx(s.ports_for, FrontendPublish.needs), s.params)
    await s.sites.close()


class Deploying(EdgesClient):
    """As CloudFront is: a configuration reaches the edges by and by."""

    deployed = False

    def bind(self, record: Record) -> Deploying:
        return self

    async def origin(self, edge: str) -> Origin:
        return Origin("/builds/2.4.0", self.deployed, "E1")


async def test_a_switch_is_done_once_every_edge_has_it(aws: Cloud, bucket: Bucket, at: At) -> None:
    s = Switched(aws, bucket, at)
    change = await FrontendPublish().plan(TestCtx(s.ports_for, FrontendPublish.needs), s.params)
    await at.edges.close()
    at.edges = slow = Deploying({})
    ctx = TestCtx(s.ports_for, FrontendPublish.needs, acting=True)
    with pytest.raises(NotYet, match=r"www: not every edge reads /builds/2\.4\.0 yet"):
        await FrontendPublish().apply(ctx, s.params, change)
    slow.deployed = True
    assert (await FrontendPublish().apply(ctx, s.params, change)).detail == "www to build builds/2.4.0"
    await s.sites.close()


async def test_the_worker_of_a_switched_site_is_named_as_it_cannot_be_replaced(
    aws: Cloud, bucket: Bucket, at: At
) -> None:
    s = Switched(aws, bucket, at)
    p = EdgeInvalidateParams(build=s.params.build, outgoing=s.params.outgoing)
    change = await EdgeInvalidate().plan(TestCtx(s.ports_for, EdgeInvalidate.needs), p)
    assert change.edits == () and any(w.startswith("www/sw.js is a service worker") for w in change.warnings)
    await s.sites.close()


async def test_two_nodes_that_publish_at_once_end_on_the_build_on_a_store_that_holds_writes_to_versions(
    aws: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    there = bucket_on(aws.url, "two-publishers")
    good, bad = there.build("2.4.0", GOOD), there.build("2.4.1", BAD)
    there.publish(BAD)
    p = FrontendPublishParams(build=str(good), outgoing=[outgoing("2.4.1", bad)])
    nodes = [S3Sites({"www": there.target()}) for _ in range(2)]

    async def publish(sites: S3Sites) -> None:
        def bound(record: Record) -> Ports:
            return ports(sites=sites.bind(record), edges=EdgesClient({}), blobs=MemoryBlobs())

        change = await FrontendPublish().plan(TestCtx(bound, FrontendPublish.needs), p)
        for _ in range(10):  # as the engine tries again what says that somebody else was quicker
            with contextlib.suppress(Retryable):
                await FrontendPublish().apply(TestCtx(bound, FrontendPublish.needs, acting=True), p, change)
                return

    try:
        await asyncio.gather(*map(publish, nodes))
        assert there.whole(GOOD) == []
        held = {sites.account("www").conditional for sites in nodes}  # None of one that found all done already
        assert held <= {True, None} and True in held
    finally:
        for sites in nodes:
            await sites.close()
