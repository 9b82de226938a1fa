"""Databases of a service (`ports.databases`): where their schema stands, what taking it back would cost, and moving it
one revision at a time.

Two logins reach a database: one that only reads, and an admin, who owns the service's tables; only `migrate` uses the
second. Of the rows themselves only counts are seen, except in `export`, which goes into `ports.blobs`.

Invariants:
- no stamp is unknown, never the beginning: an empty version table stands there as `stamp` (), a missing one as None;
- what could not be read of a script is said (`Toll.unread`), and whatever is unread is never called safe;
- a count that did not end in its time is None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


class NotAllowed(Exception):
    """The server lets us in for this not at all, or not with these rights: nothing was done."""


class BadScripts(Exception):
    """A release's migrations cannot be read, or lead nowhere from where the database stands: nothing was done."""


class Blocked(Exception):
    """A lock that others hold was not had in its time; nothing was changed. holders: who, a line each."""

    def __init__(self, message: str, holders: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.holders = tuple(holders)


class ScriptFailed(Exception):
    """A revision's script ended with an error. What it has left behind is to be looked at."""


@dataclass(frozen=True, slots=True)
class Database:
    """A target of the catalogue.

    name: of the target; database: on the server; schema: in which the service's tables are; scripts: whether the
    catalogue says where its migrations lie; ceiling: rows that a downgrade may lose; integrity: name -> query that
    finds nothing in a sound database; unreadable: name -> query that finds what older releases cannot read, and the
    revision that brought it; others: further catalogued services on the same database; own: the bot's own is there.
    """

    name: str
    database: str
    schema: str = "public"
    scripts: bool = False
    ceiling: int = 500
    integrity: Mapping[str, str] = field(default_factory=dict)
    unreadable: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    own: bool = False


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """How a database stands. server: its version ("18.4"); size: bytes; replica: it only follows another; read_only:
    new sessions cannot write; holds: transactions that have been open for long, a line each; bot: the bot's own tables
    lie there."""

    server: str
    stamp: tuple[str, ...] | None
    size: int
    replica: bool = False
    read_only: bool = False
    holds: tuple[str, ...] = ()
    bot: bool = False


Direction = Literal["down", "up"]


@dataclass(frozen=True, slots=True)
class RevisionStep:
    """One revision on a way. below: the revision under it ("base" for the first, "a+b" under a merge); stamp: what the
    version table holds once it is done; sql: what it sends, None where that cannot be told without doing it: why."""

    revision: str
    below: str
    stamp: tuple[str, ...]
    title: str = ""
    sql: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """Every revision between where the stamp is and where it is to be, in the order in which they are gone through.
    inverse: revision -> the SQL of its other direction, where that can be told; digest: of the scripts, "sha256:<hex>".
    """

    at: tuple[str, ...]
    to: str
    direction: Direction
    steps: tuple[RevisionStep, ...] = ()
    inverse: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Loss:
    """Data that go. what: "column orders.coupon_id", "table coupons"; rows: how many hold something nobody could make
    again, None where that was not counted in time; bytes: about; export: the query that gives them."""

    what: str
    rows: int | None
    bytes: int | None
    export: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class Toll:
    """What a way costs. along: what goes without being named in a script; refused: what uses something that goes, so
    that the script fails; unread: what could not be read; stays: what the other direction made and this one leaves;
    unfit: rule of the older schema -> rows that break it, so that the script fails (None: not counted); idle: revisions
    whose script does nothing although the other direction does something; foreign: what the older release does not
    know, a value or the breach of a rule -> rows with it (None: not counted); hidden: what the other direction makes of
    a revision that cannot be read, which would be there still had its script done nothing."""

    losses: tuple[Loss, ...] = ()
    along: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    stays: tuple[str, ...] = ()
    unfit: Mapping[str, int | None] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    foreign: Mapping[str, int | None] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()

    @property
    def rows(self) -> int | None:
        """Rows that go, together; None where any was not counted, or something is unread."""
        counted = [loss.rows for loss in self.losses]
        return None if self.unread or None in counted else sum(n for n in counted if n is not None)

    @property
    def bytes(self) -> int | None:
        """About how many bytes go; None where that is not known of all."""
        sizes = [loss.bytes for loss in self.losses]
        return None if None in sizes else sum(n for n in sizes if n is not None)


TableShape = Mapping[str, str]
"""Object of a schema ("table orders", "column orders.total", "index orders_pkey") -> what it is, in the server's words.
Two databases of one shape hold the same objects; rows, sizes and the order of columns are no part of it."""


@dataclass(frozen=True, slots=True)
class SchemaDifference:
    """Between a schema and what is expected of it. more: something is there that nobody expects; it breaks nothing."""

    said: str
    more: bool = False

    def __str__(self) -> str:
        return self.said


def unsound(shape: TableShape) -> list[SchemaDifference]:
    """What stands in a schema and does not work."""
    found = []
    for name, what in shape.items():
        if what.endswith(", INVALID"):
            found.append(SchemaDifference(f"{name} is invalid: it was not built to its end"))
        elif name.startswith("constraint ") and what.endswith(" NOT VALID"):
            found.append(SchemaDifference(f"{name} was never validated: rows from before may break it"))
    return found


class Databases(Protocol):
    """The databases of one service. Reading raises Unreachable (no answer: nothing is known), NotAllowed, LookupError
    for one that the catalogue does not name; what reads a release's scripts also BadScripts."""

    @property
    def databases(self) -> Sequence[Database]:
        """Every one that the catalogue names, in its order."""
        ...

    async def state(self, name: str) -> DatabaseState:
        """Where it stands."""
        ...

    async def shape(self, name: str) -> TableShape:
        """Every object of its schema."""
        ...

    async def route(self, name: str, scripts: str, to: str) -> Route:
        """The revisions from where its stamp is to `to`, by a release's migrations: what its record calls them."""
        ...

    async def standing(self, name: str, scripts: str, revisions: Sequence[str]) -> Mapping[str, str]:
        """Revision -> itself where it is in force, also where no row of the version table names it; else the one below
        it."""
        ...

    async def toll(self, name: str, route: Route) -> Toll:
        """What a way would cost now, counted under a time limit."""
        ...

    async def count(self, name: str, query: str) -> int | None:
        """How many rows a query of the catalogue finds; None where it took too long. ValueError where it is none."""
        ...

    async def differences(self, name: str, scripts: str) -> Sequence[SchemaDifference] | None:
        """In which ways the schema is not what the models say that a release's env.py names; None: it names none."""
        ...

    async def export(self, name: str, loss: Loss) -> bytes:
        """The rows that would go, as CSV with a header. ValueError where they are more than the bot keeps."""
        ...

    async def migrate(self, name: str, scripts: str, step: RevisionStep, direction: Direction) -> None:
        """Goes over one revision, in a transaction of its own, while nobody else migrates; its stamp is not looked at.
        Blocked, ScriptFailed; Unreachable: whether it was done is not known."""
        ...
