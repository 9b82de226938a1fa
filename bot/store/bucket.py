"""Values too large for the log, and the few small files kept outside the database, in a bucket (`s3://bucket/prefix`).

The same names as in a folder (bot/store/blobs.py), each an object: it is whole or not there by the store's own doing,
what comes back is checked against its digest, and a small file that must be the first is written on the condition that
there is none. Who may read is the bucket's rule, and its own encryption applies. Several nodes share it without a disk.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from bot.adapters.aws.account import Absent, Access, Account, Unsupported, WriteConflict, in_our_words
from bot.adapters.aws.buckets import Folder
from bot.ports import Blob
from bot.store.blobs import BlobsUnavailable, FileBlobs

T = TypeVar("T")


class BucketBlobs(FileBlobs):
    """`FileBlobs` in a bucket. ValueError for what is no s3:// address."""

    def __init__(self, url: str, ca_file: Path | None = None, access: Access | None = None) -> None:
        self._at = Folder.of(url)
        super().__init__(Path("s3:") / self._at.bucket / self._at.prefix)
        self._account = Account(access or Access(), ca_file)

    async def put(self, data: bytes, type: str) -> Blob:
        """See `FileBlobs`; in a thread that nobody else needs."""
        blob = Blob(f"sha256:{self.digest(data)}", len(data), type)
        path = self._path(blob.digest.removeprefix("sha256:"))
        await self._account.run("keep a value", lambda: self._keep(path, data))
        return blob

    async def _fetched(self, path: Path) -> bytes | None:
        return await self._account.run("read a value", lambda: self._read(path))

    def anchors(self, folder: str) -> list[str]:
        """See `FileBlobs`."""
        prefix = f"{self._key(self._anchor(folder))}/"

        def listed() -> list[str]:
            pages = self._account.client("s3").get_paginator("list_objects_v2")
            found = pages.paginate(Bucket=self._at.bucket, Prefix=prefix, Delimiter="/")
            names = [item["Key"].removeprefix(prefix) for page in found for item in page.get("Contents", ())]
            return sorted(name for name in names if self.is_name(name))

        return self._asked("listed", listed)

    def drop_anchor(self, name: str) -> None:
        """See `FileBlobs`."""
        key = self._key(self._anchor(name))
        self._asked("removed", lambda: self._account.client("s3").delete_object(Bucket=self._at.bucket, Key=key))

    def _read(self, path: Path) -> bytes | None:
        def read() -> bytes:
            said = self._account.client("s3").get_object(Bucket=self._at.bucket, Key=self._key(path))
            data: bytes = said["Body"].read()
            return data

        try:
            return self._asked("read", read)
        except Absent as error:
            if error.code == "NoSuchBucket":
                raise self._unavailable("read", error) from error
            return None

    def _write(self, path: Path, data: bytes, *, first: bool = False) -> None:
        given = {"Bucket": self._at.bucket, "Key": self._key(path), "Body": data}
        guard = {"IfNoneMatch": "*"} if first else {}
        try:
            self._asked("written", lambda: self._account.client("s3").put_object(**given, **guard))
        except WriteConflict:
            if self._read(path) != data:  # else it is our own, whose answer was lost
                raise FileExistsError(str(path)) from None
        except (Absent, Unsupported) as error:
            raise self._unavailable("written", error) from error

    def _key(self, path: Path) -> str:
        return self._at.key(path.relative_to(self.folder).as_posix())

    def _asked(self, what: str, work: Callable[[], T]) -> T:
        """Its answer. Absent, WriteConflict, Unsupported; BlobsUnavailable."""
        try:
            return work()
        except Exception as error:
            told = in_our_words(f"{self._at}", error)
            if isinstance(told, Absent | WriteConflict | Unsupported):
                raise told from error
            raise self._unavailable(what, told) from error

    def _unavailable(self, what: str, error: Exception) -> BlobsUnavailable:
        hint = "look at the bucket and the bot's rights to it (ROLLBACK_BLOBS_URL)"
        return BlobsUnavailable(f"{self._at} cannot be {what}: {error}. Next: {hint}.")
