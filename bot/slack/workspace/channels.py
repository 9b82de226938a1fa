"""The workspace's channels as the bot stands in them: by catalogued name (`#incidents`) or id (`C…`).

Invariants:
- one listing answers for all channels, and is kept for a minute: the catalogue names a handful, the rate is Slack's;
- where that takes more than one page, each page is read once: what Slack refused goes on where it ended, what is known
  by then is asked for alone, and so is every id;
- a public channel needs no invitation, the bot comes in when it posts; a private one shows only from inside;
- a Slack that does not answer is Unreachable, never "not there".
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.ports import Trouble, Unreachable
from bot.run.state import Run
from bot.slack.publish.calls import PAGE

KEPT = 60.0
"""Seconds that a listing is good for."""
MISSING = 15.0
"""The same for what it does not hold: somebody may be inviting the bot just now."""
_ID = re.compile(r"[CG][A-Z0-9]{8,}")
BROKEN = (SlackClientError, aiohttp.ClientError, asyncio.TimeoutError, OSError)
"""What a call of the Web API ends with when it does not end well."""

ARCHIVED = Trouble("is archived: unarchive it, or name another channel in the catalogue", cut_off=True)
READ_ONLY = Trouble("the bot may not post there: its posting permissions name others only", cut_off=True)
SHARED = Trouble(
    "is shared with another organisation, strangers read along: keep secrets out of it, or name another channel",
    cut_off=False,
)


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that the bot is in, or may come into. trouble: what is wrong with it, None where nothing is."""

    id: str
    name: str
    trouble: Trouble | None = None
    inside: bool = True


class SlackChannels:
    """The channels that the bot can see. clock: seconds since the epoch."""

    def __init__(self, client: AsyncWebClient, clock: Callable[[], float]) -> None:
        self.client, self.clock = client, clock
        self._known: dict[str, Channel] = {}
        self._asked: dict[str, float] = {}
        self._at = float("-inf")
        self._pages = 0
        self._reading: list[dict[str, Any]] = []
        self._cursor = ""
        self._me = ""
        self._turn = asyncio.Lock()

    async def find(self, name: str) -> Channel | None:
        """The channel of this name or id; None where the bot sees none. Unreachable."""
        key = name.removeprefix("#")
        async with self._turn:
            known = self._known.get(key)
            if _ID.fullmatch(key) or (known is not None and self._pages > 1):
                await self._ask(known.id if known is not None else key)
            elif self.clock() - self._at >= (KEPT if known is not None else MISSING * max(1, self._pages)):
                await self._read(key)
        return self._known.get(key)

    def named(self, id: str) -> str:
        """`#name` of a channel, as it was last listed; what was given where it was not."""
        found = self._known.get(id)
        return f"#{found.name}" if found is not None and found.name else id

    async def trouble(self, names: Collection[str]) -> Mapping[str, Trouble]:
        """Channel -> what is wrong with it; empty where all can be posted to. Unreachable."""
        found: dict[str, Trouble] = {}
        for name in names:
            channel = await self.find(name)
            if channel is None:
                me = self._me or "the bot"
                what = f"does not exist, or is private without {me} in it"
                what += f": `/invite {me}` there, or correct its name"
                found[name] = Trouble(what, cut_off=True)
            elif channel.trouble is not None:
                found[name] = channel.trouble
        return found

    def of(self, run: Run) -> ChannelsOf:
        """`bot.ports.Channels` of one run."""
        return ChannelsOf(self, run.created.channel if run.created is not None else "")

    async def _read(self, wanted: str) -> None:
        """Reads the listing on until this name turns up in use, or it ends. Unreachable, and the next one goes on."""
        try:
            self._me = self._me or f"@{(await self.client.auth_test())['user']}"
            while True:
                page, self._cursor = await self._page(self._cursor)
                self._reading += page
                if not self._cursor:
                    break
                for channel in map(_channel, page):
                    self._keep(channel)
                if (found := self._known.get(wanted)) is not None and found.trouble is not ARCHIVED:
                    self._pages = max(2, self._pages)  # it goes on when a name is asked for that is not known yet
                    return
        except BROKEN as error:
            if words(error) == "invalid_cursor":  # too old: from the beginning then
                self._reading, self._cursor = [], ""
            so_far = f"; {len(self._reading)} channels are read, it goes on from there" if self._reading else ""
            raise Unreachable(f"Slack cannot say which channels there are ({words(error)}{so_far})") from error
        used_last = sorted(map(_channel, self._reading), key=lambda c: c.trouble is not ARCHIVED)
        self._known = {key: channel for channel in used_last for key in (channel.id, channel.name)}
        self._pages, self._reading = -(-len(used_last) // PAGE), []
        self._at = self.clock()

    def _keep(self, channel: Channel) -> None:
        other = self._known.get(channel.name)
        self._known[channel.id], self._asked[channel.id] = channel, self.clock()
        if other is None or channel.trouble is not ARCHIVED:
            self._known[channel.name] = channel

    async def _ask(self, id: str) -> None:
        """Asks for one channel by its id, at most once a minute. Unreachable."""
        if self.clock() - self._asked.get(id, self._at) < (KEPT if id in self._known else MISSING):
            return
        try:
            self._me = self._me or f"@{(await self.client.auth_test())['user']}"
            found = [_channel((await self.client.conversations_info(channel=id))["channel"])]
        except BROKEN as error:
            if words(error) != "channel_not_found":
                raise Unreachable(f"Slack cannot say whether there is a channel {id} ({words(error)})") from error
            found = []
        self._asked[id] = self.clock()
        self._known = {key: c for key, c in self._known.items() if c.id != id}  # it may be called otherwise by now
        for channel in found:
            self._keep(channel)

    async def _page(self, cursor: str) -> tuple[list[dict[str, Any]], str]:
        kinds = "public_channel,private_channel"
        answer = await self.client.conversations_list(types=kinds, limit=PAGE, cursor=cursor or None)
        following = (answer.get("response_metadata") or {}).get("next_cursor", "")
        return list(answer["channels"]), str(following or "")


@dataclass(frozen=True, slots=True)
class ChannelsOf:
    """`bot.ports.Channels` of one run. own: the channel that it was asked for in, empty where it was in none."""

    channels: SlackChannels
    own: str

    async def trouble(self, names: Collection[str]) -> Mapping[str, Trouble]:
        """Of these, and of the run's own channel."""
        return await self.channels.trouble(dict.fromkeys([*names, *([self.own] if self.own else [])]))


def words(error: BaseException) -> str:
    """Why a call of the Web API failed, in a few words: Slack's own code where it gave one."""
    if isinstance(error, SlackApiError):
        answer = error.response
        data = answer.data if isinstance(answer, AsyncSlackResponse) else None
        if not isinstance(data, dict):  # a page of some proxy, or of a Slack that is down
            return f"status {getattr(answer, 'status_code', None) or getattr(answer, 'status', 'unknown')}"
        needed = f": {data.get('needed')}" if data.get("error") == "missing_scope" else ""
        return f"{data.get('error') or 'no reason given'}{needed}"
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return str(error) or type(error).__name__


def _channel(seen: Mapping[str, Any]) -> Channel:
    if seen.get("is_archived"):
        trouble: Trouble | None = ARCHIVED
    elif seen.get("is_read_only"):
        trouble = READ_ONLY
    elif seen.get("is_ext_shared") or seen.get("is_pending_ext_shared"):
        trouble = SHARED
    else:
        trouble = None
    return Channel(str(seen["id"]), str(seen.get("name", "")), trouble, bool(seen.get("is_member")))
