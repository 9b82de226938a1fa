"""What is in memory for tests of handlers does what the real thing does: one suite a port, which each of both passes.

A port that has no stand-in is tested where its only adapter is; the last test here finds a new one.
"""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.adapters.backups.shelves import ProcessMemory
from bot.adapters.registry import RegistryClient
from bot.catalogue import Release
from bot.playground.cluster import Registry
from bot.ports import Blob, Blobs
from bot.ports.backups import Memory
from bot.ports.registry import ImageRegistry
from bot.ports.releases import Releases, Served
from bot.releases.register import ReleaseRegister
from bot.releases.spells import Spells
from bot.store.blobs import FileBlobs
from bot.store.bucket import BucketBlobs
from bot.store.log import Store
from bot.store.remembered import Remembered
from bot.testing import MemoryBlobs, MemoryRegistry, MemoryReleases
from tests.fixtures.databases import copy_to
from tests.fixtures.frontend_bucket import Bucket
from tests.fixtures.s3 import bucket as bucket

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty record."""
    found = await Store.open(copy_to(tmp_path / "bot.db"))
    yield found
    await found.close()


# -- values above 4 KiB ------------------------------------------------------------------------------------------------


@pytest.fixture(params=[FileBlobs, BucketBlobs, MemoryBlobs])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param is FileBlobs:
        return FileBlobs(tmp_path / "files")
    if request.param is MemoryBlobs:
        return MemoryBlobs()
    there: Bucket = request.getfixturevalue("bucket")
    return BucketBlobs(f"s3://{there.name}/bot/files", access=there.access)


async def test_what_comes_back_is_what_went_in_however_often(blobs: Blobs) -> None:
    data = bytes(range(256)) * 400
    first = await blobs.put(data, "application/octet-stream")
    assert await blobs.put(data, "application/octet-stream") == first
    assert (first.size, first.type) == (len(data), "application/octet-stream")
    assert await blobs.get(first) == data
    assert await blobs.get(await blobs.put(b"", "text/plain")) == b""


async def test_what_is_not_there_or_is_another_is_told(blobs: Blobs) -> None:
    with pytest.raises(KeyError, match="sha256:00"):
        await blobs.get(Blob("sha256:" + "0" * 64, 1, "text/plain"))
    kept = await blobs.put(b"evidence", "text/plain")
    with pytest.raises(ValueError, match="has 8 bytes, and 3 were named"):
        await blobs.get(Blob(kept.digest, 3, "text/plain"))


# -- images ------------------------------------------------------------------------------------------------------------


@dataclass
class Images:
    """A registry that has one image, and another that was removed."""

    port: ImageRegistry
    name: str
    there: str
    gone: str


@pytest.fixture(params=[RegistryClient, MemoryRegistry])
async def images(request: pytest.FixtureRequest) -> AsyncIterator[Images]:
    async with Registry() as registry:
        name = f"{registry.host}/shop/api"
        there, gone = registry.add(name, "2.4.0", ["true"]), registry.add(name, "2.4.1", ["false"])
        registry.remove(name, gone.partition("@")[2])
        registry.remove(name, "2.4.1")
        if request.param is MemoryRegistry:
            digests = [there.partition("@")[2]]
            yield Images(MemoryRegistry({there: digests, f"{name}:2.4.0": digests}), name, there, gone)
            return
        client = RegistryClient(5.0, {})
        yield Images(client, name, there, gone)
        await client.close()


async def test_an_image_is_there_by_its_digest_or_it_is_not(images: Images) -> None:
    assert await images.port.has(images.there) and not await images.port.has(images.gone)


async def test_an_image_goes_by_its_digest_whether_that_or_a_tag_names_it(images: Images) -> None:
    own = {images.there.partition("@")[2]}
    assert await images.port.digests(images.there) == await images.port.digests(f"{images.name}:2.4.0") == own
    assert await images.port.digests(f"{images.name}:2.4.1") == await images.port.digests(images.gone) == frozenset()


@pytest.mark.parametrize("named", ["shop/api:2.4.0", "shop/api@sha256:12", "a b"])
async def test_what_is_no_image_by_digest_is_not_looked_for(images: Images, named: str) -> None:
    with pytest.raises(ValueError, match="no image by digest"):
        await images.port.has(named)


# -- when releases served ----------------------------------------------------------------------------------------------


@pytest.fixture(params=[Spells, MemoryReleases])
async def releases(request: pytest.FixtureRequest, store: Store) -> Releases:
    """2.4.0 served for an hour until noon, since when 2.4.1 serves."""
    began = NOON - timedelta(hours=1)
    if request.param is MemoryReleases:
        return MemoryReleases(**{"2.4.0": [Served(began, NOON)], "2.4.1": [Served(NOON)], "2.4.2": []})
    register = ReleaseRegister(store, NOON.timestamp)
    for version, letter in (("2.4.0", "a"), ("2.4.1", "b"), ("2.4.2", "c")):
        image = f"registry.example/api@sha256:{letter * 64}"
        front = f"builds/{version}@sha256:{letter * 64}"
        await register.record("shop", Release(version, "c1", {"api": image}, front, "0041"), by="ci")
    await register.served("shop", "2.4.0", began.timestamp())
    await register.served("shop", "2.4.1", NOON.timestamp())
    return Spells(register, "shop")


async def test_a_release_served_from_one_moment_to_another_or_still_does(releases: Releases) -> None:
    assert [*await releases.served("2.4.0")] == [Served(NOON - timedelta(hours=1), NOON)]
    assert [*await releases.served("2.4.1")] == [Served(NOON)]


@pytest.mark.parametrize("version", ["2.4.2", "9.9.9", ""])
async def test_what_never_served_or_is_not_registered_has_no_such_time(releases: Releases, version: str) -> None:
    assert [*await releases.served(version)] == []


# -- small texts -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[Remembered, ProcessMemory])
def memory(request: pytest.FixtureRequest, store: Store) -> Memory:
    return ProcessMemory() if request.param is ProcessMemory else Remembered(store, NOON.timestamp)


async def test_a_text_is_kept_over_the_one_before(memory: Memory) -> None:
    assert await memory.get("proof") is None
    await memory.put("proof", "one")
    await memory.put("proof", "été\n" * 100)
    await memory.put("other", "")
    assert (await memory.get("proof"), await memory.get("other")) == ("été\n" * 100, "")


# -- all of them -------------------------------------------------------------------------------------------------------


def test_every_stand_in_is_put_to_a_suite() -> None:
    source = (Path(__file__).parents[2] / "bot" / "testing.py").read_text(encoding="utf-8")
    names = [n.name for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name.startswith("Memory")]
    suites = Path(__file__).read_text(encoding="utf-8")
    assert len(names) >= 3 and [n for n in names if f", {n}])" not in suites] == []
