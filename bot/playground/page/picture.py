"""What one person sees of the workspace, as JSON for the page: places, messages, the form in front of them.

Invariant: nothing that they could not see in Slack is in it: no channel they are not in, no whisper to somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator

from bot.playground.workspace.people import Channel, User
from bot.playground.workspace.shapes import message_json, view_json
from bot.playground.workspace.state import Message, State, View
from bot.playground.workspace.wire import Json


def channels_of(state: State, user: User) -> Iterator[Channel]:
    """Where they are, without what is archived."""
    return (c for c in state.channels.values() if user.id in c.members and not c.archived)


def everything(state: State, user: User) -> Json:
    """All of it, at once."""
    places = [*channels_of(state, user)]
    messages = [m for c in places for m in state.messages[c.id].values() if m.only_for in (None, user.id)]
    return {
        "me": user.id,
        **around(state, user),
        "messages": [message(state, m) for m in messages],
        **views(state, user),
    }


def around(state: State, user: User) -> Json:
    """People, groups, channels and the app."""
    app = state.app
    return {
        "users": [_person(u, state) for u in state.users.values()],
        "groups": [{"id": g.id, "handle": g.handle, "name": g.name, "users": g.users} for g in state.groups.values()],
        "channels": [_place(c, user) for c in channels_of(state, user)],
        "app": {
            "user": app.bot_user,
            "name": app.name,
            "commands": [{"name": c, "hint": app.hints.get(c, "")} for c in sorted(app.commands)],
            "shortcuts": [{"id": s, "name": app.hints.get(s, s)} for s in sorted(app.shortcuts)],
            "home": app.home_tab,
        },
    }


def views(state: State, user: User) -> Json:
    """The form in front of them, and their home tab; None where there is none."""
    top, home = state.top(user.id), state.view(state.homes.get(user.id))
    return {"modal": _view(state, top) if top else None, "home": _view(state, home) if home else None}


def message(state: State, m: Message) -> Json:
    """A message as Slack writes it, with what only clients know."""
    own: Json = {"channel": m.channel, "by_app": m.by_app, "only_for": m.only_for, "revision": m.revision}
    return {**message_json(state, m), **own}


def _view(state: State, view: View) -> Json:
    return {**view_json(state, view), "depth": len(state.stacks.get(view.user, []))}


def _person(user: User, state: State) -> Json:
    roles = [g.handle for g in state.groups.values() if user.id in g.users]
    kind = "app" if user.is_bot else "deactivated" if user.deleted else "guest" if user.guest else "person"
    return {"id": user.id, "name": user.name, "real_name": user.real_name, "kind": kind, "groups": roles}


def _place(channel: Channel, me: User) -> Json:
    other = next((u for u in channel.members if u != me.id), me.id)
    return {
        "id": channel.id,
        "name": channel.name,
        "kind": channel.kind,
        "private": channel.private,
        "shared": channel.shared_with is not None,
        "members": len(channel.members),
        "topic": channel.topic,
        **({"with": other} if channel.kind == "im" else {}),
    }
