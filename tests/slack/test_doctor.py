"""The doctor against the strict workspace: each fault is named with the next thing to do, and nothing is changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import yaml
from slack_bolt.async_app import AsyncApp

from bot.catalogue import Catalogue, load_catalogue
from bot.playground.workspace import App, Fault, Workspace
from bot.slack.doctor import Finding, SlackSettings, examine
from bot.slack.manifest import manifest
from tests.playground.workspace_bot import running

CATALOGUE = """
services:
  shop: {channels: {incident: ["#inc-4211"], stakeholders: ["#status"], cdn: [C0SHOPPRIV]}}
roles:
  commander: {groups: [S0COMMAND1]}
  approver: {groups: [S0APPROVE1], on_call: {groups: [S0ONCALL01]}}
"""
CARDS = {"root": [{"type": "divider", "block_id": "d"}]}


@pytest.fixture
async def slack() -> AsyncIterator[Workspace]:
    async with Workspace(app=App.from_manifest(yaml.safe_load(manifest()))) as workspace:
        yield workspace


def told(slack: Workspace, **other: Any) -> SlackSettings:
    """As the bot is told of this workspace."""
    app = slack.app
    given = SlackSettings("socket", slack.api_url, app.bot_token, app.app_token, app.signing_secret)
    return replace(given, **other)


async def seen(
    slack: Workspace,
    given: SlackSettings | None = None,
    catalogue: str = CATALOGUE,
    cards: Mapping[str, Sequence[Any]] = CARDS,
    ahead: float = 0.0,
) -> dict[str, Finding]:
    """Finding by name."""

    def clock() -> float:
        return slack.clock.time() + ahead

    read: Catalogue = load_catalogue(catalogue, "rollback.yaml")
    return {f.name: f async for f in examine(given or told(slack), read, clock, cards)}


async def test_all_is_well_with_the_app_that_the_manifest_makes(slack: Workspace) -> None:
    found = await seen(slack)
    assert {f.state for f in found.values()} == {"ok"}, found
    assert [*found] == [
        "token", "scopes", "clock", "socket", "channel #inc-4211", "channel #status", "channel C0SHOPPRIV",
        "user group S0COMMAND1", "user group S0APPROVE1", "user group S0ONCALL01", "cards",
    ]  # fmt: skip
    assert found["token"].text == "@rollback in Playground (T0PLAYGRND)"
    assert found["user group S0ONCALL01"].text == "@oncall, 2 people; for approver on call"


async def test_it_changes_nothing_and_asks_nothing_that_slack_does_not_know(slack: Workspace) -> None:
    await seen(slack)
    assert {c.method.split(".")[0] for c in slack.calls()} <= {"auth", "apps", "conversations", "usergroups", "blocks"}
    assert not [c for c in slack.calls() if c.error or c.ignored]


@pytest.mark.parametrize(
    ("token", "text"),
    [("", "ROLLBACK_SLACK_BOT_TOKEN is missing"), ("xapp-1", "no bot token"), ("xoxb-wrong", "invalid_auth")],
)
async def test_a_wrong_token_ends_what_needs_one(slack: Workspace, token: str, text: str) -> None:
    found = await seen(slack, told(slack, bot_token=token))
    assert [*found] == ["token", "socket"]
    assert found["token"].state == "fault" and text in found["token"].text
    assert "OAuth & Permissions" in found["token"].next


async def test_the_token_of_another_workspace_is_a_fault(slack: Workspace) -> None:
    found = (await seen(slack, told(slack, team="T0OTHER")))["token"]
    assert (found.state, found.text) == ("fault", "the token is of T0PLAYGRND, ROLLBACK_SLACK_TEAM says T0OTHER")


async def test_scopes_that_are_missing_or_too_many_are_named() -> None:
    whole = App.from_manifest(yaml.safe_load(manifest()))
    for scopes, state, text in (
        (whole.scopes - {"files:write", "users:read"}, "fault", "not granted: files:write, users:read"),
        (whole.scopes | {"im:history"}, "look", "more than the bot uses: im:history"),
    ):
        async with Workspace(app=replace(whole, scopes=scopes)) as slack:
            found = (await seen(slack))["scopes"]
            assert (found.state, found.text) == (state, text)
            assert "Reinstall to Workspace" in found.next


@pytest.mark.parametrize(("ahead", "words"), [(400.0, "ahead of"), (-400.0, "behind")])
async def test_a_clock_that_would_make_slack_refuse_us_is_a_fault(slack: Workspace, ahead: float, words: str) -> None:
    found = (await seen(slack, ahead=ahead))["clock"]
    assert found.state == "fault" and words in found.text and "NTP" in found.next


async def test_slack_that_is_down_is_said_to_be_down(slack: Workspace) -> None:
    for status in (0, 503):
        slack.faults.add(Fault("outage", status=status))
        found = await seen(slack)
        assert {f.state for f in found.values()} == {"fault"}, found
        slack.faults.clear()


async def test_an_app_token_that_opens_nothing_is_a_fault(slack: Workspace) -> None:
    for token, text in (("", "is missing"), ("xoxb-1", "no app-level token"), ("xapp-wrong", "invalid_auth")):
        found = (await seen(slack, told(slack, app_token=token)))["socket"]
        assert found.state == "fault" and text in found.text and found.next


async def test_a_socket_that_cannot_be_opened_is_a_fault(slack: Workspace) -> None:
    slack.faults.add(Fault("refuse", hits="link", next=None))
    found = (await seen(slack))["socket"]
    assert found.state == "fault" and "wss" in found.next


async def test_beside_a_running_bot_no_second_connection_takes_its_clicks(slack: Workspace) -> None:
    app = AsyncApp(client=told(slack).client, signing_secret=slack.app.signing_secret)
    async with running(slack, app):
        beside = await seen(slack, told(slack, bot_url="http://127.0.0.1:1"))
        assert beside["socket"].state == "ok" and "the bot runs" in beside["socket"].text
        unaware = await seen(slack)
        assert unaware["socket"].state == "look" and "1 more" in unaware["socket"].text


async def test_the_signature_is_tried_on_the_bot_itself(slack: Workspace) -> None:
    app = AsyncApp(client=told(slack).client, signing_secret=slack.app.signing_secret)
    async with running(slack, app, "http"):
        url = slack.signed._url.removesuffix("/slack/events")
        http = told(slack, mode="http", bot_url=url)
        assert (await seen(slack, http))["signature"].state == "ok"
        other = (await seen(slack, replace(http, signing_secret="another")))["signature"]
        assert other.state == "fault" and "refuses" in other.text
        nowhere = (await seen(slack, replace(http, bot_url=slack.url)))["signature"]
        assert nowhere.state == "fault" and "ROLLBACK_SLACK=http" in nowhere.next
    alone = (await seen(slack, told(slack, mode="http")))["signature"]
    assert alone.state == "look" and "start the bot" in alone.next
    without = (await seen(slack, told(slack, mode="http", signing_secret="")))["signature"]
    assert without.state == "fault" and "is missing" in without.text


async def test_channels_are_named_with_what_is_wrong(slack: Workspace) -> None:
    channels = '["#general", "#old-inc", "#shared-acme", "#nowhere", C0LEADS001]'
    found = await seen(slack, catalogue=CATALOGUE.replace('["#inc-4211"]', channels))
    for name in ("#nowhere", "C0LEADS001"):
        assert found[f"channel {name}"].state == "fault"
        assert found[f"channel {name}"].next == "`/invite @rollback` there, or correct its name"
    assert found["channel #general"].state == "ok" and "comes in" in found["channel #general"].text
    assert "is archived" in found["channel #old-inc"].text and found["channel #old-inc"].state == "fault"
    assert found["channel #shared-acme"].state == "look"
    assert "strangers read along" in found["channel #shared-acme"].text


async def test_a_service_without_an_incident_channel_is_worth_a_look(slack: Workspace) -> None:
    found = await seen(slack, catalogue=CATALOGUE.replace('incident: ["#inc-4211"], ', ""))
    assert found["channel of shop"].state == "look" and "channels.incident" in found["channel of shop"].next


async def test_user_groups_that_are_empty_or_not_there_are_faults(slack: Workspace) -> None:
    slack.state.groups["S0APPROVE1"].users.clear()
    found = await seen(slack, catalogue=CATALOGUE.replace("S0COMMAND1", "S0NOWHERE1"))
    assert (found["user group S0APPROVE1"].state, found["user group S0APPROVE1"].text) == (
        "fault", "nobody is in it; for approver",
    )  # fmt: skip
    assert "there is none" in found["user group S0NOWHERE1"].text


async def test_a_card_that_slack_would_refuse_is_named(slack: Workspace) -> None:
    found = (await seen(slack, cards={**CARDS, "end": [{"type": "header"}]}))["cards"]
    assert found.state == "fault" and found.text.startswith("end: invalid_blocks")
