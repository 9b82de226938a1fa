"""What handlers may do to the outside world: small Protocols, and the values that pass through them.

Adapters implement the Protocols; wiring puts them together as `Ports`. A handler sees only the ports that it
declares in `needs`, and of a port only the targets that the catalogue names. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import ConfigDict, Field, JsonValue

from bot.ports.evidence import Evidence as Evidence
from bot.ports.metrics import Metrics as Metrics
from bot.ports.notices import Notices as Notices
from bot.ports.people import ChannelAccess as ChannelAccess
from bot.ports.people import People as People
from bot.ports.people import Trouble as Trouble
from bot.ports.plots import Plots as Plots
from bot.ports.registry import ImageRegistry as ImageRegistry
from bot.ports.releases import Releases as Releases

if TYPE_CHECKING:
    from bot.ports.backups import Backups  # which need what stands here
    from bot.ports.caches import Caches
    from bot.ports.databases import Databases
    from bot.ports.edges import Edges
    from bot.ports.history import History
    from bot.ports.journeys import Journeys
    from bot.ports.kubernetes import Kubernetes
    from bot.ports.maintenance import Maintenance
    from bot.ports.partners import Partners
    from bot.ports.sites import Sites

Json = JsonValue
"""Anything JSON can say."""

Record = Callable[[str], Awaitable[None]]
"""Called by an adapter right before each changing call, with the command a person would have typed.

It appends to the run's log, so it is the fence as well: if it raises, the call must not be made. While something
is only being planned or checked it always raises `ReadOnly`: a preview cannot write.
"""


class ReadOnly(Exception):
    """A changing call was tried where only reading is allowed (plan, observe, a check)."""


async def unbound(command: str) -> None:
    """The record of an adapter that no attempt has bound yet: it refuses."""
    raise ReadOnly(f"no attempt is under way that could record: {command}")


class Unreachable(Exception):
    """The target did not answer, or not in time: nothing is known about what it did.

    parts: which places of the catalogue are away, and why ({"us-1": "no answer within 5 s"}), where that is known:
    people can then decide to go on without them, and they stay owed until they are back.
    """

    def __init__(self, message: str, parts: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.parts: Mapping[str, str] = dict(parts or {})

    @classmethod
    def of(cls, parts: Mapping[str, str]) -> Unreachable:
        """These places are away; the message names each with its reason."""
        return cls("; ".join(f"{name} cannot be reached ({why})" for name, why in parts.items()), parts)


def told(faults: Mapping[str, str]) -> str:
    """ "us-1: no answer within 5 s; ...": each place with what is wrong, which may begin with its name already."""
    return "; ".join(why if why.startswith(f"{place}:") else f"{place}: {why}" for place, why in faults.items())


@dataclass(frozen=True, slots=True)
class Where:
    """Which place a target of the catalogue is, without any secret and whatever credentials it is reached with.

    at: in words; digest: of all that makes it this place and no other, empty where that is not known (yet); port: by
    which handlers reach it ("http").
    """

    at: str
    digest: str
    port: str


@dataclass(frozen=True, slots=True)
class Blob:
    """A value too large for the log (above 4 KiB), kept in `Blobs` under its SHA-256.

    digest: "sha256:<64 hex>"; size: bytes; type: media type.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # so that a JSON object is never mistaken for a reference

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", description="SHA-256 of the bytes.")]
    size: Annotated[int, Field(description="How many bytes.")]
    type: Annotated[str, Field(description="Their media type.")]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer over HTTP. headers: names in lower case; json: None where the body is not JSON."""

    status: int
    headers: Mapping[str, str]
    text: str
    json: Json = None

    @property
    def etag(self) -> str | None:
        """The version of the document that was read, for `If-Match`; None where the server gives none."""
        return self.headers.get("etag")


class Blobs(Protocol):
    """Values above 4 KiB, by digest; written before the event that names them."""

    async def put(self, data: bytes, type: str) -> Blob:
        """Keep the bytes (again is harmless) and return their reference."""
        ...

    async def get(self, blob: Blob) -> bytes:
        """The bytes; KeyError if they are not there, ValueError if they do not match the digest."""
        ...


@dataclass(frozen=True, slots=True)
class Page:
    """Where a target says how the service is. path: of the page below the target; errors: share of failing requests, 0
    to 1, up to which it is well; cluster: the one that this is the way into, "" where it is none's alone."""

    path: str
    errors: float = 0.01
    cluster: str = ""


class Http(Protocol):
    """HTTP endpoints of catalogued targets, by name; a path is always below the target's URL."""

    @property
    def pages(self) -> Mapping[str, Page]:
        """Target -> its health page, for those that have one."""
        ...

    @property
    def entries(self) -> Mapping[str, Page]:
        """Target -> the page that visitors open there, for those that have one."""
        ...

    async def get(self, target: str, path: str) -> Reply:
        """Read. Raises Unreachable after the target's timeout, LookupError for a target not catalogued."""
        ...

    async def put(
        self, target: str, path: str, body: Json, *, if_match: str | None = None, key: str | None = None
    ) -> Reply:
        """Write the document. `if_match`: only over this version; `key` goes along as Idempotency-Key."""
        ...

    async def patch(
        self, target: str, path: str, body: Json, *, if_match: str | None = None, key: str | None = None
    ) -> Reply:
        """Change fields of the document: a merge patch (RFC 7396), which converges. Else as `put`."""
        ...

    async def post(self, target: str, path: str, body: Json, *, key: str) -> Reply:
        """Have something done that does not converge by itself: `key` makes it once, where the target heeds it."""
        ...

    async def delete(self, target: str, path: str, *, if_match: str | None = None, key: str | None = None) -> Reply:
        """Remove the document; converges: the reply to a second one (404, 410) is for the handler to judge."""
        ...


class Secrets(Protocol):
    """Values that look like secrets: they are left where they are, and never part of a change or a record."""

    def looks(self, value: Json, name: str = "") -> bool:
        """Whether a value looks like one, or holds one. name: what it is the value of ("DB_PASSWORD")."""
        ...

    def digest(self, value: Json) -> str:
        """What tells whether it is another one, and not what it is; "" where the bot has no key to make that with."""
        ...


class Ports(Protocol):
    """Everything that handlers may ask for, by the names that `needs` uses."""

    @property
    def blobs(self) -> Blobs: ...

    @property
    def http(self) -> Http: ...

    @property
    def kubernetes(self) -> Kubernetes: ...

    @property
    def databases(self) -> Databases: ...

    @property
    def metrics(self) -> Metrics: ...

    @property
    def releases(self) -> Releases: ...

    @property
    def journeys(self) -> Journeys: ...

    @property
    def partners(self) -> Partners: ...

    @property
    def history(self) -> History: ...

    @property
    def caches(self) -> Caches: ...

    @property
    def evidence(self) -> Evidence: ...

    @property
    def plots(self) -> Plots: ...

    @property
    def registry(self) -> ImageRegistry: ...

    @property
    def channels(self) -> ChannelAccess: ...

    @property
    def people(self) -> People: ...

    @property
    def notices(self) -> Notices: ...

    @property
    def secrets(self) -> Secrets: ...

    @property
    def backups(self) -> Backups: ...

    @property
    def sites(self) -> Sites: ...

    @property
    def edges(self) -> Edges: ...

    @property
    def maintenance(self) -> Maintenance: ...
