"""The log as an outsider reads it: plain SQL on connections of its own, nothing of the product between."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from bot.engine.attempt_id import AttemptId

ZERO = "0" * 64


@dataclass(frozen=True, slots=True)
class Row:
    """One event as stored. at: microseconds since the epoch; text: the body's bytes as text."""

    run: str
    seq: int
    at: int
    kind: str
    text: str
    prev: str
    hash: str
    body: dict[str, Any] = field(compare=False)
    true: float | None = field(default=None, compare=False)
    """When it was really written, where the clocks of nodes are meddled with."""

    @property
    def seconds(self) -> float:
        """When it happened, in seconds since the epoch."""
        return self.at / 1e6 if self.true is None else self.true


class Eyes:
    """Reads the log of one database."""

    def __init__(self, url: str) -> None:
        self._lite = url.startswith("sqlite")
        self._file = url.partition(":///")[2]
        self._url = url.replace("+psycopg", "", 1)
        self._connection: sqlite3.Connection | psycopg.Connection[Any] | None = None

    def seq(self, run: str) -> int:
        """The run's last committed event; 0 where there is none."""
        found = self._all("select max(seq) from event where run = {}", run)
        return int(found[0][0] or 0)

    def recorded(self, a: AttemptId) -> int:
        """Committed events `recorded` of an attempt."""
        found = self._all("select body from event where run = {} and kind = 'recorded'", a.run)
        bodies = (json.loads(text) for (text,) in found)
        return sum(b["step"] == a.step and b["n"] == a.n for b in bodies)

    def rows(self) -> dict[str, list[Row]]:
        """The whole log: run -> its events in order of seq."""
        found: dict[str, list[Row]] = defaultdict(list)
        columns = "select event.run, event.seq, event.at, kind, body, prev, hash, {} from event {} order by 1, 2"
        joined = "torture_time.at", "left join torture_time using (run, seq)"
        query = columns.format(*joined if self._timed() else ("null", ""))
        for run, seq, at, kind, body, prev, hash_, true in self._all(query):
            found[run].append(Row(run, seq, at, kind, body, prev, hash_, json.loads(body), true))
        return dict(found)

    def _timed(self) -> bool:
        """Whether nodes have noted when they really wrote (`tests/torture/edges.py`)."""
        tables = "sqlite_master where name" if self._lite else "pg_tables where tablename"
        return bool(self._all(f"select 1 from {tables} = 'torture_time'"))

    def checkpoints(self) -> list[tuple[int, str, int, str, str, str]]:
        """The chain of checkpoints: (n, run, seq, hash, prev, chain)."""
        return [tuple(r) for r in self._all("select n, run, seq, hash, prev, chain from checkpoint order by n")]

    def close(self) -> None:
        """Let go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _all(self, query: str, *args: str) -> list[Any]:
        if self._connection is None:
            self._connection = (
                sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, isolation_level=None, timeout=5)
                if self._lite
                else psycopg.connect(self._url, autocommit=True)
            )
        mark = "?" if self._lite else "%s"
        return list(self._connection.execute(query.format(*[mark] * len(args)), args).fetchall())


def broken(rows: Sequence[Row]) -> Iterable[str]:
    """What is wrong with the chain of one run: gaps, and hashes that do not follow from what is stored."""
    prev = ZERO
    for want, r in enumerate(rows, 1):
        if r.seq != want:
            yield f"seq {want} is missing, {r.seq} follows"
            return
        told = "\n".join([prev, r.run, str(r.seq), str(r.at), r.kind, r.text])
        if r.prev != prev or hashlib.sha256(told.encode()).hexdigest() != r.hash:
            yield f"event {r.seq} ({r.kind}) does not match its hash"
            return
        prev = r.hash


def cut(rows: dict[str, list[Row]], chain: Sequence[tuple[int, str, int, str, str, str]]) -> Iterable[str]:
    """What the checkpoints know and the log does not."""
    prev = ZERO
    for want, (n, run, seq, hash_, before, sealed) in enumerate(chain, 1):
        told = "\n".join(["checkpoint", prev, str(n), run, str(seq), hash_])
        if n != want or before != prev or hashlib.sha256(told.encode()).hexdigest() != sealed:
            yield f"checkpoint {want} does not follow from the one before"
            return
        log = rows.get(run, [])
        if len(log) < seq or log[seq - 1].hash != hash_:
            yield f"checkpoint {n} names event {seq} of {run}, which the log does not have like that"
        prev = sealed
