"""Messages, files and views as Slack writes them in answers and payloads.

`complete` fills in what Slack fills in when it stores blocks: missing ids, and the defaults of text objects. So what
comes back is not byte for byte what was sent, here as there.
"""

from __future__ import annotations

import mimetypes
from typing import Any

from bot.playground.copied import copied
from bot.playground.workspace.people import DOMAIN, EPOCH, TEAM
from bot.playground.workspace.state import File, Message, State, View
from bot.playground.workspace.wire import Json

_ACTIVE = frozenset({"elements", "accessory", "element", "actions"})
_PASSIVE = frozenset({"image", "plain_text", "mrkdwn", "feedback_buttons_button"})


def complete(state: State, blocks: list[Json]) -> list[Json]:
    """A copy with every id and default that Slack adds."""
    return [_block(state, copied(block)) for block in blocks]


def _block(state: State, block: Json) -> Json:
    block.setdefault("block_id", state.new_id("b").lower()[-5:])
    for key in ("child_blocks", "tasks"):
        block.update({key: [_block(state, b) for b in block[key]]} if key in block else {})
    if block.get("type") == "carousel":
        block["elements"] = [_block(state, card) for card in block["elements"]]
    elif block.get("type") != "rich_text":
        for key in _ACTIVE & block.keys():
            parts = block[key] if isinstance(block[key], list) else [block[key]]
            for part in parts:
                if part.get("type") not in _PASSIVE:
                    part.setdefault("action_id", state.new_id("a").lower()[-5:])
    _texts(block)
    return block


def _texts(value: Any) -> None:
    if isinstance(value, list):
        for each in value:
            _texts(each)
    elif isinstance(value, dict):
        if value.get("type") == "plain_text" and "text" in value:
            value.setdefault("emoji", True)
        elif value.get("type") == "mrkdwn" and "text" in value:
            value.setdefault("verbatim", False)
        else:
            for each in value.values():
                _texts(each)


def bot_profile(state: State) -> Json:
    """The app, as a message names it."""
    app = state.app
    icons = {f"image_{size}": f"https://avatars.example/bot_{size}.png" for size in (36, 48, 72)}
    own = {"id": app.bot_id, "app_id": app.app_id, "name": app.name, "icons": icons}
    return {**own, "deleted": False, "updated": EPOCH, "team_id": TEAM}


def message_json(state: State, message: Message, *, metadata: bool = False) -> Json:
    """The message object. metadata: with what the app hid in it."""
    m = message
    body: Json = {"type": "message", "user": m.user, "ts": m.ts, "text": m.text, "team": state.users[m.user].team_id}
    if m.subtype:
        body["subtype"] = m.subtype
    if m.by_app:
        body |= {"bot_id": state.app.bot_id, "app_id": state.app.app_id, "bot_profile": bot_profile(state)}
    elif state.users[m.user].bot_id:
        body["bot_id"] = state.users[m.user].bot_id
    body |= {"username": m.username} if m.username else {}
    body |= {"blocks": copied(m.blocks)} if m.blocks else {}
    body |= {"attachments": copied(m.attachments)} if m.attachments else {}
    body |= {"edited": {"user": m.user, "ts": m.edited}} if m.edited else {}
    body |= {"metadata": copied(m.metadata)} if metadata and m.metadata else {}
    body |= {"files": [file_json(state, state.files[f]) for f in m.files], "upload": False} if m.files else {}
    body |= {"pinned_to": [m.channel]} if m.pinned else {}
    if m.reactions:
        body["reactions"] = [{"name": n, "users": list(u), "count": len(u)} for n, u in m.reactions.items()]
    return body | _thread(state, m)


def _thread(state: State, m: Message) -> Json:
    if m.is_reply and m.thread_ts is not None:
        parent = state.message(m.channel, m.thread_ts)
        return {"thread_ts": m.thread_ts, **({"parent_user_id": parent.user} if parent else {})}
    replies = [] if m.only_for else state.replies(m.channel, m.ts)
    if not replies:
        return {}
    who = list(dict.fromkeys(r.user for r in replies))
    count = {"reply_count": len(replies), "reply_users_count": len(who), "latest_reply": replies[-1].ts}
    return {"thread_ts": m.ts, **count, "reply_users": who[:5], "is_locked": False, "subscribed": m.by_app}


def file_json(state: State, file: File) -> Json:
    """The file object."""
    ending = file.name.rpartition(".")[2].lower() if "." in file.name else "text"
    place = f"{TEAM}-{file.id}/{file.name}"
    shares: dict[str, dict[str, list[Json]]] = {}
    for channel, ts in file.shared:
        scope = "private" if state.channels[channel].private else "public"
        share = {"ts": ts, "channel_name": state.channels[channel].name, "team_id": TEAM}
        shares.setdefault(scope, {}).setdefault(channel, []).append(share)
    return {
        "id": file.id,
        "created": file.created,
        "timestamp": file.created,
        "name": file.name,
        "title": file.title,
        "mimetype": mimetypes.guess_type(file.name)[0] or "text/plain",
        "filetype": ending,
        "pretty_type": ending.upper(),
        "user": file.user,
        "user_team": TEAM,
        "editable": False,
        "size": file.size,
        "mode": "snippet" if file.snippet else "hosted",
        "is_external": False,
        "external_type": "",
        "is_public": "public" in shares,
        "public_url_shared": False,
        "display_as_bot": False,
        "username": "",
        "url_private": f"{state.base_url}/files-pri/{place}",
        "url_private_download": f"{state.base_url}/files-pri/{place}",
        "permalink": f"https://{DOMAIN}.slack.example/files/{file.user}/{file.id}/{file.name}",
        "channels": [c for c, _ in file.shared],
        "groups": [],
        "ims": [],
        "shares": shares,
        "has_rich_preview": False,
        "file_access": "visible",
    }


def view_json(state: State, view: View) -> Json:
    """The view object, with what has been entered."""
    given = view.definition
    body: Json = {
        "id": view.id,
        "team_id": TEAM,
        "type": view.kind,
        "blocks": copied(given["blocks"]),
        "private_metadata": given.get("private_metadata", ""),
        "callback_id": given.get("callback_id", ""),
        "state": {"values": entered(view)},
        "hash": view.hash,
        "title": given.get("title", {"type": "plain_text", "text": "View Title", "emoji": True}),
        "clear_on_close": given.get("clear_on_close", False),
        "notify_on_close": given.get("notify_on_close", False),
        "close": given.get("close"),
        "submit": given.get("submit"),
        "previous_view_id": view.previous,
        "root_view_id": view.root,
        "app_id": state.app.app_id,
        "external_id": given.get("external_id", ""),
        "app_installed_team_id": TEAM,
        "bot_id": state.app.bot_id,
    }
    return body | ({"submit_disabled": given["submit_disabled"]} if "submit_disabled" in given else {})


def entered(view: View) -> Json:
    """`state.values` of a view."""
    values: dict[str, Json] = {}
    for (block, action), value in view.entered.items():
        values.setdefault(block, {})[action] = copied(value)
    return values
