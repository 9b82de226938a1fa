"""The shop's second half: orders in PostgreSQL, work in Valkey. What `database` keeps in one file, as a product has it.

An order is written in one transaction with the jobs that it makes (table `jobs`), which are then handed to the queue
(list `shop:jobs`) and told of (stream `shop:events`, group `workers`). A job whose hand-over was lost, or whose worker
died, is handed over again by an idle worker of a release that reads its kind; so each is carried out at least once, and
its receipt is written once.

2.4.1 gives a coupon to whoever pays 10.00 or more: it writes coupons, orders.coupon_id and the status 'discounted', and
makes jobs and events of kinds that older releases cannot read.

Invariants: a receipt and the end of its job are one transaction; no job of a kind that a release cannot read is handed
over by that release. psycopg alone beside the standard library, imported at the first connection: it takes a while.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from bot.playground.shop.behaviour import NEW
from bot.playground.shop.cache import Refused, Valkey
from bot.playground.shop.database import LEASE, Job

JOBS, TAKEN = "shop:jobs", "shop:jobs:taken"
"""The queue, a list whose oldest is at its right end, and what workers have in hand. Each job is a JSON object:
{"id", "kind", "order", "at"}; at: seconds of the epoch."""
ASIDE = "{shop:jobs}:parked"
"""Where jobs lie that were set aside because no worker could read them."""
EVENTS, GROUP = "shop:events", "workers"
"""The stream, and its consumer group. Each event has the fields `kind` and `about`."""
_OLD_JOBS, _OLD_EVENTS = frozenset({"receipt"}), frozenset({"order.paid", "message.sent"})
COUPON_JOB, COUPON_EVENT = "coupon", "order.discounted"
KEPT = 3600
"""Seconds for which the page of an order stays in the cache, `shop:<release>:order:<id>`: its form is the release's."""
COUPON_FROM = 1000
"""Cents from which an order gets a coupon, with 2.4.1."""
_IDLE_CONNECTIONS = 4


def reads(release: str) -> frozenset[str]:
    """Kinds of jobs that a release can read."""
    return _OLD_JOBS | ({COUPON_JOB} if release == NEW else set())


def understands(release: str) -> frozenset[str]:
    """Kinds of events that a release can read."""
    return _OLD_EVENTS | ({COUPON_EVENT} if release == NEW else set())


_LOST = (
    "UPDATE jobs SET state = 'queued', since = now() WHERE state <> 'done' AND kind = ANY(%s)"
    " AND since < now() - make_interval(secs => %s) RETURNING id, kind, order_id,"
    " (SELECT floor(extract(epoch FROM o.at))::bigint FROM orders o WHERE o.id = order_id)"
)


class Unreadable(Exception):
    """A job or an event of a kind that this release does not know."""


class ReadOnly(Exception):
    """The database takes no writes at the moment."""


def psycopg() -> Any:
    """The module; where it lies is said by $SHOP_PACKAGES, as pods run without site-packages."""
    if (place := os.environ.get("SHOP_PACKAGES")) and place not in sys.path:
        sys.path.append(place)
    import psycopg as found

    return found


