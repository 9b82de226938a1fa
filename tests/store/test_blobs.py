"""Files by digest: whole or not there, checked when read, for our eyes only."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from hashlib import sha256
from pathlib import Path

import pytest

from bot.ports import Blob, Blobs
from bot.store.blobs import BlobsUnavailable, FileBlobs


@pytest.fixture
def blobs(tmp_path: Path) -> FileBlobs:
    return FileBlobs(tmp_path / "var" / "files")


def files(blobs: FileBlobs) -> list[Path]:
    return [p for p in blobs.folder.rglob("*") if p.is_file()]


async def test_what_comes_back_is_what_went_in(blobs: FileBlobs) -> None:
    port: Blobs = blobs
    data = os.urandom(100_000)
    blob = await port.put(data, "application/octet-stream")
    assert blob == Blob(f"sha256:{sha256(data).hexdigest()}", 100_000, "application/octet-stream")
    assert await port.get(blob) == data
    assert await port.get(await port.put(b"", "text/plain")) == b""


async def test_the_path_is_the_digest(blobs: FileBlobs) -> None:
    blob = await blobs.put(b"logs", "text/plain")
    hex_ = blob.digest.removeprefix("sha256:")
    assert files(blobs) == [blobs.folder / "sha256" / hex_[:2] / hex_[2:]]


async def test_putting_again_is_harmless_even_at_once(blobs: FileBlobs) -> None:
    found = await asyncio.gather(*(blobs.put(b"same", "text/plain") for _ in range(8)))
    assert len(set(found)) == 1
    assert len(files(blobs)) == 1


async def test_a_blob_that_is_not_there_is_a_key_error(blobs: FileBlobs) -> None:
    with pytest.raises(KeyError, match="sha256:00"):
        await blobs.get(Blob("sha256:" + "0" * 64, 1, "text/plain"))


async def test_a_damaged_blob_is_told_and_mended_by_putting_again(blobs: FileBlobs) -> None:
    blob = await blobs.put(b"evidence", "text/plain")
    (path,) = files(blobs)
    path.write_bytes(b"evidenci")
    with pytest.raises(ValueError, match=r"is not what was stored.*backup"):
        await blobs.get(blob)
    with pytest.raises(ValueError, match="is not what was stored"):
        await blobs.get(Blob(blob.digest, 3, "text/plain"))
    assert await blobs.put(b"evidence", "text/plain") == blob
    assert await blobs.get(blob) == b"evidence"


async def test_only_the_bots_user_can_read(blobs: FileBlobs) -> None:
    before = os.umask(0)
    try:
        await blobs.put(b"personal data", "text/plain")
        blobs.put_anchor("by-hand/r1.md", "kubectl ...")
    finally:
        os.umask(before)
    for p in [blobs.folder, *blobs.folder.rglob("*")]:
        assert stat.S_IMODE(p.stat().st_mode) == (0o700 if p.is_dir() else 0o600)


async def test_a_write_that_fails_leaves_what_was_there(blobs: FileBlobs, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs.put_anchor("checkpoint.json", "first")

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(BlobsUnavailable, match=r"No space left on device\. Next: .*files"):
            blobs.put_anchor("checkpoint.json", "second")
        with pytest.raises(BlobsUnavailable):
            await blobs.put(b"data", "text/plain")
    assert blobs.get_anchor("checkpoint.json") == "first"
    assert len(files(blobs)) == 1


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BlobsUnavailable, match=r"cannot be .*: Not a directory\. Next: "):
        await FileBlobs(tmp_path / "file" / "blobs").ping()
    await FileBlobs(tmp_path / "blobs").ping()


def test_an_anchor_is_written_over(blobs: FileBlobs) -> None:
    assert blobs.get_anchor("by-hand/r1.md") is None
    blobs.put_anchor("by-hand/r1.md", "# Rollback of shop: été")
    path = blobs.put_anchor("by-hand/r1.md", "# done")
    assert blobs.get_anchor("by-hand/r1.md") == "# done" == path.read_text()


@pytest.mark.parametrize("name", ["", "../x", "/etc/passwd", "a/../b", ".hidden", "a//b", "a\n", "a/"])
def test_an_anchor_stays_in_its_folder(blobs: FileBlobs, name: str) -> None:
    for go in (lambda: blobs.get_anchor(name), lambda: blobs.put_anchor(name, "x")):
        with pytest.raises(ValueError, match="no plain name"):
            go()
