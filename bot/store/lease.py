"""Who is alive, and who is the one to do what only one may do.

PostgreSQL: a row of table `node` per process, renewed by a thread with a connection of its own, and one per role
(`role:<name>`, whose `version` names the holder). Every expiry is written and judged by the database's clock.
SQLite: one process, by an exclusive lock on a file beside the database.

Invariants:
- a process that cannot prove it is alive ends itself before others may take it for dead: 0.7 TTL after the last
  good beat began, or as soon as a beat finds its own row expired;
- a lease, once expired, is never revived: whoever comes back is another node with another id;
- a role has at most one holder, and only a node that is alive takes or keeps it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from bot.store.database import PRIVATE, BadAddress, parse_url

TTL = 30.0
"""Seconds a node counts as alive after its last beat."""

FENCED = 70
"""Exit code of a process that ended itself."""

_log = logging.getLogger(__name__)


class AlreadyRunning(Exception):
    """Another process has this SQLite database; `pid` is None if it could not be read."""

    def __init__(self, path: Path, pid: int | None) -> None:
        super().__init__(
            f"another bot works on this database: process {pid or 'unknown'} holds {path}. "
            "Stop it, or give this one another ROLLBACK_DATABASE_URL."
        )
        self.path, self.pid = path, pid


class Lease(Protocol):
    """What the engine knows of the processes around it. All methods may block on the database (3 s at most)."""

    @property
    def id(self) -> str:
        """This node."""
        ...

    def live(self) -> bool:
        """Whether this process may still begin an effect. Never blocks."""
        ...

    def alive_nodes(self) -> frozenset[str]:
        """Ids of the nodes that count as alive now. Raises SQLAlchemyError if the database does not answer."""
        ...

    def elect(self, name: str) -> bool:
        """Take or keep the role for one TTL from now; False while another node holds it, or nobody can tell."""
        ...

    def close(self) -> None:
        """Give it all back at once, so that nobody has to wait for it to expire."""
        ...


def take(url: str, *, version: str = "", ttl: float = TTL) -> Lease:
    """The lease that fits the database. ValueError for a bad URL, AlreadyRunning for a SQLite database in use,
    SQLAlchemyError if PostgreSQL does not answer."""
    if url.startswith("sqlite"):
        return FileLease(url)
    return RowLease(url, version=version, ttl=ttl)


def alive_nodes(url: str) -> frozenset[str]:
    """Ids of the nodes that work on this PostgreSQL now, asked by somebody who is none; empty for SQLite, and where it
    has no tables yet. Blocking; SQLAlchemyError if it does not answer."""
    if url.startswith("sqlite"):
        return frozenset()
    engine = _engine(url, timeout=3.0)
    try:
        with engine.connect() as c:
            there = c.execute(_THERE).scalar()
            return frozenset(c.execute(_ALIVE).scalars()) if there else frozenset()
    finally:
        engine.dispose()


class FileLease:
    """SQLite: the one process that holds `<database>.lock`, beside the file itself, by whichever link it is named."""

    id = "local"

    def __init__(self, url: str) -> None:
        database = Path(parse_url(url).database or "").resolve()
        _one_name(database)
        path = database.with_name(f"{database.name}.lock")
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE), "a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with self._file:
                self._file.seek(0)
                pid = self._file.read().strip()
            raise AlreadyRunning(path, int(pid) if pid.isdigit() else None) from None
        self._file.truncate(0)
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def live(self) -> bool:
        """Whether the lock is held."""
        return not self._file.closed

    def alive_nodes(self) -> frozenset[str]:
        """This one, while it holds the lock."""
        return frozenset({self.id}) if self.live() else frozenset()

    def elect(self, name: str) -> bool:
        """There is nobody else."""
        return self.live()

    def close(self) -> None:
        """Let the lock go. The file stays: removing it would let two processes lock two files of one name."""
        self._file.close()


def _one_name(database: Path) -> None:
    """BadAddress where the file has several names that are all its own (hard links): neither this lock nor SQLite's own
    files beside it would be the same for each."""
    with contextlib.suppress(FileNotFoundError):
        if (names := database.stat().st_nlink) > 1:
            raise BadAddress(
                f"{database} has {names} names (hard links): two bots could work on it without seeing one another. "
                "Remove the others, or use a symbolic link."
            )


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)  # goes on while the machine sleeps, unlike the monotonic clock


def _exit(why: str) -> None:
    _log.critical("%s; this process ends now, others take over.", why)
    logging.shutdown()
    os._exit(FENCED)


class RowLease:
    """PostgreSQL: a row in `node`, renewed every TTL/6.

    clock: seconds, only their difference counts; fence: what ends the process, told why. Both are for tests.
    Raises SQLAlchemyError if the first beat fails.
    """

    def __init__(
        self,
        url: str,
        *,
        version: str = "",
        ttl: float = TTL,
        clock: Callable[[], float] = _boottime,
        fence: Callable[[str], None] = _exit,
    ) -> None:
        self.id = uuid.uuid4().hex[:12]
        self._ttl, self._clock, self._fence, self._version = ttl, clock, fence, version
        self._engine = _engine(url, timeout=min(3.0, ttl / 4))
        self._stop = threading.Event()
        self._good = clock()
        self._begin()
        self._threads = [
            threading.Thread(target=self._renew, name="lease-renew", daemon=True),
            threading.Thread(target=self._watch, name="lease-fence", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def live(self) -> bool:
        """Whether the last good beat began less than 0.7 TTL ago."""
        return not self._stop.is_set() and self._left() > 0

    def alive_nodes(self) -> frozenset[str]:
        """Nodes whose rows have not expired, by the database's clock."""
        with self._engine.connect() as c:
            return frozenset(c.execute(_ALIVE).scalars())

    def elect(self, name: str) -> bool:
        """One statement: insert the role's row, or take it over if it is ours, expired or its holder dead."""
        if not self.live():
            return False
        try:
            with self._engine.connect() as c:
                held = c.execute(_ELECT, {"id": f"role:{name}", "me": self.id, "ttl": self._ttl}).first()
        except SQLAlchemyError as e:
            _log.warning("could not ask who is %s: %s", name, e)
            return False
        return held is not None

    def close(self) -> None:
        """Stop beating, then delete this node's row and roles. What fails here expires by itself."""
        self._stop.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(self._ttl)
        try:
            with self._engine.connect() as c:
                c.execute(_END, {"me": self.id})
        except SQLAlchemyError as e:
            _log.warning("could not give the lease back; it expires in %.0f s: %s", self._ttl, e)
        self._engine.dispose()

    def _begin(self) -> None:
        began = self._clock()
        with self._engine.connect() as c:
            c.execute(_BURY, {"ttl": self._ttl})
            c.execute(_BEGIN, {"me": self.id, "ttl": self._ttl, "version": self._version})
        self._good = began

    def _beat(self) -> bool:
        began = self._clock()  # before the question: our own view of the lease expires first
        with self._engine.connect() as c:
            renewed = c.execute(_BEAT, {"me": self.id, "ttl": self._ttl}).first()
        if renewed is not None:
            self._good = began
        return renewed is not None

    def _renew(self) -> None:
        while not self._stop.wait(self._ttl / 6):
            try:
                if not self._beat() and not self._stop.is_set():
                    self._fence("the lease had expired before it could be renewed")
                    return
            except SQLAlchemyError as e:
                _log.warning("no beat, %.1f s left: %s", self._left(), e)

    def _watch(self) -> None:
        while (left := self._left()) > 0:
            if self._stop.wait(min(left, 1.0)):
                return
        self._fence(f"no beat for {0.7 * self._ttl:g} s")

    def _left(self) -> float:
        return self._good + 0.7 * self._ttl - self._clock()


