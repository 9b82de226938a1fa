"""What is known of objects that were looked at once: headers and digest, by the version that a listing tells.

One request lists a thousand objects; headers take a request for each. So what was read is kept, for all nodes and over
restarts, and a rollback asks only for what is new since.

Invariants:
- what is known belongs to a version: ETag, time and size as listed, once these are old enough that another change
  would show. Another version is not known;
- nothing rests on what is kept: a text that is gone or cannot be read is looked up again, object by object.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.adapters.aws.buckets import ListedObject
from bot.ports.backups import Memory
from bot.ports.builds import Headers
from bot.ports.sites import StoredObject

MOST = 100_000
"""Objects of one folder that are kept."""
FORMAT = 1

At = tuple[str, str]
"""The store, and a folder in it."""
_Version = tuple[str, float, int]


@dataclass(frozen=True, slots=True)
class _Known:
    """sha256: "" where the ETag tells it."""

    version: _Version
    headers: Headers
    sha256: str


@dataclass
class KnownObjects:
    """Of all folders that one process looks at. by_md5: what manifests tell: MD5 and size -> SHA-256."""

    by_md5: dict[tuple[str, int], str] = field(default_factory=dict)
    _known: dict[At, dict[str, _Known]] = field(default_factory=dict)
    _taken: dict[At, str] = field(default_factory=dict)

    def held(self, at: At, key: str, listed: ListedObject) -> StoredObject | None:
        """What an object is, where this version of it is known."""
        known = self._known.get(at, {}).get(key)
        sha = self._sha256(known, listed)
        return StoredObject(listed.size, sha, known.headers) if known is not None and sha else None

    def learn(self, at: At, key: str, listed: ListedObject, held: StoredObject) -> None:
        """It was looked at, and was this version; harmless where it is too new to be known."""
        if listed.settled:
            told = self.by_md5.get((listed.md5, listed.size), "") == held.sha256
            self._known.setdefault(at, {})[key] = _Known(_version(listed), held.headers, "" if told else held.sha256)

    def unknown(self, at: At, keys: Collection[str], there: Mapping[str, ListedObject]) -> list[str]:
        """Of these, what would have to be asked for."""
        mine = self._known.get(at, {})
        return [key for key in keys if key in there and not self._sha256(mine.get(key), there[key])]

    def _sha256(self, known: _Known | None, listed: ListedObject) -> str:
        """Of this version, "" where that is not known."""
        if known is None or known.version != _version(listed):
            return ""
        return known.sha256 or self.by_md5.get((listed.md5, listed.size), "")

    async def recall(self, at: At, memory: Memory) -> None:
        """Take what was kept, by whomever; what this process knows itself counts more."""
        text = await memory.get(_name(at))
        if text is None or self._taken.get(at) == (mark := _mark(text)):
            return
        kept = await asyncio.to_thread(_read, text)
        self._taken[at] = mark
        self._known[at] = kept | self._known.get(at, {})

    async def keep(self, at: At, memory: Memory, there: Mapping[str, ListedObject]) -> None:
        """What is known of what is listed."""
        text = await asyncio.to_thread(_packed, dict(self._known.get(at, {})), there)
        self._taken[at] = _mark(text)
        await memory.put(_name(at), text)


def _version(listed: ListedObject) -> _Version:
    return listed.etag, listed.modified, listed.size


def _name(at: At) -> str:
    return f"objects/{hashlib.sha256(chr(10).join(at).encode()).hexdigest()[:32]}"


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _packed(known: Mapping[str, _Known], there: Mapping[str, ListedObject]) -> str:
    """Of what is listed, the newest."""
    listed = {key: k for key, k in known.items() if key in there and k.version == _version(there[key])}
    newest = sorted(listed, key=lambda key: listed[key].version[1])[-MOST:]
    return _written({key: listed[key] for key in sorted(newest)})


def _written(known: Mapping[str, _Known]) -> str:
    """Packed: of two thousand objects some 70 kB."""
    headers = [*dict.fromkeys(k.headers for k in known.values())]
    numbers = {h: n for n, h in enumerate(headers)}
    said = {
        "format": FORMAT,
        "headers": [[h.type, h.cache, h.encoding] for h in headers],
        "objects": {key: [*k.version, numbers[k.headers], k.sha256] for key, k in known.items()},
    }
    return base64.b85encode(zlib.compress(json.dumps(said).encode(), 3)).decode()


def _read(text: str) -> dict[str, _Known]:
    """Nothing where it is none of ours, or of another version."""
    try:
        said: Any = json.loads(zlib.decompress(base64.b85decode(text)))
        if said["format"] != FORMAT:
            return {}
        headers = [Headers(*map(str, h)) for h in said["headers"]]
        return {
            str(key): _Known((str(etag), float(modified), int(size)), headers[int(which)], str(sha))
            for key, (etag, modified, size, which, sha) in said["objects"].items()
        }
    except (ValueError, KeyError, IndexError, TypeError, zlib.error, binascii.Error):
        return {}
