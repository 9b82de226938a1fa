"""A service's database of its own on the tests' server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.service_database import SHOP, Place, place


@pytest.fixture
def db(pg_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with place(pg_database, tmp_path / "releases", monkeypatch) as found:
        yield found


@pytest.fixture
async def shop(db: Place) -> Place:
    """At 0042."""
    db.release("2.4.1", *SHOP)
    await db.upgrade("2.4.1", "0042")
    return db
