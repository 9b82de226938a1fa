"""A shop and the real adapter that leads to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.adapters.http import HttpClient, HttpTarget
from bot.adapters.kubernetes import Clusters
from bot.playground.single import Shop
from bot.ports import Ports, Record
from bot.testing import PortsFor, ports


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with Shop("2.4.0", delay=0.0) as shop:
        yield shop


@pytest.fixture
async def ports_for(shop: Shop) -> AsyncIterator[PortsFor]:
    http = HttpClient({"shop": HttpTarget(shop.url, timeout=2.0)})

    def bound(record: Record) -> Ports:
        return ports(http=http.bind(record), kubernetes=Clusters([]))

    yield bound
    await http.close()
