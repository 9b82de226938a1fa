"""conversations.*: channels, who is in them, and what was said.
https://docs.slack.dev/reference/methods?family=conversations"""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.playground.workspace.method import Call, method, number_of
from bot.playground.workspace.people import Channel
from bot.playground.workspace.rates import TIER_2, TIER_3, TIER_4
from bot.playground.workspace.shapes import message_json
from bot.playground.workspace.state import Message
from bot.playground.workspace.wire import Json, SlackError

_FAMILIES = ("channels", "groups", "im", "mpim")
_TYPES = {"public_channel": "channels", "private_channel": "groups", "im": "im", "mpim": "mpim"}


def any_of(verb: str, *families: str) -> list[str]:
    """The scopes of one verb over families of conversations."""
    return [f"{family}:{verb}" for family in families or _FAMILIES]


@method(
    "conversations.info",
    "channel! include_locale:bool include_num_members:bool",
    rate=TIER_3,
    scopes=any_of("read"),
)
def info(call: Call) -> Json:
    """One conversation."""
    channel = _readable(call, "read")
    body = channel.json(call.me)
    return {"channel": body | ({"num_members": len(channel.members)} if call.flag("include_num_members") else {})}


@method(
    "conversations.list",
    "cursor limit:int exclude_archived:bool types:list team_id",
    rate=TIER_2,
    scopes=any_of("read"),
)
def list_(call: Call) -> Json:
    """All conversations the app may know of."""
    return _listing(call, call.me)


@method("users.conversations", "user cursor limit:int exclude_archived:bool types:list team_id", rate=TIER_3)
def of_user(call: Call) -> Json:
    """The conversations somebody is in."""
    user = call.text("user", call.me)
    if user not in call.state.users:
        raise SlackError("user_not_found")
    return _listing(call, user, inside=True)


@method("conversations.members", "channel! cursor limit:int", rate=TIER_4, scopes=any_of("read"))
def members(call: Call) -> Json:
    """Who is in a conversation."""
    page, cursor = call.page(_readable(call, "read").members, default=100)
    return {"members": list(page), "response_metadata": {"next_cursor": cursor}}


@method("conversations.join", "channel!", rate=TIER_3, scopes=["channels:join"])
def join(call: Call) -> Json:
    """Come into a public channel."""
    channel = call.seen(call.text("channel"))
    if channel.letter != "channel":
        raise SlackError("method_not_supported_for_channel_type")
    if channel.archived:
        raise SlackError("is_archived")
    if call.me in channel.members:
        warned = {"warnings": ["already_in_channel"]}
        return {"channel": channel.json(call.me), "warning": "already_in_channel", "response_metadata": warned}
    call.core.join(channel, call.me)
    return {"channel": channel.json(call.me)}


@method(
    "conversations.invite",
    "channel! users! force:bool",
    rate=TIER_3,
    scopes=["channels:manage", "groups:write", "im:write", "mpim:write"],
)
def invite(call: Call) -> Json:
    """Bring people in."""
    channel = call.inside(call.text("channel"))
    if channel.kind != "channel":
        raise SlackError("method_not_supported_for_channel_type")
    if channel.archived:
        raise SlackError("is_archived")
    users = [u.strip() for u in call.text("users").split(",") if u.strip()]
    for user in users:
        found = call.state.users.get(user)
        if found is None or found.deleted:
            raise SlackError("user_not_found")
        if user == call.me:
            raise SlackError("cant_invite_self")
        if user in channel.members:
            raise SlackError("already_in_channel")
    for user in users:
        call.core.join(channel, user, call.me)
    return {"channel": channel.json(call.me)}


@method(
    "conversations.create", "name! is_private:bool team_id", rate=TIER_2, scopes=["channels:manage", "groups:write"]
)
def create(call: Call) -> Json:
    """Make a channel, with the app in it."""
    name, private = call.text("name"), call.flag("is_private")
    call.need("groups:write" if private else "channels:manage")
    if len(name) > 80:
        raise SlackError("invalid_name_maxlength")
    if not re.fullmatch(r"[a-z0-9_-]+", name):
        raise SlackError("invalid_name_specials")
    if any(c.name == name for c in call.state.channels.values()):
        raise SlackError("name_taken")
    made = int(call.state.clock.time())
    channel = Channel(call.state.new_id("C"), name, [], private=private, creator=call.me, created=made)
    call.core.join(call.state.add_channel(channel), call.me)
    return {"channel": channel.json(call.me)}


