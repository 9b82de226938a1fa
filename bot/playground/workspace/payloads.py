"""What Slack tells an app that a person did: commands, clicks, modals.

https://docs.slack.dev/reference/interaction-payloads and .../interactivity/implementing-slash-commands

Invariants: every payload names the person with their own team, so that a stranger can be told; a click on an
ephemeral message carries no message, as at Slack.
"""

from __future__ import annotations

from bot.playground.copied import copied
from bot.playground.workspace.people import DOMAIN, TEAM, Channel, User
from bot.playground.workspace.shapes import message_json, view_json
from bot.playground.workspace.state import Message, State, View
from bot.playground.workspace.wire import Json


def slash_command(
    state: State, channel: Channel, user: User, command: str, text: str, *, response_url: str, trigger: str
) -> Json:
    """The form of a slash command; all values are strings. It knows no thread: Slack sends none."""
    return {
        "token": state.app.verification_token,
        "team_id": user.team_id,
        "team_domain": DOMAIN if user.team_id == TEAM else "stranger",
        "channel_id": channel.id,
        "channel_name": _spoken(channel),
        "user_id": user.id,
        "user_name": user.name,
        "command": command,
        "text": text,
        "api_app_id": state.app.app_id,
        "is_enterprise_install": "false",
        "response_url": response_url,
        "trigger_id": trigger,
    }


def message_action(
    state: State, message: Message, user: User, action: Json, *, response_url: str, trigger: str
) -> Json:
    """block_actions from a message. action: see `controls.action`."""
    channel = state.channels[message.channel]
    container: Json = {
        "type": "message",
        "message_ts": message.ts,
        "channel_id": channel.id,
        "is_ephemeral": message.only_for is not None,
    }
    if message.is_reply:
        container["thread_ts"] = message.thread_ts
    body = {
        "type": "block_actions",
        **_who(state, user),
        "container": container,
        "trigger_id": trigger,
        "channel": {"id": channel.id, "name": _spoken(channel)},
        "message": message_json(state, message),
        "state": {"values": _picked(message, user)},
        "response_url": response_url,
        "actions": [action],
    }
    if message.only_for is not None:
        del body["message"]
    return body


def view_action(state: State, view: View, user: User, action: Json, *, trigger: str) -> Json:
    """block_actions from a modal or a home tab."""
    return {
        "type": "block_actions",
        **_who(state, user),
        "container": {"type": "view", "view_id": view.id},
        "trigger_id": trigger,
        "view": view_json(state, view),
        "actions": [action],
    }


def shortcut(
    state: State, message: Message, channel: Channel, user: User, callback: str, *, response_url: str, trigger: str
) -> Json:
    """message_action: somebody took a shortcut on a message."""
    return {
        "type": "message_action",
        **_who(state, user),
        "callback_id": callback,
        "trigger_id": trigger,
        "response_url": response_url,
        "action_ts": state.new_ts(),
        "message_ts": message.ts,
        "channel": {"id": channel.id, "name": _spoken(channel)},
        "message": message_json(state, message),
    }


def view_submission(state: State, view: View, user: User, *, trigger: str) -> Json:
    """A modal was submitted."""
    body = {"type": "view_submission", **_who(state, user), "trigger_id": trigger}
    return body | {"view": view_json(state, view), "response_urls": []}


def view_closed(state: State, view: View, user: User, *, cleared: bool) -> Json:
    """A modal was closed. cleared: all of them at once."""
    return {"type": "view_closed", **_who(state, user), "view": view_json(state, view), "is_cleared": cleared}


def _who(state: State, user: User) -> Json:
    return {
        "user": {"id": user.id, "username": user.name, "name": user.name, "team_id": user.team_id},
        "api_app_id": state.app.app_id,
        "token": state.app.verification_token,
        "team": {"id": TEAM, "domain": DOMAIN},
        "enterprise": None,
        "is_enterprise_install": False,
    }


def _spoken(channel: Channel) -> str:
    """A channel's name as payloads have it: private ones are not named."""
    return {"channel": channel.name, "group": "privategroup", "im": "directmessage"}.get(channel.letter, channel.name)


def _picked(message: Message, user: User) -> Json:
    values: dict[str, Json] = {}
    for (who, block, action), value in message.picked.items():
        if who == user.id:
            values.setdefault(block, {})[action] = copied(value)
    return values
