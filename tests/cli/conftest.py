"""A house, and a bot that runs in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.whole_bot import House, Running, shop_running, stocked


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """Everything but a bot."""
    with shop_running() as shop:
        yield stocked(House(tmp_path, shop.url))


@pytest.fixture
def bot(house: House) -> Iterator[Running]:
    """A running bot; its people have tokens, its service has releases."""
    running = Running(house)
    try:
        yield running
    finally:
        running.stop()
