"""Everything a workspace remembers, and who is told when it changes.

Invariants: a `ts` is never given out twice and grows; an ephemeral message is never found by the Web API; every
change is noted in `journal`, in order, and wakes whoever waits for it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from bot.playground.workspace.app import App
from bot.playground.workspace.cast import Cast
from bot.playground.workspace.clock import Clock
from bot.playground.workspace.people import Channel, Group, User
from bot.playground.workspace.wire import Json, SlackError

T = TypeVar("T")
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass
class Message:
    """A message. only_for: the one person who sees it, if it is ephemeral; edited: when its text was, for "(edited)";
    picked: what people chose in its menus, by person, block and action."""

    channel: str
    ts: str
    user: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    thread_ts: str | None = None
    by_app: bool = False
    username: str | None = None
    subtype: str | None = None
    metadata: Json | None = None
    edited: str | None = None
    broadcast: bool = False
    only_for: str | None = None
    files: list[str] = field(default_factory=list)
    reactions: dict[str, list[str]] = field(default_factory=dict)
    pinned: bool = False
    picked: dict[tuple[str, str, str], Json] = field(default_factory=dict)
    revision: int = 0

    @property
    def is_reply(self) -> bool:
        """Stands in a thread, not at its head."""
        return self.thread_ts is not None and self.thread_ts != self.ts


@dataclass
class File:
    """An upload; complete once completeUploadExternal was called. alt: what it shows, for whoever does not see it;
    shared: (channel, ts) of its messages."""

    id: str
    name: str
    size: int
    title: str
    user: str
    created: int
    ticket: str
    snippet: str = ""
    alt: str = ""
    data: bytes | None = None
    complete: bool = False
    shared: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class View:
    """A modal or a home tab. entered: the values of its inputs, by block and action."""

    id: str
    user: str
    kind: str
    definition: Json
    hash: str
    root: str
    previous: str | None = None
    entered: dict[tuple[str, str], Json] = field(default_factory=dict)


@dataclass
class Trigger:
    """What lets an app open a modal for one person. view: the modal it came from, if any."""

    user: str
    made: float
    view: str | None = None
    used: bool = False


@dataclass
class ResponseUrl:
    """Where an app may answer one interaction. ts: the message that was acted on, if one was."""

    channel: str
    user: str
    made: float
    ts: str | None = None
    uses: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that happened. ts: of the message, or the id of the view; user: whom a whisper or a view is for."""

    kind: Literal["post", "update", "delete", "whisper", "view", "other"]
    channel: str = ""
    ts: str = ""
    user: str = ""
    by_app: bool = False


