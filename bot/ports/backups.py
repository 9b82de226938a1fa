"""Backups of databases that others make, as handlers see them: what there is, and whether it can be read to its end.

The bot makes none and deletes none. Where they lie (`Shelf`) and how an archive is read are two things: a folder and an
S3 prefix are shelves, and what is read off either is read by the same code (`bot.adapters.backups`).

Invariants:
- a listing is no proof: only what was read to its end is called whole;
- what was proven of a backup is remembered by its identity, which another file under the same name has not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from bot.ports import Where

STAMP = "alembic_version"
"""The table that says which revision a schema has."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup, as its shelf lists it.

    name: below the shelf; size: bytes; changed: when it was written last, by the shelf's clock; began: when the dump
    began, where its name says so (what was written after that is not in it); identity: another one whenever the bytes
    may be others; noted: "sha256:<hex>" that was written beside it when it was made, "" where nothing was; folder:
    whether it is one of several files (pg_dump -Fd).
    """

    name: str
    size: int
    changed: datetime
    identity: str
    began: datetime | None = None
    noted: str = ""
    folder: bool = False

    @property
    def at(self) -> datetime:
        """Up to when it holds what was written; without a time in its name that is later than the truth, as pg_dump
        reads all as of its start."""
        return min(self.began, self.changed) if self.began is not None else self.changed


@dataclass(frozen=True, slots=True)
class Proof:
    """What reading a backup to its end has shown.

    fault: why it cannot be restored, "" where it can; hint: what to do then; digest: "sha256:<hex>" of its bytes (of a
    folder: of its files' names and digests); noted: whether that is the one written down when it was made; checked:
    whether damage inside the data would have shown (compressed, or a digest that was noted); format: "custom",
    "directory", "tar" or "plain"; server, dumper: versions of the server and of the pg_dump that wrote it; rows: of
    each table ("public.orders"), None where they could not be counted; sequences: where each stands, None where it was
    never asked; stamp: revisions
    of its schema; extensions: names; items: entries of its table of contents; counted: whether rows, sequences and
    stamp were looked for; packed: whether gzip was put around it.
    """

    name: str
    identity: str
    digest: str
    at: datetime
    fault: str = ""
    hint: str = ""
    noted: bool = False
    checked: bool = False
    format: str = ""
    server: str = ""
    dumper: str = ""
    rows: Mapping[str, int | None] = field(default_factory=dict)
    sequences: Mapping[str, int | None] = field(default_factory=dict)
    stamp: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    items: int = 0
    counted: bool = False
    packed: bool = False

    @property
    def whole(self) -> bool:
        """Whether it was read to its end, and is what pg_restore can restore."""
        return not self.fault


@dataclass(frozen=True, slots=True)
class Rules:
    """What the catalogue wants of the backups of one target.

    of: the database (a target of the service) that they are of, "" for its only one; max_age: seconds that the newest
    may be old; least: share of the size of the one before that the newest must have, 0 to 1.
    """

    of: str = ""
    max_age: float = 24 * 3600.0
    least: float = 0.5


class Shelf(Protocol):
    """Where backups lie. Reads only. Unreachable where it does not answer, PermissionError where it refuses."""

    @property
    def where(self) -> Where:
        """Which place it is."""
        ...

    async def list(self) -> Sequence[Backup]:
        """Newest first; what does not fit the pattern of the catalogue is none."""
        ...

    def chunks(self, backup: Backup) -> Iterator[bytes]:
        """Its bytes in order, of one that is a single file; blocking, for the thread that reads it. OSError where it is
        gone, or cannot be read to its end."""
        ...

    def local(self, backup: Backup) -> AbstractAsyncContextManager[Path]:
        """A path under which it lies meanwhile, for programs that jump about in it. OSError as `chunks`, and where
        there is no room for it."""
        ...

    async def close(self) -> None:
        """End whatever it holds open. Harmless again."""
        ...


class Memory(Protocol):
    """Small texts that outlive the process, for all nodes."""

    async def get(self, name: str) -> str | None:
        """The text; None where there is none."""
        ...

    async def put(self, name: str, text: str) -> None:
        """Keep it, over what was there."""
        ...


class Backups(Protocol):
    """The backups of one service, by the names of the catalogue. LookupError for one that it does not name."""

    @property
    def rules(self) -> Mapping[str, Rules]:
        """Target -> what is wanted of its backups."""
        ...

    async def list(self, target: str) -> Sequence[Backup]:
        """Newest first. Unreachable where nothing is known."""
        ...

    async def proof(self, target: str, backup: Backup, *, fresh: float = 0.0, counted: bool = False) -> Proof:
        """What reading it to its end shows: remembered where that was at most `fresh` seconds ago, by its digest where
        that one was proven, else read now, with constant memory. counted: with the rows of each table, which takes
        about twice as long, once. Unreachable where nothing is known: the shelf is away, or this machine lacks a
        pg_restore that can read it."""
        ...
