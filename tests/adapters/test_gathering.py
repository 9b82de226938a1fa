"""Several things at once, which are of use only together."""

from __future__ import annotations

import asyncio

import pytest

from bot.adapters.gathering import gathered


async def test_what_each_returns_comes_in_order() -> None:
    async def late(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    assert await gathered(late(s) for s in (0.02, 0.0, 0.01)) == [0.02, 0.0, 0.01]


@pytest.mark.parametrize("cancelled", [True, False])
async def test_where_one_fails_or_whoever_waits_gives_up_none_is_at_work_any_more(cancelled: bool) -> None:
    ended = []

    async def working(n: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # it has something to put away
            ended.append(n)

    async def failing() -> None:
        await asyncio.sleep(0.01)
        if not cancelled:
            raise LookupError("gone")

    whole = asyncio.ensure_future(gathered([working(1), failing(), working(2)]))
    if cancelled:
        await asyncio.sleep(0.02)
        whole.cancel()
    with pytest.raises(asyncio.CancelledError if cancelled else LookupError):
        await whole
    assert sorted(ended) == [1, 2]
