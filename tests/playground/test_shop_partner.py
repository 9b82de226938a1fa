"""The shop's payment provider: what it does and what its page says are two things."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession

from bot.playground.shop import behaviour
from bot.playground.shop.partner import Partner, Says
from bot.playground.shop.releases import VERSIONS

GOOD = VERSIONS["2.4.0"]
SETTINGS = {**GOOD.settings, **GOOD.env}


async def _says(partner: Partner) -> tuple[int, str, str]:
    async with ClientSession() as http:
        async with http.get(f"{partner.url}/health") as probe:
            status = probe.status
        async with http.get(f"{partner.url}/api/v2/summary.json") as page:
            found = await page.json()
    return status, found["status"]["indicator"], found["components"][0]["status"]


@pytest.mark.parametrize(
    ("down", "says", "seen"),
    [
        (False, "none", (200, "none", "operational")),
        (True, "none", (503, "none", "operational")),
        (False, "critical", (200, "critical", "major_outage")),
        (True, "major", (503, "major", "partial_outage")),
    ],
)
async def test_the_probe_and_the_page_may_disagree(down: bool, says: Says, seen: tuple[int, str, str]) -> None:
    async with Partner() as partner:
        partner.down, partner.says = down, says
        assert await _says(partner) == seen


async def test_a_payment_is_refused_where_the_provider_is_out_of_order_or_not_there() -> None:
    def pay(place: str) -> None:
        behaviour.pay("2.4.0", SETTINGS, behaviour.SAMPLES[0], provider=place)

    async with Partner() as partner:
        await asyncio.to_thread(pay, partner.place)
        assert partner.charged == 1
        partner.down = True
        with pytest.raises(behaviour.Refused, match="503"):
            await asyncio.to_thread(pay, partner.place)
        assert partner.charged == 1
    with pytest.raises(behaviour.Refused, match="no answer from"):
        await asyncio.to_thread(pay, partner.place)
