"""Values too large for the log, in a folder, by their SHA-256; and the few small files kept outside the database.

Invariants:
- a file is whole or not there (written beside, synced, renamed), also after a power cut;
- what comes back is what went in: the digest is checked on every read;
- only the bot's user can read: folders 0700, files 0600.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from bot.ports import Blob

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")


class BlobsUnavailable(Exception):
    """The folder cannot be read or written; says where, why, and what to do next."""


class FileBlobs:
    """`ports.Blobs` in a folder: sha256/ab/cdef... Anchors (mutable, by name) lie beside, under `outside`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def put(self, data: bytes, type: str) -> Blob:
        """Keep the bytes (again is harmless) and return their reference. Raises BlobsUnavailable."""
        digest = self.digest(data)
        await asyncio.to_thread(self._keep, self._path(digest), data)
        return Blob(f"sha256:{digest}", len(data), type)

    @staticmethod
    def digest(data: bytes) -> str:
        """SHA-256 in hex: what the bytes are kept under."""
        return sha256(data).hexdigest()

    @staticmethod
    def is_name(text: str) -> bool:
        """Whether it is the name of a small file."""
        return _NAME.fullmatch(text) is not None

    async def get(self, blob: Blob) -> bytes:
        """The bytes. KeyError if they are not there, ValueError if they are not those, BlobsUnavailable."""
        data = await self.whole(blob.digest)
        if len(data) != blob.size:
            raise ValueError(f"{blob.digest} has {len(data)} bytes, and {blob.size} were named")
        return data

    async def whole(self, digest: str) -> bytes:
        """What is kept under a digest ("sha256:..."). As `get`."""
        path = self._path(digest.removeprefix("sha256:"))
        data = await self._fetched(path)
        if data is None:
            raise KeyError(f"{digest} is not in {self.folder}")
        if f"sha256:{sha256(data).hexdigest()}" != digest:
            raise ValueError(f"{path} is not what was stored: it was damaged or changed. Restore it from a backup.")
        return data

    async def _fetched(self, path: Path) -> bytes | None:
        return await asyncio.to_thread(self._read, path)

    async def ping(self) -> None:
        """BlobsUnavailable unless a file can be written now, and read."""
        said = secrets.token_hex(8)
        await asyncio.to_thread(self.put_anchor, "written", said)
        await asyncio.to_thread(self.get_anchor, "written")

    def put_anchor(self, name: str, text: str) -> Path:
        """Write (over) the small file `name` ("checkpoint.json", "by-hand/r1.md"), blocking. Where it lies.

        ValueError for a name that is no plain path, BlobsUnavailable.
        """
        path = self._anchor(name)
        self._write(path, text.encode())
        return path

    def put_first(self, name: str, text: str) -> bool:
        """Write the small file `name` unless there is one, blocking; whether it was written. Of several who try at
        once, in whatever process or machine, one does. ValueError, BlobsUnavailable."""
        try:
            self._write(self._anchor(name), text.encode(), first=True)
        except FileExistsError:
            return False
        return True

    def get_anchor(self, name: str) -> str | None:
        """The small file's text, blocking; None if there is none. BlobsUnavailable."""
        data = self._read(self._anchor(name))
        return None if data is None else data.decode()

    def anchors(self, folder: str) -> list[str]:
        """Names of the small files in a folder of theirs, blocking; none where it is not there. BlobsUnavailable."""
        with self._plainly("read"):
            try:
                return sorted(p.name for p in self._anchor(folder).iterdir() if _NAME.fullmatch(p.name))
            except FileNotFoundError:
                return []

    def drop_anchor(self, name: str) -> None:
        """Remove the small file, blocking; harmless where there is none. BlobsUnavailable."""
        with self._plainly("removed"):
            self._anchor(name).unlink(missing_ok=True)

    def _anchor(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no plain name of a file")
        return self.folder / "outside" / name

    def _path(self, digest: str) -> Path:
        return self.folder / "sha256" / digest[:2] / digest[2:]

    def _keep(self, path: Path, data: bytes) -> None:
        if self._read(path) != data:  # a damaged copy is mended
            self._write(path, data)

    def _read(self, path: Path) -> bytes | None:
        with self._plainly("read"):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None

    def _write(self, path: Path, data: bytes, *, first: bool = False) -> None:
        with self._plainly("written"):
            self._make(path.parent)
            beside = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}")
            try:
                with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:
                    f.write(data)
                    f.flush()
                    os.fsync(f.fileno())
                if first:
                    _named(beside, path)
                else:
                    beside.replace(path)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise
            _sync(path.parent)

    def _make(self, folder: Path) -> None:
        """The folder, and those above it, for our eyes only; each made is synced into the one above."""
        missing = [p for p in (folder, *folder.parents) if not p.exists()]
        for p in reversed(missing):
            p.mkdir(mode=0o700, exist_ok=True)
            _sync(p.parent)

    @contextlib.contextmanager
    def _plainly(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise
        except OSError as e:
            raise BlobsUnavailable(
                f"{e.filename or self.folder} cannot be {what}: {e.strerror or e}. "
                f"Next: look at the disk and the rights of {self.folder} (ROLLBACK_BLOBS_URL)."
            ) from e


def _named(beside: Path, path: Path) -> None:
    """The file under its name, which it only gets where nothing has it. FileExistsError."""
    try:
        os.link(beside, path)
    except OSError as e:
        if e.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as f:  # knows no links
            f.write(beside.read_bytes())
            f.flush()
            os.fsync(f.fileno())
    beside.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
