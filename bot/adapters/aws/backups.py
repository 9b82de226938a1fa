"""Backups in a folder of a bucket, as a job uploads them there: files of pg_dump, or folders of `pg_dump -Fd`.

Invariants:
- it only reads; names that begin with a dot and digests that lie beside are no backups;
- what is read is the version that was listed: one that is replaced meanwhile is an error, never a mixture;
- a connection that breaks is gone on with where it broke; memory is constant, whatever the size;
- disk is used only for what programs must jump about in, and only where there is room for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.adapters.aws.account import Absent, Account, WriteConflict, in_our_words
from bot.adapters.aws.buckets import CHUNK, Folder, Objects
from bot.ports import Unreachable, Where
from bot.ports.backup_names import NamePattern
from bot.ports.backups import Backup
from bot.ports.sites import Missing, StoreRefused

BESIDE = ".sha256"
"""How the object is named that holds a backup's digest, as `sha256sum` writes it: the backup's own name and this."""
GONE_ON = 5
"""How often in a row a reading is gone on with that brought nothing more."""
SPARE = 256 * 1024 * 1024
"""Bytes of a disk that are left free."""
_DIGEST = re.compile(r"\b([0-9a-f]{64})\b")


@dataclass(frozen=True, slots=True)
class _Part:
    """An object of a backup. name: below the backup, "" where it is one file."""

    name: str
    size: int
    etag: str
    modified: datetime


class BucketShelf:
    """Implements `bot.ports.backups.Shelf`. pattern: see `bot.ports.backup_names`."""

    def __init__(self, account: Account, folder: Folder, pattern: str = "*") -> None:
        self._account, self._folder, self._pattern = account, folder, NamePattern(pattern)
        self._parts: dict[str, Sequence[_Part]] = {}

    @property
    def where(self) -> Where:
        """The store and the folder, whatever credentials it is reached with."""
        endpoint = self._account.access.endpoint
        at = f"{self._folder}{f' at {endpoint}' if endpoint else ''}"
        identity = f"bucket {self._account.access.place} {self._folder}"
        return Where(at, hashlib.sha256(identity.encode()).hexdigest(), "backups")

    async def list(self) -> Sequence[Backup]:
        """Newest first."""
        try:
            top, folders = await self._listed("")
            inside = await asyncio.gather(*(self._listed(f"{n}/") for n in folders if self._fits(n)))
            found = {name: [part] for name, part in top.items() if self._fits(name)}
            found |= {n: [*parts.values()] for n, (parts, _) in zip(filter(self._fits, folders), inside, strict=True)}
            noted = {n: await self._noted(n) for n, parts in found.items() if n in top and n + BESIDE in top}
        except (Missing, Absent) as error:
            raise Unreachable(f"{error}; is there such a bucket?") from error
        except StoreRefused as error:
            raise Unreachable(f"{error}; the bot needs s3:ListBucket and s3:GetObject there") from error
        backups = [self._backup(n, parts, noted.get(n, ""), n in folders) for n, parts in found.items() if parts]
        self._parts = {b.identity: found[b.name] for b in backups}
        return sorted(backups, key=lambda b: (b.at, b.changed, b.name), reverse=True)

    def _fits(self, name: str) -> bool:
        return bool(name) and not name.startswith(".") and not name.endswith(BESIDE) and self._pattern.fits(name)

    async def _listed(self, below: str) -> tuple[Mapping[str, _Part], Sequence[str]]:
        """The objects right below the folder, or below a folder in it, by name; and the folders there."""
        prefix = self._folder.key(below)

        def pages() -> tuple[dict[str, _Part], list[str]]:
            found: dict[str, _Part] = {}
            folders: list[str] = []
            paginator = self._account.client("s3").get_paginator("list_objects_v2")
            for page in paginator.paginate(Bucket=self._folder.bucket, Prefix=prefix, Delimiter="/"):
                folders += [c["Prefix"][len(prefix) : -1] for c in page.get("CommonPrefixes", ())]
                for item in page.get("Contents", ()):
                    if name := item["Key"][len(prefix) :]:  # else the mark of a folder
                        part = _Part(name, item["Size"], item["ETag"].strip('"'), item["LastModified"].astimezone(UTC))
                        found[name] = part
            return found, folders

        return await self._account.run(f"list {self._folder}/{below}", pages)

    async def _noted(self, name: str) -> str:
        """The digest that lies beside it."""
        read = await Objects(self._account).small(self._folder, name + BESIDE, 1 << 20)
        found = _DIGEST.search(read[0].decode("ascii", "replace").lower()) if read is not None else None
        return f"sha256:{found[1]}" if found else ""

    def _backup(self, name: str, parts: Sequence[_Part], noted: str, folder: bool) -> Backup:
        seen = "\n".join(f"{p.name} {p.size} {p.etag} {p.modified.timestamp()}" for p in parts)
        return Backup(
            name=name,
            size=sum(p.size for p in parts),
            changed=max(p.modified for p in parts),
            identity=hashlib.sha256(seen.encode()).hexdigest()[:32],
            began=self._pattern.moment(name),
            noted=noted,
            folder=folder,
        )

    def chunks(self, backup: Backup) -> Iterator[bytes]:
        """Its bytes in order, at most 1 MiB at a time. Blocking. OSError, as the port says."""
        yield from self._read(self._folder.key(backup.name), self._known(backup)[0])

    def _known(self, backup: Backup) -> Sequence[_Part]:
        if backup.identity not in self._parts:
            raise FileNotFoundError(f"{self._folder}/{backup.name} is gone, or another one by now")
        return self._parts[backup.identity]

    def _read(self, key: str, part: _Part) -> Iterator[bytes]:
        at, vain, what = 0, 0, f"read s3://{self._folder.bucket}/{key}"
        while at < part.size:
            body, began, broke = self._opened(key, part, at), at, None
            try:
                for chunk in body.iter_chunks(CHUNK):
                    at += len(chunk)
                    yield chunk
            except Exception as error:
                broke = error
            finally:
                body.close()
            vain = vain + 1 if at == began else 0
            if vain >= GONE_ON:
                raise _told(what, broke or OSError(f"{what}: it ends after {at} of {part.size} bytes"))

    def _opened(self, key: str, part: _Part, at: int) -> Any:
        """Its body from there on. OSError where it is gone or another one."""
        given = {"Range": f"bytes={at}-"} if at else {}
        try:
            said = self._account.client("s3").get_object(
                Bucket=self._folder.bucket, Key=key, IfMatch=f'"{part.etag}"', **given
            )
        except Exception as error:
            raise _told(f"read s3://{self._folder.bucket}/{key}", error) from error
        return said["Body"]

    @asynccontextmanager
    async def local(self, backup: Backup) -> AsyncIterator[Path]:
        """A copy, for as long as the block lasts. OSError where the disk has no room for it."""
        parts = self._known(backup)
        with tempfile.TemporaryDirectory(prefix="backup-") as folder:
            free = shutil.disk_usage(folder).free - SPARE
            if free < backup.size:
                sizes = f"{backup.size / 1e9:.1f} GB, and {max(free, 0) / 1e9:.1f} GB are free in {folder}"
                raise OSError(f"{backup.name} has {sizes}: set TMPDIR to a larger disk")
            at = Path(folder) / "backup"
            await asyncio.to_thread(self._fetched, backup, parts, at)
            yield at

    def _fetched(self, backup: Backup, parts: Sequence[_Part], at: Path) -> None:
        if backup.folder:
            at.mkdir()
        for part in parts:
            key = self._folder.key(f"{backup.name}/{part.name}" if backup.folder else backup.name)
            with (at / part.name if backup.folder else at).open("wb") as file:
                for chunk in self._read(key, part):
                    file.write(chunk)

    async def close(self) -> None:
        """End every connection."""
        await self._account.close()


def _told(what: str, error: Exception) -> OSError:
    match in_our_words(what, error):
        case Absent() as found:
            return FileNotFoundError(f"{found}: it is gone")
        case WriteConflict():
            return OSError(f"{what}: it was replaced while it was read")
        case OSError() as found:
            return found
        case found:
            return OSError(str(found))
