"""Where the shop's programs keep what must not be lost: one SQLite file, or PostgreSQL with Valkey.

$DATABASE says which: a path, or `postgresql://...` (then $CACHE is Valkey's address). Standard library and this package
only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from bot.playground.shop.database import Database
from bot.playground.shop.orders import Orders
from bot.playground.shop.web import log

Store = Database | Orders
KNOWN = {"2.3.9": ("0040", "0041"), "2.4.0": ("0040", "0041"), "2.4.1": ("0042",)}
"""Revisions of the schema that each release was written for."""


def opener() -> Callable[[], Store]:
    """What opens the store of this program: as a context, once a request, from any thread."""
    place = os.environ["DATABASE"]
    if not place.startswith("postgresql:"):
        return lambda: Database(place)
    orders = Orders(place, os.environ["CACHE"])
    return lambda: orders


def orders() -> Orders | None:
    """The second half, where the shop has one."""
    found = opener()() if os.environ["DATABASE"].startswith("postgresql:") else None
    return found if isinstance(found, Orders) else None


def check_schema(release: str) -> None:
    """End the program where it was told to be strict ($SCHEMA=strict) and the schema is none that it was written for.
    A release that is not strict goes on: additions do not hurt it."""
    found = orders()
    if found is None or os.environ.get("SCHEMA") != "strict":
        return
    revision = found.revision()
    if revision not in KNOWN[release]:
        log("CRITICAL", f"the database is at revision {revision or 'none'}, which {release} does not know")
        sys.exit(1)
