"""Where a frontend is published: folders of an object store that edges read from. Values and what can be asked of them.

Bound to one attempt like every port: a changing call is recorded first. Nothing is ever removed but an object that
the same step has added.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bot.ports.builds import Build, File, Headers, Manifest


class StoreRefused(Exception):
    """The store or the edge answers, and does not let us; the message says what it said."""


class Missing(Exception):
    """The bucket, the build or its manifest is not there; the message says where it was looked for."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place where a frontend is published.

    at: as people write it ("s3://shop-web/www"); builds: what a build's prefix is put behind ("s3://shop-web"); switch:
    the edge whose origin path is pointed at a build instead of copying, "" where files are copied.
    """

    name: str
    at: str
    builds: str
    switch: str = ""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What a site holds under a key. sha256: hex digits of its bytes."""

    size: int
    sha256: str
    headers: Headers

    def is_(self, file: File) -> bool:
        """Whether that is the file, content and headers."""
        return self.size == file.size and self.sha256 == file.sha256 and self.headers == file.headers

    @property
    def value(self) -> str:
        """One line that stands for it: what an edit holds."""
        h = self.headers
        return f"sha256:{self.sha256} {self.size} {h.type} | {h.cache} | {h.encoding}"

    @classmethod
    def read(cls, value: str) -> StoredObject:
        """Of such a line. ValueError."""
        digest, size, rest = value.split(" ", 2)
        type, cache, encoding = rest.split(" | ")
        return cls(int(size), digest.removeprefix("sha256:"), Headers(type, cache, encoding))


def held(file: File) -> StoredObject:
    """What a site holds once the file is there."""
    return StoredObject(file.size, file.sha256, file.headers)


Moved = Callable[[int], Awaitable[None]]
"""Told how many are done."""


class Sites(Protocol):
    """The sites of a service. All may raise Unreachable, StoreRefused, and LookupError for a site not catalogued."""

    @property
    def sites(self) -> Sequence[Site]:
        """Those there are."""
        ...

    async def manifest(self, site: str, build: Build) -> Manifest:
        """Of a build, held to its digest. Missing; ValueError where it is damaged or none."""
        ...

    async def incomplete(self, site: str, build: Build, manifest: Manifest) -> Mapping[str, str]:
        """What of a build's files is not as its manifest says, by size and content: key -> why. Missing."""
        ...

    async def differing(self, site: str, manifest: Manifest) -> Mapping[str, StoredObject | None]:
        """What of a manifest's files the site does not hold so, content and headers: key -> what is there. Missing."""
        ...

    async def look_over(self, site: str, builds: Collection[Build]) -> int:
        """Look at whatever these builds name at a site, unhurried, so that it is known once somebody waits for it; a
        build that is gone is passed over. How many objects were not known. Missing."""
        ...

    async def look(self, site: str, keys: Collection[str]) -> Mapping[str, StoredObject | None]:
        """What the site holds under these keys."""
        ...

    async def read(self, site: str, key: str) -> bytes | None:
        """The bytes of a small object; None where there is none. ValueError above 1 MiB."""
        ...

    async def add(self, site: str, build: Build, files: Sequence[File], told: Moved) -> None:
        """Copy files of a build to where the site has none. Missing where the build lacks one."""
        ...

    async def replace(
        self, site: str, key: str, now: StoredObject | None, then: StoredObject, builds: Collection[Build]
    ) -> None:
        """Bring an object from what it is to what it shall be: from one of these builds, or as it was kept when it was
        replaced. What it holds now can be brought back. Missing where nothing has that content."""
        ...

    async def write(self, site: str, key: str, now: StoredObject | None, data: bytes, headers: Headers) -> None:
        """Put these bytes there. What it holds now can be brought back."""
        ...

    async def remove(self, site: str, key: str, now: StoredObject) -> None:
        """Remove an object that a step has added, unless it holds something else by now."""
        ...
