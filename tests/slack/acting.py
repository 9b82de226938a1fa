"""What scenarios do over and over, and what has to hold at the end of each: Slack shows the run, whole, once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from bot.playground.workspace import Outcome, Post
from bot.run.state import Run
from bot.slack.draw.press import Press, block_id
from bot.slack.hear.app import PATH
from bot.slack.publish.calls import EVENT_TYPE
from tests.slack.conftest import IDS, OPENING, Desk

START, BACKEND = "Start the rollback", "Bring the backend back"


async def opened(desk: Desk, text: str = OPENING) -> Post:
    """A rollback, and its card with Start on it."""
    assert "opened as" in (await desk.slash("ana", text)).text
    await desk.until(lambda r: r.asked["start"].opened)
    return await desk.button(START)


async def started(desk: Desk, text: str = OPENING) -> Post:
    """One that waits for the backend's decision."""
    await desk.click("ana", await opened(desk, text), START)
    await desk.until(lambda r: r.asked["backend"].opened)
    return await desk.button(BACKEND)


async def told(desk: Desk, who: str, doing: Awaitable[Outcome]) -> str:
    """What somebody is told, and nobody else, after they did this; where a card changes as well, that is not it."""
    driver = desk.workspace.driver
    before = len(driver.whispers(who))
    await doing
    await driver.wait_for(lambda: len(driver.whispers(who)) > before, 5, f"a word to {who}")
    return driver.whispers(who)[-1].plain


async def press(desk: Desk, who: str, card: Post, what: Press, block: str = "") -> Outcome:
    """A press of a button that the card does not have (any more)."""
    return await forged(desk, who, card, what.action, what.value, block or block_id("old", what.run))


async def forged(desk: Desk, who: str, card: Post, action: str, value: str, block: str) -> Outcome:
    """A press of a button that never was."""
    button = {"type": "button", "action_id": action, "value": value, "text": {"type": "plain_text", "text": "Old"}}
    row = {"type": "actions", "block_id": block, "elements": [button]}
    shown = Post(**{**{f: getattr(card, f) for f in card.__dataclass_fields__}, "blocks": (row,)})
    return await desk.workspace.driver.click(who, shown, "Old", patience=60)


async def by_command_line(desk: Desk, who: str, do: str, **more: object) -> Mapping[str, Any]:
    """Somebody's command for the newest run over HTTP, as the command line sends it: the answer."""
    token = await desk.bot.tokens.issue(IDS[who], f"slack:{IDS[who]}")
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as web:
        url = f"{desk.url}/v1/runs/{(await desk.run()).id}/commands"
        answer: Mapping[str, Any] = await (await web.post(url, json={"do": do, **more})).json()
        return answer


def copies(desk: Desk, run: str) -> dict[str, list[Post]]:
    """Slot -> the messages that claim to be it."""
    found: dict[str, list[Post]] = {}
    for channel in ("inc-4211", "inc-4212", "status", "shared-acme"):
        for post in desk.workspace.driver.read(channel):
            if post.metadata and post.metadata["event_type"] == EVENT_TYPE:
                told = post.metadata["event_payload"]
                if told["run"] == run:
                    found.setdefault(told["slot"], []).append(post)
    return found


async def shown(desk: Desk, within: float = 60.0) -> Run:
    """The newest run, once Slack shows all of it: each post of its screen once, as it is drawn now, and no other."""
    last: list[str] = []
    try:
        async with asyncio.timeout(within):
            while (last := await _differences(desk)) or await desk.bot.store.unshown((await desk.run()).id):
                await desk.later(1.0)
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise TimeoutError(f"Slack does not show the run: {last or 'not marked as shown'}") from None
    return await desk.run()


async def _differences(desk: Desk) -> list[str]:
    """What Slack does not show as it should."""
    run, slack = await desk.run(), desk.bot.slack
    assert slack is not None
    screen, slots, there = await slack.screen_of(run), await desk.bot.store.slots(run.id), copies(desk, run.id)
    found = [f"{name} is there {len(posts)} times" for name, posts in there.items() if len(posts) > 1]
    if found:
        raise AssertionError(found)  # nothing makes that good
    for post in screen.posts:
        now = there.get(post.slot, [None])[0]
        if now is None:
            found.append(f"{post.slot} is missing")
        elif not post.fixed and now.text != post.message.text:
            found.append(f"{post.slot} is out of date")
        found += [f"{post.slot}/{f.name} is missing" for f in post.files if f"{post.slot}/{f.name}" not in slots]
    wanted = {post.slot for post in screen.posts}
    found += [f"{name} is lost" for name, s in slots.items() if s.ts and "/" not in name and name not in there]
    found += [f"{name} is not known to be there" for name in wanted if name in slots and not slots[name].ts]
    return found


@asynccontextmanager
async def process(desk: Desk) -> AsyncIterator[str]:
    """The bot as a process of its own, connected to Slack; killed at the end. Its address."""
    s, slack = desk.settings, desk.workspace.app
    given = {
        "database_url": s.database_url, "blobs_url": s.blobs_url, "plans": s.plans, "catalogue": s.catalogue,
        "port": 0, "tick": 0.1, "slack": s.slack, "slack_url": s.slack_url, "slack_bot_token": slack.bot_token,
        "slack_app_token": slack.app_token, "slack_signing_secret": slack.signing_secret, "log_level": "WARNING",
    }  # fmt: skip
    env = {**os.environ, **{f"ROLLBACK_{k.upper()}": str(v) for k, v in given.items()}}
    had, sockets = len(desk.workspace.sockets), s.slack == "socket"
    bot = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot.cli", "serve", env=env, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert bot.stdout is not None
        url = (await asyncio.wait_for(bot.stdout.readline(), 90)).decode().split()[-1]
        if sockets:
            await desk.workspace.driver.wait_for(lambda: len(desk.workspace.sockets) > had, 90, "a socket")
        else:
            await desk.workspace.use_http(url + PATH)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            bot.kill()
        await bot.wait()
        if sockets:
            await desk.workspace.driver.wait_for(lambda: len(desk.workspace.sockets) == had, 60, "no socket")
