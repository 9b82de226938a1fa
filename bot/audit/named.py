"""What rows name by a digest: evidence, plots, snapshots. References alone; the plots of a run with their bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from bot.ports import Blob
from bot.store.blobs import BlobsUnavailable, FileBlobs
from bot.store.chain import Stored

_DIGEST = re.compile("sha256:[0-9a-f]{64}")
PICTURE = "image/png"
MOST = 8
"""Pictures of a page: it is to be read on a phone too."""


def body_of(row: Stored) -> Any:
    """What a row says, as JSON; None where it cannot be read."""
    try:
        return json.loads(row.body)
    except ValueError:
        return None


def is_digest(value: object) -> TypeGuard[str]:
    """Whether it is what blobs are kept under, whoever wrote it."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def blobs_in(value: Any) -> Iterator[Blob]:
    """Every reference in it, with whatever else stands beside one."""
    if isinstance(value, Mapping):
        digest, size = value.get("digest"), value.get("size")
        if is_digest(digest) and isinstance(size, int):
            yield Blob(digest, size, str(value.get("type", "")))
        for inner in value.values():
            yield from blobs_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from blobs_in(inner)


async def pictures_of(rows: Sequence[Stored], files: FileBlobs) -> dict[str, bytes]:
    """The plots that a run has kept and that are there still: digest -> PNG."""
    named = {b.digest: b for row in rows for b in blobs_in(body_of(row)) if b.type == PICTURE}
    found = {}
    for blob in list(named.values())[-MOST:]:
        try:
            found[blob.digest] = await files.get(blob)
        except (KeyError, ValueError, BlobsUnavailable):
            continue  # the page names what it was, and by which digest
    return found
