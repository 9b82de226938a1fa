"""Edges forget what has changed, and the worker of the release that goes is replaced by one that removes itself."""

from __future__ import annotations

import pytest

from actions.edge_invalidate import USUAL, EdgeInvalidate, EdgeInvalidateParams
from bot.adapters.aws.sites import S3Sites
from bot.adapters.edges import EdgeEndpoint, EdgesClient
from bot.contract import Change, Fatal, NotYet, Retryable
from bot.frontends import REMOVER_HELD
from bot.ports.builds import REMOVER, Headers
from bot.testing import PortsFor, TestCtx, assert_lifecycle, ports
from tests.fixtures.frontend_bucket import BAD, GOOD, Bucket
from tests.fixtures.frontend_published import front
from tests.fixtures.s3 import bucket as bucket

PATHS = [
    "/logo.png", "/", "/index.html", "/docs/", "/docs/index.html", "/config.json", "/sw.js",
]  # fmt: skip


async def planned(ports_for: PortsFor, p: EdgeInvalidateParams) -> Change:
    return await EdgeInvalidate().plan(TestCtx(ports_for, EdgeInvalidate.needs), p)


async def applied(ports_for: PortsFor, p: EdgeInvalidateParams, change: Change, memo: object = None) -> TestCtx:
    ctx = TestCtx(ports_for, EdgeInvalidate.needs, acting=True, memo=memo)  # type: ignore[arg-type]
    await EdgeInvalidate().apply(ctx, p, change)
    return ctx


async def test_lifecycle(bucket: Bucket) -> None:
    async with front(bucket) as f:
        f.publish()

        async def drift() -> None:
            bucket.put("www/sw.js", b"somebody else's", Headers("text/javascript"))

        async def elsewhere() -> None:
            bucket.put("www/robots.txt", b"theirs", Headers("text/plain"))

        change = await assert_lifecycle(
            EdgeInvalidate(), f.ports_for, EdgeInvalidateParams(**f.params), world=f.world, drift=drift,
            elsewhere=elsewhere, replayed=1,
        )  # fmt: skip
        assert [e.target for e in change.edits] == ["www/sw.js"]
        assert [(e.on_undo, e.what.startswith("cdn forgets ")) for e in change.effects] == [("repeat", True)]


async def test_only_what_may_have_changed_is_forgotten(bucket: Bucket) -> None:
    async with front(bucket) as f:
        f.publish()
        p = EdgeInvalidateParams(**f.params)
        ctx = await applied(f.ports_for, p, await planned(f.ports_for, p))
        assert sorted(path for method, path in f.edge.asked if method == "PURGE") == sorted(PATHS)
        assert "/assets/app-0f0f0f0a.js" in {path for _, path in f.edge.kept}
        assert {*await _served(f.edges, "/")} == {GOOD["index.html"]}
        [purge] = [c for c in ctx.commands if c.startswith("curl")]
        assert "Host: shop.example" in purge and '"X-Purge-Token: $PURGE_TOKEN"' in purge and "letmein" not in purge


async def _served(edges: EdgesClient, path: str) -> list[bytes]:
    return [s.body for s in await edges.served("cdn", [path])]


async def test_the_bad_workers_address_serves_one_that_removes_itself_and_is_never_kept(bucket: Bucket) -> None:
    async with front(bucket) as f:
        f.publish()
        p = EdgeInvalidateParams(**f.params)
        change = await planned(f.ports_for, p)
        assert any("tabs that are open keep the old pages until they are reloaded" in w for w in change.warnings)
        await applied(f.ports_for, p, change)
        [seen] = await f.edges.served("cdn", ["/sw.js"])
        assert seen.body == REMOVER
        assert seen.headers["cache-control"] == "no-store"
        assert seen.headers["content-type"] == "text/javascript; charset=utf-8"
        await applied(f.ports_for, p, change.inverted())
        assert bucket.there()["sw.js"][0] == BAD["sw.js"]


async def test_a_worker_that_the_target_has_too_is_not_touched(bucket: Bucket) -> None:
    good = {**GOOD, "sw.js": b"// of 2.4.0"}
    async with front(bucket, good) as f:
        f.publish(good)
        change = await planned(f.ports_for, EdgeInvalidateParams(**f.params))
        assert change.edits == () and "/sw.js" in str(change.effects) + str(PATHS)


