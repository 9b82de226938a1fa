"""Response URLs: where an app may answer one interaction, five times in half an hour.

https://docs.slack.dev/interactivity/handling-user-interaction#message_responses

Invariants: an answer needs no membership and no scope; only through here can an ephemeral message be replaced or
taken away; a refused answer uses the URL up as well.
"""

from __future__ import annotations

from typing import Any

from bot.playground.workspace.core import Core, Draft, check
from bot.playground.workspace.state import Message, ResponseUrl
from bot.playground.workspace.wire import Json, SlackError

USES = 5
SECONDS = 30 * 60.0


def new(core: Core, channel: str, user: str, ts: str | None = None) -> str:
    """The address for one interaction. ts: of the message that was acted on."""
    state = core.state
    key = state.new_id("R")
    state.response_urls[key] = ResponseUrl(channel, user, state.clock.time(), ts)
    return f"{state.base_url}/actions/{key}"


def answer(core: Core, key: str, body: Any) -> None:
    """Do what an app answers. SlackError, with a status of its own: this is no Web API method."""
    url = core.state.response_urls.get(key)
    if url is None:
        raise SlackError("invalid_url", status=404)
    if core.state.clock.time() - url.made > SECONDS:
        raise SlackError("expired_url", status=404)
    if url.uses >= USES:
        raise SlackError("used_url", status=404)
    url.uses += 1
    if not isinstance(body, dict):
        raise SlackError("invalid_payload", status=400)
    try:
        _carry_out(core, url, body)
    except SlackError as error:
        raise SlackError(error.code, error.messages, error.more, status=400) from error


def _carry_out(core: Core, url: ResponseUrl, body: Json) -> None:
    source = core.state.messages[url.channel].get(url.ts or "")
    if _is(body, "delete_original"):
        if source is None:
            raise SlackError("message_not_found")
        core.delete(source)
        return
    say(core, url.channel, url.user, body, replaces=source if _is(body, "replace_original") else None)


def say(core: Core, channel: str, user: str, body: Json, replaces: Message | None = None) -> Message:
    """Post what an app answers: for the person alone, unless it says `in_channel`. SlackError."""
    blocks, attachments = body.get("blocks"), body.get("attachments")
    for name, value in (("blocks", blocks), ("attachments", attachments)):
        if value is not None and not isinstance(value, list):
            raise SlackError(f"invalid_{name}" if name == "attachments" else "invalid_blocks_format")
    thread_ts, text = body.get("thread_ts"), body.get("text", "")
    if not isinstance(text, str) or not isinstance(thread_ts, str | None):
        raise SlackError("invalid_payload")
    draft = Draft(text, blocks, attachments, thread_ts)
    check(draft)
    if replaces is not None:
        core.update(replaces, draft)
        return replaces
    if body.get("response_type") == "in_channel":
        return core.post(channel, core.state.app.bot_user, draft, by_app=True)
    return core.whisper(channel, user, draft)


def _is(body: Json, name: str) -> bool:
    return body.get(name) in (True, "true")
