"""What the small tables hold, as values, and the one place where moments change their unit.

Values carry seconds since the epoch (float), rows microseconds (BIGINT): fields named in `MOMENTS` are turned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    D = TypeVar("D", bound=DataclassInstance)

MOMENTS = frozenset(
    {"at", "due", "created", "closed", "expires", "issued_at", "revoked", "served_from", "served_until"}
)


@dataclass(frozen=True, slots=True)
class Head:
    """A run in one line. due None: only a person can move it."""

    run: str
    service: str
    kind: str
    open: bool
    seq: int
    due: float | None
    created: float
    closed: float | None


@dataclass(frozen=True, slots=True)
class Slot:
    """Which message shows `name` of a run, and the digest of what it shows. ts empty: it was to be posted at `at`, and
    nobody knows yet whether it was."""

    run: str
    name: str
    channel: str
    ts: str
    digest: str
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Unshown:
    """A run of which Slack may not show everything: `shown` of its `seq` events, below 0 where notices came since."""

    run: str
    seq: int
    shown: int


@dataclass(frozen=True, slots=True)
class Notice:
    """A post that an action asked for. channel: as catalogued; empty where the bot tells of itself, in the thread;
    due: not to be posted before, None: at once; people: ids of whom it mentions, with blanks between."""

    run: str
    name: str
    channel: str
    text: str
    at: float
    due: float | None = None
    people: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What somebody outside last said. name: of what (`slack/people`); body: JSON; at: seconds since the epoch."""

    name: str
    body: str
    at: float


@dataclass(frozen=True, slots=True)
class Progress:
    """The last progress line of a step."""

    run: str
    step: str
    text: str
    done: int | None
    total: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Token:
    """A personal token, by its SHA-256. revoked None: it was not."""

    hash: str
    person: str
    expires: float
    issued_at: float
    issued_by: str
    revoked: float | None = None

    @property
    def name(self) -> str:
        """What it is called where it is talked of: the beginning of its hash."""
        return self.hash[:12]

    def good(self, now: float) -> bool:
        """Whether it stands for its person."""
        return self.revoked is None and self.expires > now


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A registered release; body is JSON."""

    service: str
    version: str
    body: str
    state: str
    reason: str
    at: float
    served_from: float | None = None
    served_until: float | None = None


def us(seconds: float) -> int:
    """Microseconds since the epoch."""
    return round(seconds * 1e6)


def to_row(value: DataclassInstance) -> dict[str, Any]:
    """The value as the database keeps it."""
    found = ((f.name, getattr(value, f.name)) for f in fields(value))
    return {k: us(v) if k in MOMENTS and v is not None else v for k, v in found}


def from_row(kind: type[D], row: Mapping[Any, Any]) -> D:
    """The value that a row holds."""
    return kind(**{k: v / 1e6 if k in MOMENTS and v is not None else v for k, v in row.items()})
