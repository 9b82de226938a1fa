"""What sites hold of releases is looked at before anybody waits for it, and kept for every node."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from bot.adapters.aws.sites import S3Sites
from bot.catalogue import Release
from bot.ports.builds import Build
from bot.releases.published import RECENT, Published, builds_of
from bot.releases.register import ReleaseRegister
from bot.store.log import Store
from bot.store.remembered import Remembered
from tests.fixtures.frontend_bucket import BAD, GOOD, Bucket, manifest_of
from tests.fixtures.s3 import bucket as bucket
from tests.fixtures.s3 import spoiled
from tests.fixtures.stores import store as store
from tests.fixtures.waiting import until

NOW = 1_763_900_000.0


@pytest.fixture
async def releases(store: Store) -> AsyncIterator[ReleaseRegister]:
    yield ReleaseRegister(store, lambda: NOW)


async def test_once_a_release_is_registered_its_files_are_known_to_every_node(
    bucket: Bucket, releases: ReleaseRegister, caplog: pytest.LogCaptureFixture
) -> None:
    memory, asked = Remembered(releases.store, lambda: NOW), list[str]()
    for version, files in (("2.4.0", GOOD), ("2.4.1", BAD)):
        bucket.publish(files)
        build = bucket.build(version, files)
        await releases.record("shop", Release(version, frontend=str(build)), by="ci")

    async def count(request: web.Request, body: bytes) -> None:
        asked.append(request.method)

    async with spoiled(bucket, count) as counted:
        sites = S3Sites({"www": counted.target()}, memory=memory)
        published = Published(lambda: {"shop": sites}, releases)
        caplog.set_level(logging.INFO)
        assert await published.look("shop") == len({*GOOD, *BAD})
        assert "shop: 9 files that are published were looked at" in caplog.text
        await until(lambda: _all_known(published))
        await sites.close()
        asked.clear()
        other = S3Sites({"www": counted.target()}, memory=memory)
        for release in await releases.all("shop"):  # each node reads manifests itself
            await other.manifest("www", Build.of(str(release.release.frontend)))
        assert {*await other.differing("www", manifest_of(GOOD))} == {k for k in GOOD if GOOD[k] != BAD.get(k, GOOD[k])}
        assert "HEAD" not in asked
        await other.close()


async def _all_known(published: Published) -> bool:
    return await published.look("shop") == 0


async def test_a_store_that_is_away_is_told_once_and_holds_nothing_up(
    bucket: Bucket, releases: ReleaseRegister, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.url = "http://127.0.0.1:9"
    sites = S3Sites({"www": bucket.target()})
    await releases.record("shop", Release("2.4.0", frontend=f"builds/2.4.0@sha256:{'0' * 64}"), by="ci")
    published = Published(lambda: {"shop": sites}, releases)
    assert [await published.look("shop"), await published.look("shop")] == [0, 0]
    assert caplog.text.count("What is published of shop cannot be seen") == 1
    await sites.close()


async def test_of_many_releases_the_last_ones_and_the_one_that_serves_are_looked_at(releases: ReleaseRegister) -> None:
    for n in range(RECENT + 3):
        await releases.record("shop", Release(f"1.{n}", frontend=f"builds/1.{n}@sha256:{n:064x}"), by="ci")
    await releases.record("shop", Release("2.0"), by="ci")
    await releases.served("shop", "1.1", NOW, "ana")
    found = [b.prefix for b in builds_of(await releases.all("shop"))]
    assert found == [*(f"builds/1.{n}" for n in range(RECENT + 2, 2, -1)), "builds/1.1"]