@method(
    "conversations.open",
    "channel users return_im:bool prevent_creation:bool",
    rate=TIER_3,
    scopes=["im:write", "mpim:write"],
)
def open_(call: Call) -> Json:
    """A direct conversation, made where there was none."""
    if call.text("channel"):
        channel = call.inside(call.text("channel"))
    else:
        users = [u.strip() for u in call.text("users").split(",") if u.strip()]
        if not users:
            raise SlackError("users_list_not_supplied")
        if any(u not in call.state.users for u in users):
            raise SlackError("user_not_found")
        if any(call.state.users[u].deleted for u in users):
            raise SlackError("user_disabled")
        channel = call.state.direct(call.me, *users)
    return {"channel": channel.json(call.me) if call.flag("return_im") else {"id": channel.id}}


@method(
    "conversations.history",
    "channel! cursor limit:int latest oldest inclusive:bool include_all_metadata:bool",
    rate=TIER_3,
    scopes=any_of("history"),
)
def history(call: Call) -> Json:
    """What was said in a channel, newest first; of threads only what was sent to the channel too."""
    channel = _readable(call, "history")
    if call.me not in channel.members:
        raise SlackError("not_in_channel")
    told = [m for m in call.state.public(channel.id) if not m.is_reply or m.broadcast]
    return _told(call, channel, list(reversed(_between(call, told)))) | {"pin_count": sum(m.pinned for m in told)}


@method(
    "conversations.replies",
    "channel! ts! cursor limit:int latest oldest inclusive:bool include_all_metadata:bool",
    rate=TIER_3,
    scopes=any_of("history"),
)
def replies(call: Call) -> Json:
    """A thread, oldest first, its head included."""
    channel = _readable(call, "history")
    if call.me not in channel.members:
        raise SlackError("not_in_channel")
    head = call.state.message(channel.id, call.text("ts"))
    if head is None:
        raise SlackError("thread_not_found")
    thread = [] if head.is_reply else _between(call, call.state.replies(channel.id, head.ts))
    return _told(call, channel, [head, *thread])


def _readable(call: Call, verb: str) -> Channel:
    """A conversation that the app may see, with the scope of its family. SlackError."""
    channel = call.seen(call.text("channel"))
    call.need(f"{channel.family}:{verb}")
    return channel


def _listing(call: Call, user: str, *, inside: bool = False) -> Json:
    wanted = call.args.get("types") or ["public_channel"]
    if any(kind not in _TYPES for kind in wanted):
        raise SlackError("invalid_types")
    families = {_TYPES[kind] for kind in wanted}
    for family in families:
        call.need(f"{family}:read")
    found = [
        channel
        for channel in call.state.channels.values()
        if channel.family in families
        and (channel.letter == "channel" or call.me in channel.members)
        and not (inside and user not in channel.members)
        and not (channel.archived and call.flag("exclude_archived"))
    ]
    page, cursor = call.page(found, default=100, most=999)
    bodies = [c.json(call.me) | ({} if inside else {"num_members": len(c.members)}) for c in page]
    return {"channels": bodies, "response_metadata": {"next_cursor": cursor}}


def _between(call: Call, messages: Sequence[Message]) -> list[Message]:
    oldest = number_of(call.text("oldest", "0"), "oldest")
    latest = number_of(call.text("latest") or "inf", "latest")
    edges = call.flag("inclusive")
    return [m for m in messages if oldest < float(m.ts) < latest or (edges and float(m.ts) in (oldest, latest))]


def _told(call: Call, channel: Channel, messages: Sequence[Message]) -> Json:
    page, cursor = call.page(messages, default=100, most=999)
    metadata = call.flag("include_all_metadata")
    bodies = [message_json(call.state, m, metadata=metadata) for m in page]
    more = {"response_metadata": {"next_cursor": cursor}} if cursor else {}
    return {"messages": bodies, "has_more": bool(cursor), **more}
