"""The shop's worker: takes jobs from the queue and sends receipts; on SIGTERM it ends after the job at hand.

Release 2.4.1 wants to write receipts in the customer's language, and nobody has one: it throws, and puts the job back.

With the second half of the shop it also carries out events (messages are delivered), and listens on $PORT:
/metrics says what it has done.

Invariants: a job is ended and its receipt written in one transaction.
"""

from __future__ import annotations

import os
import signal
import threading

from bot.playground.shop import behaviour
from bot.playground.shop.database import Job
from bot.playground.shop.orders import Orders, Unreadable, reads
from bot.playground.shop.stores import Store, check_schema, opener, orders
from bot.playground.shop.web import METRICS, Answer, Asked, complain, log, serve

IDLE = 0.2
"""Seconds between two looks at an empty queue."""
AFTER_FAILURE = 0.5


def main() -> None:
    """Until SIGTERM."""
    leave = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leave.set())
    release = os.environ["SHOP_RELEASE"]
    check_schema(release)
    log("INFO", "worker started")
    with opener()() as db:
        second = orders()
        if second is not None:
            _listen()
        while not leave.is_set():
            if second is not None:
                _events(second, release)
            if not _job(db, release, leave):
                leave.wait(IDLE)
    log("INFO", "worker ended")


def _listen() -> None:
    """Metrics, from a thread of their own."""
    for result in ("done", "failed"):
        METRICS.begin("shop_jobs_total", kind="receipt", result=result)
    METRICS.begin("shop_exceptions_total", kind="TypeError")

    def handle(asked: Asked) -> Answer:
        return Answer(200, METRICS.text()) if asked.path == "/metrics" else Answer(404, {"error": "only /metrics"})

    threading.Thread(target=serve, args=(handle,), daemon=True).start()


def _job(db: Store, release: str, leave: threading.Event) -> bool:
    """One, if there is one: whether there was."""
    job = db.take(release)
    if job is None:
        return False
    try:
        _carry_out(release, job)
    except Exception as error:
        db.put_back(job, type(error).__name__)
        METRICS.count("shop_jobs_total", kind=job.kind, result="failed")
        complain(f"job {job.id} ({job.kind}) put back after try {job.tries}", error)
        leave.wait(AFTER_FAILURE)
    else:
        db.done(job, release)
        METRICS.count("shop_jobs_total", kind=job.kind, result="done")
    return True


def _events(second: Orders, release: str) -> None:
    """Those that have come since; one that cannot be read stays with whoever took it, and comes again."""
    for event, fields in second.told(os.environ["HOSTNAME"], release):
        try:
            second.heard(event, fields, release)
        except Exception as error:
            METRICS.count("shop_events_total", kind=fields["kind"], result="failed")
            complain(f"event {event}", error)
        else:
            METRICS.count("shop_events_total", kind=fields["kind"], result="done")


def _carry_out(release: str, job: Job) -> None:
    """Print the receipt, or the coupon."""
    if job.kind not in reads(release):
        raise Unreadable(f"jobs of kind {job.kind!r} are unknown to {release}")
    language: str | None = None
    if release == behaviour.NEW:
        language = os.environ.get("RECEIPT_LANGUAGE")
        if language is None:
            raise TypeError(f"receipt of {job.payment}: language must be str, not None")


if __name__ == "__main__":
    main()
