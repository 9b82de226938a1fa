"""A shop and the real adapter that leads to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.adapters.http import HttpClient, HttpEndpoint
from bot.adapters.kubernetes import Clusters
from bot.ports import Ports, Record
from bot.testing import PortsFor, ports
from tests.fixtures.lone_shop import Shop
from tests.fixtures.service_database import SHOP, Place, place


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with Shop("2.4.0", delay=0.0) as shop:
        yield shop


@pytest.fixture
async def ports_for(shop: Shop) -> AsyncIterator[PortsFor]:
    http = HttpClient({"shop": HttpEndpoint(shop.url, timeout=6.0)})

    def bound(record: Record) -> Ports:
        return ports(http=http.bind(record), kubernetes=Clusters([]))

    yield bound
    await http.close()


@pytest.fixture
def database(pg_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A service's database, without tables yet."""
    with place(pg_database, tmp_path / "releases", monkeypatch) as found:
        yield found


@pytest.fixture
async def migrated(database: Place) -> Place:
    """At 0042, by the migrations of 2.4.1."""
    database.release("2.4.1", *SHOP)
    await database.upgrade("2.4.1", "0042")
    return database
