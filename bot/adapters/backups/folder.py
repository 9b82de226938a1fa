"""Backups in a folder, as a job writes them there: files of pg_dump, or folders of `pg_dump -Fd`.

Invariants:
- it only reads, in threads; names that begin with a dot and digests that lie beside are no backups;
- a link counts as what it leads to; what vanishes between two looks (an old one that is tidied away) is not there.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from bot.ports import Unreachable, Where
from bot.ports.backup_names import NamePattern
from bot.ports.backups import Backup

BESIDE = ".sha256"
"""How the file is named that holds a backup's digest, as `sha256sum` writes it: the backup's own name and this."""
CHUNK = 1 << 18
_DIGEST = re.compile(r"\b([0-9a-f]{64})\b")


class FolderShelf:
    """Implements `bot.ports.backups.Shelf`."""

    def __init__(self, folder: Path, pattern: str = "*") -> None:
        self.folder, self._pattern = folder, NamePattern(pattern)

    @property
    def where(self) -> Where:
        """The folder. It is the same place whatever disk is mounted there."""
        at = str(self.folder.absolute())
        return Where(at, hashlib.sha256(f"folder {at}".encode()).hexdigest(), "backups")

    async def list(self) -> Sequence[Backup]:
        """Newest first."""
        return await asyncio.to_thread(self._list)

    def _list(self) -> Sequence[Backup]:
        found = []
        try:
            paths = [p for p in self.folder.iterdir() if not p.name.startswith(".") and p.suffix != BESIDE]
        except OSError as error:
            why = f"{self.folder}: {error.strerror or error}"
            raise Unreachable(f"{why}; is it mounted, and may the bot read it?") from error
        for path in paths:
            if self._pattern.fits(path.name):
                try:
                    if (backup := self._backup(path)) is not None:
                        found.append(backup)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise Unreachable(f"{path}: {error.strerror or error}; may the bot read it?") from error
        return sorted(found, key=lambda b: (b.at, b.changed, b.name), reverse=True)

    def _backup(self, path: Path) -> Backup | None:
        if path.is_dir():
            parts = {p.name: p.stat() for p in sorted(path.iterdir()) if p.is_file()}
            if not parts:
                return None
        elif path.is_file():
            parts = {"": path.stat()}
        else:
            return None
        seen = "\n".join(f"{name} {s.st_size} {s.st_mtime_ns} {s.st_ino}" for name, s in parts.items())
        changed = max(s.st_mtime for s in parts.values())
        return Backup(
            name=path.name,
            size=sum(s.st_size for s in parts.values()),
            changed=datetime.fromtimestamp(changed, UTC),
            identity=hashlib.sha256(seen.encode()).hexdigest()[:32],
            began=self._pattern.moment(path.name),
            noted="" if path.is_dir() else self._noted(path),
            folder=path.is_dir(),
        )

    def _noted(self, path: Path) -> str:
        """The digest that lies beside it."""
        try:
            text = path.with_name(path.name + BESIDE).read_text(encoding="ascii", errors="replace")[:4096]
        except FileNotFoundError:
            return ""
        found = _DIGEST.search(text.lower())
        return f"sha256:{found[1]}" if found else ""

    def chunks(self, backup: Backup) -> Iterator[bytes]:
        """Its bytes in order, 1 MiB at a time. Blocking."""
        with (self.folder / backup.name).open("rb", buffering=0) as file:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while chunk := file.read(CHUNK):
                yield chunk

    @asynccontextmanager
    async def local(self, backup: Backup) -> AsyncIterator[Path]:
        """Where it lies."""
        path = self.folder / backup.name
        if not path.exists():
            raise FileNotFoundError(f"{path} is gone")
        yield path

    async def close(self) -> None:
        """Nothing is open."""
