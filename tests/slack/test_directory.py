"""Who there is, as a workspace says: kinds, roles by user group, changes, and a Slack that is away."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.catalogue import load_catalogue
from bot.playground.workspace import App, Fault, Workspace
from bot.policy import Person
from bot.ports import Unreachable
from bot.slack.publish.calls import quiet_client
from bot.slack.workspace.directory import NAME, SlackDirectory
from bot.store.log import Known, Store
from tests.fixtures.stores import store as store

GRID = Path(__file__).parents[1] / "cases/slack/br25-grid-user.json"
CATALOGUE = load_catalogue(
    """
roles:
  commander: {people: [U0ANA00001], groups: [S0COMMAND1]}
  approver: {groups: [approvers], on_call: {groups: ["@oncall"]}}
  dba: {groups: [S0DBAS0001]}
services: {shop: {}}
""",
    "rollback.yaml",
)


@pytest.fixture
async def slack() -> AsyncIterator[Workspace]:
    async with Workspace(app=App(), rates=False) as workspace:
        yield workspace


class Time:
    """A clock of the test's."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def directory(
    slack: Workspace, store: Store, clock: Callable[[], float] | None = None, team: str = ""
) -> SlackDirectory:
    client = quiet_client(slack.app.bot_token, slack.api_url)
    return SlackDirectory(CATALOGUE, client, store, clock or Time(), team=team, every=0.1)


def by_name(people: object) -> dict[str, Person]:
    assert isinstance(people, list)
    return {p.name: p for p in people}


async def test_roles_are_held_by_groups_and_by_people(slack: Workspace, store: Store) -> None:
    people = directory(slack, store)
    await people.start()
    found = by_name(await people.everyone())
    assert {n: sorted(p.roles) for n, p in found.items()} == {
        "ana": ["commander"], "dee": ["commander"], "cho": ["approver"], "eli": ["approver", "dba"], "ben": ["dba"],
    }  # fmt: skip
    assert {n for n, p in found.items() if p.on_call} == {"ben", "cho"}
    assert people.team == "T0PLAYGRND" and people.state == ""


@pytest.mark.parametrize(("id", "kind"), [
    ("U0FAY00001", "member"), ("U0GUS00001", "guest"), ("U0SAM00001", "stranger"), ("U0ZOE00001", "deactivated"),
    ("U0CI000001", "bot"), ("U0NOBODY01", "stranger"), ("ana", "stranger"), ("", "stranger"),
])  # fmt: skip
async def test_everybody_is_of_a_kind(slack: Workspace, store: Store, id: str, kind: str) -> None:
    people = directory(slack, store)
    await people.start()
    found = await people.person(id)
    assert found.kind == kind and found.roles == frozenset()


async def test_who_is_asked_about_at_this_moment_is_not_answered_from_what_was_kept(
    slack: Workspace, store: Store
) -> None:
    people = directory(slack, store)
    await people.start()
    slack.driver.change_user("cho", deleted=True)
    assert (await people.person("U0CHO00001")).kind == "member", "as last looked at"
    assert (await people.still("U0CHO00001")).kind == "deactivated"
    assert (await people.still("U0NOBODY01")).kind == "stranger"


async def test_a_slack_that_does_not_answer_is_no_word_against_anybody(slack: Workspace, store: Store) -> None:
    people = directory(slack, store)
    await people.start()
    slack.faults.add(Fault("outage"))
    with pytest.raises(Unreachable):
        await people.still("U0CHO00001")
    with pytest.raises(Unreachable, match="Slack is off"):
        await SlackDirectory(CATALOGUE, None, store, Time()).still("U0CHO00001")


async def test_a_team_that_was_set_is_believed_over_slack(slack: Workspace, store: Store) -> None:
    people = directory(slack, store, team="T0ANOTHER1")
    await people.start()
    assert {p.kind for p in await people.everyone()} == {"stranger"}


async def test_changes_are_seen_and_told_once(slack: Workspace, store: Store) -> None:
    people, told = directory(slack, store), 0

    async def changed() -> None:
        nonlocal told
        told += 1

    await people.start()
    people.on_change = changed
    await people.refresh()
    slack.driver.set_group("dbas", ["fay"])
    slack.driver.change_user("cho", guest=True)
    people.changed("U0CHO00001")
    await people.refresh()
    found = by_name(await people.everyone())
    assert found["fay"].roles == {"dba"} and found["cho"].kind == "guest" and not found["ben"].roles
    assert told == 1


async def test_a_role_that_a_group_gives_is_young_for_an_hour_over_restarts_too(slack: Workspace, store: Store) -> None:
    clock = Time()
    people = directory(slack, store, clock)
    await people.start()
    assert not any(p.young for p in await people.everyone()), "who was there at the first look may be there for years"
    slack.driver.set_group("approvers", ["cho", "eli", "fay", "ana"])
    await people.refresh()
    clock.now += 240
    people = directory(slack, store, clock)
    await people.start()
    assert {n: p.young for n, p in by_name(await people.everyone()).items() if p.young} == {
        "fay": {"approver": 240}, "ana": {"approver": 240},
    }  # fmt: skip
    clock.now += 3600
    assert not any(p.young for p in await people.everyone()), "also while nobody has looked since"
    await people.refresh()
    slack.driver.set_group("approvers", ["cho", "eli"])
    await people.refresh()
    slack.driver.set_group("approvers", ["cho", "eli", "fay"])
    await people.refresh()
    assert (await people.person("U0FAY00001")).young == {"approver": 0}, "who left and is back is new"


