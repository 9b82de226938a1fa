"""`incident.announce`: who is told, what, and that it is told once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from actions.incident_announce import IncidentAnnounce, IncidentAnnounceParams
from bot.contract import Change, Effect, Json
from bot.ports import Ports, Record
from bot.ports.notices import Topic
from bot.testing import TestCtx, assert_lifecycle, ports

TOPIC = Topic("r1", "shop", "2.4.1", "2.4.0", "checkout fails", "Ana", "#inc-4211")
TEXT = (
    "shop is being rolled back: 2.4.1 → 2.4.0. Follow it in #inc-4211.\nReason: checkout fails\nCommander: Ana · run r1"
)
PARAMS = IncidentAnnounceParams(channels=["#inc-4211", "#ops", "#support"])


@dataclass
class Board:
    """Where posts stand, by name; the first text stays."""

    record: Record
    topic: Topic
    posts: dict[str, tuple[str, str]] = field(default_factory=dict)

    async def post(self, channel: str, name: str, text: str) -> None:
        await self.record(f"post in {channel}")
        self.posts.setdefault(name, (channel, text))


def board(topic: Topic = TOPIC) -> tuple[Callable[[Record], Ports], dict[str, tuple[str, str]]]:
    posts: dict[str, tuple[str, str]] = {}
    return lambda record: ports(notices=Board(record, topic, posts)), posts


async def nothing() -> dict[str, Json]:
    return {}


async def test_lifecycle() -> None:
    ports_for, posts = board()
    change = await assert_lifecycle(IncidentAnnounce(), ports_for, PARAMS, world=nothing, drift=None, replayed=2)
    assert change.effects == (Effect("post in #ops"), Effect("post in #support"))
    assert sorted(posts.values()) == [("#ops", TEXT), ("#support", TEXT)]


async def test_told_again_nothing_is_posted_twice() -> None:
    ports_for, posts = board()
    for _ in range(2):
        ctx = TestCtx(ports_for, {"notices"}, acting=True)
        change = await IncidentAnnounce().plan(ctx, PARAMS)
        assert (await IncidentAnnounce().apply(ctx, PARAMS, change)).detail == "told #ops, #support"
    assert len(posts) == 2


async def test_the_runs_own_channel_has_its_card_already() -> None:
    ports_for, _ = board()
    params = IncidentAnnounceParams(channels=["#inc-4211"])
    change = await IncidentAnnounce().plan(TestCtx(ports_for, {"notices"}), params)
    assert change == Change("no further channel to tell: the run's own has its card")


async def test_an_undo_posts_nothing() -> None:
    ports_for, posts = board()
    ctx = TestCtx(ports_for, {"notices"}, acting=True)
    change = await IncidentAnnounce().plan(ctx, PARAMS)
    assert change.inverted().is_noop
    assert not posts
