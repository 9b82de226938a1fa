"""What a build of a frontend is: its files by size and digest, and how each is to be served.

A release names its build as prefix and digest of its manifest ("builds/2.4.0@sha256:…"): the manifest lies below the
prefix as `frontend-manifest.json` beside the files, and says of each what a browser must get. So a build is as fixed as
an image, whoever can write to the store.

Invariants:
- a manifest is read whole or refused, with every mistake; a key never leads out of its prefix;
- entry points, service workers and the runtime configuration are what may change under its name; whatever else a
  manifest calls immutable is served so.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MANIFEST = "frontend-manifest.json"
"""Name of the manifest below a build's prefix."""
MANIFEST_LIMIT = 32 * 1024 * 1024
"""Bytes of a manifest; more is refused."""
FOR_EVER = "public, max-age=31536000, immutable"
ASKED_AGAIN = "no-cache"
"""Kept, and asked again before each use."""
NEVER = "no-store"

TYPES = {
    "avif": "image/avif", "bmp": "image/bmp", "css": "text/css; charset=utf-8", "csv": "text/csv; charset=utf-8",
    "eot": "application/vnd.ms-fontobject", "gif": "image/gif", "htm": "text/html; charset=utf-8",
    "html": "text/html; charset=utf-8", "ico": "image/x-icon", "jpeg": "image/jpeg", "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8", "json": "application/json", "map": "application/json",
    "md": "text/markdown; charset=utf-8", "mjs": "text/javascript; charset=utf-8", "mp3": "audio/mpeg",
    "mp4": "video/mp4", "ogg": "audio/ogg", "otf": "font/otf", "pdf": "application/pdf", "png": "image/png",
    "svg": "image/svg+xml", "ttf": "font/ttf", "txt": "text/plain; charset=utf-8", "wasm": "application/wasm",
    "wav": "audio/wav", "webm": "video/webm", "webmanifest": "application/manifest+json", "webp": "image/webp",
    "woff": "font/woff", "woff2": "font/woff2", "xml": "application/xml", "zip": "application/zip",
}  # fmt: skip
"""By a name's ending. Python's own table differs between machines: slim images know neither woff2 nor webp."""
UNKNOWN_TYPE = "application/octet-stream"

REMOVER = b"""// Takes the place of a service worker that is no longer part of this site, and removes it.
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.registration.unregister()));
"""
"""It answers no request, so pages go to the network once it is active. Tabs keep the old worker until they are
reloaded: to reload them for people would throw away what they have typed."""

_REFERENCE = re.compile(r"(?P<prefix>[^@\s]+)@(?P<digest>sha256:[0-9a-f]{64})")
_HASHED = re.compile(r"[-._](?P<hash>[A-Za-z0-9_-]{8,64})(?:\.[A-Za-z0-9]+){1,2}$")


def fault_of_key(key: str) -> str:
    """Why a key has no place below a prefix; empty where it has."""
    parts = key.split("/")
    if not key or key.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return f"{key!r} is no plain path"
    if any(ord(c) < 32 or ord(c) == 127 for c in key) or "\\" in key:
        return f"{key!r} holds a character that has no place in a path"
    return "" if len(key.encode()) <= 900 else f"{key[:40]!r}… is longer than 900 bytes"


@dataclass(frozen=True, slots=True)
class Build:
    """A build of a frontend: where it lies, and the digest ("sha256:<64 hex>") of its manifest."""

    prefix: str
    digest: str

    @classmethod
    def of(cls, text: str) -> Build:
        """As a release names it. ValueError."""
        found = _REFERENCE.fullmatch(text)
        if found is None:
            raise ValueError(
                f"{text!r} is no build: write <prefix>@sha256:<64 hex digits>, the digest of its {MANIFEST}; "
                "`rollback-bot frontend manifest` prints it"
            )
        if fault := fault_of_key(found["prefix"].strip("/")):
            raise ValueError(fault)
        return cls(found["prefix"].strip("/"), found["digest"])

    def __str__(self) -> str:
        return f"{self.prefix}@{self.digest}"

    @property
    def short(self) -> str:
        """For people: "builds/2.4.0"."""
        return self.prefix


@dataclass(frozen=True, slots=True)
class Headers:
    """What goes along with a file. type: Content-Type; cache: Cache-Control; encoding: Content-Encoding, often none."""

    type: str
    cache: str = ""
    encoding: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.type, self.cache or "no Cache-Control", self.encoding)))


@dataclass(frozen=True, slots=True)
class File:
    """One file of a build. size: bytes as stored; sha256, md5: hex digits of these bytes, md5 "" where not noted."""

    key: str
    size: int
    sha256: str
    headers: Headers
    md5: str = ""

    @property
    def immutable(self) -> bool:
        """Whether it is to be kept for ever under its name."""
        return "immutable" in self.headers.cache


