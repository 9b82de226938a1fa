"""What is done to a whole database on its server: writing refused for a while, and another one restored beside it that
takes its place.

All of it is the admin login's (`bot.ports.databases`). Whatever crashed, calling again with the same arguments goes on.

Invariants:
- no database is ever deleted, and none that the bot did not make is written to before it has the service's name;
- what takes a database's place was restored whole and compared with its backup, and the old one stays beside it under
  a name that says when and why;
- both names change in one transaction: there is no moment at which the service's name is nobody's and stays so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bot.ports.backups import Backup, Proof

Telling = Callable[[str, int | None, int | None], Awaitable[None]]
"""Shows progress: a line, how much is done, of how much."""

EVERYBODY = ""
"""Whose setting that of the database itself is, among those of roles."""


class Unfit(Exception):
    """It cannot be done so, and nothing was changed that anybody uses; hint: what a person should do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Quiet:
    """How writing is refused in a database. settings: role ("": everybody) -> "on", "off" or None (not set) of
    default_transaction_read_only there, for everybody and each role that would otherwise write all the same; writers:
    sessions that could still write, or do, a line each."""

    settings: Mapping[str, str | None]
    writers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kept:
    """A database on the server. label: what it is to people and to approvals, "oid 16384" or "restored from NAME
    (sha256:…)"; name: under which it stands now; why: since when it has not had the service's name, and whether it was
    there before ("kept of shop since ...") or was taken back ("undone of ..."), "" where it never had."""

    name: str
    label: str
    size: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a restore meets.

    live: the database that has the service's name; between: it was closed for a switch that has not ended, in which
    the database of this label comes to the name or goes from it, "" otherwise; kept: those beside it that had the name,
    or were made to; server: its version, "" where it is closed; hindrances: why no restore is possible, each with what
    to do; warnings: what people should know; free: bytes that the server's disk still takes, None where nobody says;
    rows: of each table, None where it was not counted in time; none where it is closed.
    """

    live: Kept
    server: str
    between: str = ""
    kept: tuple[Kept, ...] = ()
    hindrances: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()
    free: int | None = None
    rows: Mapping[str, int | None] = field(default_factory=dict)


class Maintenance(Protocol):
    """The databases of one service (`bot.ports.databases`), by name. Raises Unreachable (no answer: nothing is known),
    NotAllowed, LookupError."""

    async def quiet(self, name: str) -> Quiet:
        """How writing stands."""
        ...

    async def set_quiet(self, name: str, settings: Mapping[str, str | None]) -> None:
        """Sets, or takes back (None), default_transaction_read_only for these roles; then ends the sessions that began
        before, for which it would not count."""
        ...

    async def standing(self, name: str, *, counted: bool = True) -> Standing:
        """What a restore would meet. counted: with the rows of its tables."""
        ...

    def usable(self, source: str, proof: Proof, server: str) -> str:
        """Why a backup of a target cannot be restored by the programs here into a server of that version; "" where it
        can."""
        ...

    async def restore(self, name: str, source: str, backup: Backup, proof: Proof, jobs: int, report: Telling) -> None:
        """Makes a database beside this one from a backup of the target `source`, with owner, rights and settings of
        this one; goes on where another call has stopped. Unfit where it cannot."""
        ...

    async def unlike(self, name: str, proof: Proof) -> Sequence[str]:
        """In which ways what was restored is not what its backup holds, a line each: tables, rows, sequences,
        extensions, revision, rights, settings."""
        ...

    async def switch(self, name: str, label: str, why: str) -> None:
        """The database of this label takes the name, and its sessions come to it as they connect anew; the one that had
        the name stays under another, made of `why` and the moment. Nothing where it has the name already. Unfit where
        there is none of that label."""
        ...
