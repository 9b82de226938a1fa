"""What the shop must not lose, outside its pods: payments, jobs, receipts, settlements, carts. One SQLite file.

A payment is written once, by the customer's own id for it, together with its job. A job that is carried out leaves a
receipt in the same transaction that ends it. So what was lost or done twice can be counted afterwards (`Books`).

Invariants: every change is one transaction; a job taken by a worker that died is taken again after `LEASE`.
Standard library only.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # pods import this module, and pathlib and dataclasses are a quarter of their start
    from pathlib import Path

LEASE = 10.0
"""Seconds after which a job whose worker says nothing more is given to another."""

_SCHEMA = """
create table if not exists payments (id text primary key, cents integer, release text, cluster text, at real);
create table if not exists jobs (id integer primary key, kind text, payment text unique, state text default 'queued',
    tries integer default 0, since real default 0, why text default '');
create table if not exists receipts (job integer, payment text, release text, at real);
create table if not exists settlements (payment text, release text, at real);
create table if not exists carts (customer text, item text);
create table if not exists expired (release text primary key);
"""


class Job(NamedTuple):
    """One thing for the worker. tries: how often it was taken, this time included; told: as it stands in a queue."""

    id: int
    kind: str
    payment: str
    tries: int
    told: str = ""


class Books(NamedTuple):
    """payments: ids; queued: jobs that wait or are being done; tries: of the job that was tried most; unsettled:
    payments that the cron has not seen yet; lost: payments that have no job, or whose job ended without a receipt;
    doubled: payments with two receipts or settlements."""

    payments: frozenset[str]
    queued: int
    tries: int
    unsettled: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]


def create(path: Path) -> None:
    """The empty file, if there is none. It stays readable while somebody writes."""
    with contextlib.closing(sqlite3.connect(path)) as found:
        found.execute("pragma journal_mode = wal")
        found.executescript(_SCHEMA)


class Database:
    """One connection; each thread has its own."""

    def __init__(self, path: str | Path) -> None:
        self._connection = sqlite3.connect(path, timeout=10.0, isolation_level=None)
        self._connection.execute("pragma synchronous = normal")

    def close(self) -> None:
        """Let the file go."""
        self._connection.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pay(self, id: str, cents: int, release: str, cluster: str, customer: str = "") -> bool:
        """A payment that went through, with its job; False where it was there already. customer: kept by the second
        half alone."""
        with self._writing() as db:
            row = (id, cents, release, cluster, time.time())
            new = db.execute("insert or ignore into payments values (?, ?, ?, ?, ?)", row).rowcount == 1
            if new:
                db.execute("insert into jobs (kind, payment) values ('receipt', ?)", (id,))
            return new

    def paid(self, id: str) -> bool:
        """Whether this payment went through before."""
        return self._connection.execute("select 1 from payments where id = ?", (id,)).fetchone() is not None

    def expire(self, release: str) -> None:
        """The certificate with which this release pays has run out."""
        with self._writing() as db:
            db.execute("insert or ignore into expired values (?)", (release,))

    def renew(self, release: str) -> None:
        """It has a new one."""
        with self._writing() as db:
            db.execute("delete from expired where release = ?", (release,))

    def expired(self, release: str) -> bool:
        """Whether it has."""
        return self._connection.execute("select 1 from expired where release = ?", (release,)).fetchone() is not None

    def take(self, release: str = "") -> Job | None:
        """The next job, for this worker alone; None while there is none. release: all read all kinds."""
        now = time.time()
        with self._writing() as db:
            due = "state = 'queued' or (state = 'taken' and since < ?)"
            query = f"select id, kind, payment, tries + 1 from jobs where {due} order by tries, id limit 1"  # noqa: S608 - no input
            row = db.execute(query, (now - LEASE,)).fetchone()
            if row is None:
                return None
            job = Job(*row)
            db.execute("update jobs set state = 'taken', tries = ?, since = ? where id = ?", (job.tries, now, job.id))
            return job

    def done(self, job: Job, release: str) -> bool:
        """It is carried out: the receipt is sent; False where somebody else had done it meanwhile."""
        with self._writing() as db:
            ended = "update jobs set state = 'done' where id = ? and state = 'taken' and tries = ?"
            mine = db.execute(ended, (job.id, job.tries)).rowcount == 1
            if mine:
                db.execute("insert into receipts values (?, ?, ?, ?)", (job.id, job.payment, release, time.time()))
            return mine

    def put_back(self, job: Job, why: str) -> None:
        """It failed: somebody is to try again."""
        with self._writing() as db:
            again = "update jobs set state = 'queued', why = ? where id = ? and state = 'taken' and tries = ?"
            db.execute(again, (why, job.id, job.tries))

    def settle(self, batch: int, release: str) -> int:
        """Settle at most so many open payments; how many it were."""
        with self._writing() as db:
            open_ones = "select id from payments where id not in (select payment from settlements) order by at limit ?"
            found = db.execute(open_ones, (batch,)).fetchall()
            db.executemany("insert into settlements values (?, ?, ?)", [(i, release, time.time()) for (i,) in found])
            return len(found)

    def put(self, customer: str, item: str) -> list[str]:
        """One more thing in a cart; the cart."""
        with self._writing() as db:
            db.execute("insert into carts values (?, ?)", (customer, item))
        return self.cart(customer)

    def cart(self, customer: str) -> list[str]:
        """What somebody has in it."""
        rows = self._connection.execute("select item from carts where customer = ? order by rowid", (customer,))
        return [item for (item,) in rows]

    def books(self) -> Books:
        """Everything that can be counted, at one moment."""
        with self._writing() as db:

            def ids(query: str) -> tuple[str, ...]:
                return tuple(str(row[0]) for row in db.execute(query))

            def number(query: str) -> int:
                return int(db.execute(query).fetchone()[0] or 0)

            lost = ids(
                "select id from payments where id not in (select payment from jobs) union "
                "select payment from jobs where state = 'done' and id not in (select job from receipts)"
            )
            doubled = ids(
                "select payment from receipts group by payment having count(*) > 1 union "
                "select payment from settlements group by payment having count(*) > 1"
            )
            return Books(
                payments=frozenset(ids("select id from payments")),
                queued=number("select count(*) from jobs where state != 'done'"),
                tries=number("select max(tries) from jobs"),
                unsettled=number("select count(*) from payments where id not in (select payment from settlements)"),
                lost=lost,
                doubled=doubled,
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        db = self._connection
        db.execute("begin immediate")
        try:
            yield db
        except BaseException:
            db.execute("rollback")
            raise
        db.execute("commit")