@dataclass(frozen=True)
class Manifest:
    """A build's files, by key below its prefix.

    entries: what people open, the main one last; workers: scripts of service workers; config: key of the runtime
    configuration, "" where there is none; calls: what it asks of the backend ("GET /v2/cart"), where it says so.
    """

    files: Mapping[str, File]
    entries: tuple[str, ...]
    workers: tuple[str, ...] = ()
    config: str = ""
    calls: tuple[str, ...] = ()

    @cached_property
    def fronts(self) -> tuple[str, ...]:
        """What names other files, in the order in which it is to be written: after all that it may name."""
        config = (self.config,) if self.config else ()
        return (*config, *self.workers, *self.entries)

    @cached_property
    def assets(self) -> tuple[str, ...]:
        """Everything else."""
        fronts = {*self.fronts}
        return tuple(key for key in self.files if key not in fronts)

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return sum(f.size for f in self.files.values())

    @property
    def main(self) -> str:
        """The entry point that people open first."""
        return self.entries[-1]

    def dump(self) -> bytes:
        """Its one text."""
        files = {
            key: {
                name: value
                for name, value in (
                    ("size", f.size), ("sha256", f.sha256), ("md5", f.md5), ("type", f.headers.type),
                    ("cache", f.headers.cache), ("encoding", f.headers.encoding),
                )
                if value != ""
            }
            for key, f in sorted(self.files.items())
        }  # fmt: skip
        said = {"entries": self.entries, "workers": self.workers, "config": self.config, "calls": self.calls}
        kept = {name: value for name, value in said.items() if value}
        return json.dumps({"format": 1, **kept, "files": files}, ensure_ascii=False, indent=1).encode() + b"\n"

    @classmethod
    def load(cls, data: bytes) -> Manifest:
        """ValueError with what is wrong."""
        try:
            read = _ManifestFile.model_validate_json(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            at = ".".join(map(str, first["loc"]))
            raise ValueError(f"{MANIFEST} is not one: {at or 'its text'}: {first['msg']}") from None
        faults = [*filter(None, map(fault_of_key, read.files))]
        named = {"entries": read.entries, "workers": read.workers, "config": [read.config] if read.config else []}
        faults += [
            f"{what}: {key!r} is no file of it" for what, keys in named.items() for key in keys if key not in read.files
        ]
        every = [key for keys in named.values() for key in keys]
        faults += [f"{key!r} is named twice" for key in sorted({k for k in every if every.count(k) > 1})]
        if faults:
            raise ValueError(f"{MANIFEST} is not one: {'; '.join(faults[:5])}")
        files = {
            key: File(key, f.size, f.sha256, Headers(f.type, f.cache, f.encoding), f.md5)
            for key, f in read.files.items()
        }
        return cls(files, tuple(read.entries), tuple(read.workers), read.config, tuple(read.calls))


class _FileOf(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    md5: Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")] = ""
    type: Annotated[str, Field(pattern=r"^[!-~][ -~]*$")]
    cache: Annotated[str, Field(pattern=r"^[ -~]*$")] = ""
    encoding: Annotated[str, Field(pattern=r"^[!-~]*$")] = ""


class _ManifestFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Annotated[int, Field(ge=1, le=1)]
    entries: Annotated[list[str], Field(min_length=1)]
    workers: list[str] = []
    config: str = ""
    calls: list[str] = []
    files: Annotated[dict[str, _FileOf], Field(min_length=1)]


def digest_of(data: bytes) -> str:
    """ "sha256:<64 hex>" of a manifest's text."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def file_of(key: str, data: bytes, headers: Headers) -> File:
    """A file by its bytes."""
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return File(key, len(data), hashlib.sha256(data).hexdigest(), headers, md5)


def hashed(key: str) -> bool:
    """Whether a name holds a digest of its content, as bundlers write it: "app-BwZ1aX3c.js", "main.8e2f3a4b.css"."""
    found = _HASHED.search(key.rpartition("/")[2])
    if found is None:
        return False
    text = found["hash"]
    letters = any(c.isalpha() for c in text)
    mixed = any(c.isdigit() for c in text) or (text != text.lower() and text != text.upper() and not text.istitle())
    return letters and mixed


def type_of(key: str) -> str:
    """Content-Type by the ending of a name."""
    return TYPES.get(key.rpartition(".")[2].lower(), UNKNOWN_TYPE)


def headers_for(key: str, *, immutable: Collection[str] = (), front: bool = False) -> Headers:
    """How a file is served where nobody says otherwise. immutable: patterns of names that never change their content,
    beside those that hold a digest; front: it names other files, and so is always asked for again."""
    name = key.rpartition("/")[2]
    for_ever = not front and (
        hashed(key) or any(fnmatch.fnmatch(key, p) or fnmatch.fnmatch(name, p) for p in immutable)
    )
    return Headers(type_of(key), FOR_EVER if for_ever else ASKED_AGAIN)


def paths_of(keys: Iterable[str]) -> Iterator[str]:
    """The paths under which caches hold these files: "index.html" is "/" as well, "docs/index.html" "/docs/"."""
    for key in keys:
        folder, slash, name = key.rpartition("/")
        if name in ("index.html", "index.htm"):
            yield f"/{folder}{slash}"
        yield f"/{key}"


@dataclass(frozen=True)
class Builds:
    """The build that is to be there, and those that have to go."""

    target: Manifest
    gone: tuple[Manifest, ...] = field(default_factory=tuple)

    @property
    def stale(self) -> tuple[str, ...]:
        """Keys of the target whose content others may hold in another version: what may change under its name, and
        whatever a build that goes had under the same name with another content or other headers."""
        fronts = {*self.target.fronts}
        files = self.target.files
        same = {
            key for m in self.gone for key, f in m.files.items()
            if key in files and (files[key].sha256 != f.sha256 or files[key].headers != f.headers)
        }  # fmt: skip
        return tuple(key for key in files if key in fronts or key in same or not files[key].immutable)

    @property
    def orphans(self) -> tuple[str, ...]:
        """Service workers of the builds that go, which the target has none in place of: they would go on serving."""
        return tuple(sorted({key for m in self.gone for key in m.workers if key not in self.target.files}))
