"""People in the workspace, driven from a test or a demo: they type, press, pick, submit and read.

People are named by name or id (`ana`), channels by name or id (`inc-4211`). Whoever acts must be in the channel;
nothing else is asked of them, so that a guest, a stranger or somebody just deactivated can press a button and be
refused by the app, not by the driver.

An act returns when the app has acknowledged it and something that the person can see has come of it, or after
`patience` seconds of real time; `wait_for` waits for the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from bot.playground.workspace.controls import Control, Entry, controls, is_pressed
from bot.playground.workspace.core import Core, Draft
from bot.playground.workspace.delivery import Delivery
from bot.playground.workspace.interactions import Heard, Interactions
from bot.playground.workspace.people import Channel, User
from bot.playground.workspace.reading import Reader
from bot.playground.workspace.seen import Modal, Outcome, Post, modal_of, post_of
from bot.playground.workspace.state import Change, Message, View
from bot.playground.workspace.wire import Json

Target = Post | Modal | str
"""Where somebody presses: a message or a modal as it was read, or the ts or id of one."""

PATIENCE = 1.0


class Driver(Reader):
    """Everything that people can do. LookupError for what is not there, PermissionError for who is not there."""

    def __init__(self, core: Core, delivery: Delivery) -> None:
        super().__init__(core.state)
        self._core, self._delivery = core, delivery
        self._acts = Interactions(core, delivery)

    # -- doing -----------------------------------------------------------------------------------------------------

    async def say(self, user: str, channel: str, text: str, *, thread: Post | str | None = None) -> Post:
        """Write a message; `@name` mentions somebody. thread: the message that it answers."""
        person, place = self._present(user, channel)
        thread_ts = thread.thread_ts or thread.ts if isinstance(thread, Post) else thread
        escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        spoken = re.sub(r"@([a-z][a-z0-9-]*)", self._mention, escaped)
        section = {"type": "rich_text_section", "elements": [*self._spoken(text)]}
        blocks: list[Json] = [{"type": "rich_text", "elements": [section]}]
        message = self._core.post(place.id, person.id, Draft(spoken, blocks, thread_ts=thread_ts))
        return post_of(self._state, message)

    async def slash(
        self, user: str, channel: str, command: str, text: str = "", *, patience: float = PATIENCE, alone: bool = False
    ) -> Outcome:
        """Type a slash command. Slack does not say in which thread it was typed, so no post in a thread answers it.
        alone: wait for what is said or shown to them alone, whatever is posted meanwhile."""
        person, place = self._present(user, channel)
        start = len(self._state.journal)
        heard = await self._acts.slash(place, person, command, text)

        def answers(change: Change) -> bool:
            if change.kind != "post" or not change.by_app or change.channel != place.id:
                return False
            post = self._state.messages[place.id].get(change.ts)
            return post is not None and not post.is_reply

        return await self._outcome(heard, person, start, patience, answers, alone=alone)

    async def click(
        self,
        user: str,
        target: Target,
        button: str,
        *,
        block: str | None = None,
        confirm: bool = True,
        patience: float = PATIENCE,
        alone: bool = False,
    ) -> Outcome:
        """Press a button, by label or action_id. block: its block_id, where several are called the same; confirm: what
        to say to a confirmation dialog; alone: wait for what is said or shown to them alone."""
        kinds = {"button", "icon_button"}
        return await self._act(user, target, button, None, kinds, block, confirm, patience, alone=alone)

    async def overflow(
        self,
        user: str,
        target: Target,
        entry: str,
        *,
        menu: str = "",
        confirm: bool = True,
        patience: float = PATIENCE,
        alone: bool = False,
    ) -> Outcome:
        """Take an entry of the ⋯ menu, by label or value. menu: its action_id or block_id, where there are several."""
        name = menu or self._menu_with(target, entry)
        return await self._act(user, target, name, entry, {"overflow"}, None, confirm, patience, alone=alone)

    async def select(
        self, user: str, target: Target, menu: str, entry: Entry, *, patience: float = PATIENCE
    ) -> Outcome:
        """Choose in a menu, a date picker, checkboxes or radio buttons, or type into an input, without submitting."""
        return await self._act(user, target, menu, entry, None, None, True, patience)

    async def submit(
        self,
        user: str,
        values: Mapping[str, Entry] | None = None,
        *,
        modal: Modal | str | None = None,
        patience: float = 0,
    ) -> Outcome:
        """Fill the modal in front of somebody in and submit it. values: by label, action_id or block_id."""
        person = self._state.user(user)
        view = self._view(person, modal)
        start = len(self._state.journal)
        heard = await self._acts.submit(view, person, values or {})
        return await self._outcome(heard, person, start, patience, lambda c: c.kind == "post" and c.by_app)

    async def close(self, user: str, *, everything: bool = False) -> Outcome:
        """Close the modal in front of somebody, or the whole stack."""
        person = self._state.user(user)
        start = len(self._state.journal)
        heard = await self._acts.close(self._view(person, None), person, everything=everything)
        return await self._outcome(heard, person, start, 0, lambda _: False)

    async def shortcut(self, user: str, post: Post, callback: str, *, patience: float = PATIENCE) -> Outcome:
        """Take a message shortcut from a message's menu."""
        person, place = self._present(user, post.channel_id)
        start = len(self._state.journal)
        heard = await self._acts.shortcut(self._state.messages[place.id][post.ts], place, person, callback)
        return await self._outcome(heard, person, start, patience, lambda _: False)

    async def home(self, user: str, *, patience: float = PATIENCE) -> Modal | None:
        """Open the app's home tab."""
        person = self._state.user(user)
        start = len(self._state.journal)
        direct = self._state.direct(self._state.app.bot_user, person.id)
        self._core.events.home_opened(person.id, direct.id)
        await self._outcome(Heard(), person, start, patience, lambda _: False)
        return self.home_of(user)

    def home_of(self, user: str) -> Modal | None:
        """Their home tab as it stands, without opening it."""
        view = self._state.view(self._state.homes.get(self._state.user(user).id))
        return modal_of(self._state, view) if view else None

    def react(self, user: str, post: Post, emoji: str, *, on: bool = True) -> None:
        """Put an emoji under a message, or take it away."""
        person, place = self._present(user, post.channel_id)
        self._core.react(self._state.messages[place.id][post.ts], person.id, emoji, on=on)

    def delete(self, post: Post) -> None:
        """Take a message away, as an admin can."""
        self._core.delete(self._state.messages[post.channel_id][post.ts])

    # -- people and places -----------------------------------------------------------------------------------------

    def join(self, user: str, channel: str, *, inviter: str | None = None) -> None:
        """Somebody comes into a channel; the app too, when it is invited."""
        by = self._state.user(inviter).id if inviter else None
        self._core.join(self._state.channel(channel), self._state.user(user).id, by)

    def leave(self, user: str, channel: str) -> None:
        """Somebody leaves a channel, or is removed."""
        self._core.leave(self._state.channel(channel), self._state.user(user).id)

    def archive(self, user: str, channel: str) -> None:
        """Somebody closes a channel."""
        self._core.archive(self._state.channel(channel), self._state.user(user).id)

    def change_user(self, user: str, **fields: Any) -> None:
        """Change somebody: `deleted=True` deactivates, `guest=True` makes a guest, `tz=`, `real_name=` ..."""
        self._core.change_user(self._state.user(user), **fields)

    def set_group(self, group: str, users: Sequence[str]) -> None:
        """Give a user group these members."""
        self._core.set_group(self._state.group(group), [self._state.user(u).id for u in users])

    # -- waiting ---------------------------------------------------------------------------------------------------

    async def idle(self, timeout: float = 60.0) -> None:
        """Until every event has been delivered and no retry is left. TimeoutError."""
        async with asyncio.timeout(timeout):
            while self._delivery.busy:  # noqa: ASYNC110 - real time, of the tasks themselves
                await asyncio.sleep(0.01)

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _act(
        self,
        user: str,
        target: Target,
        name: str,
        entry: Entry,
        kinds: set[str] | None,
        block: str | None,
        confirm: bool,
        patience: float,
        alone: bool = False,
    ) -> Outcome:
        person = self._state.user(user)
        there = self._target(person, target)
        control = _control(_blocks(target, there), name, kinds, block)
        question = control.element.get("confirm")
        if question and not confirm:
            return Outcome(question=f"{question['title']['text']}: {question['text']['text']}")
        start = len(self._state.journal)
        if isinstance(there, View):
            heard = await self._acts.on_view(there, person, control, entry)
            return await self._outcome(heard, person, start, patience, lambda _: False)
        self._present(user, there.channel)
        heard = await self._acts.on_message(there, person, control, entry)

        def answers(change: Change) -> bool:
            return change.kind in ("update", "delete") and change.ts == there.ts

        return await self._outcome(heard, person, start, patience, answers, alone=alone)

    async def _outcome(
        self,
        heard: Heard,
        user: User,
        start: int,
        patience: float,
        visible: Callable[[Change], bool],
        alone: bool = False,
    ) -> Outcome:
        """What the person sees, once there is something to see."""

        def mine(change: Change) -> bool:
            return change.by_app and change.user == user.id and change.kind in ("whisper", "view", "update")

        def reactions() -> list[Change]:
            return [c for c in self._state.journal[start:] if mine(c) or visible(c)]

        if not heard.error and not heard.errors and patience > 0:
            with contextlib.suppress(TimeoutError):  # nothing to see is an outcome too
                await self._state.wait_for(lambda: [c for c in reactions() if mine(c) or not alone], patience)
        shown = [c for c in reactions() if c.kind in ("whisper", "post", "update")]
        places = dict.fromkeys((c.channel, c.ts) for c in shown)
        found = [m for channel, ts in places if (m := self._state.messages[channel].get(ts)) is not None]
        return Outcome(
            error=heard.error,
            errors=heard.errors,
            whispers=tuple(post_of(self._state, m) for m in found if m.only_for == user.id),
            posts=tuple(post_of(self._state, m) for m in found if m.only_for is None),
            modal=self.modal(user.id),
        )

    def _present(self, user: str, channel: str) -> tuple[User, Channel]:
        person, place = self._state.user(user), self._state.channel(channel)
        if person.id not in place.members:
            raise PermissionError(f"{person.name} is not in {place.name or place.id}")
        return person, place

    def _spoken(self, text: str) -> Iterator[Json]:
        """The words, with whom they mention."""
        for part in re.split(r"(@[a-z][a-z0-9-]*)", text):
            known = next((u for u in self._state.users.values() if part == f"@{u.name}"), None)
            if part:
                yield {"type": "user", "user_id": known.id} if known else {"type": "text", "text": part}

    def _mention(self, match: re.Match[str]) -> str:
        try:
            return f"<@{self._state.user(match[1]).id}>"
        except KeyError:
            return match[0]

    def _view(self, user: User, modal: Modal | str | None) -> View:
        view_id = modal.id if isinstance(modal, Modal) else modal
        view = self._state.top(user.id) if view_id is None else self._state.view(view_id)
        if view is None:
            raise LookupError(f"{user.name} has no such modal open")
        return view

    def _target(self, user: User, target: Target) -> Message | View:
        key = target if isinstance(target, str) else target.id if isinstance(target, Modal) else target.ts
        if key in self._state.views:
            return self._state.views[key]
        for messages in self._state.messages.values():
            if key in messages:
                return messages[key]
        if isinstance(target, Post):  # gone meanwhile, but still on this person's screen
            gone = Message(target.channel_id, key, self._state.app.bot_user, target.text, list(target.blocks))
            gone.thread_ts, gone.by_app, gone.only_for = target.thread_ts, True, user.id if target.only_for else None
            return gone
        raise LookupError(f"nothing here is called {key}; {user.name} cannot press it")

    def _menu_with(self, target: Target, entry: str) -> str:
        blocks = _blocks(target, self._target(self._state.user(self._state.app.bot_user), target))
        for control in controls(blocks):
            if control.kind == "overflow" and any(
                entry in (o.get("value"), o["text"]["text"]) for o in control.element["options"]
            ):
                return control.action_id
        raise LookupError(f"no menu offers {entry!r}")


def _blocks(target: Target, there: Message | View) -> Sequence[Json]:
    """What the person has on the screen: as it was read, if it was."""
    if not isinstance(target, str):
        return target.blocks
    blocks: Sequence[Json] = there.definition["blocks"] if isinstance(there, View) else there.blocks
    return blocks


def _control(blocks: Sequence[Json], name: str, kinds: set[str] | None, block: str | None) -> Control:
    """The one that is meant. LookupError for none, or for several."""
    there = [c for c in controls(blocks) if (c.kind in kinds if kinds else not is_pressed(c))]
    found = [c for c in there if c.answers_to(name) and block in (None, c.block_id)]
    if not found:
        raise LookupError(f"there is no {name!r} to press; there are {[c.label or c.action_id for c in there]}")
    if len(found) > 1:
        raise LookupError(f"{name!r} is there {len(found)} times, in {[c.block_id for c in found]}; say in which block")
    return found[0]
