"""The shop's cron: settles the payments that are open, a batch a run, and ends.

Release 2.4.1 waits for an answer of the bank that it never asked for: the job hangs until its deadline.
Invariants: a batch is settled in one transaction, or not at all.
"""

from __future__ import annotations

import os
import signal
import threading

from bot.playground.shop import behaviour
from bot.playground.shop.settings import Settings
from bot.playground.shop.stores import opener
from bot.playground.shop.web import log


def main() -> None:
    """One run."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    release = os.environ["SHOP_RELEASE"]
    batch = int(Settings().now()["settle.batch"])
    log("INFO", f"settling at most {batch} payments")
    if release == behaviour.NEW:
        answered = threading.Event()
        log("INFO", "waiting for the bank")
        answered.wait()
    with opener()() as db:
        log("INFO", f"settled {db.settle(batch, release)} payments")


if __name__ == "__main__":
    main()
