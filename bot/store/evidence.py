"""What is kept of an incident: logs and events, without their secrets, for as long as was said and for few eyes.

Invariants:
- nothing is written before `clean` went over it, which is the one place where secrets leave a text;
- a file is compressed, named by its SHA-256, and lies in a folder called like the last day on which it is kept; what is
  past that day is deleted as a whole, whoever refers to it: the record keeps the digest;
- only the bot's user can read it, and nothing hands it to Slack.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

from bot.ports import Blob, Unreachable
from bot.store.blobs import BlobsUnavailable, FileBlobs

TYPE = "application/gzip"
FOLDER = "evidence"
"""Below the folder of the bot's files."""
_LINES = 2000
"""Lines that are cleaned at a time, so that others get their turn."""


class KeptEvidence:
    """Implements `bot.ports.evidence.Evidence`. clean: takes the secrets out of a text."""

    def __init__(self, files: FileBlobs, clean: Callable[[str], str]) -> None:
        self.folder, self._clean = files.folder / FOLDER, clean

    async def keep(self, text: str, until: datetime) -> Blob:
        """See the port."""
        if self.folder.parts[0] == "s3:":
            raise Unreachable("evidence is kept on a disk only, and ROLLBACK_BLOBS_URL is a bucket")
        data = await asyncio.to_thread(self._packed, text)
        try:
            return await FileBlobs(self.folder / until.astimezone(UTC).date().isoformat()).put(data, TYPE)
        except BlobsUnavailable as error:
            raise Unreachable(str(error)) from error

    def read(self, digest: str) -> str | None:
        """The text, blocking; None where it is not, or no longer, kept. ValueError where it is damaged."""
        data = self.raw(digest)
        try:
            return None if data is None else gzip.decompress(data).decode()
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise ValueError(f"{digest} is damaged") from error

    def raw(self, digest: str) -> bytes | None:
        """The file as it is kept, compressed, blocking; None where it is not. ValueError where it is damaged."""
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            return None
        for day, folder in self._days():
            path = folder / "sha256" / digest[7:9] / digest[9:]
            if path.exists():
                data = path.read_bytes()
                if f"sha256:{FileBlobs.digest(data)}" != digest:
                    raise ValueError(f"{path} (kept until {day}) is damaged")
                return data
        return None

    def kept(self) -> list[tuple[date, str, int]]:
        """What there is, blocking: until when, digest, bytes."""
        return [
            (day, f"sha256:{path.parent.name}{path.name}", path.stat().st_size)
            for day, folder in self._days()
            for path in sorted((folder / "sha256").glob("??/*"))
            if not path.name.startswith(".")
        ]

    def prune(self, now: datetime) -> int:
        """Deletes, blocking, what was to be kept until a day that is past; how many days of it."""
        past = [folder for day, folder in self._days() if day < now.astimezone(UTC).date()]
        for folder in past:
            shutil.rmtree(folder)
        return len(past)

    def _days(self) -> Iterator[tuple[date, Path]]:
        for folder in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            try:
                yield date.fromisoformat(folder.name), folder
            except ValueError:
                continue  # not ours

    def _packed(self, text: str) -> bytes:
        lines = text.splitlines(keepends=True)
        parts = ("".join(lines[n : n + _LINES]) for n in range(0, len(lines), _LINES))
        return gzip.compress("".join(map(self._clean, parts)).encode("utf-8", "replace"), mtime=0)
