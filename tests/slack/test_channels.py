"""Where the bot may post: asked of Slack once for all channels, and again soon where one is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bot.playground.workspace import Channel, Clock, Fault, Workspace
from bot.ports import Unreachable
from bot.run.state import new_run
from bot.slack.channels import KEPT, MISSING, SlackChannels
from tests.playground.workspace_bot import HERE, client


@pytest.fixture
async def slack() -> AsyncIterator[Workspace]:
    async with Workspace(clock=Clock(frozen=True)) as workspace:
        yield workspace


@pytest.fixture
def channels(slack: Workspace) -> SlackChannels:
    return SlackChannels(client(slack), slack.clock.time)


async def test_a_channel_is_found_by_name_and_by_id(channels: SlackChannels) -> None:
    for name in ("#inc-4211", "inc-4211", HERE):
        found = await channels.find(name)
        assert found is not None and (found.id, found.trouble) == (HERE, None)
    assert await channels.find("#leads") is None


async def test_what_is_wrong_is_said_of_those_that_were_asked_for(channels: SlackChannels) -> None:
    found = await channels.trouble(["#inc-4211", "#shared-acme", "#old-inc", "#leads"])
    assert {name: t.cut_off for name, t in found.items()} == {"#shared-acme": False, "#old-inc": True, "#leads": True}
    assert (
        found["#leads"].what
        == "does not exist, or is private without @rollback in it: `/invite @rollback` there, or correct its name"
    )


async def test_a_public_channel_needs_no_invitation(channels: SlackChannels) -> None:
    found = await channels.find("#general")
    assert found is not None and not found.inside
    assert not await channels.trouble(["#general"])


async def test_of_two_channels_of_one_name_the_one_in_use_is_meant(slack: Workspace, channels: SlackChannels) -> None:
    slack.state.add_channel(Channel("C0ARCHIVED", "status", [slack.app.bot_user], archived=True))
    found = await channels.find("#status")
    assert found is not None and found.id == "C0STATUS01"


async def test_one_listing_answers_for_all_and_is_kept_for_a_minute(slack: Workspace, channels: SlackChannels) -> None:
    for _ in range(3):
        await channels.trouble(["#inc-4211", "#status"])
    assert len(slack.calls("conversations.list")) == 1
    slack.clock.advance(KEPT)
    await channels.trouble(["#status"])
    assert len(slack.calls("conversations.list")) == 2


async def test_an_invitation_is_noticed_soon(slack: Workspace, channels: SlackChannels) -> None:
    assert await channels.find("#leads") is None
    slack.core.join(slack.state.channels["C0LEADS001"], slack.app.bot_user)
    slack.clock.advance(MISSING)
    assert await channels.find("#leads") is not None


async def test_every_page_is_read(slack: Workspace, channels: SlackChannels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.slack.channels.PAGE", 2)
    assert not await channels.trouble(["#inc-4211", "#inc-4212", "#status", "#shop-private"])
    assert len(slack.calls("conversations.list")) == 4


@pytest.mark.parametrize("kind", ["outage", "refuse", "cut", "ratelimited", "error"])
async def test_no_answer_is_unreachable_never_not_there(slack: Workspace, channels: SlackChannels, kind: str) -> None:
    slack.faults.add(Fault.parse({"kind": kind, "hits": "conversations.list", "next": None}))
    with pytest.raises(Unreachable, match="Slack cannot say"):
        await channels.trouble(["#inc-4211"])


async def test_the_run_s_own_channel_is_looked_at_too(channels: SlackChannels) -> None:
    assert not await channels.of(new_run("r")).trouble(["#inc-4211"])