async def test_a_purge_that_is_refused_is_told_with_what_to_do(bucket: Bucket) -> None:
    async with front(bucket, headers={"X-Purge-Token": "wrong"}) as f:
        p = EdgeInvalidateParams(**f.params)
        with pytest.raises(Fatal, match=r"PURGE http://127\.0\.0\.1:\d+/.*: refused \(403\)"):
            await applied(f.ports_for, p, await planned(f.ports_for, p))


async def test_an_edge_that_is_away_is_tried_again(bucket: Bucket) -> None:
    async with front(bucket, purge=("http://127.0.0.1:9",)) as f:
        p = EdgeInvalidateParams(**f.params)
        with pytest.raises(Retryable, match="no connection"):
            await applied(f.ports_for, p, await planned(f.ports_for, p))


async def test_more_than_a_thousand_paths_are_forgotten_at_once(bucket: Bucket) -> None:
    good = {**{f"p/{n}.png": b"1" for n in range(3)}, "index.html": b"1"}
    async with front(bucket, good) as f:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bot.frontends.MOST_PATHS", 3)
            change = await planned(f.ports_for, EdgeInvalidateParams(**f.params))
        assert change.effects[0].what == "cdn forgets /*"


async def test_an_edge_that_cannot_be_told_is_named(bucket: Bucket) -> None:
    async with front(bucket, purge=()) as f:
        change = await planned(f.ports_for, EdgeInvalidateParams(**f.params))
        assert change.effects == ()
        assert "cdn has no way to be told: it serves old pages until they end" in change.warnings


async def test_without_edges_and_sites_there_is_nothing_to_forget() -> None:
    given = ports(sites=S3Sites({}), edges=EdgesClient({}))
    change = await planned(lambda record: given, EdgeInvalidateParams(build=None))
    assert change.is_noop and "nothing keeps an old page" in change.summary


async def test_with_no_site_only_the_entry_is_forgotten_and_that_is_said() -> None:
    given = ports(sites=S3Sites({}), edges=EdgesClient({"cdn": EdgeEndpoint("http://x", purge=("http://y",))}))
    change = await planned(lambda record: given, EdgeInvalidateParams(build=None))
    assert [e.what for e in change.effects] == ["cdn forgets /, /index.html"]
    assert "which files changed is not known" in change.warnings[0]


class SlowEdges(EdgesClient):
    """As CloudFront is: what is begun is done by and by."""

    done = False
    begun: list[tuple[str, str]]

    def bind(self, record: object) -> SlowEdges:
        return self

    async def invalidate(self, edge: str, paths: object, key: str) -> str:
        self.begun.append((edge, key))
        return "I123"

    async def invalidated(self, edge: str, id: str) -> bool:
        return self.done


async def test_slow_is_told_from_failed_and_begun_only_once(bucket: Bucket) -> None:
    async with front(bucket) as f:
        f.publish()
        p = EdgeInvalidateParams(**f.params)
        change = await planned(f.ports_for, p)
        f.edges = (slow := SlowEdges({"cdn": EdgeEndpoint("http://shop.example", cloudfront="E1")}))
        slow.begun = []
        memo: dict[str, object] = {}
        for wait, words in (
            (0.0, "cdn (I123): under way for 0 s"),
            (USUAL + 60, "which is long: mostly it takes less than 3 min; it has not failed"),
        ):
            ctx = TestCtx(f.ports_for, EdgeInvalidate.needs, acting=True, memo=memo)  # type: ignore[arg-type]
            ctx.now = ctx.now.fromtimestamp(ctx.now.timestamp() + wait, ctx.now.tzinfo)
            with pytest.raises(NotYet) as told:
                await EdgeInvalidate().apply(ctx, p, change)
            assert words in str(told.value)
        slow.done = True
        await applied(f.ports_for, p, change, memo)
        assert slow.begun == [("cdn", "run-1/step/1")]
        assert (await f.sites.look("www", ["sw.js"]))["sw.js"] == REMOVER_HELD