class State:
    """One workspace's memory."""

    def __init__(self, app: App, cast: Cast, clock: Clock) -> None:
        self.app, self.clock = app, clock
        self.edit_window = float("inf")  # seconds after which a message may not be changed, as admins may set
        self.users = {u.id: u for u in cast.users}
        self.groups = {g.id: g for g in cast.groups}
        self.channels = {c.id: c for c in cast.channels}
        self.messages: dict[str, dict[str, Message]] = {c: {} for c in self.channels}
        self.files: dict[str, File] = {}
        self.bookmarks: dict[str, Json] = {}
        self.views: dict[str, View] = {}
        self.stacks: dict[str, list[str]] = {}
        self.homes: dict[str, str] = {}
        self.triggers: dict[str, Trigger] = {}
        self.response_urls: dict[str, ResponseUrl] = {}
        self.journal: list[Change] = []
        self.base_url = ""
        self._numbers = itertools.count(1)
        self._micros = 0
        self._changed = asyncio.Event()

    # -- names and numbers -----------------------------------------------------------------------------------------

    def new_id(self, prefix: str) -> str:
        """An id like Slack's that was never given out."""
        number, digits = next(self._numbers), ""
        while number:
            number, digit = divmod(number, 36)
            digits = _DIGITS[digit] + digits
        return f"{prefix}0{digits:0>9}"

    def new_ts(self) -> str:
        """A message's timestamp."""
        self._micros = max(self._micros + 1, int(self.clock.time() * 1_000_000))
        return f"{self._micros // 1_000_000}.{self._micros % 1_000_000:06d}"

    def user(self, name: str) -> User:
        """By id or name, with or without @. KeyError."""
        bare = name.removeprefix("@")
        for user in self.users.values():
            if bare in (user.id, user.name):
                return user
        raise KeyError(f"nobody here is called {name}; there are {', '.join(u.name for u in self.users.values())}")

    def group(self, handle: str) -> Group:
        """By id or handle. KeyError."""
        bare = handle.removeprefix("@")
        for group in self.groups.values():
            if bare in (group.id, group.handle):
                return group
        raise KeyError(f"no user group {handle}; there are {', '.join(g.handle for g in self.groups.values())}")

    def channel(self, name: str) -> Channel:
        """By id or name, with or without #. KeyError."""
        bare = name.removeprefix("#")
        for channel in self.channels.values():
            if bare in (channel.id, channel.name):
                return channel
        raise KeyError(f"no channel {name}; there are {', '.join(c.name for c in self.channels.values())}")

    def add_channel(self, channel: Channel) -> Channel:
        """A new conversation."""
        self.channels[channel.id] = channel
        self.messages[channel.id] = {}
        return channel

    def direct(self, *users: str) -> Channel:
        """The direct conversation of these people, made where there was none."""
        wanted = sorted(set(users))
        for channel in self.channels.values():
            if channel.kind != "channel" and sorted(channel.members) == wanted:
                return channel
        kind = "im" if len(wanted) <= 2 else "mpim"
        name = "" if kind == "im" else "mpdm-" + "--".join(self.users[u].name for u in wanted) + "-1"
        made = int(self.clock.time())
        return self.add_channel(
            Channel(self.new_id("D" if kind == "im" else "G"), name, wanted, kind=kind, created=made)
        )

    # -- messages --------------------------------------------------------------------------------------------------

    def message(self, channel: str, ts: str) -> Message | None:
        """A message that the Web API may find: none that is ephemeral."""
        found = self.messages.get(channel, {}).get(ts)
        return found if found is not None and found.only_for is None else None

    def public(self, channel: str) -> Iterator[Message]:
        """All messages but the ephemeral ones, oldest first."""
        return (m for m in self.messages[channel].values() if m.only_for is None)

    def replies(self, channel: str, ts: str) -> list[Message]:
        """What was answered in a thread, oldest first."""
        return [m for m in self.public(channel) if m.thread_ts == ts and m.is_reply]

    # -- views -----------------------------------------------------------------------------------------------------

    def view(self, view_id: str | None, external_id: str | None = None) -> View | None:
        """An open view."""
        if view_id is not None:
            return self.views.get(view_id)
        return next(
            (v for v in self.views.values() if external_id and v.definition.get("external_id") == external_id), None
        )

    def top(self, user: str) -> View | None:
        """The modal this person has in front of them."""
        stack = self.stacks.get(user)
        return self.views[stack[-1]] if stack else None

    def trigger(self, trigger_id: str, seconds: float) -> Trigger:
        """Use a trigger up. SlackError where it is unknown, used, or older than `seconds`."""
        trigger = self.triggers.get(trigger_id)
        if trigger is None:
            raise SlackError("invalid_trigger_id")
        if trigger.used:
            raise SlackError("exchanged_trigger_id")
        if self.clock.time() - trigger.made > seconds:
            raise SlackError("expired_trigger_id")
        trigger.used = True
        return trigger

    # -- changes ---------------------------------------------------------------------------------------------------

    def note(self, change: Change) -> None:
        """Something happened."""
        self.journal.append(change)
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for(self, predicate: Callable[[], T], timeout: float, what: str = "") -> T:
        """The predicate's first true value, looked at after each change. TimeoutError after so many real seconds."""
        try:
            async with asyncio.timeout(timeout):
                while not (value := predicate()):
                    await self._changed.wait()
                return value
        except TimeoutError:
            raise TimeoutError(f"nothing of the kind within {timeout:g} s{f': {what}' if what else ''}") from None