class Pool:
    """A few connections that stay open, as in any product. One that was closed under our hands is replaced."""

    def __init__(self, dsn: str) -> None:
        self._dsn, self._idle, self._lock = dsn, list[Any](), threading.Lock()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """One; committed at the end unless something is raised. ReadOnly, psycopg.Error."""
        module, connection = psycopg(), self._take()
        try:
            with connection.transaction():
                yield connection
        except module.errors.ReadOnlySqlTransaction as error:
            raise ReadOnly("the database is read-only at the moment") from error
        finally:
            self._give(connection)

    def _take(self) -> Any:
        module = psycopg()
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                return module.connect(self._dsn, autocommit=True, connect_timeout=5)
            try:
                connection.execute("SELECT 1")
            except module.Error:
                connection.close()
            else:
                return connection

    def _give(self, connection: Any) -> None:
        with self._lock:
            if not connection.closed and len(self._idle) < _IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Those that nobody uses."""
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()


class Orders:
    """What `database.Database` offers, over PostgreSQL and Valkey. One for a whole program; threads share it."""

    def __init__(self, dsn: str, valkey: str) -> None:
        self.pool, self._valkey = Pool(dsn), valkey
        self._swept = time.monotonic()

    def __enter__(self) -> Orders:
        return self

    def __exit__(self, *_: object) -> None:
        """Stays open: whoever comes next uses the same connections."""

    # -- orders ------------------------------------------------------------------------------------------------------

    def pay(self, id: str, cents: int, release: str, cluster: str, customer: str = "") -> bool:
        """An order that was paid, with the work that it makes; False where it was there already."""
        with self.pool.transaction() as db:
            order = (id, cents, release, cluster, customer)
            into = "INSERT INTO orders (id, cents, release, cluster, customer) VALUES (%s, %s, %s, %s, %s)"
            if db.execute(f"{into} ON CONFLICT DO NOTHING", order).rowcount == 0:
                return False
            kinds, event = ["receipt"], "order.paid"
            if release == NEW and cents >= COUPON_FROM:
                self._discount(db, id)
                kinds, event = [*kinds, COUPON_JOB], COUPON_EVENT
            into = "INSERT INTO jobs (kind, order_id) VALUES (%s, %s) RETURNING id, floor(extract(epoch FROM now()))"
            jobs = [_told(number, kind, id, int(at)) for kind in kinds for number, at in db.execute(into, (kind, id))]
        with contextlib.suppress(OSError), Valkey(self._valkey) as valkey:  # else `_sweep` hands them over
            page = json.dumps({"id": id, "cents": cents, "coupon": COUPON_JOB in kinds})
            valkey.together(
                *(("LPUSH", JOBS, job) for job in jobs),
                ("XADD", EVENTS, "*", "kind", event, "about", id),
                ("SET", f"shop:{release}:order:{id}", page, "EX", KEPT),
            )
        return True

    @staticmethod
    def _discount(db: Any, id: str) -> None:
        """A coupon for the customer's next order, noted at this one."""
        into = "INSERT INTO coupons (code, percent) VALUES (%s, 10) RETURNING id"
        coupon = db.execute(into, (f"THANKS-{id}",)).fetchone()[0]
        db.execute("UPDATE orders SET coupon_id = %s, status = 'discounted' WHERE id = %s", (coupon, id))

    def paid(self, id: str) -> bool:
        """Whether this order was paid before."""
        return self._one("SELECT 1 FROM orders WHERE id = %s", id) is not None

    def expired(self, release: str) -> bool:
        """Whether the certificate with which this release pays has run out."""
        return self._one("SELECT 1 FROM expired WHERE release = %s", release) is not None

    def settle(self, batch: int, release: str) -> int:
        """Settle at most so many open orders; how many it were. One cron after another: each cluster has one."""
        with self.pool.transaction() as db:
            db.execute("SELECT pg_advisory_xact_lock(hashtext('settle'))")
            found = db.execute(
                "INSERT INTO settlements (order_id, release) SELECT o.id, %s FROM orders o WHERE NOT EXISTS"
                " (SELECT 1 FROM settlements s WHERE s.order_id = o.id) ORDER BY o.at LIMIT %s",
                (release, batch),
            )
            return int(found.rowcount)

    def put(self, customer: str, item: str) -> list[str]:
        """One more thing in a cart; the cart."""
        with self.pool.transaction() as db:
            db.execute("INSERT INTO carts (customer, item) VALUES (%s, %s)", (customer, item))
        return self.cart(customer)

    def cart(self, customer: str) -> list[str]:
        """What somebody has in it."""
        with self.pool.transaction() as db:
            rows = db.execute("SELECT item FROM carts WHERE customer = %s ORDER BY id", (customer,))
            return [item for (item,) in rows]

    def revision(self) -> str:
        """Of the schema, as Alembic has stamped it; "" where it has not."""
        found = self._one("SELECT string_agg(version_num, ' ') FROM alembic_version")
        return str(found[0] or "") if found else ""

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        with self.pool.transaction() as db:
            found: tuple[Any, ...] | None = db.execute(query, values).fetchone()
            return found

    # -- jobs --------------------------------------------------------------------------------------------------------

    def take(self, release: str) -> Job | None:
        """The next job, for this worker alone; None while there is none. `Unreadable` is the worker's matter."""
        with Valkey(self._valkey) as valkey:
            while (told := valkey.ask("LMOVE", JOBS, TAKEN, "RIGHT", "LEFT")) is not None:
                about = json.loads(told)
                taken = "UPDATE jobs SET state = 'taken', tries = tries + 1, since = now() WHERE id = %s"
                with self.pool.transaction() as db:
                    row = db.execute(f"{taken} AND state <> 'done' RETURNING tries", (about["id"],)).fetchone()
                if row is not None:
                    return Job(int(about["id"]), str(about["kind"]), str(about["order"]), int(row[0]), told)
                valkey.ask("LREM", TAKEN, 0, told)  # somebody has done it, or it is gone
            self._sweep(valkey, release)
        return None

    def done(self, job: Job, release: str) -> bool:
        """It is carried out; False where somebody else had done it meanwhile."""
        with self.pool.transaction() as db:
            ended = "UPDATE jobs SET state = 'done' WHERE id = %s AND state = 'taken' AND tries = %s"
            mine = db.execute(ended, (job.id, job.tries)).rowcount == 1
            if mine and job.kind == "receipt":
                db.execute("INSERT INTO receipts (order_id, release) VALUES (%s, %s)", (job.payment, release))
        if mine:
            with contextlib.suppress(OSError), Valkey(self._valkey) as valkey:
                valkey.ask("LREM", TAKEN, 0, job.told)
        return bool(mine)

    def put_back(self, job: Job, why: str) -> None:
        """It failed: somebody is to try again, after everything else that waits."""
        with self.pool.transaction() as db:
            again = "UPDATE jobs SET state = 'queued', why = %s WHERE id = %s AND state = 'taken' AND tries = %s"
            if db.execute(again, (why, job.id, job.tries)).rowcount == 0:
                return
        with contextlib.suppress(OSError), Valkey(self._valkey) as valkey:
            valkey.together(("MULTI",), ("LREM", TAKEN, 0, job.told), ("LPUSH", JOBS, job.told), ("EXEC",))

    def _sweep(self, valkey: Valkey, release: str) -> None:
        """Hand over again what was lost, now that nothing waits; at most once every few seconds."""
        if time.monotonic() - self._swept < LEASE / 2:
            return
        self._swept = time.monotonic()
        with self.pool.transaction() as db:
            jobs = [_told(*row) for row in db.execute(_LOST, (sorted(reads(release)), LEASE))]
        if jobs:
            valkey.together(*(c for job in jobs for c in (("LREM", TAKEN, 0, job), ("LPUSH", JOBS, job))))

    # -- events ------------------------------------------------------------------------------------------------------

    def told(self, worker: str, release: str) -> list[tuple[str, Mapping[str, str]]]:
        """The next events for this worker, each an id and its fields; those of a worker that died among them."""
        with Valkey(self._valkey) as valkey:
            try:
                new = valkey.ask("XREADGROUP", "GROUP", GROUP, worker, "COUNT", 10, "STREAMS", EVENTS, ">")
                left = valkey.ask("XAUTOCLAIM", EVENTS, GROUP, worker, int(LEASE * 1000), "0-0", "COUNT", 10)
            except Refused as error:
                if "NOGROUP" not in str(error):
                    raise
                begin(self._valkey)
                return []
        found = [*(new[0][1] if new else ()), *(left[1] if left else ())]
        return [(id, dict(zip(fields[::2], fields[1::2], strict=True))) for id, fields in found if fields]

    def heard(self, event: str, fields: Mapping[str, str], release: str) -> None:
        """It is carried out: a message is delivered. Unreadable where this release does not know its kind."""
        if fields["kind"] not in understands(release):
            raise Unreadable(f"event {fields['kind']!r} is unknown to {release}")
        if fields["kind"] == "message.sent":
            with self.pool.transaction() as db:
                db.execute("UPDATE messages SET state = 'delivered' WHERE id = %s", (int(fields["about"]),))
        with Valkey(self._valkey) as valkey:
            valkey.ask("XACK", EVENTS, GROUP, event)

    def tell(self, kind: str, about: object) -> None:
        """One more event. OSError."""
        with Valkey(self._valkey) as valkey:
            valkey.ask("XADD", EVENTS, "*", "kind", kind, "about", str(about))


def begin(valkey: str) -> None:
    """The stream and its group, if they are not there. OSError."""
    with Valkey(valkey) as made:
        try:
            made.ask("XGROUP", "CREATE", EVENTS, GROUP, "0", "MKSTREAM")
        except Refused as error:
            if "BUSYGROUP" not in str(error):
                raise


def _told(id: int, kind: str, order: str, at: int) -> str:
    """A job as it stands in the queue: always the same bytes, so that it can be found there."""
    return json.dumps({"id": id, "kind": kind, "order": order, "at": at}, separators=(",", ":"))
