"""files.*: an upload in three steps. https://docs.slack.dev/messaging/working-with-files"""

from __future__ import annotations

import re
import uuid

from bot.playground.workspace.core import Draft, check
from bot.playground.workspace.method import Call, method
from bot.playground.workspace.rates import TIER_4
from bot.playground.workspace.shapes import file_json
from bot.playground.workspace.state import File, State
from bot.playground.workspace.wire import Json, SlackError, invalid

CHANNEL_ID = "^[CGDZ][A-Z0-9]{8,}$"
SNIPPET = 1_000_000
"""Bytes of a snippet."""
ALT = 1000
"""Characters of a description."""


@method("files.getUploadURLExternal", "filename! length!:int alt_txt snippet_type", rate=TIER_4, scopes=["files:write"])
def get_upload_url(call: Call) -> Json:
    """First step: where to send the bytes."""
    length = int(call.args["length"])
    if length < 1:
        raise invalid("must be greater than 1 [json-pointer:/length]")
    if len(call.text("alt_txt")) > ALT:
        raise SlackError("alt_txt_too_large")
    snippet = call.text("snippet_type")
    if snippet and length > SNIPPET:
        raise SlackError("snippet_too_large")
    state, name = call.state, call.text("filename")
    made = int(state.clock.time())
    file = File(state.new_id("F"), name, length, name, call.me, made, uuid.uuid4().hex, snippet, call.text("alt_txt"))
    state.files[file.id] = file
    return {"upload_url": f"{state.base_url}/upload/v1/{file.ticket}", "file_id": file.id}


def receive(state: State, ticket: str, data: bytes) -> None:
    """Second step: the bytes themselves. SlackError."""
    file = next((f for f in state.files.values() if f.ticket == ticket and f.data is None), None)
    if file is None:
        raise SlackError("upload_not_found", status=404)
    if len(data) != file.size:
        raise SlackError("wrong_length", status=400)
    file.data = data


@method(
    "files.completeUploadExternal",
    "files!:json channel_id channels initial_comment thread_ts blocks:json",
    rate=TIER_4,
    scopes=["files:write"],
)
def complete_upload(call: Call) -> Json:
    """Third step: the files are there, and shared where that is asked for."""
    files = [_uploaded(call, item) for item in _items(call.args["files"])]
    for channel_id in _targets(call):
        channel = call.inside(channel_id)
        if channel.archived:
            raise SlackError("is_archived")
        thread_ts = call.text("thread_ts") or None
        if thread_ts and call.state.message(channel_id, thread_ts) is None:
            raise SlackError("thread_not_found")
        draft = Draft(call.text("initial_comment"), thread_ts=thread_ts, subtype="file_share")
        draft.files = [file.id for file, _ in files]
        check(draft)
        call.core.post(channel_id, call.me, draft, by_app=True)
    for file, title in files:
        file.complete, file.title = True, title or file.name
    return {"files": [file_json(call.state, file) for file, _ in files]}


@method("files.info", "file! count:int cursor limit:int page:int", rate=TIER_4, scopes=["files:read"])
def info(call: Call) -> Json:
    """One file."""
    file = call.state.files.get(call.text("file"))
    if file is None or not file.complete:
        raise SlackError("file_not_found")
    content = {"content": file.data.decode(errors="replace")} if file.snippet and file.data else {}
    return {"file": file_json(call.state, file), "comments": [], "response_metadata": {"next_cursor": ""}, **content}


def _items(value: object) -> list[Json]:
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        raise invalid("must provide an array [json-pointer:/files]")
    return value


def _uploaded(call: Call, item: Json) -> tuple[File, str]:
    file = call.state.files.get(str(item.get("id")))
    if file is None or file.data is None or file.complete:
        raise SlackError("file_not_found")
    return file, str(item.get("title") or "")


def _targets(call: Call) -> list[str]:
    """The ids of the channels to share in; names are refused, as Slack does. SlackError."""
    one, many = call.text("channel_id"), call.text("channels")
    targets = [(one, "channel_id")] if one else [(c.strip(), "channels") for c in many.split(",") if c.strip()]
    for target, name in targets:
        if not re.match(CHANNEL_ID, target):
            raise invalid(f"input must match regex pattern: {CHANNEL_ID} [json-pointer:/{name}]")
    return [target for target, _ in targets]
