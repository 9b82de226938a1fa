"""Begun journeys are remembered for every node, and forgotten when they are over."""

from __future__ import annotations

from bot.store.begun import Begun
from bot.store.log import Store


async def test_what_is_begun_is_known_by_its_prefix_until_it_is_over(store: Store) -> None:
    one, other = Begun(store, lambda: 5.0), Begun(store, lambda: 6.0)
    await one.remember("journey/shop/pay/api/rb-1", "{}")
    await one.remember("journey/shop/pay/api/rb-1", '{"at": 1}')
    await one.remember("journey/shop/pay/api-us/rb-2", "{}")
    assert await other.begun("journey/shop/pay/api/") == {"journey/shop/pay/api/rb-1": '{"at": 1}'}
    await other.forget("journey/shop/pay/api/rb-1")
    await one.forget("journey/shop/pay/api/rb-1")
    assert await one.begun("journey/shop/pay/api/") == {}
    assert len(await one.begun("journey/")) == 1
