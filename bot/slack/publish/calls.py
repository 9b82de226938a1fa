"""The calls of Slack's Web API that the publisher makes, each with one question answered: was it done?

Invariants:
- nothing here tries again: whoever calls knows what is to be shown by then, and whether it may be there already;
- whatever goes wrong is one of four: `Limited` (not done, too often), `Down` (not done, nobody was reached),
  `Unsure` (perhaps done), `SlackRefused` (not done, and Slack says why).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.slack.draw.post import Message

EVENT_TYPE = "rollback_slot"
"""Of the metadata by which a message of ours is found again."""
PAGE = 999
"""Channels in one page of a listing: Slack takes fewer than 1000."""
LATE = 15.0
"""Seconds after which a call that was given up will not be carried out any more."""
_PERHAPS = frozenset({"internal_error", "fatal_error", "request_timeout", "service_unavailable"})
"""Slack's own words for: some of it may have been done."""

Body = Mapping[str, Any]


class Limited(Exception):
    """Too often; again after `after` seconds. Nothing was done."""

    def __init__(self, after: float) -> None:
        super().__init__(f"Slack wants {after:g} s of rest")
        self.after = after


class Down(Exception):
    """Slack was not reached. Nothing was done."""


class Unsure(Exception):
    """No good answer came. late: seconds in which it may still happen."""

    def __init__(self, why: str, late: float) -> None:
        super().__init__(why)
        self.late = late


class SlackRefused(Exception):
    """Slack said no. code: its word; needed: scopes that are missing."""

    def __init__(self, code: str, needed: str = "") -> None:
        super().__init__(code)
        self.code, self.needed = code, needed


def quiet_client(
    token: str, url: str = "https://slack.com/api/", trust: ssl.SSLContext | None = None
) -> AsyncWebClient:
    """A client that never tries again by itself: a retry after a lost answer would post twice, one after a 429 would
    show what was true a while ago."""
    return AsyncWebClient(token, base_url=url, retry_handlers=[], ssl=trust)


