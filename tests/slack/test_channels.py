"""Where the bot may post: asked of Slack once for all channels, and again soon where one is missing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from bot.playground.workspace import Channel, Clock, Fault, Workspace
from bot.ports import Unreachable
from bot.run.state import new_run
from bot.slack.workspace.channels import KEPT, MISSING, SlackChannels
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


async def test_every_page_is_read_as_far_as_it_is_needed(
    slack: Workspace, channels: SlackChannels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.workspace.channels.PAGE", 2)
    assert not await channels.trouble(["#inc-4211", "#inc-4212", "#status", "#shop-private"])
    assert len(slack.calls("conversations.list")) == 3, "the fourth page holds nothing that was asked for"
    assert await channels.find("#nowhere") is None
    assert len(slack.calls("conversations.list")) == 4


@pytest.mark.parametrize("kind", ["outage", "refuse", "cut", "ratelimited", "error"])
async def test_no_answer_is_unreachable_never_not_there(slack: Workspace, channels: SlackChannels, kind: str) -> None:
    slack.faults.add(Fault.parse({"kind": kind, "hits": "conversations.list", "next": None}))
    with pytest.raises(Unreachable, match="Slack cannot say"):
        await channels.trouble(["#inc-4211"])


async def test_the_run_s_own_channel_is_looked_at_too(channels: SlackChannels) -> None:
    assert not await channels.of(new_run("r")).trouble(["#inc-4211"])


@pytest.fixture
async def large() -> AsyncIterator[Workspace]:
    """A workspace of 15,000 channels, with the shop's among the last."""
    async with Workspace(clock=Clock(frozen=True)) as workspace:
        own = dict(workspace.state.channels)
        workspace.state.channels.clear()
        for i in range(15_000):
            workspace.state.add_channel(Channel(f"C1{i:08}", f"team-{i}", ["U0ANA00001"]))
        workspace.state.channels |= own
        yield workspace


async def test_in_a_large_workspace_each_page_is_read_once_whatever_slack_allows(large: Workspace) -> None:
    channels = SlackChannels(client(large), large.clock.time)
    with pytest.raises(Unreachable, match=r"ratelimited; 9990 channels are read, it goes on from there"):
        await channels.find("#inc-4211")
    found = None
    for _ in range(20):
        large.clock.advance(3)
        with contextlib.suppress(Unreachable):
            if (found := await channels.find("#inc-4211")) is not None:
                break
    assert found is not None and found.id == HERE
    read = [c for c in large.calls("conversations.list") if not c.error]
    assert len(read) == 16, "15,009 channels, 999 a page, each page once"


async def test_in_a_large_workspace_what_is_known_is_asked_for_alone(large: Workspace) -> None:
    channels = SlackChannels(client(large), large.clock.time)
    assert (found := await channels.find("C100014999")) is not None and found.name == "team-14999"
    assert await channels.find("C199999999") is None
    assert not large.calls("conversations.list") and len(large.calls("conversations.info")) == 2
    assert await channels.find("#team-7") is not None
    listed = len(large.calls("conversations.list"))
    large.clock.advance(KEPT)
    large.state.channels["C100000007"].archived = True
    assert (known := await channels.find("#team-7")) is not None and known.trouble is not None
    large.state.channels["C100000007"].name = "elsewhere"
    large.clock.advance(KEPT)
    assert (await channels.find("C100000007")) is not None and channels.named("C100000007") == "#elsewhere"
    assert len(large.calls("conversations.list")) == listed
