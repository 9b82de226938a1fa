"""What can be done in a workspace, whoever does it: the app through the Web API, or a person through the driver.

The rules of who may do it stand with the caller; here is what it changes and whom it tells.

Invariants: every change is noted in the state and told as an event; what an app posts has passed Block Kit's rules.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from bot.playground.copied import copied
from bot.playground.workspace.blockkit import refuse_message
from bot.playground.workspace.events import Events
from bot.playground.workspace.people import Channel, Group, User
from bot.playground.workspace.shapes import complete, message_json
from bot.playground.workspace.state import Change, Message, State
from bot.playground.workspace.wire import Json, SlackError

POST_TEXT = 40_000
"""Characters of a message's text."""
UPDATE_TEXT = 4_000
"""The same when a message is changed; https://github.com/seratch/ChatGPT-in-Slack/issues/102"""
ATTACHMENTS = 100


@dataclass
class Draft:
    """What somebody wants to say. blocks: None leaves them as they are in an update."""

    text: str = ""
    blocks: list[Json] | None = None
    attachments: list[Json] | None = None
    thread_ts: str | None = None
    metadata: Json | None = None
    broadcast: bool = False
    username: str | None = None
    files: list[str] = field(default_factory=list)
    subtype: str | None = None


def check(draft: Draft, most: int = POST_TEXT) -> None:
    """Whether Slack takes it from an app. SlackError."""
    if len(draft.text) > most:
        raise SlackError("msg_too_long")
    for pointer, blocks in [("/blocks", draft.blocks), *_nested(draft.attachments)]:
        if not blocks:
            continue
        refusal = refuse_message(blocks, pointer)
        if refusal is not None:
            lines = [str(p) for p in refusal.problems]
            error = refusal.error if pointer == "/blocks" else "invalid_attachments"
            raise SlackError(error, lines, more={"errors": lines} if lines else {})
    if draft.attachments is not None and len(draft.attachments) > ATTACHMENTS:
        raise SlackError("too_many_attachments")
    if not (draft.text.strip() or draft.blocks or draft.attachments or draft.files):
        raise SlackError("no_text")


def _nested(attachments: list[Json] | None) -> list[tuple[str, list[Json]]]:
    found = []
    for i, attachment in enumerate(attachments or []):
        if not isinstance(attachment, dict):
            raise SlackError("invalid_attachments", [f"must provide an object [json-pointer:/attachments/{i}]"])
        found.append((f"/attachments/{i}/blocks", attachment.get("blocks", [])))
    return found


class Core:
    """The workspace itself."""

    def __init__(self, state: State, events: Events) -> None:
        self.state, self.events = state, events
        self._tasks: set[asyncio.Task[None]] = set()

    # -- messages --------------------------------------------------------------------------------------------------

    def post(self, channel: str, user: str, draft: Draft, *, by_app: bool = False) -> Message:
        """A new message that everybody sees."""
        message = self._message(channel, user, draft, by_app=by_app)
        self.state.note(Change("post", channel, message.ts, by_app=by_app))
        for file in draft.files:
            self.state.files[file].shared.append((channel, message.ts))
        self.events.posted(message)
        return message

    def whisper(self, channel: str, reader: str, draft: Draft) -> Message:
        """A message of the app that only one person sees."""
        message = self._message(channel, self.state.app.bot_user, draft, by_app=True)
        message.only_for = reader
        self.state.note(Change("whisper", channel, message.ts, reader, by_app=True))
        return message

    def update(self, message: Message, draft: Draft) -> None:
        """Change a message. Blocks not given are removed when text is; text without blocks marks it as edited."""
        before = message_json(self.state, message)
        message.text = draft.text
        message.blocks = complete(self.state, draft.blocks or [])
        message.attachments = copied(draft.attachments or [])
        message.edited = message.edited if draft.blocks else self.state.new_ts()
        if draft.metadata is not None:
            message.metadata = draft.metadata or None
        message.revision += 1
        self.state.note(Change("update", message.channel, message.ts, message.only_for or "", by_app=message.by_app))
        if message.only_for is None:
            self.events.changed(message, before)

    def delete(self, message: Message) -> None:
        """Take a message away; a thread under it stays."""
        before = message_json(self.state, message)
        del self.state.messages[message.channel][message.ts]
        self.state.note(Change("delete", message.channel, message.ts, message.only_for or "", by_app=message.by_app))
        if message.only_for is None:
            self.events.deleted(message, before)

    def react(self, message: Message, user: str, name: str, *, on: bool) -> None:
        """Put an emoji under a message, or take it away."""
        users = message.reactions.setdefault(name, [])
        (users.append if on else users.remove)(user)
        if not users:
            del message.reactions[name]
        self.state.note(Change("other", message.channel, message.ts))
        self.events.reacted(message, user, name, added=on)

    def schedule(self, channel: str, draft: Draft, at: float) -> None:
        """Post for the app at this time."""
        self._background(self._later(channel, draft, at))

    # -- people and places -----------------------------------------------------------------------------------------

    def join(self, channel: Channel, user: str, inviter: str | None = None) -> None:
        """Somebody comes in."""
        channel.members.append(user)
        self.state.note(Change("other", channel.id))
        self.events.membership(channel, user, joined=True, inviter=inviter)

    def leave(self, channel: Channel, user: str) -> None:
        """Somebody goes, or is made to."""
        self.events.membership(channel, user, joined=False)
        channel.members.remove(user)
        self.state.note(Change("other", channel.id))

    def archive(self, channel: Channel, user: str) -> None:
        """Close a channel for good."""
        channel.archived = True
        self.state.note(Change("other", channel.id))
        self.events.archived(channel, user)

    def change_user(self, user: User, **fields: Any) -> None:
        """Set fields of a person: `deleted=True` deactivates, and takes them out of every user group."""
        for name, value in fields.items():
            if not hasattr(user, name):
                raise AttributeError(f"a user has no {name}")
            setattr(user, name, value)
        user.updated = int(self.state.clock.time())
        self.state.note(Change("other", user=user.id))
        self.events.user_changed(user)
        for group in self.state.groups.values() if user.deleted else ():
            if user.id in group.users:
                self.set_group(group, [u for u in group.users if u != user.id])

    def set_group(self, group: Group, users: list[str]) -> None:
        """Give a user group other members."""
        before, since = group.users, group.updated
        group.users, group.updated = list(users), int(self.state.clock.time())
        self.state.note(Change("other"))
        self.events.group_changed(group, before, since)

    async def close(self) -> None:
        """Give up what was scheduled."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _message(self, channel: str, user: str, draft: Draft, *, by_app: bool) -> Message:
        message = Message(
            channel,
            self.state.new_ts(),
            user,
            draft.text,
            blocks=complete(self.state, draft.blocks or []),
            attachments=copied(draft.attachments or []),
            thread_ts=draft.thread_ts,
            by_app=by_app,
            username=draft.username,
            subtype=draft.subtype,
            metadata=draft.metadata or None,
            broadcast=draft.broadcast,
            files=list(draft.files),
        )
        self.state.messages[channel][message.ts] = message
        return message

    async def _later(self, channel: str, draft: Draft, at: float) -> None:
        await self.state.clock.sleep(max(0.0, at - self.state.clock.time()))
        self.post(channel, self.state.app.bot_user, draft, by_app=True)

    def _background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
