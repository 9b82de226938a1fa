"""A process that publishes: `python -m tests.slack.publishing_node <database> <api>`. It prints its node's id."""

from __future__ import annotations

import asyncio
import sys

from bot.run.state import Run
from bot.slack.draw.post import Screen
from bot.slack.publish.calls import quiet_client
from bot.slack.publish.publisher import Publisher
from bot.store.lease import RowLease
from bot.store.log import Store
from tests.slack.publishing import contents, decision, news, root

TTL = 15.0
"""Seconds that a lease lasts: a busy machine must not lose it."""


async def screen_of(run: Run) -> Screen:
    """Four posts, the same at each look."""
    return Screen((root(f"{run.id} root"), decision(), news("said", "said", under="root"), news("end", "end")))


async def main(url: str, api: str) -> None:
    """Until killed."""
    store = await Store.open(url)
    lease = RowLease(url, ttl=TTL)
    print(lease.id, flush=True)  # noqa: T201
    await Publisher(store, quiet_client("xoxb-playground-bot", api), screen_of, lease, contents, ttl=TTL).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
