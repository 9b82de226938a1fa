"""Which goes back first, by what real builds on a real S3 server say that they call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from bot.adapters.aws.sites import S3Sites
from bot.contract import Status, Verdict
from bot.ports import Ports, Record
from bot.ports.builds import Build
from bot.testing import ports, run_check
from checks.frontend_advise import FrontendAdvise, FrontendAdviseParams
from tests.fixtures.frontend_bucket import BAD, GOOD, Bucket, manifest_of, outgoing
from tests.fixtures.s3 import bucket as bucket

CART, ORDERS, COUPONS = "GET /v1/cart", "POST /v1/orders", "GET /v2/coupons"


@pytest.fixture
async def sites(bucket: Bucket) -> AsyncIterator[S3Sites]:
    s3 = S3Sites({"www": bucket.target()})
    yield s3
    await s3.close()


def built(bucket: Bucket, version: str, calls: Sequence[str]) -> Build:
    files = GOOD if version == "2.4.0" else BAD
    return bucket.build(version, files, replace(manifest_of(files), calls=tuple(calls)))


async def advice(sites: S3Sites, good: object, bad: Build, purpose: str = "rollback") -> Verdict:
    def bound(record: Record) -> Ports:
        return ports(sites=sites.bind(record))

    p = FrontendAdviseParams(build=str(good) if good else None, outgoing=[outgoing("2.4.1", bad)], purpose=purpose)
    return await run_check(FrontendAdvise(), bound, p)


async def test_a_call_that_only_the_removed_frontend_makes_puts_the_frontend_first(
    bucket: Bucket, sites: S3Sites
) -> None:
    good, bad = built(bucket, "2.4.0", [CART, ORDERS]), built(bucket, "2.4.1", [CART, COUPONS])
    verdict = await advice(sites, good, bad)
    assert (verdict.status, dict(verdict.data)) == (Status.WARN, {"order": "frontend-first", "lacking": [COUPONS]})
    assert "calls GET /v2/coupons, which builds/2.4.0 does not: the frontend goes back first" in verdict.observed
    assert "Tabs that stay open go on calling it" in verdict.observed


async def test_without_such_a_call_the_backend_goes_first(bucket: Bucket, sites: S3Sites) -> None:
    verdict = await advice(sites, built(bucket, "2.4.0", [CART, ORDERS]), built(bucket, "2.4.1", [CART]))
    assert (verdict.status, verdict.data["order"]) == (Status.PASS, "backend-first")


async def test_forward_the_backend_goes_first_whatever_pages_call(bucket: Bucket, sites: S3Sites) -> None:
    good, bad = built(bucket, "2.4.0", [CART]), built(bucket, "2.4.1", [COUPONS])
    verdict = await advice(sites, good, bad, "forward")
    assert (verdict.status, verdict.data["order"]) == (Status.PASS, "backend-first")


@pytest.mark.parametrize(("good", "bad", "silent"), [([], [CART], "builds/2.4.0"), ([CART], [], "builds/2.4.1")])
async def test_a_build_that_does_not_say_what_it_calls_proves_nothing(
    bucket: Bucket, sites: S3Sites, good: list[str], bad: list[str], silent: str
) -> None:
    verdict = await advice(sites, built(bucket, "2.4.0", good), built(bucket, "2.4.1", bad))
    assert (verdict.status, verdict.data["order"]) == (Status.UNKNOWN, "backend-first")
    assert f"{silent} does not say what it calls of the backend (`frontend manifest --calls`)" in verdict.observed


async def test_a_build_that_cannot_be_read_holds_nothing_up_and_is_named(bucket: Bucket, sites: S3Sites) -> None:
    good, gone = built(bucket, "2.4.0", [CART]), Build("builds/2.4.1", f"sha256:{'0' * 64}")
    for target, bad in ((good, gone), (gone, good), (None, good)):
        verdict = await advice(sites, target, bad)
        assert (verdict.status, verdict.data["order"]) == (Status.UNKNOWN, "backend-first")
        assert "the backend goes first, as it usually does" in verdict.observed


async def test_a_store_that_is_away_is_unknown_and_a_service_without_a_site_needs_no_order(bucket: Bucket) -> None:
    away = S3Sites({"www": replace(bucket.target(), access=replace(bucket.access, endpoint="http://127.0.0.1:9"))})
    build = Build("builds/2.4.1", f"sha256:{'0' * 64}")
    verdict = await advice(away, build, Build("builds/2.4.0", build.digest))
    assert (verdict.status, verdict.data["order"]) == (Status.UNKNOWN, "backend-first")
    assert (await advice(S3Sites({}), build, build)).status is Status.PASS
    await away.close()
