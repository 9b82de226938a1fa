"""Who can still decide in a run: as people stand now, not as they stood when it was opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bot.catalogue import Channels, Crew, Release, Role
from bot.engine.staff import Staff
from bot.plan.model import Decision, Plan, StepSpec
from bot.policy import Actor, Gate, Person, Requirement
from bot.run import events as ev
from bot.run.fold import evolve
from bot.run.state import Run, new_run

ANA = Person("ana", "ana", frozenset({"commander", "approver"}))
BEN = Person("ben", "ben", frozenset({"approver"}))
CHO = Person("cho", "cho", frozenset({"approver"}), on_call=frozenset({"approver"}))
ROLES = {
    "commander": Role("commander", ("ana",)),
    "approver": Role("approver", ("ana", "ben", "cho"), on_call=Crew(groups=("S1",))),
}


class People:
    """Who there is."""

    def __init__(self, *people: Person) -> None:
        self.people = people

    async def everyone(self) -> Sequence[Person]:
        return self.people

    async def person(self, id: str) -> Person:
        return next(p for p in self.people if p.id == id)

    async def still(self, id: str) -> Person:
        return await self.person(id)


def run(*gates: Gate) -> Run:
    """A run of ana's with a decision for each gate: d0, d1, ..."""
    steps = tuple(StepSpec(f"s{n}", f"Step {n}", "t", "gate", decision=f"d{n}") for n in range(len(gates)))
    asked = tuple(Decision(f"d{n}", f"Decision {n}", (f"s{n}",), gate) for n, gate in enumerate(gates))
    plan = Plan("p", steps, asked)
    release = Release("2")
    created = ev.Created(
        "shop", plan, plan.digest, release, release, "why", Actor.of(ANA, "test"), channels=Channels(("#inc",))
    )
    return evolve(new_run("r"), created, 0.0)


def approver(count: int = 1) -> Gate:
    return Gate((Requirement("approver", count),))


async def test_a_decision_that_barred_people_alone_could_pass_is_impossible() -> None:
    staff = Staff(run(approver(), approver(2)), People(ANA, BEN), ROLES)
    found = await staff.impossible()
    assert list(found) == ["d1"] and "found 1 of 2 approver" in found["d1"]


async def test_what_is_decided_is_no_longer_asked_about() -> None:
    before = run(approver(2))
    done = replace(before.asked["d0"], decided=1.0)
    staff = Staff(replace(before, asked={"d0": done}), People(ANA), ROLES)
    assert not await staff.impossible() and not await staff.off_call()


async def test_nobody_on_call_is_said_with_who_could_be_asked_instead() -> None:
    assert not await Staff(run(approver()), People(BEN, CHO), ROLES).off_call()
    away = replace(CHO, kind="deactivated")
    found = await Staff(run(approver()), People(BEN, away), ROLES).off_call()
    assert found == {"approver": "nobody on call for approver may decide; @ben may"}


async def test_a_role_without_a_schedule_and_one_that_nobody_holds_are_not_off_call() -> None:
    alone = Gate((Requirement("commander"),), self_approval=True)
    assert not await Staff(run(alone), People(ANA), ROLES).off_call()
    assert not await Staff(run(approver()), People(ANA), ROLES).off_call()


def test_a_plan_reads_the_channels_as_they_were_when_the_run_was_opened() -> None:
    assert run(approver()).value("service.channels.incident") == ["#inc"]
    assert run(approver()).value("service.channels.cdn") == []
