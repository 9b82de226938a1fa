"""The record as JSON Lines: the stored bytes, row by row, with who signed them, and the chain of checkpoints.

An export can be checked without this program (`docs/verify_record.py`; docs/audit.md has the format): bodies stand in
it byte for byte as stored.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable

from bot.store.chain import Checkpoint, Stored
from bot.store.log import Store
from bot.store.signing import Signature


async def export_jsonl(store: Store, run: str) -> str:
    """A run as lines. LookupError for an unknown run."""
    found = [line async for line in exported(store, run)]
    if not found:
        raise LookupError(f"there is no run {run}")
    return "".join(line + "\n" for line in found)


async def exported(store: Store, run: str | None = None) -> AsyncIterator[str]:
    """The rows of a run, or of every run, then its checkpoints, or all; as of one moment."""
    async with store.snapshot() as snapshot:
        async for rows in snapshot.rows(run):
            for text in await asyncio.to_thread(_lines, rows):
                yield text
        for link, signatures in await snapshot.links(run):
            yield checkpoint_line(link, signatures)


def _lines(rows: Iterable[tuple[Stored, Iterable[Signature]]]) -> list[str]:
    return [line(row, signatures) for row, signatures in rows]


def line(r: Stored, signatures: Iterable[Signature] = ()) -> str:
    """A row: run, seq, at (microseconds since the epoch), kind, prev, hash, signatures, and last the body.

    The stored body stands between `"body":` and the closing brace, unchanged. One that is no single line of JSON
    (it was tampered with) becomes a string under `body_text`.
    """
    known = {"run": r.run, "seq": r.seq, "at": r.at, "kind": r.kind, "prev": r.prev, "hash": r.hash}
    start = json.dumps({**known, "signatures": _pairs(signatures)})[:-1]
    if "\n" not in r.body and "\r" not in r.body and _is_json(r.body):
        return f'{start}, "body":{r.body}}}'
    return f'{start}, "body_text":{json.dumps(r.body)}}}'


def checkpoint_line(link: Checkpoint, signatures: Iterable[Signature] = ()) -> str:
    """A link of the chain of checkpoints."""
    start = json.dumps({"checkpoint": link.n, "run": link.run, "seq": link.seq, "hash": link.hash})
    more = json.dumps({"prev": link.prev, "chain": link.chain, "signatures": _pairs(signatures)})
    return f"{start[:-1]}, {more[1:]}"


def _pairs(signatures: Iterable[Signature]) -> list[list[str]]:
    return [[s.key, s.text] for s in signatures]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
