"""`cdn.notify`: the edge team is told once, with paths, distribution and the commands that do it by hand."""

from __future__ import annotations

from dataclasses import dataclass

from actions.cdn_notify import CdnNotify, CdnNotifyParams
from bot.adapters.aws.sites import S3Sites
from bot.adapters.edges import EdgeEndpoint, EdgesClient
from bot.contract import Json
from bot.ports import Ports, Record
from bot.ports.notices import Topic
from bot.testing import TestCtx, assert_lifecycle, ports
from tests.fixtures.frontend_bucket import Bucket
from tests.fixtures.frontend_published import Front, front
from tests.fixtures.s3 import bucket as bucket

TOPIC = Topic("r1", "shop", "2.4.1", "2.4.0", "checkout fails", "Ana", "#inc-4211")


@dataclass
class Board:
    """Where posts stand, by name; the first text stays."""

    record: Record
    posts: dict[str, tuple[str, str]]
    topic: Topic = TOPIC

    async def post(self, channel: str, name: str, text: str) -> None:
        await self.record(f"post in {channel}")
        self.posts.setdefault(name, (channel, text))


class Notified:
    """The ports of a front, with a board."""

    def __init__(self, f: Front) -> None:
        self.posts: dict[str, tuple[str, str]] = {}
        self.front = f

    def ports_for(self, record: Record) -> Ports:
        return ports(notices=Board(record, self.posts), sites=self.front.sites, edges=self.front.edges)


async def nothing() -> dict[str, Json]:
    return {}


async def test_lifecycle(bucket: Bucket) -> None:
    async with front(bucket) as f:
        n = Notified(f)
        p = CdnNotifyParams(channels=["#edge", "#cdn"], **f.params)
        await assert_lifecycle(CdnNotify(), n.ports_for, p, world=nothing, drift=None, replayed=2)
        assert {channel for channel, _ in n.posts.values()} == {"#edge", "#cdn"}


async def test_the_card_names_paths_distribution_and_exact_commands(bucket: Bucket) -> None:
    async with front(bucket) as f:
        purged = EdgeEndpoint("https://shop.example", purge=("http://varnish:6081",), headers={"X-Key": "secret-value"},
                            variables={"X-Key": "KEY"})  # fmt: skip
        own = EdgeEndpoint("https://m.shop.example", cloudfront="E2EXAMPLE")
        f.edges = EdgesClient({"cdn": own, "varnish": purged, "old": EdgeEndpoint("https://old.example")})
        n = Notified(f)
        p = CdnNotifyParams(channels=["#edge"], **f.params)
        change = await CdnNotify().plan(TestCtx(n.ports_for, CdnNotify.needs), p)
        await CdnNotify().apply(TestCtx(n.ports_for, CdnNotify.needs, acting=True), p, change)
        [(channel, text)] = n.posts.values()
    assert channel == "#edge" and "secret-value" not in text
    lines = text.split("\n")
    assert lines[:3] == [
        "shop: its frontend goes back, 2.4.1 → 2.4.0. Nothing to do for you now. Follow it in #inc-4211.",
        "Will be purged: /config.json, /docs/, /docs/index.html, /, /index.html, /logo.png, /sw.js.",
        "cdn (CloudFront E2EXAMPLE): the bot does it. By hand:",
    ]
    assert lines[3].startswith("`aws cloudfront create-invalidation --distribution-id E2EXAMPLE --paths /")
    assert lines[5].startswith("`curl -fsS -X PURGE -H 'Host: shop.example' -H \"X-Key: $KEY\" http://varnish:6081/")
    assert lines[6] == "old (https://old.example): the bot cannot purge it. Please see to these paths."


async def test_a_build_that_cannot_be_read_still_tells_the_team(bucket: Bucket) -> None:
    async with front(bucket) as f:
        n = Notified(f)
        p = CdnNotifyParams(channels=["#edge"], build=None)
        change = await CdnNotify().plan(TestCtx(n.ports_for, CdnNotify.needs), p)
        await CdnNotify().apply(TestCtx(n.ports_for, CdnNotify.needs, acting=True), p, change)
        [(_, text)] = n.posts.values()
        assert "Will be purged: /, /index.html. Which other files change is not known yet." in text


async def test_without_a_channel_or_an_edge_there_is_nobody_to_tell() -> None:
    given = ports(notices=Board(lambda c: nothing(), {}), sites=S3Sites({}), edges=EdgesClient({}))  # type: ignore[arg-type, return-value]  # fmt: skip
    for channels, words in (([], "no channel of an edge team"), (["#edge"], "no edge is catalogued")):
        p = CdnNotifyParams(channels=channels, build=None)
        change = await CdnNotify().plan(TestCtx(lambda record: given, CdnNotify.needs), p)
        assert change.is_noop and words in change.summary
