"""The hashes that make the record tamper-evident. Pure; `docs/audit.md` tells others how to check them.

**Event.** hash = SHA-256, as 64 hex digits, of the UTF-8 bytes of these six fields with one line feed (0x0A)
between them and none at the end:

    prev, run, seq, at, kind, body

prev is the hash of the run's event before (64 zeros for seq 1); seq and at (microseconds since the epoch, UTC)
are plain decimal numbers; body is the text exactly as stored. run and kind never contain a line feed and body is
last, so no two different rows give the same bytes. In a shell:

    printf '%s\\n%s\\n%s\\n%s\\n%s\\n%s' "$prev" "$run" "$seq" "$at" "$kind" "$body" | sha256sum

**Checkpoint.** One chain over all runs; a row is written at starts, gates and ends. In the same form:

    chain = SHA-256 of: "checkpoint", prev, n, run, seq, hash

n counts from 1 without gaps, prev is the `chain` of n-1 (64 zeros for n 1), hash that of the event (run, seq).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256

ZERO = "0" * 64
"""The `prev` of whatever comes first."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One row of the log, exactly as stored. at: microseconds since the epoch, UTC."""

    run: str
    seq: int
    at: int
    kind: str
    body: str
    prev: str
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One row of the checkpoint chain. Its text form is the anchor that is kept outside the database."""

    n: int
    run: str
    seq: int
    hash: str
    prev: str
    chain: str

    @property
    def text(self) -> str:
        """One line of JSON; `parse` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint of such a line. ValueError with what is wrong if it is none, or was altered."""
        try:
            given = json.loads(text)
            found = cls(**given)
        except (ValueError, TypeError) as e:
            raise ValueError(f"not a checkpoint: {text[:80]!r}") from e
        if checkpoint_hash(found.prev, found.n, found.run, found.seq, found.hash) != found.chain:
            raise ValueError(f"checkpoint {found.n} does not match its own hash: this copy was altered")
        return found


def event_hash(prev: str, run: str, seq: int, at: int, kind: str, body: str) -> str:
    """Hash of one event, 64 hex digits. ValueError where a line feed would make it ambiguous."""
    if "\n" in run or "\n" in kind:
        raise ValueError(f"a line feed in the name of a run or kind: {run!r}, {kind!r}")
    return sha256(f"{prev}\n{run}\n{seq}\n{at}\n{kind}\n{body}".encode()).hexdigest()


def checkpoint_hash(prev: str, n: int, run: str, seq: int, hash: str) -> str:
    """Hash of one checkpoint, 64 hex digits."""
    return sha256(f"checkpoint\n{prev}\n{n}\n{run}\n{seq}\n{hash}".encode()).hexdigest()
