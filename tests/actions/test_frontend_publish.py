"""The previous build is published over a real S3 server; whatever breaks in between, no page names what is missing."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
from aiohttp import web

from actions.frontend_publish import FrontendPublish, FrontendPublishParams
from bot.adapters.aws.sites import S3Sites
from bot.adapters.edges import EdgesClient
from bot.contract import Change, Fatal, Retryable
from bot.ports import Blob, Ports, Record, Unreachable
from bot.ports.builds import Build, Headers
from bot.testing import Died, MemoryBlobs, PortsFor, TestCtx, assert_lifecycle, ports
from tests.fixtures.frontend_bucket import BAD, GOOD, Bucket, manifest_of, outgoing
from tests.fixtures.s3 import bucket as bucket
from tests.fixtures.s3 import spoiled, torn


@pytest.fixture
async def ports_for(bucket: Bucket) -> AsyncIterator[PortsFor]:
    sites, edges, blobs = S3Sites({"www": bucket.target()}), EdgesClient({}), MemoryBlobs()

    def bound(record: Record) -> Ports:
        return ports(sites=sites.bind(record), edges=edges.bind(record), blobs=blobs)

    yield bound
    await sites.close()


class Story:
    """The bad build stands published, the good one is to come back."""

    def __init__(self, bucket: Bucket, good: Mapping[str, bytes] = GOOD, bad: Mapping[str, bytes] = BAD) -> None:
        self.good, self.bad = bucket.build("2.4.0", good), bucket.build("2.4.1", bad)
        bucket.publish(bad)

    @property
    def params(self) -> FrontendPublishParams:
        return FrontendPublishParams(build=str(self.good), outgoing=[outgoing("2.4.1", self.bad)])


async def planned(ports_for: PortsFor, p: FrontendPublishParams) -> Change:
    return await FrontendPublish().plan(TestCtx(ports_for, FrontendPublish.needs), p)


async def applied(ports_for: PortsFor, p: FrontendPublishParams, change: Change, dies_at: int | None = None) -> TestCtx:
    ctx = TestCtx(ports_for, FrontendPublish.needs, acting=True, dies_at=dies_at)
    with contextlib.suppress(Died):
        await FrontendPublish().apply(ctx, p, change)
    return ctx


def dangling(bucket: Bucket) -> list[str]:
    """What the pages of the site name, and is not there."""
    there = bucket.there()
    pages = {key: data.decode() for key, (data, _) in there.items() if key.endswith(".html")}
    return [f"{key}: {path}" for key, text in pages.items() for path in re.findall(r'(?:src|href)="/([^"]+)"', text)
            if path not in there]  # fmt: skip


async def test_lifecycle(bucket: Bucket, ports_for: PortsFor) -> None:
    story = Story(bucket)

    async def drift() -> None:
        bucket.put("www/index.html", b"somebody else's", Headers("text/html"))

    async def elsewhere() -> None:
        bucket.put("www/robots.txt", b"theirs", Headers("text/plain"))

    change = await assert_lifecycle(
        FrontendPublish(), ports_for, story.params, world=bucket.world, drift=drift, elsewhere=elsewhere
    )
    assert [e.target for e in change.edits] == [
        "www/logo.png", "www/config.json", "www/docs/index.html", "www/index.html",
    ]  # fmt: skip
    assert change.reversible and "sw.js" not in str(change.edits)


async def test_the_site_holds_the_build_afterwards_and_keeps_what_open_tabs_need(
    bucket: Bucket, ports_for: PortsFor
) -> None:
    story = Story(bucket)
    await applied(ports_for, story.params, await planned(ports_for, story.params))
    assert bucket.whole(GOOD) == []
    assert bucket.there()["assets/app-0f0f0f0a.js"][0] == BAD["assets/app-0f0f0f0a.js"]
    again = await planned(ports_for, story.params)
    assert again.is_noop and again.summary == "www: builds/2.4.0 is published already"


@pytest.mark.parametrize("backwards", [False, True])
async def test_at_no_moment_a_page_names_what_is_not_there(
    bucket: Bucket, ports_for: PortsFor, backwards: bool
) -> None:
    story = Story(bucket)
    change = await planned(ports_for, story.params)
    if backwards:
        await applied(ports_for, story.params, change)
        change = change.inverted()
    for call in range(1, 20):
        ctx = await applied(ports_for, story.params, change, dies_at=call)
        assert dangling(bucket) == []
        if not ctx.died:
            break
    else:
        pytest.fail("never ends")
    assert bucket.whole(BAD if backwards else GOOD) == []


async def test_what_is_there_already_is_not_copied(bucket: Bucket, ports_for: PortsFor) -> None:
    files = {**{f"assets/chunk-{n:08x}a.js": b"%d" % n for n in range(32)}, "index.html": b"old"}
    bad = {**files, "index.html": b"new", "assets/chunk-0000000fa.js": b"15"}
    story = Story(bucket, files, bad)
    bucket.s3.delete_object(Bucket=bucket.name, Key="www/assets/chunk-00000001a.js")
    ctx = await applied(ports_for, story.params, change := await planned(ports_for, story.params))
    assert {f.name: f.value for f in change.facts}["www: objects to copy"] == 2
    assert len(ctx.commands) == 2 and "chunk-00000001a.js" in ctx.commands[0]
    assert ctx.reports == ["www: files 1/1"]
    assert bucket.whole(files) == []


async def test_an_equal_size_and_another_content_is_found(bucket: Bucket, ports_for: PortsFor) -> None:
    story = Story(bucket, {"index.html": b"AAAA"}, {"index.html": b"BBBB"})
    await applied(ports_for, story.params, await planned(ports_for, story.params))
    assert bucket.whole({"index.html": b"AAAA"}) == []


async def test_the_same_name_with_another_content_is_replaced_and_told(bucket: Bucket, ports_for: PortsFor) -> None:
    good = {"assets/app-1a2b3c4d.js": b"right", "index.html": b"old"}
    story = Story(bucket, good, {"assets/app-1a2b3c4d.js": b"wrong", "index.html": b"new"})
    change = await planned(ports_for, story.params)
    assert any("had another content under the same name and may be kept for a year" in w for w in change.warnings)
    await applied(ports_for, story.params, change)
    assert bucket.whole(good) == []


async def test_an_entry_point_need_not_be_called_index(bucket: Bucket, ports_for: PortsFor) -> None:
    good = {"start.htm": b"old", "assets/a-1a2b3c4d.js": b"1"}
    story = Story(bucket, good, {"start.htm": b"new"})
    change = await planned(ports_for, story.params)
    assert [e.target for e in change.edits] == ["www/start.htm"]
    await applied(ports_for, story.params, change)
    assert bucket.whole(good) == []


async def test_a_page_that_others_published_by_hand_can_be_brought_back(bucket: Bucket, ports_for: PortsFor) -> None:
    story = Story(bucket)
    bucket.put("www/index.html", b"hot fix", Headers("text/html", "max-age=9"))
    change = await planned(ports_for, story.params)
    await applied(ports_for, story.params, change)
    assert bucket.whole(GOOD) == []
    await applied(ports_for, story.params, change.inverted())
    assert bucket.there()["index.html"] == (b"hot fix", Headers("text/html", "max-age=9"))


async def test_a_build_without_hashed_names_is_one_edit_and_comes_back_whole(
    bucket: Bucket, ports_for: PortsFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actions.frontend_publish.MOST", MOST := 5)
    good = {**{f"img/{n}.png": b"old %d" % n for n in range(MOST + 20)}, "index.html": b"old"}
    bad = {**{f"img/{n}.png": b"new %d" % n for n in range(MOST + 10)}, "index.html": b"new"}
    story = Story(bucket, good, bad)
    change = await planned(ports_for, story.params)
    assert [e.target for e in change.edits] == ["www/*", "www/index.html"]
    assert isinstance(change.edits[0].before, Blob) and change.edits[0].after == str(story.good)
    await applied(ports_for, story.params, change, dies_at=9)
    fresh = await planned(ports_for, story.params)
    assert fresh.beyond(change) == ()  # half done is within what was approved
    await applied(ports_for, story.params, change)
    assert bucket.whole(good) == []
    seen = await FrontendPublish().observe(TestCtx(ports_for, FrontendPublish.needs), story.params, change.targets)
    back, moved = change.undo_from(seen)
    assert not moved
    await applied(ports_for, story.params, back)
    assert bucket.whole(bad) == []


async def test_two_publishers_at_once_end_on_the_build(bucket: Bucket, ports_for: PortsFor) -> None:
    story = Story(bucket)
    change = await planned(ports_for, story.params)

    async def one() -> None:
        for _ in range(5):
            try:
                await FrontendPublish().apply(
                    TestCtx(ports_for, FrontendPublish.needs, acting=True), story.params, change
                )
                return
            except Retryable:
                continue

    await asyncio.gather(one(), one())
    assert bucket.whole(GOOD) == []


async def test_what_somebody_else_has_changed_meanwhile_is_not_written_over(
    bucket: Bucket, ports_for: PortsFor
) -> None:
    story = Story(bucket)
    change = await planned(ports_for, story.params)
    bucket.put("www/index.html", b"2.4.2", Headers("text/html"))
    with pytest.raises(Fatal, match=r"www/index\.html was changed by somebody else"):
        await applied(ports_for, story.params, change)
    assert bucket.there()["index.html"][0] == b"2.4.2"


async def test_a_release_without_a_build_and_one_whose_build_is_gone_are_told(
    bucket: Bucket, ports_for: PortsFor
) -> None:
    for build, words in ((None, "names no frontend build"), ("builds/2.4.0", "is no build"),
                         (str(Build("builds/1", f"sha256:{'0' * 64}")), "has no frontend-manifest.json")):  # fmt: skip
        with pytest.raises(Fatal, match=words):
            await planned(ports_for, FrontendPublishParams(build=build))


async def test_a_removed_build_that_cannot_be_read_is_told_and_holds_nothing_up(
    bucket: Bucket, ports_for: PortsFor
) -> None:
    story = Story(bucket)
    p = FrontendPublishParams(build=str(story.good), outgoing=[outgoing("9", Build("builds/9", f"sha256:{'0' * 64}"))])
    change = await planned(ports_for, p)
    assert any("www: 9: " in w for w in change.warnings)
    await applied(ports_for, p, change)
    assert bucket.whole(GOOD) == []


async def test_a_store_that_is_away_is_a_part_to_go_on_without(bucket: Bucket) -> None:
    dead = Bucket("http://127.0.0.1:9", bucket.name, bucket.s3)
    sites = S3Sites({"www": bucket.target(), "us": dead.target()})
    story = Story(bucket)
    with pytest.raises(Unreachable) as told:
        await planned(lambda record: ports(sites=sites, edges=EdgesClient({}), blobs=MemoryBlobs()), story.params)
    assert [*told.value.parts] == ["us"]
    await sites.close()


@pytest.mark.parametrize("trouble", ["503", "torn", "no answer"])
async def test_a_store_in_trouble_is_gone_on_with_until_the_site_holds_the_build(bucket: Bucket, trouble: str) -> None:
    seen: set[tuple[str, str]] = set()

    async def spoil(asked: web.Request, body: bytes) -> web.StreamResponse | None:
        """The first answer to each request for a file is lost, after the store has done what it was asked."""
        request = (asked.method, asked.path)
        if request in seen or "/builds/" in asked.path or asked.query:
            return None
        seen.add(request)
        if trouble == "503":
            return web.Response(status=503, text="<Error><Code>SlowDown</Code></Error>")
        if trouble == "torn":
            return await torn(asked, b"<half", 3)
        await asyncio.sleep(60)  # longer than the bot waits here
        return None

    story = Story(bucket)
    async with spoiled(bucket, spoil) as behind:
        target = replace(
            bucket.target(), access=replace(behind.access, timeout=1.5 if trouble == "no answer" else 10.0)
        )
        sites = S3Sites({"www": target})

        def bound(record: Record) -> Ports:
            return ports(sites=sites.bind(record), edges=EdgesClient({}), blobs=MemoryBlobs())

        attempts = 0
        while attempts < 50 and bucket.whole(GOOD):
            with contextlib.suppress(Retryable, Unreachable):
                await applied(bound, story.params, await planned(bound, story.params))
            assert dangling(bucket) == []
            attempts += 1
        await sites.close()
    assert bucket.whole(GOOD) == [] and seen


async def test_a_service_without_a_site_has_nothing_to_publish(bucket: Bucket) -> None:
    given = ports(sites=S3Sites({}), edges=EdgesClient({}), blobs=MemoryBlobs())
    change = await planned(lambda record: given, FrontendPublishParams(build=None))
    assert change.is_noop and change.summary == "no site is catalogued: there is no frontend to publish"


async def test_headers_alone_are_put_right(bucket: Bucket, ports_for: PortsFor) -> None:
    story = Story(bucket, GOOD, GOOD)
    bucket.put("www/index.html", GOOD["index.html"], Headers("text/html", "max-age=86400"))
    change = await planned(ports_for, story.params)
    assert [e.target for e in change.edits] == ["www/index.html"]
    await applied(ports_for, story.params, change)
    assert bucket.there()["index.html"][1] == manifest_of(GOOD).files["index.html"].headers
