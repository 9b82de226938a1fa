"""What the pages name is at the edge, and kept as long as it may be; on real caches."""

from __future__ import annotations

import pytest

from bot.adapters.aws.sites import S3Sites
from bot.adapters.edges import EdgeEndpoint, EdgesClient
from bot.contract import Status
from bot.ports.builds import FOR_EVER, Headers
from bot.testing import ports, run_check
from checks.cdn_caching import CdnCaching, CdnCachingParams
from tests.fixtures.frontend_bucket import GOOD, Bucket
from tests.fixtures.frontend_published import Front, front
from tests.fixtures.s3 import bucket as bucket


async def look(f: Front) -> tuple[Status, dict[str, str]]:
    f.edge.kept.clear()
    verdict = await run_check(CdnCaching(), f.ports_for, CdnCachingParams(build=str(f.good)))
    faults = verdict.data["faults"]
    assert isinstance(faults, dict)
    return verdict.status, {what.rpartition(" ")[2]: str(why) for what, why in faults.items()}


async def test_every_file_that_a_page_names_is_asked_for(bucket: Bucket) -> None:
    async with front(bucket, bad=GOOD) as f:
        assert await look(f) == (Status.PASS, {})
        asked = {path for _, path in f.edge.asked}
        assert {"/", "/docs/", "/assets/app-1a2b3c4d.js", "/assets/app-5e6f7a8b.css", "/logo.png"} <= asked
        assert "/assets/café 100%+1-9f8e7d6c.js" not in asked  # no page names it


async def test_a_file_that_is_gone_fails_by_name(bucket: Bucket) -> None:
    async with front(bucket, bad=GOOD) as f:
        bucket.s3.delete_object(Bucket=bucket.name, Key="www/assets/app-1a2b3c4d.js")
        status, faults = await look(f)
        assert status is Status.FAIL and faults["/assets/app-1a2b3c4d.js"].startswith("answers 40")


@pytest.mark.parametrize(
    ("key", "headers", "why"),
    [
        ("index.html", Headers("text/html", FOR_EVER), f"changes under its name, and is kept by {FOR_EVER}"),
        ("index.html", Headers("text/html"), "changes under its name, and is kept by no Cache-Control"),
        (
            "config.json",
            Headers("application/json", "max-age=3600"),
            "changes under its name, and is kept by max-age=3600",
        ),
        (
            "assets/app-1a2b3c4d.js",
            Headers("text/javascript", "no-cache"),
            "never changes, and is kept only by no-cache",
        ),
        ("assets/app-1a2b3c4d.js", Headers("text/plain", FOR_EVER), "type text/plain, not text/javascript"),
        ("assets/app-5e6f7a8b.css", Headers("binary/octet-stream", FOR_EVER), "type binary/octet-stream, not text/css"),
    ],
)
async def test_wrong_headers_are_told(bucket: Bucket, key: str, headers: Headers, why: str) -> None:
    async with front(bucket, bad=GOOD) as f:
        bucket.put(f"www/{key}", GOOD[key], headers)
        status, faults = await look(f)
        assert status is Status.FAIL and faults[f"/{key}"] == why


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        ("index.html", Headers("text/html; charset=utf-8", "max-age=30")),
        ("config.json", Headers("application/json", "no-store")),
        ("assets/app-1a2b3c4d.js", Headers("application/javascript", "max-age=31536000")),
    ],
)
async def test_what_is_as_good_passes(bucket: Bucket, key: str, headers: Headers) -> None:
    async with front(bucket, bad=GOOD) as f:
        bucket.put(f"www/{key}", GOOD[key], headers)
        assert await look(f) == (Status.PASS, {})


async def test_what_a_page_names_and_no_build_has_is_told(bucket: Bucket) -> None:
    async with front(bucket, bad=GOOD) as f:
        page = b'<script src="/assets/other-0a0a0a0a.js"></script>'
        bucket.put("www/index.html", page, Headers("text/html", "no-cache"))
        bucket.put("www/assets/other-0a0a0a0a.js", b"1", Headers("text/javascript", FOR_EVER))
        status, faults = await look(f)
        assert status is Status.FAIL
        assert faults["/assets/other-0a0a0a0a.js"] == "is named by a page, and no file of the build"
        assert faults["/"] == "other content than the build has"


async def test_an_address_that_does_not_answer_is_unknown(bucket: Bucket) -> None:
    async with front(bucket, bad=GOOD) as f:
        f.edges = EdgesClient({"cdn": EdgeEndpoint("http://shop.example", addresses=("127.0.0.1:9",))})
        verdict = await run_check(CdnCaching(), f.ports_for, CdnCachingParams(build=str(f.good)))
        assert verdict.status is Status.UNKNOWN


async def test_nothing_catalogued_passes_and_half_of_it_is_unknown(bucket: Bucket) -> None:
    for sites, status in (({}, Status.PASS), ({"www": bucket.target()}, Status.UNKNOWN)):
        given = ports(sites=S3Sites(sites), edges=EdgesClient({}))
        verdict = await run_check(CdnCaching(), lambda record, g=given: g, CdnCachingParams(build=None))  # type: ignore[misc]  # fmt: skip
        assert verdict.status is status