def _engine(url: str, timeout: float) -> sa.Engine:
    """Autocommit, two connections at most, and no question that waits much longer than `timeout` seconds."""
    millis = max(1, int(timeout * 1000))
    return sa.create_engine(
        parse_url(url),
        isolation_level="AUTOCOMMIT",
        pool_size=1,
        max_overflow=2,
        pool_timeout=timeout,
        pool_pre_ping=True,
        connect_args={
            "application_name": "rollback-bot lease",
            "connect_timeout": max(2, int(timeout)),  # libpq knows nothing below 2
            "tcp_user_timeout": millis,
            "options": f"-c statement_timeout={millis}",
        },
    )


_THERE = sa.text("select to_regclass('node') is not null")
_ALIVE = sa.text("select id from node where until > now() and id not like 'role:%'")
_BURY = sa.text("delete from node where until < now() - make_interval(secs => 100 * :ttl)")
_BEGIN = sa.text(
    "insert into node (id, until, started, version) values "
    "(:me, now() + make_interval(secs => :ttl), cast(extract(epoch from now()) * 1e6 as bigint), :version)"
)
_BEAT = sa.text(
    "update node set until = now() + make_interval(secs => :ttl) where id = :me and until > now() returning id"
)
_ELECT = sa.text(
    "insert into node as role (id, until, started, version) "
    "select :id, now() + make_interval(secs => :ttl), cast(extract(epoch from now()) * 1e6 as bigint), :me "
    "from node where id = :me and until > now() "
    "on conflict (id) do update set until = excluded.until, version = excluded.version, "
    "started = case when role.version = excluded.version then role.started else excluded.started end "
    "where role.version = excluded.version or role.until <= now() returning id"
)
_END = sa.text("delete from node where id = :me or (id like 'role:%' and version = :me)")
