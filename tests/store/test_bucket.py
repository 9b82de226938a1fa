"""The bot's own files in a bucket do what they do in a folder, on a real S3 server."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from bot import wiring
from bot.adapters.aws.account import Access
from bot.ports import Blob, Blobs
from bot.settings import Settings, SettingsError
from bot.store.blobs import BlobsUnavailable, FileBlobs
from bot.store.bucket import BucketBlobs
from tests.fixtures.frontend_bucket import Bucket
from tests.fixtures.s3 import bucket as bucket


@pytest.fixture(params=["folder", "bucket"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> FileBlobs:
    if request.param == "folder":
        return FileBlobs(tmp_path / "files")
    there: Bucket = request.getfixturevalue("bucket")
    return BucketBlobs(f"s3://{there.name}/bot/files", access=there.access)


async def test_what_comes_back_is_what_went_in(blobs: FileBlobs) -> None:
    port: Blobs = blobs
    data = os.urandom(100_000)
    blob = await port.put(data, "application/octet-stream")
    assert await port.get(blob) == data
    assert await port.put(data, "application/octet-stream") == blob
    with pytest.raises(KeyError, match="sha256:00"):
        await port.get(Blob("sha256:" + "0" * 64, 1, "text/plain"))
    with pytest.raises(ValueError, match="has 100000 bytes, and 3 were named"):
        await port.get(Blob(blob.digest, 3, "text/plain"))


def test_small_files_are_written_over_listed_and_removed(blobs: FileBlobs) -> None:
    assert blobs.get_anchor("by-hand/r1.md") is None
    blobs.put_anchor("by-hand/r1.md", "one")
    blobs.put_anchor("by-hand/r1.md", "two")
    blobs.put_anchor("by-hand/r2.md", "other")
    blobs.put_anchor("checkpoint.json", "{}")
    assert blobs.get_anchor("by-hand/r1.md") == "two"
    assert blobs.anchors("by-hand") == ["r1.md", "r2.md"]
    assert blobs.anchors("nothing") == []
    blobs.drop_anchor("by-hand/r1.md")
    blobs.drop_anchor("by-hand/r1.md")
    assert blobs.anchors("by-hand") == ["r2.md"]
    with pytest.raises(ValueError, match="no plain name"):
        blobs.put_anchor("../elsewhere", "x")


async def test_of_several_who_write_the_first_one_does(blobs: FileBlobs) -> None:
    writes = (asyncio.to_thread(blobs.put_first, "chain/000000000001.json", f"link {n}") for n in range(6))
    done = await asyncio.gather(*writes)
    assert done.count(True) == 1
    assert blobs.get_anchor("chain/000000000001.json") == f"link {done.index(True)}"


async def test_a_place_that_can_be_written_is_told_by_ping(blobs: FileBlobs) -> None:
    await blobs.ping()


async def test_a_bucket_that_is_not_there_says_what_to_do_next(bucket: Bucket) -> None:
    gone = BucketBlobs("s3://no-such-bucket-here/x", access=bucket.access)
    for call in (gone.ping(), gone.put(b"1", "text/plain"), gone.get(Blob("sha256:" + "0" * 64, 1, "text/plain"))):
        with pytest.raises(BlobsUnavailable, match=r"NoSuchBucket.*Next: look at the bucket"):
            await call


async def test_a_store_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    away = BucketBlobs("s3://shop/x", access=Access("eu-central-1", "http://127.0.0.1:9"))
    with pytest.raises(BlobsUnavailable, match=r"s3://shop/x cannot be .*Next: look at the bucket"):
        await away.ping()


async def test_what_was_damaged_is_told_and_mended(bucket: Bucket) -> None:
    blobs = BucketBlobs(f"s3://{bucket.name}", access=bucket.access)
    blob = await blobs.put(b"evidence", "text/plain")
    hex_ = blob.digest.removeprefix("sha256:")
    bucket.put(f"sha256/{hex_[:2]}/{hex_[2:]}", b"evidenci")
    with pytest.raises(ValueError, match="is not what was stored"):
        await blobs.get(blob)
    await blobs.put(b"evidence", "text/plain")
    assert await blobs.get(blob) == b"evidence"


def test_the_setting_names_a_folder_or_a_bucket(tmp_path: Path) -> None:
    assert type(wiring.files_of(Settings(blobs_url=f"file:{tmp_path}"))) is FileBlobs
    assert isinstance(wiring.files_of(Settings(blobs_url="s3://shop-bot/files")), BucketBlobs)
    for wrong in ("s3:shop", "http://x", "file:"):
        with pytest.raises(SettingsError, match="ROLLBACK_BLOBS_URL"):
            wiring.files_of(Settings(blobs_url=wrong))
