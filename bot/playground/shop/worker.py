"""The shop's worker: takes jobs from the queue and sends receipts; on SIGTERM it ends after the job at hand.

Release 2.4.1 wants to write receipts in the customer's language, and nobody has one: it throws, and puts the job back.

Invariants: a job is ended and its receipt written in one transaction. Standard library only.
"""

from __future__ import annotations

import os
import signal
import threading

from bot.playground.shop import behaviour
from bot.playground.shop.database import Database, Job
from bot.playground.shop.web import complain, log

IDLE = 0.2
"""Seconds between two looks at an empty queue."""
AFTER_FAILURE = 0.5


def main() -> None:
    """Until SIGTERM."""
    leave = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: leave.set())
    release = os.environ["SHOP_RELEASE"]
    log("INFO", "worker started")
    with Database(os.environ["DATABASE"]) as db:
        while not leave.is_set():
            job = db.take()
            if job is None:
                leave.wait(IDLE)
                continue
            try:
                _carry_out(release, job)
            except Exception as error:
                db.put_back(job, type(error).__name__)
                complain(f"job {job.id} ({job.kind}) put back after try {job.tries}", error)
                leave.wait(AFTER_FAILURE)
            else:
                db.done(job, release)
    log("INFO", "worker ended")


def _carry_out(release: str, job: Job) -> None:
    """Print the receipt."""
    language: str | None = None
    if release == behaviour.NEW:
        language = os.environ.get("RECEIPT_LANGUAGE")
        if language is None:
            raise TypeError(f"receipt of {job.payment}: language must be str, not None")


if __name__ == "__main__":
    main()
