"""Caches between people and a site: what they serve, and how they forget it. Values and what can be asked of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Edge:
    """One cache, or a fleet of them behind one name.

    url: the address that people open; by: how it forgets, "" where it cannot be told to; distribution: id of a
    CloudFront distribution; addresses: what is asked in place of the name, empty: whatever it resolves to; config: path
    of the published runtime configuration; backend, reports: HTTP target that says what the backend works with, and the
    page where it does.
    """

    name: str
    url: str
    by: Literal["cloudfront", "purge", ""] = ""
    distribution: str = ""
    addresses: tuple[str, ...] = ()
    backend: str = ""
    reports: str = ""


@dataclass(frozen=True, slots=True)
class EdgeAnswer:
    """What one address answered for one path. headers: names in lower case; digests: SHA-256, in hex, of the body as it
    came and, where it came packed, unpacked; body: none above 1 MiB; fault: why nothing is known, "" if it answered."""

    address: str
    path: str
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    digests: frozenset[str] = frozenset()
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a distribution reads. path: "" or "/builds/2.4.0"; deployed: whether every edge has it; version: of its
    configuration."""

    path: str
    deployed: bool
    version: str


class Edges(Protocol):
    """The edges of a service. All may raise Unreachable, StoreRefused, and LookupError for an edge not catalogued."""

    @property
    def edges(self) -> Sequence[Edge]:
        """Those there are."""
        ...

    async def invalidate(self, edge: str, paths: Sequence[str], key: str) -> str:
        """Have it forget these paths, once for a key: again with the same key finds what was begun. An id of what was
        begun, "" where it is done at once. Retry is safe after Unreachable."""
        ...

    async def invalidated(self, edge: str, id: str) -> bool:
        """Whether what was begun is done."""
        ...

    async def served(self, edge: str, paths: Collection[str]) -> Sequence[EdgeAnswer]:
        """What each of its addresses serves under each path, to a visitor without a cookie. Never raises Unreachable:
        what did not answer is said in its row."""
        ...

    async def origin(self, edge: str) -> Origin:
        """Where it reads. Missing where its distribution has no such origin."""
        ...

    async def point(self, edge: str, path: str, over: Origin) -> None:
        """Have it read there. ValueError where somebody else has changed its configuration since."""
        ...

    def commands(self, edge: str, paths: Sequence[str]) -> Sequence[str]:
        """What a person types to have it forget these paths."""
        ...
