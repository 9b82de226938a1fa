"""Has anybody changed the database since? Asked far more cheaply than what one would have to read again.

Invariant: two equal moments see the same rows. Who reads *after* asking for the moment, and keeps what was read under
it, may tell it again for as long as the moment is the same: nothing that was committed before is missed, whichever
process wrote it. Different moments promise nothing: a busy database has a new one with each commit.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import URL

SNAPSHOT = sa.text("SELECT pg_current_snapshot()::text")
"""PostgreSQL: which transactions are over, and which are not yet: all that decides what a statement sees."""


class LiteMoment:
    """SQLite counts the commits of all other connections. So this one never writes, and is asked where it stands: some
    microseconds, as no page is read, which is why no thread is needed for it."""

    def __init__(self, url: URL) -> None:
        self._file = Path(url.database or "").absolute().as_uri() + "?mode=rw"
        self._connection: sqlite3.Connection | None = None
        self._opened = 0

    def now(self) -> str | None:
        """The moment; None where the file is locked, gone or damaged: whoever reads it is told so."""
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(
                    self._file, uri=True, timeout=0, isolation_level=None, check_same_thread=False
                )
                self._opened += 1  # each connection counts from a beginning of its own
            (count,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            self.close()
            return None
        return f"{self._opened}:{count}"

    def close(self) -> None:
        """Lets go of the file; it may be asked again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