async def test_who_came_while_the_bot_was_away_is_new_and_whom_the_catalogue_names_is_not(
    slack: Workspace, store: Store
) -> None:
    clock = Time()
    await directory(slack, store, clock).start()
    slack.driver.set_group("commanders", ["dee", "ana", "fay"])
    clock.now += 86_400
    people = directory(slack, store, clock)
    await people.start()
    clock.now += 60
    assert {n: p.young for n, p in by_name(await people.everyone()).items() if p.young} == {"fay": {"commander": 60}}


async def test_a_change_wakes_the_background_task(slack: Workspace, store: Store) -> None:
    people = directory(slack, store)
    people.every = 600.0
    await people.start()
    keeping = asyncio.create_task(people.run())
    slack.driver.set_group("dbas", ["fay"])
    people.changed()
    async with asyncio.timeout(60):
        while "fay" not in by_name(await people.everyone()):  # noqa: ASYNC110 - another task's word
            await asyncio.sleep(0.02)
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping


async def test_a_minute_costs_one_listing_of_groups_and_nobody_known_is_asked_for(
    slack: Workspace, store: Store
) -> None:
    clock = Time()
    people = directory(slack, store, clock)
    await people.start()
    for _ in range(5):
        clock.now += 60
        await people.refresh()
        await people.everyone()
    assert len(slack.calls("usergroups.list")) == 6 and len(slack.calls("users.info")) == 5


async def test_people_are_who_they_were_while_slack_is_away_even_after_a_restart(
    slack: Workspace, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Time()
    before = directory(slack, store, clock)
    await before.start()
    slack.faults.add(Fault("outage"))
    clock.now += 300
    after = directory(slack, store, clock)
    await after.start()
    assert await after.everyone() == await before.everyone()
    assert (await after.person("U0CHO00001")).roles == {"approver"}
    assert "as of 5 min ago" in after.state and "as of 5 min ago" in caplog.text
    slack.faults.clear()
    await after.refresh()
    assert after.state == ""


async def test_a_slack_that_never_answered_knows_nobody_and_lets_nobody_in(slack: Workspace, store: Store) -> None:
    slack.faults.add(Fault("outage"))
    people = directory(slack, store)
    await people.start()
    assert await people.everyone() == [] and "nobody is known yet" in people.state
    assert (await people.person("U0ANA00001")).kind == "stranger"


async def test_a_click_does_not_wait_for_a_slack_that_is_slow(
    slack: Workspace, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.slack.workspace.directory.PATIENCE", 0.1)
    people = directory(slack, store)
    await people.start()
    slack.faults.add(Fault("delay", hits="users.info", seconds=600))
    async with asyncio.timeout(60):
        assert (await people.person("U0FAY00001")).kind == "stranger"
        assert (await people.person("U0CHO00001")).kind == "member"


async def test_somebody_without_a_role_is_asked_for_again_after_a_while(slack: Workspace, store: Store) -> None:
    clock = Time()
    people = directory(slack, store, clock)
    await people.start()
    assert (await people.person("U0FAY00001")).kind == "member"
    slack.driver.change_user("fay", deleted=True)
    assert (await people.person("U0FAY00001")).kind == "member"
    clock.now += 601
    assert (await people.person("U0FAY00001")).kind == "deactivated"


async def test_what_cannot_be_read_back_is_asked_for_anew(slack: Workspace, store: Store) -> None:
    await store.put_known(Known(NAME, '{"accounts": 3}', 1.0))
    people = directory(slack, store)
    await people.start()
    assert len(await people.everyone()) == 5


@pytest.mark.parametrize("team", ["T0HOMEWSPC", "T0PLAYGRND"])
async def test_in_an_organisation_people_of_another_workspace_are_ours_where_they_are_in_ours_too(
    slack: Workspace, store: Store, team: str
) -> None:
    grid = json.loads(GRID.read_text(encoding="utf-8"))["user"]
    slack.driver.change_user("cho", team_id=team, org_teams=tuple(grid["enterprise_user"]["teams"]))
    slack.driver.change_user("eli", team_id="T0HOMEWSPC", org_teams=("T0HOMEWSPC",))
    people = directory(slack, store)
    await people.start()
    found = await people.person("U0CHO00001")
    assert found.kind == "member" and found.roles == {"approver"}
    assert people.at_home("U0CHO00001", "T0HOMEWSPC") and people.at_home("U0CHO00001", "T0PLAYGRND")
    assert not people.at_home("U0CHO00001", "T0STRANGER")
    assert (await people.person("U0ELI00001")).kind == "stranger", "of the organisation, but not of this workspace"
    assert not people.at_home("U0ELI00001", "T0HOMEWSPC") and not people.at_home("U0SAM00001", "T0STRANGER")
    again = directory(slack, store)
    await again._load()
    assert again.at_home("U0CHO00001", "T0HOMEWSPC"), "the database keeps it"
