"""A store on a database with today's tables, once for each back end, and events to put into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from bot.catalogue import Release
from bot.contract import Change, Edit
from bot.plan.model import Plan, StepSpec
from bot.policy import Actor
from bot.run import events as ev
from bot.store.log import Store

ANA = Actor("U1", "ana", ("commander",), "slack")


@dataclass(frozen=True)
class Sample:
    """Events of an ordinary rollback."""

    ana: Actor = ANA

    def created(self, service: str = "shop", purpose: str = "rollback") -> ev.Created:
        """The first event of a run of one step."""
        plan = Plan("small", (StepSpec("deploy", "Deploy", "backend", "action", "http.put"),))
        return ev.Created(
            service, plan, plan.digest, Release("2.4.1"), Release("2.4.0"), "checkout fails", ANA, purpose
        )

    def work(self) -> list[ev.Event]:
        """The step, from its plan to its end."""
        change = Change("to 2.4.0", (Edit("shop/image", "2.4.1", "2.4.0"),))
        seen = change.fingerprint("http.put")
        return [
            ev.Started("deploy", 1, 1, "plan", "node"),
            ev.Planned("deploy", 1, change, seen),
            ev.Started("deploy", 2, 1, "apply", "node"),
            ev.ApplyStarted("deploy", 2, change, seen),
            ev.Recorded("deploy", 2, "curl -X PUT http://shop/image -d '\"2.4.0\"' # été\u2028"),
        ]

    def closed(self) -> ev.Closed:
        """The last event of a run."""
        return ev.Closed("closed", ANA)


@pytest.fixture
def sample() -> Sample:
    return Sample()


@pytest.fixture
async def store(migrated_url: str) -> AsyncIterator[Store]:
    """An open store on it."""
    found = await Store.open(migrated_url, patience=0.5)
    yield found
    await found.close()
