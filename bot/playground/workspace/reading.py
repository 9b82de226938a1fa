"""What can be read in the workspace, and waiting until it can be."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from bot.playground.workspace.seen import Modal, Post, modal_of, post_of
from bot.playground.workspace.state import State

T = TypeVar("T")
Thread = Post | str | None
"""A message of a thread, or the ts of its head; None for the whole channel."""


class Reader:
    """Reads. LookupError for a person or a channel that is not there."""

    def __init__(self, state: State) -> None:
        self._state = state

    # -- reading ---------------------------------------------------------------------------------------------------

    def read(self, channel: str, thread: Thread = None, *, reader: str | None = None) -> list[Post]:
        """What stands in a channel, replies included, or in one thread, oldest first. reader: with their whispers."""
        place = self._state.channel(channel)
        who = self._state.user(reader).id if reader else None
        head = thread.thread_ts or thread.ts if isinstance(thread, Post) else thread
        shown = [m for m in self._state.messages[place.id].values() if m.only_for in (None, who)]
        return [post_of(self._state, m) for m in shown if head is None or head in (m.ts, m.thread_ts)]

    def find(self, channel: str, text: str, *, thread: Thread = None, reader: str | None = None) -> Post | None:
        """The newest message that says this."""
        found = [p for p in self.read(channel, thread, reader=reader) if text in p.plain or text in p.text]
        return found[-1] if found else None

    def now(self, post: Post) -> Post | None:
        """The same message as it is now; None once it is gone."""
        message = self._state.messages[post.channel_id].get(post.ts)
        return post_of(self._state, message) if message else None

    def whispers(self, user: str, channel: str | None = None) -> list[Post]:
        """What only this person sees, oldest first."""
        who = self._state.user(user).id
        places = [self._state.channel(channel).id] if channel else list(self._state.channels)
        found = [m for place in places for m in self._state.messages[place].values() if m.only_for == who]
        return [post_of(self._state, m) for m in sorted(found, key=lambda m: m.ts)]

    def modal(self, user: str) -> Modal | None:
        """The modal that somebody has in front of them."""
        view = self._state.top(self._state.user(user).id)
        return modal_of(self._state, view) if view else None

    def transcript(self, channel: str, thread: Thread = None, *, reader: str | None = None) -> str:
        """A channel or a thread as a person reads it; times in UTC, replies indented under what they answer."""
        posts = self.read(channel, thread, reader=reader)
        heads = [p for p in posts if not p.is_reply or not any(h.ts == p.thread_ts for h in posts)]
        lines = []
        for head in heads:
            lines.append(_told(head, ""))
            lines += [_told(p, "    ") for p in posts if p.is_reply and p.thread_ts == head.ts and p is not head]
        return "\n".join(lines)

    # -- waiting ---------------------------------------------------------------------------------------------------

    async def wait_for(self, predicate: Callable[[], T], timeout: float = 60.0, what: str = "") -> T:
        """The predicate's first true value, looked at after each change. TimeoutError after so many real seconds."""
        return await self._state.wait_for(predicate, timeout, what)

    async def wait_for_text(
        self,
        channel: str,
        text: str,
        *,
        thread: Thread = None,
        reader: str | None = None,
        timeout: float = 60.0,
    ) -> Post:
        """The newest message that says this, once there is one. TimeoutError with what stands there instead."""
        try:
            found = await self.wait_for(lambda: self.find(channel, text, thread=thread, reader=reader), timeout)
        except TimeoutError:
            stands = self.transcript(channel, thread, reader=reader)
            raise TimeoutError(f"nobody said {text!r} in {channel} within {timeout:g} s, but:\n{stands}") from None
        if found is None:
            raise LookupError(text)
        return found


def _told(post: Post, indent: str) -> str:
    at = datetime.fromtimestamp(float(post.ts), UTC).strftime("%H:%M")
    head = f"{indent}{at} {post.by}{f' (only for {post.only_for})' if post.only_for else ''}"
    marks = f"  :{': :'.join(post.reactions)}:" if post.reactions else ""
    body = "\n".join(f"{indent}    {line}".rstrip() for line in post.plain.splitlines())
    return f"{head}{' (edited)' if post.edited else ''}{marks}\n{body}"
