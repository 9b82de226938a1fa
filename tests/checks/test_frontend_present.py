"""Whether the target's build is there whole, on a real S3 server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.adapters.aws.sites import S3Sites
from bot.contract import Status, Verdict
from bot.ports import Ports, Record
from bot.testing import PortsFor, ports, run_check
from checks.frontend_present import FrontendPresent, FrontendPresentParams
from tests.fixtures.frontend_bucket import GOOD, Bucket
from tests.fixtures.s3 import bucket as bucket


@pytest.fixture
async def sites(bucket: Bucket) -> AsyncIterator[S3Sites]:
    s3 = S3Sites({"www": bucket.target()})
    yield s3
    await s3.close()


async def look(sites: S3Sites, build: object) -> Verdict:
    def bound(record: Record) -> Ports:
        return ports(sites=sites.bind(record))

    given: PortsFor = bound
    return await run_check(FrontendPresent(), given, FrontendPresentParams(build=str(build) if build else None))


async def test_a_whole_build_passes_with_how_much_it_is(bucket: Bucket, sites: S3Sites) -> None:
    verdict = await look(sites, bucket.build("2.4.0", GOOD))
    assert (verdict.status, verdict.observed) == (Status.PASS, "builds/2.4.0: 7 files, 0.0 MB")


async def test_a_file_that_is_missing_or_another_one_fails_by_name(bucket: Bucket, sites: S3Sites) -> None:
    build = bucket.build("2.4.0", GOOD)
    bucket.put("builds/2.4.0/logo.png", b"\x89PNG 0ld")
    bucket.s3.delete_object(Bucket=bucket.name, Key="builds/2.4.0/config.json")
    verdict = await look(sites, build)
    assert verdict.status is Status.FAIL
    assert verdict.data["missing"] == {
        "www/config.json": "missing", "www/logo.png": "other content than its manifest says",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (None, "the release names no build"),
        ("builds/2.4.0", "is no build: write <prefix>@sha256:"),
        (f"builds/9@sha256:{'0' * 64}", "has no frontend-manifest.json"),
    ],
)
async def test_a_release_without_a_build_fails(sites: S3Sites, build: str | None, words: str) -> None:
    verdict = await look(sites, build)
    assert verdict.status is Status.FAIL and words in verdict.observed


async def test_a_store_that_does_not_answer_is_unknown(bucket: Bucket) -> None:
    s3 = S3Sites({"www": Bucket("http://127.0.0.1:9", bucket.name, bucket.s3).target()})
    verdict = await look(s3, f"builds/9@sha256:{'0' * 64}")
    assert verdict.status is Status.UNKNOWN and "read s3://" in verdict.observed
    await s3.close()


async def test_a_service_without_a_site_has_no_frontend() -> None:
    verdict = await look(S3Sites({}), None)
    assert (verdict.status, verdict.observed) == (Status.PASS, "no site is catalogued: there is no frontend")
