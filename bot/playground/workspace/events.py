"""What an app is told of by itself: the Events API's envelopes and the events in them.

https://docs.slack.dev/apis/events-api and .../reference/events

Invariants: an event is sent only if the app subscribed to it, and only of conversations its bot is in; each has an
event_id of its own, which all its retries share.
"""

from __future__ import annotations

from collections.abc import Callable

from bot.playground.workspace.people import TEAM, Channel, Group, User
from bot.playground.workspace.shapes import message_json, view_json
from bot.playground.workspace.state import Message, State
from bot.playground.workspace.wire import Json


class Events:
    """Tells the app what happens. send: how."""

    def __init__(self, state: State, send: Callable[[Json], None]) -> None:
        self._state, self._send = state, send

    # -- messages --------------------------------------------------------------------------------------------------

    def posted(self, message: Message) -> None:
        """A new message, and a mention if there is one."""
        channel = self._state.channels[message.channel]
        body = message_json(self._state, message)
        self._message(channel, body)
        mentioned = f"<@{self._state.app.bot_user}>" in message.text
        if mentioned and not message.by_app and self._inside(channel):
            self._emit("app_mention", {**body, "type": "app_mention", "channel": channel.id}, channel)

    def changed(self, message: Message, before: Json) -> None:
        """A message was edited. before: as it was."""
        after = message_json(self._state, message)
        self._hidden(message.channel, {"subtype": "message_changed", "message": after, "previous_message": before})

    def deleted(self, message: Message, before: Json) -> None:
        """A message is gone."""
        gone = {"subtype": "message_deleted", "deleted_ts": message.ts, "previous_message": before}
        self._hidden(message.channel, gone)

    def reacted(self, message: Message, user: str, name: str, *, added: bool) -> None:
        """Somebody put an emoji under a message, or took it away."""
        kind = "reaction_added" if added else "reaction_removed"
        channel = self._state.channels[message.channel]
        item = {"type": "message", "channel": message.channel, "ts": message.ts}
        event = {"type": kind, "user": user, "reaction": name, "item": item, "item_user": message.user}
        if self._inside(channel):
            self._emit(kind, event, channel)

    # -- people and places -----------------------------------------------------------------------------------------

    def membership(self, channel: Channel, user: str, *, joined: bool, inviter: str | None = None) -> None:
        """Somebody came or left; the app itself included."""
        kind = "member_joined_channel" if joined else "member_left_channel"
        letter = "G" if channel.private else "C"
        team = self._state.users[user].team_id
        event: Json = {"type": kind, "user": user, "channel": channel.id, "channel_type": letter, "team": team}
        if self._inside(channel) or user == self._state.app.bot_user:
            self._emit(kind, event | ({"inviter": inviter} if inviter else {}), channel)

    def archived(self, channel: Channel, user: str) -> None:
        """A channel was closed."""
        if self._inside(channel):
            self._emit("channel_archive", {"type": "channel_archive", "channel": channel.id, "user": user}, channel)

    def user_changed(self, user: User) -> None:
        """A profile, a role or a status of somebody changed; deactivation too."""
        email = "users:read.email" in self._state.app.scopes
        at = int(self._state.clock.time())
        self._emit("user_change", {"type": "user_change", "user": user.json(email=email), "cache_ts": at})

    def group_changed(self, group: Group, before: list[str], since: int) -> None:
        """A user group has other members. before: as it was; since: when it last changed."""
        added = [u for u in group.users if u not in before]
        removed = [u for u in before if u not in group.users]
        self._emit("subteam_updated", {"type": "subteam_updated", "subteam": group.json()})
        members = {
            "type": "subteam_members_changed",
            "subteam_id": group.id,
            "team_id": TEAM,
            "date_previous_update": since,
            "date_update": group.updated,
            "added_users": added,
            "added_users_count": len(added),
            "removed_users": removed,
            "removed_users_count": len(removed),
        }
        self._emit("subteam_members_changed", members)

    def home_opened(self, user: str, channel: str) -> None:
        """Somebody looks at the app's home tab. channel: their conversation with the app."""
        view = self._state.view(self._state.homes.get(user))
        event: Json = {"type": "app_home_opened", "user": user, "channel": channel, "tab": "home"}
        self._emit("app_home_opened", event | ({"view": view_json(self._state, view)} if view else {}))

    # -- envelopes -------------------------------------------------------------------------------------------------

    def _inside(self, channel: Channel) -> bool:
        return self._state.app.bot_user in channel.members

    def _message(self, channel: Channel, event: Json) -> None:
        if not self._inside(channel):
            return
        event = {**event, "channel": channel.id, "channel_type": channel.letter}
        self._emit(f"message.{channel.family}", event, channel)

    def _hidden(self, channel: str, event: Json) -> None:
        """A message event that nobody sees as a message."""
        hidden = {"type": "message", "hidden": True, "ts": self._state.new_ts(), **event}
        self._message(self._state.channels[channel], hidden)

    def _emit(self, subscription: str, event: Json, channel: Channel | None = None) -> None:
        app = self._state.app
        if subscription not in app.events:
            return
        stamped = {**event, "event_ts": event.get("ts") or self._state.new_ts()}
        authorization = {
            "enterprise_id": None,
            "team_id": TEAM,
            "user_id": app.bot_user,
            "is_bot": True,
            "is_enterprise_install": False,
        }
        self._send(
            {
                "token": app.verification_token,
                "team_id": TEAM,
                "context_team_id": TEAM,
                "context_enterprise_id": None,
                "api_app_id": app.app_id,
                "event": stamped,
                "type": "event_callback",
                "event_id": self._state.new_id("Ev"),
                "event_time": int(self._state.clock.time()),
                "authorizations": [authorization],
                "is_ext_shared_channel": channel is not None and channel.shared_with is not None,
                "event_context": f"4-{self._state.new_id('x').lower()}",
            }
        )
