"""The manifest asks for exactly what bot/slack uses, and explains it; the workspace's rules are the measure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from slack_sdk.errors import SlackApiError

import bot.slack
from bot.playground.workspace import App, Workspace
from bot.playground.workspace.method import METHODS, Method
from bot.slack.hear import app
from bot.slack.manifest import manifest, scopes
from tests.playground.workspace_bot import client

FOLDER = Path(bot.slack.__file__).parent
URL = "https://bot.example.com"
FAMILIES = ("channels", "groups")
"""The bot works in public and private channels, in no direct conversation."""
BY_NAME = {name.replace(".", "_").lower(): name for name in METHODS}
UPLOAD = ("files.getUploadURLExternal", "files.completeUploadExternal")


def read(http: str | None = None) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(manifest(http))
    return found


def called() -> set[str]:
    """Every Web API method that bot/slack names: as a method of a client, or by its own name."""
    found: set[str] = set()
    for file in FOLDER.glob("**/*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            found |= set(_method(node))
    return found


def _method(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        if node.attr == "files_upload_v2":
            yield from UPLOAD
        elif node.attr.lower() in BY_NAME:
            yield BY_NAME[node.attr.lower()]
    if isinstance(node, ast.Constant) and node.value in METHODS:
        yield str(node.value)


def needed(method: Method) -> set[str]:
    """What a method wants where the bot uses it; of scopes that differ by kind of conversation, those for channels."""
    by_family = {s for s in method.scopes if s.split(":")[0] in (*FAMILIES, "im", "mpim")}
    return {s for s in method.scopes if s not in by_family or s.split(":")[0] in FAMILIES}


def test_every_call_of_ours_has_its_scope_and_none_is_superfluous() -> None:
    used = called()
    assert {"auth.test", "conversations.list", "blocks.validate"} <= used
    wanted = {scope for name in used for scope in needed(METHODS[name])}
    assert scopes() - {"commands"} == wanted


def test_every_event_of_the_manifest_is_heard_and_no_other() -> None:
    assert set(read()["settings"]["event_subscriptions"]["bot_events"]) == {*app._OF_PEOPLE, app._AT_HOME}
    (shortcut,) = read()["features"]["shortcuts"]
    assert (shortcut["type"], shortcut["callback_id"]) == ("message", app.SHORTCUT)
    assert len(shortcut["name"]) <= 24


def test_every_scope_and_event_says_what_it_is_for() -> None:
    lines = [line.strip() for line in manifest().splitlines()]
    for name in [*scopes(), *read()["settings"]["event_subscriptions"]["bot_events"]]:
        (line,) = [line for line in lines if line.startswith(f"- {name}")]
        assert len(line.partition(" # ")[2]) > 5, line


def test_the_modes_differ_in_where_slack_reaches_the_bot_and_in_nothing_else() -> None:
    socket, http = read(), read(URL)
    where = f"{URL}/slack/events"
    assert socket["settings"].pop("socket_mode_enabled") is True
    assert http["settings"].pop("socket_mode_enabled") is False
    assert http["features"]["slash_commands"][0].pop("url") == where
    for part in ("event_subscriptions", "interactivity"):
        assert http["settings"][part].pop("request_url") == where
    assert socket == http
    assert "${" not in manifest() and "#http" not in manifest() and "#socket" not in manifest(URL)


def test_slack_s_own_limits_are_kept() -> None:
    found = read()
    assert len(found["display_information"]["name"]) <= 35
    assert len(found["display_information"]["description"]) <= 140
    assert all(len(c["usage_hint"]) <= 1000 for c in found["features"]["slash_commands"])


@pytest.mark.parametrize("url", ["bot.example.com", "http://bot.example.com", f"{URL}/base", f"{URL}?x=1", "https://"])
def test_an_address_that_slack_would_not_call_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not the bot's address"):
        manifest(url)


async def test_people_may_be_written_to_directly() -> None:
    app = App.from_manifest(read())
    async with Workspace(app=app) as slack:
        sent = await client(slack).chat_postMessage(channel="U0ANA00001", text="for you alone")
        assert sent["channel"].startswith("D")
    without = read()
    del without["features"]["app_home"]
    async with Workspace(app=App.from_manifest(without)) as slack:
        with pytest.raises(SlackApiError, match="messages_tab_disabled"):
            await client(slack).chat_postMessage(channel="U0ANA00001", text="for you alone")
