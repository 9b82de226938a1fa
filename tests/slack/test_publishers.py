"""Several publishers on one PostgreSQL database, killed in the middle of their calls: nothing doubled, nothing lost."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

import pytest
import sqlalchemy as sa

import migrations
from bot.playground.workspace import Clock, Fault, Workspace
from bot.run.state import new_run
from bot.store.log import Store
from tests.slack.publishing import HERE, claimed, created
from tests.slack.publishing_node import TTL

RUNS = 4


@pytest.fixture
async def slack() -> AsyncIterator[Workspace]:
    async with Workspace(clock=Clock()) as workspace:
        yield workspace


@pytest.fixture
async def store(pg_database: str) -> AsyncIterator[Store]:
    await asyncio.to_thread(migrations.upgrade, pg_database)
    found = await Store.open(pg_database)
    yield found
    await found.close()


async def scalar(store: Store, query: str) -> Any:
    """One value from the database."""
    return await store.db.read(lambda c: c.execute(sa.text(query)).scalar())


async def start(database: str, api: str) -> tuple[str, Process]:
    """A node, and its name."""
    program = [sys.executable, "-m", "tests.slack.publishing_node", database, api]
    node = await asyncio.create_subprocess_exec(*program, stdout=PIPE)
    assert node.stdout is not None
    return (await node.stdout.readline()).decode().strip(), node


async def in_a_call(
    slack: Workspace, store: Store, posts: int, nodes: Mapping[str, Process], killed: Collection[str]
) -> str:
    """The elected one, while it posts, with at least so many messages there."""
    while True:
        assert all(n.returncode is None for name, n in nodes.items() if name not in killed), "one ended by itself"
        holder = str(await scalar(store, "SELECT version FROM node WHERE id = 'role:slack'"))
        calling = await scalar(store, "SELECT count(*) FROM slot WHERE ts = ''")
        if calling and holder not in {"None", *killed} and len(slack.driver.read(HERE)) >= posts:
            return holder
        await asyncio.sleep(0.02)


async def all_shown(store: Store) -> None:
    """Until nothing is missing in Slack."""
    while True:
        if not await store.unshown():
            return
        await asyncio.sleep(0.1)


async def test_the_elected_one_is_killed_twice_and_everything_is_there_once(
    slack: Workspace, store: Store, pg_database: str
) -> None:
    for i in range(RUNS):
        await store.append(new_run(f"r{i}"), [created(f"s{i}")], slack.clock.time())
    slack.faults.add(Fault("delay", "chat.postMessage", next=1000, seconds=0.8))
    killed: list[str] = []
    nodes: dict[str, Process] = {}
    try:
        async with asyncio.timeout(600):
            nodes |= await asyncio.gather(*(start(pg_database, slack.api_url) for _ in range(3)))
            for posts in (2, 7):
                killed.append(await in_a_call(slack, store, posts, nodes, killed))
                nodes[killed[-1]].kill()
            await all_shown(store)
            await asyncio.sleep(TTL / 6)
    finally:
        for node in nodes.values():
            if node.returncode is None:
                node.kill()
            await node.wait()
    assert sum(n.returncode == -9 for n in nodes.values()) == 3, "none ended by itself"
    wanted = {(f"r{i}", slot): 1 for i in range(RUNS) for slot in ("root", "decision.backend", "said", "end")}
    assert claimed(slack) == wanted
    assert any(c.method in ("conversations.history", "conversations.replies") for c in slack.web_api.log), "in doubt"
    heads = {p.ts: p.text for p in slack.driver.read(HERE) if p.text.endswith("root")}
    said = [p for p in slack.driver.read(HERE) if p.text == "said"]
    assert sorted(heads[p.thread_ts or ""] for p in said) == [f"r{i} root" for i in range(RUNS)]
