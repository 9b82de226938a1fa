"""`people.reachable`: what is said of channels and people, and how grave each is."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from bot.contract import Status, Verdict
from bot.engine.staff import NoChannels
from bot.ports import ChannelAccess, Record, Trouble, Unreachable
from bot.ports import Ports as AllPorts
from bot.testing import ports, run_check
from checks.people_reachable import EXPECTED, PeopleReachable, PeopleReachableParams

INCIDENT = {"incident": ["#inc"], "stakeholders": ["#status"]}


@dataclass
class Workspace:
    """Channels with what is wrong with them."""

    wrong: Mapping[str, Trouble] = field(default_factory=dict)

    async def trouble(self, names: Collection[str]) -> Mapping[str, Trouble]:
        return {name: self.wrong[name] for name in names if name in self.wrong}


class Gone:
    """A Slack that does not answer."""

    async def trouble(self, names: Collection[str]) -> Mapping[str, Trouble]:
        raise Unreachable("Slack does not answer")


@dataclass
class Crew:
    """What is wrong with the people."""

    stuck: Mapping[str, str] = field(default_factory=dict)
    asleep: Mapping[str, str] = field(default_factory=dict)

    async def impossible(self) -> Mapping[str, str]:
        return self.stuck

    async def off_call(self) -> Mapping[str, str]:
        return self.asleep


async def look(
    channels: ChannelAccess | None = None, people: Crew | None = None, named: Mapping[str, list[str]] = INCIDENT
) -> Verdict:
    def found(record: Record) -> AllPorts:
        return ports(channels=channels or Workspace(), people=people or Crew())

    return await run_check(PeopleReachable(), found, PeopleReachableParams(channels=dict(named)))


async def test_reachable_channels_and_possible_decisions_pass() -> None:
    verdict = await look()
    assert (verdict.status, verdict.observed) == (Status.PASS, EXPECTED)
    assert verdict.data == {"cut_off": {}, "look_at": {}, "impossible": {}, "off_call": {}}


async def test_a_channel_that_cannot_be_posted_to_fails() -> None:
    verdict = await look(Workspace({"#status": Trouble("is archived", cut_off=True)}))
    assert (verdict.status, verdict.observed) == (Status.FAIL, "#status: is archived")
    assert verdict.data["cut_off"] == {"#status": "is archived"}


async def test_a_channel_shared_with_strangers_only_warns() -> None:
    verdict = await look(Workspace({"#inc": Trouble("is shared", cut_off=False)}))
    assert (verdict.status, verdict.observed) == (Status.WARN, "#inc: is shared")
    assert verdict.data["look_at"] == {"#inc": "is shared"}


async def test_a_decision_that_nobody_can_pass_fails_and_is_said_first() -> None:
    trouble = Workspace({"#status": Trouble("is archived", cut_off=True)})
    verdict = await look(trouble, Crew({"backend": "needs an approver; found 0 of 1 approver"}))
    assert verdict.status is Status.FAIL
    assert verdict.observed == "backend needs an approver; found 0 of 1 approver; #status: is archived"


async def test_nobody_on_call_only_warns() -> None:
    verdict = await look(people=Crew(asleep={"dba": "nobody on call for dba may decide; @ben may"}))
    assert (verdict.status, verdict.observed) == (Status.WARN, "nobody on call for dba may decide; @ben may")


async def test_a_use_for_which_no_channel_is_catalogued_warns() -> None:
    verdict = await look(named={"incident": [], "stakeholders": ["#status"]})
    assert (verdict.status, verdict.observed) == (Status.WARN, "incident: the catalogue names none for the service")


async def test_slack_switched_off_warns_once_for_all_channels() -> None:
    verdict = await look(NoChannels())
    assert verdict.status is Status.WARN
    assert verdict.observed.startswith("#inc, #status: Slack is off")


@pytest.mark.parametrize("stuck", [{}, {"backend": "needs an approver"}])
async def test_slack_that_does_not_answer_is_unknown_but_people_are_judged(stuck: dict[str, str]) -> None:
    verdict = await look(Gone(), Crew(stuck))
    assert verdict.status is (Status.FAIL if stuck else Status.UNKNOWN)
    assert "channels: Slack does not answer" in verdict.observed
    assert verdict.data["impossible"] == stuck
