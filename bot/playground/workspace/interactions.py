"""What people do to the app, and what Slack makes of its acknowledgement.

Invariants: the app hears of each act once; what it did not acknowledge in time is a failure that the person sees, with
Slack's word for it; a modal closes, changes or complains only as the acknowledgement says.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.playground.workspace import controls, modals, payloads, responses
from bot.playground.workspace.controls import Control, Entry
from bot.playground.workspace.core import Core
from bot.playground.workspace.delivery import Ack, Delivery
from bot.playground.workspace.people import Channel, User
from bot.playground.workspace.state import Message, State, Trigger, View
from bot.playground.workspace.wire import Json, SlackError


@dataclass(frozen=True)
class Heard:
    """What Slack shows at once. error: its word for a failure; errors: under the inputs of a modal, by block_id."""

    error: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


class Interactions:
    """Acts of people. delivery: set anew when the app changes its transport."""

    def __init__(self, core: Core, delivery: Delivery) -> None:
        self._core, self._delivery = core, delivery

    async def slash(self, channel: Channel, user: User, command: str, text: str) -> Heard:
        """Type a slash command."""
        if command not in self._state.app.commands:
            return Heard("unknown_command")
        payload = payloads.slash_command(
            self._state,
            channel,
            user,
            command,
            text,
            response_url=responses.new(self._core, channel.id, user.id),
            trigger=self._trigger(user),
        )
        ack = await self._delivery.ask("slash_commands", payload, answerable=True)
        body = {"text": ack.body} if isinstance(ack.body, str) else ack.body
        if ack.error or not body or not (body.get("text") or body.get("blocks") or body.get("attachments")):
            return Heard(ack.error)
        try:
            responses.say(self._core, channel.id, user.id, body)
        except SlackError:
            return Heard("invalid_command_response")
        return Heard()

    async def on_message(self, message: Message, user: User, control: Control, entry: Entry) -> Heard:
        """Press or pick something in a message."""
        if control.stateful:
            key = (user.id, control.block_id, control.action_id)
            message.picked[key] = controls.entered(control.element, entry)
        if control.silent:
            return Heard()
        payload = payloads.message_action(
            self._state,
            message,
            user,
            controls.action(control, entry, self._state.new_ts()),
            response_url=responses.new(self._core, message.channel, user.id, message.ts),
            trigger=self._trigger(user),
        )
        return Heard((await self._delivery.ask("interactive", payload)).error)

    async def shortcut(self, message: Message, channel: Channel, user: User, callback: str) -> Heard:
        """Take a shortcut on a message."""
        if callback not in self._state.app.shortcuts:
            return Heard("unknown_shortcut")
        payload = payloads.shortcut(
            self._state,
            message,
            channel,
            user,
            callback,
            response_url=responses.new(self._core, channel.id, user.id),
            trigger=self._trigger(user),
        )
        return Heard((await self._delivery.ask("interactive", payload)).error)

    async def on_view(self, view: View, user: User, control: Control, entry: Entry) -> Heard:
        """Press or pick something in a modal or a home tab."""
        if control.stateful:
            view.entered[control.block_id, control.action_id] = controls.entered(control.element, entry)
        if control.silent:
            return Heard()
        did = controls.action(control, entry, self._state.new_ts())
        trigger = self._trigger(user, view)
        payload = payloads.view_action(self._state, view, user, did, trigger=trigger)
        return Heard((await self._delivery.ask("interactive", payload)).error)

    async def submit(self, view: View, user: User, values: Mapping[str, Entry]) -> Heard:
        """Fill a modal in and submit it. LookupError for an input or a choice that it has not."""
        fill(view, values)
        missing = {}
        for control in controls.controls(view.definition["blocks"]):
            key = (control.block_id, control.action_id)
            if control.block is not None and (wrong := controls.wrong_entry(control, view.entered[key])):
                missing[control.block_id] = wrong
        if missing:
            return Heard(errors=missing)
        payload = payloads.view_submission(self._state, view, user, trigger=self._trigger(user, view))
        ack = await self._delivery.ask("interactive", payload, answerable=True)
        if ack.error:
            return Heard(ack.error)
        try:
            return self._answered(view, user, ack)
        except SlackError as error:
            return Heard(f"invalid_response: {error}")

    async def close(self, view: View, user: User, *, everything: bool) -> Heard:
        """Close a modal without submitting it."""
        error = ""
        for gone in modals.close(self._state, user.id, everything=everything):
            if gone.definition.get("notify_on_close"):
                payload = payloads.view_closed(self._state, gone, user, cleared=everything)
                error = (await self._delivery.ask("interactive", payload)).error or error
        return Heard(error)

    # -- inside ----------------------------------------------------------------------------------------------------

    @property
    def _state(self) -> State:
        return self._core.state

    def _trigger(self, user: User, view: View | None = None) -> str:
        """A trigger of its own for each act."""
        number = self._state.new_id("").lower()
        trigger_id = f"{number}.{int(self._state.clock.time())}.{number[::-1]}"
        self._state.triggers[trigger_id] = Trigger(user.id, self._state.clock.time(), view.id if view else None)
        return trigger_id

    def _answered(self, view: View, user: User, ack: Ack) -> Heard:
        """Do to the modal what the acknowledgement says. SlackError for what it cannot mean."""
        body: Json = ack.body if isinstance(ack.body, dict) else {}
        match body.get("response_action"):
            case None:
                modals.close(self._state, user.id)
            case "clear":
                modals.close(self._state, user.id, everything=True)
            case "errors":
                errors = body.get("errors") or {}
                controls.refuse_answer(view.definition["blocks"], errors)
                return Heard(errors=dict(errors))
            case "update":
                modals.update(self._state, view, modals.checked(self._state, body.get("view"), replaces=view))
            case "push":
                modals.show(self._state, user.id, modals.checked(self._state, body.get("view")))
            case other:
                raise SlackError("invalid_response_action", [str(other)])
        return Heard()


def fill(view: View, values: Mapping[str, Entry]) -> None:
    """Enter values by action_id, block_id or label. LookupError for an input that is not there."""
    found = [c for c in controls.controls(view.definition["blocks"]) if c.stateful]
    for name, entry in values.items():
        control = next((c for c in found if c.answers_to(name)), None)
        if control is None:
            raise LookupError(f"the modal has no input {name!r}; it has {[c.label or c.action_id for c in found]}")
        value = controls.entered(control.element, copy.copy(entry))
        view.entered[control.block_id, control.action_id] = value
