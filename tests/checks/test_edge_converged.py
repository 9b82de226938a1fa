"""Which share of the edges serves the right build, asked of real caches."""

from __future__ import annotations

from bot.adapters.aws.sites import S3Sites
from bot.adapters.edges import EdgeEndpoint, EdgesClient
from bot.contract import Status
from bot.ports.builds import REMOVER, Headers
from bot.testing import ports, run_check
from checks.edge_converged import EdgeConverged, EdgeConvergedParams
from tests.fixtures.frontend_bucket import BAD, GOOD, Bucket
from tests.fixtures.frontend_published import front
from tests.fixtures.s3 import bucket as bucket


async def test_old_pages_are_named_by_their_release_until_the_edge_has_forgotten_them(bucket: Bucket) -> None:
    async with front(bucket) as f:
        f.publish()
        bucket.put("www/sw.js", REMOVER, Headers("text/javascript", "no-store"))
        p = EdgeConvergedParams(**f.params)
        verdict = await run_check(EdgeConverged(), f.ports_for, p)
        assert verdict.status is Status.FAIL
        assert verdict.observed.startswith(f"0 of 6 right; cdn {f.edge.address} /config.json: still serves 2.4.1, ")
        f.edge.kept.clear()
        verdict = await run_check(EdgeConverged(), f.ports_for, p)
        assert (verdict.status, verdict.observed) == (Status.PASS, "6 of 6 right")
        assert verdict.data["share"] == 1.0


async def test_the_bad_worker_in_place_of_one_that_removes_itself_is_wrong(bucket: Bucket) -> None:
    async with front(bucket) as f:
        f.publish()
        f.edge.kept.clear()
        verdict = await run_check(EdgeConverged(), f.ports_for, EdgeConvergedParams(**f.params))
        assert verdict.status is Status.FAIL and "/sw.js: still serves 2.4.1" in verdict.observed


async def test_an_edge_that_packs_pages_is_compared_by_what_is_in_them(bucket: Bucket) -> None:
    import gzip

    async with front(bucket) as f:
        f.publish()
        bucket.put("www/sw.js", REMOVER, Headers("text/javascript", "no-store"))
        f.edge.kept.clear()
        await f.edges.served("cdn", ["/", "/index.html"])
        for kept in f.edge.kept.values():
            kept.body, kept.headers = gzip.compress(kept.body), {**kept.headers, "Content-Encoding": "gzip"}
        verdict = await run_check(EdgeConverged(), f.ports_for, EdgeConvergedParams(**f.params))
        assert verdict.status is Status.PASS


async def test_an_address_that_does_not_answer_is_unknown_and_never_right(bucket: Bucket) -> None:
    async with front(bucket, bad=GOOD) as f:
        dead = EdgeEndpoint("http://shop.example", addresses=(f.edge.address, "127.0.0.1:9"), timeout=2.0)
        f.edges = EdgesClient({"cdn": dead})
        verdict = await run_check(EdgeConverged(), f.ports_for, EdgeConvergedParams(build=str(f.good)))
        assert verdict.status is Status.UNKNOWN
        assert verdict.observed.startswith("5 of 10 right; cdn 127.0.0.1:9 /config.json: no connection")


async def test_a_page_that_is_gone_is_told_by_its_status(bucket: Bucket) -> None:
    async with front(bucket, bad=GOOD) as f:
        bucket.s3.delete_object(Bucket=bucket.name, Key="www/docs/index.html")
        f.edge.kept.clear()
        verdict = await run_check(EdgeConverged(), f.ports_for, EdgeConvergedParams(build=str(f.good)))
        assert verdict.status is Status.FAIL and "/docs/index.html: answers 40" in verdict.observed


async def test_without_edges_nothing_is_known_of_a_site_and_all_is_well_without_one(bucket: Bucket) -> None:
    for sites, status in (({}, Status.PASS), ({"www": bucket.target()}, Status.UNKNOWN)):
        given = ports(sites=S3Sites(sites), edges=EdgesClient({}))
        verdict = await run_check(EdgeConverged(), lambda record, g=given: g, EdgeConvergedParams(build=None))  # type: ignore[misc]  # fmt: skip
        assert verdict.status is status, verdict.observed


async def test_a_release_without_a_build_is_unknown(bucket: Bucket) -> None:
    async with front(bucket, bad=BAD) as f:
        verdict = await run_check(EdgeConverged(), f.ports_for, EdgeConvergedParams(build=None))
        assert verdict.status is Status.UNKNOWN and "names no frontend build" in verdict.observed
