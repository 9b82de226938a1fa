"""chat.*: what an app says, changes and takes back. https://docs.slack.dev/reference/methods?family=chat"""

from __future__ import annotations

import json
from typing import Any

from bot.playground.workspace.core import UPDATE_TEXT, Draft, check
from bot.playground.workspace.method import Call, documents, method, number_of
from bot.playground.workspace.people import DOMAIN, Channel
from bot.playground.workspace.rates import CHANNEL, POST, SPECIAL, TIER_3, TIER_4
from bot.playground.workspace.shapes import message_json
from bot.playground.workspace.state import Message
from bot.playground.workspace.wire import Json, SlackError

METADATA = 16_000
"""Bytes of a message's metadata."""
AHEAD = 120 * 24 * 3600
"""Seconds by which a message may be scheduled ahead."""
_SAID = (
    "channel! text blocks:json attachments:json thread_ts markdown_text metadata:json reply_broadcast:bool "
    "as_user:bool username icon_emoji icon_url link_names:bool mrkdwn:bool parse unfurl_links:bool unfurl_media:bool "
)


@method("chat.postMessage", f"{_SAID} container_id client_msg_id", rate=POST, scopes=["chat:write"])
def post_message(call: Call) -> Json:
    """Say something to everybody."""
    channel = _place(call)
    call.rates.spend((f"post {channel.id}", CHANNEL))
    draft = _draft(call)
    check(draft)
    _thread(call, channel, draft)
    message = call.core.post(channel.id, call.me, draft, by_app=True)
    return {"channel": channel.id, "ts": message.ts, "message": message_json(call.state, message)}


@method("chat.postEphemeral", f"{_SAID} user!", rate=TIER_4, scopes=["chat:write"])
def post_ephemeral(call: Call) -> Json:
    """Say something to one person; Slack keeps no record of it."""
    channel = _place(call)
    reader = call.text("user")
    if reader not in call.state.users or reader not in channel.members:
        raise SlackError("user_not_in_channel")
    draft = _draft(call)
    check(draft)
    _thread(call, channel, draft)
    return {"message_ts": call.core.whisper(channel.id, reader, draft).ts}


@method(
    "chat.update",
    "channel! ts! text blocks:json attachments:json markdown_text metadata:json as_user:bool file_ids:list "
    "link_names:bool parse reply_broadcast:bool",
    rate=TIER_3,
    scopes=["chat:write"],
)
def update(call: Call) -> Json:
    """Change what was said."""
    channel, message = _own(call, "cant_update_message")
    if channel.archived:
        raise SlackError("is_inactive")
    if call.state.clock.time() - float(message.ts) > call.state.edit_window:
        raise SlackError("edit_window_closed")
    draft = _draft(call)
    check(draft, UPDATE_TEXT)
    call.core.update(message, draft)
    body = message_json(call.state, message)
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": body}


@method("chat.delete", "channel! ts! as_user:bool", rate=TIER_3, scopes=["chat:write"])
def delete(call: Call) -> Json:
    """Take back what was said."""
    channel, message = _own(call, "cant_delete_message")
    call.core.delete(message)
    return {"channel": channel.id, "ts": message.ts}


@method("chat.getPermalink", "channel! message_ts!", rate=SPECIAL)
def get_permalink(call: Call) -> Json:
    """A link to a message."""
    channel = call.seen(call.text("channel"))
    message = call.message(channel.id, call.text("message_ts"))
    place = f"https://{DOMAIN}.slack.example/archives/{channel.id}/p{message.ts.replace('.', '')}"
    thread = f"?thread_ts={message.thread_ts}&cid={channel.id}" if message.is_reply else ""
    return {"channel": channel.id, "permalink": place + thread}


@method("chat.scheduleMessage", f"{_SAID} post_at!:int", rate=TIER_3, scopes=["chat:write"])
def schedule_message(call: Call) -> Json:
    """Say something later."""
    channel = _place(call)
    at, now = int(call.args["post_at"]), call.state.clock.time()
    if at <= now:
        raise SlackError("time_in_past")
    if at > now + AHEAD:
        raise SlackError("time_too_far")
    draft = _draft(call)
    check(draft)
    _thread(call, channel, draft)
    call.core.schedule(channel.id, draft, at)
    told = {"text": draft.text, "type": "delayed_message", "user": call.me, "bot_id": call.state.app.bot_id}
    return {"channel": channel.id, "scheduled_message_id": call.state.new_id("Q"), "post_at": at, "message": told}


def _place(call: Call) -> Channel:
    """Where to post: an id, a name, or a person for a direct message. SlackError."""
    wanted = call.text("channel")
    if wanted in call.state.users:
        call.need("im:write", "chat:write")
        if not call.state.app.messages_tab:
            raise SlackError("messages_tab_disabled")
        return call.state.direct(call.me, wanted)
    try:
        channel = call.state.channel(wanted)
    except KeyError:
        raise SlackError("channel_not_found") from None
    channel = call.seen(channel.id)
    if channel.archived:
        raise SlackError("is_archived")
    if call.me not in channel.members and (channel.private or "chat:write.public" not in call.state.app.scopes):
        raise SlackError("not_in_channel")
    return channel


def _own(call: Call, error: str) -> tuple[Channel, Message]:
    """A message of the app, by channel id and ts. SlackError."""
    channel = call.seen(call.text("channel"))
    message = call.message(channel.id, call.text("ts"))
    if not message.by_app:
        raise SlackError(error)
    return channel, message


def _draft(call: Call) -> Draft:
    """What the app wants to say. SlackError for what cannot be meant."""
    blocks = documents(call.args.get("blocks"), "invalid_blocks_format")
    attachments = documents(call.args.get("attachments"), "invalid_attachments")
    text = call.text("text")
    if markdown := call.text("markdown_text"):
        if text or blocks:
            raise SlackError("markdown_text_conflict")
        blocks = [{"type": "markdown", "text": markdown}]
    metadata = _metadata(call.args.get("metadata"))
    username = call.args.get("username")
    return Draft(text, blocks, attachments, None, metadata, call.flag("reply_broadcast"), username)


def _metadata(value: Any) -> Json | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise SlackError("invalid_metadata_format")
    if value and not (isinstance(value.get("event_type"), str) and isinstance(value.get("event_payload"), dict)):
        raise SlackError("invalid_metadata_schema")
    if len(json.dumps(value).encode()) > METADATA:
        raise SlackError("metadata_too_large")
    return value


def _thread(call: Call, channel: Channel, draft: Draft) -> None:
    """Put it under the message it answers. SlackError where there is none, or where that is an answer itself."""
    ts = call.text("thread_ts")
    if not ts:
        return
    number_of(ts, "thread_ts")
    parent = call.state.message(channel.id, ts)
    if parent is None or parent.is_reply:
        raise SlackError("cannot_reply_to_message")
    draft.thread_ts = ts