class Calls:
    """patience: seconds to wait for an answer. ValueError for a client that retries. Every method raises Limited,
    Down, Unsure, SlackRefused."""

    def __init__(self, client: AsyncWebClient, patience: float) -> None:
        if client.retry_handlers:
            raise ValueError("the publisher's client must not retry; make it with quiet_client()")
        self._client, self._patience = client, patience

    async def post(
        self, channel: str, message: Message, mark: tuple[str, str], *, thread: str = "", broadcast: bool = False
    ) -> tuple[str, str]:
        """The new message's channel and ts. mark: run and slot, by which `find` finds it."""
        run, slot = mark
        body = _shown(message) | {
            "channel": channel,
            "metadata": {"event_type": EVENT_TYPE, "event_payload": {"run": run, "slot": slot}},
            "unfurl_links": False,
            "unfurl_media": False,
        }
        if thread:
            body |= {"thread_ts": thread} | ({"reply_broadcast": True} if broadcast else {})
        done = await self._call("chat.postMessage", json=body)
        return str(done["channel"]), str(done["ts"])

    async def update(self, channel: str, ts: str, message: Message) -> None:
        """Makes a message of ours say this. Again is harmless."""
        await self._call("chat.update", json=_shown(message) | {"channel": channel, "ts": ts})

    async def find(self, channel: str, mark: tuple[str, str], *, thread: str, since: float) -> str | None:
        """The ts of the message with this mark, posted after `since`; None if there is none (yet)."""
        payload = dict(zip(("run", "slot"), mark, strict=True))
        async for message in self._messages(channel, thread, since):
            found = message.get("metadata") or {}
            if found.get("event_type") == EVENT_TYPE and found.get("event_payload") == payload:
                return str(message["ts"])
        return None

    async def has_file(self, channel: str, file: str, *, thread: str, since: float) -> bool:
        """Whether the file was shared there."""
        async for message in self._messages(channel, thread, since):
            if any(f.get("id") == file for f in message.get("files") or ()):
                return True
        return False

    async def upload(self, name: str, data: bytes, alt: str = "") -> str:
        """Sends bytes, and returns the file's id; nobody sees it before it is shared. alt: what a picture shows."""
        params: dict[str, str | int] = {"filename": name, "length": len(data)}
        asked = await self._call("files.getUploadURLExternal", params={**params, **({"alt_txt": alt} if alt else {})})
        try:
            async with (
                asyncio.timeout(self._patience * 3),
                aiohttp.request("POST", str(asked["upload_url"]), data=data, ssl=self._client.ssl or True) as answer,
            ):
                if answer.status != 200:
                    raise Down(f"Slack did not take the bytes of {name}: {answer.status}")
        except (aiohttp.ClientError, OSError, TimeoutError) as e:
            raise Down(f"the bytes of {name} could not be sent: {_named(e)}") from e
        return str(asked["file_id"])

    async def share(self, file: str, title: str, channel: str, thread: str) -> None:
        """Shows an uploaded file in a thread."""
        body = {"files": [{"id": file, "title": title}], "channel_id": channel, "thread_ts": thread}
        await self._call("files.completeUploadExternal", json=body)

    async def join(self, channel: str) -> None:
        """Comes into a public channel."""
        await self._call("conversations.join", json={"channel": channel})

    async def channels(self, cursor: str) -> tuple[list[Body], str]:
        """One page of the channels that the bot may know of, and the cursor of the next one (empty: that was all)."""
        try:
            return await self._channels("public_channel,private_channel", cursor)
        except SlackRefused as e:
            if e.code != "missing_scope":
                raise
            return await self._channels("public_channel", cursor)

    async def _channels(self, types: str, cursor: str) -> tuple[list[Body], str]:
        asked = {"types": types, "limit": PAGE} | ({"cursor": cursor} if cursor else {})
        page = await self._call("conversations.list", params=asked)
        return list(page["channels"]), str((page.get("response_metadata") or {}).get("next_cursor") or "")

    async def _messages(self, channel: str, thread: str, since: float) -> AsyncIterator[Body]:
        method = "conversations.replies" if thread else "conversations.history"
        asked = {"channel": channel, "include_all_metadata": True, "oldest": f"{since:.6f}", "limit": 200}
        async for page in self._pages(method, asked | ({"ts": thread} if thread else {})):
            for message in page["messages"]:
                yield message

    async def _pages(self, method: str, asked: Body) -> AsyncIterator[Body]:
        cursor = ""
        while True:
            page = await self._call(method, params={**asked, **({"cursor": cursor} if cursor else {})})
            yield page
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return

    async def _call(self, method: str, *, json: Body | None = None, params: Body | None = None) -> Body:
        try:
            async with asyncio.timeout(self._patience):
                answer = await self._client.api_call(
                    method, json=None if json is None else dict(json), params=None if params is None else dict(params)
                )
        except aiohttp.ClientConnectorError as e:
            raise Down(_named(e)) from e
        except TimeoutError as e:
            raise Unsure(f"no answer to {method} within {self._patience:g} s", LATE) from e
        except SlackApiError as e:
            raise _sorted(method, e.response) from e
        except (aiohttp.ClientError, SlackClientError, OSError, ValueError) as e:
            raise Unsure(f"the answer to {method} was lost: {_named(e)}", 1.0) from e
        return answer.data if isinstance(answer.data, dict) else {}


def _sorted(method: str, answer: object) -> Exception:
    """What an answer that is no good means."""
    if not isinstance(answer, AsyncSlackResponse):  # half of one
        return Unsure(f"the answer to {method} was cut off", 0.0)
    body = answer.data if isinstance(answer.data, dict) else {}
    code = str(body.get("error") or "")
    if answer.status_code == 429 or code in ("ratelimited", "rate_limited"):
        given = {str(k).lower(): v for k, v in dict(answer.headers or {}).items()}
        return Limited(_seconds(given.get("retry-after")))
    if answer.status_code >= 500 or code in _PERHAPS or not code:
        return Unsure(f"{method} was answered {answer.status_code} {code}".rstrip(), 0.0)
    return SlackRefused(code, str(body.get("needed") or ""))


def _seconds(given: object) -> float:
    try:
        return max(1.0, float(str(given)))
    except ValueError:
        return 30.0


def _shown(message: Message) -> dict[str, Any]:
    return {"text": message.text} | ({"blocks": list(message.blocks)} if message.blocks else {})


def _named(e: BaseException) -> str:
    return f"{type(e).__name__}: {e}" if str(e) else type(e).__name__
