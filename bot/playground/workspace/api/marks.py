"""reactions.*, pins.*, bookmarks.*: what is put on messages and channels."""

from __future__ import annotations

import re

from bot.playground.workspace.method import Call, method
from bot.playground.workspace.people import TEAM
from bot.playground.workspace.rates import TIER_2, TIER_3
from bot.playground.workspace.shapes import message_json
from bot.playground.workspace.state import Change, Message
from bot.playground.workspace.wire import Json, SlackError

PINS = 100
BOOKMARKS = 100


def _target(call: Call, missing: str = "no_item_specified") -> Message:
    """The message that is meant, in a channel the app is in. SlackError."""
    if not call.text("channel") or not call.text("timestamp"):
        raise SlackError(missing)
    return call.message(call.inside(call.text("channel")).id, call.text("timestamp"))


# -- reactions -------------------------------------------------------------------------------------------------------


@method("reactions.add", "channel! name! timestamp!", rate=TIER_3, scopes=["reactions:write"])
def react(call: Call) -> Json:
    """Put an emoji under a message."""
    message, name = _target(call), _emoji(call)
    if call.me in message.reactions.get(name, []):
        raise SlackError("already_reacted")
    call.core.react(message, call.me, name, on=True)
    return {}


@method("reactions.remove", "name! channel timestamp file file_comment", rate=TIER_2, scopes=["reactions:write"])
def unreact(call: Call) -> Json:
    """Take an emoji away."""
    message, name = _target(call), _emoji(call)
    if call.me not in message.reactions.get(name, []):
        raise SlackError("no_reaction")
    call.core.react(message, call.me, name, on=False)
    return {}


@method("reactions.get", "channel timestamp file file_comment full:bool", rate=TIER_3, scopes=["reactions:read"])
def reactions(call: Call) -> Json:
    """The emoji under a message."""
    message = _target(call)
    return {"type": "message", "channel": message.channel, "message": message_json(call.state, message)}


def _emoji(call: Call) -> str:
    name = call.text("name").strip(":")
    if not re.fullmatch(r"[a-z0-9_+'-]+(::skin-tone-[2-6])?", name):
        raise SlackError("invalid_name")
    return name


# -- pins ------------------------------------------------------------------------------------------------------------


@method("pins.add", "channel! timestamp", rate=TIER_2, scopes=["pins:write"])
def pin(call: Call) -> Json:
    """Pin a message to its channel."""
    message = _target(call)
    if message.pinned:
        raise SlackError("already_pinned")
    if sum(m.pinned for m in call.state.public(message.channel)) >= PINS:
        raise SlackError("too_many_pins")
    return _pinned(call, message, True)


@method("pins.remove", "channel! timestamp", rate=TIER_2, scopes=["pins:write"])
def unpin(call: Call) -> Json:
    """Take a pin out."""
    message = _target(call)
    if not message.pinned:
        raise SlackError("no_pin")
    return _pinned(call, message, False)


@method("pins.list", "channel!", rate=TIER_2, scopes=["pins:read"])
def pins(call: Call) -> Json:
    """What is pinned to a channel."""
    channel = call.inside(call.text("channel"))
    found = [m for m in call.state.public(channel.id) if m.pinned]
    items = [{"type": "message", "channel": channel.id, "message": message_json(call.state, m)} for m in found]
    return {"items": items}


def _pinned(call: Call, message: Message, value: bool) -> Json:
    message.pinned = value
    call.state.note(Change("other", message.channel, message.ts))
    return {}


# -- bookmarks -------------------------------------------------------------------------------------------------------


@method(
    "bookmarks.add",
    "channel_id! title! type! emoji entity_id link parent_id access_level",
    rate=TIER_2,
    scopes=["bookmarks:write"],
)
def bookmark(call: Call) -> Json:
    """Put a link at the top of a channel."""
    channel = call.inside(call.text("channel_id"))
    if call.text("type") != "link":
        raise SlackError("invalid_bookmark_type")
    if sum(b["channel_id"] == channel.id for b in call.state.bookmarks.values()) >= BOOKMARKS:
        raise SlackError("too_many_bookmarks")
    body: Json = {
        "id": call.state.new_id("Bk"),
        "channel_id": channel.id,
        "title": call.text("title"),
        "link": _link(call),
        "emoji": call.text("emoji"),
        "icon_url": None,
        "type": "link",
        "entity_id": None,
        "date_created": int(call.state.clock.time()),
        "date_updated": 0,
        "rank": "i",
        "last_updated_by_user_id": call.me,
        "last_updated_by_team_id": TEAM,
        "shortcut_id": None,
        "app_id": call.state.app.app_id,
        "app_action_id": None,
    }
    call.state.bookmarks[body["id"]] = body
    call.state.note(Change("other", channel.id))
    return {"bookmark": body}


@method("bookmarks.edit", "bookmark_id! channel_id! emoji link title", rate=TIER_2, scopes=["bookmarks:write"])
def edit_bookmark(call: Call) -> Json:
    """Change such a link."""
    body = _bookmark(call)
    body |= {key: call.text(key) for key in ("emoji", "title") if key in call.args}
    body |= {"link": _link(call)} if "link" in call.args else {}
    body["date_updated"] = int(call.state.clock.time())
    call.state.note(Change("other", body["channel_id"]))
    return {"bookmark": body}


@method("bookmarks.list", "channel_id!", rate=TIER_3, scopes=["bookmarks:read"])
def bookmarks(call: Call) -> Json:
    """The links of a channel."""
    channel = call.inside(call.text("channel_id"))
    return {"bookmarks": [b for b in call.state.bookmarks.values() if b["channel_id"] == channel.id]}


@method("bookmarks.remove", "bookmark_id! channel_id! quip_section_id", rate=TIER_2, scopes=["bookmarks:write"])
def remove_bookmark(call: Call) -> Json:
    """Take such a link away."""
    body = _bookmark(call)
    del call.state.bookmarks[body["id"]]
    call.state.note(Change("other", body["channel_id"]))
    return {}


def _bookmark(call: Call) -> Json:
    channel = call.inside(call.text("channel_id"))
    body = call.state.bookmarks.get(call.text("bookmark_id"))
    if body is None or body["channel_id"] != channel.id:
        raise SlackError("bookmark_not_found")
    return body


def _link(call: Call) -> str:
    link = call.text("link")
    if not link.startswith(("http://", "https://")):
        raise SlackError("invalid_link")
    return link
