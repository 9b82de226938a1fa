"""What the bot does of itself after a run was given up: it lets go of the fields that it has written.

A plan gives them back near its end (`fields.disown`); a run that is aborted never comes so far, and the team's next
`helm upgrade` would be refused for fields that the bot still owns.

Invariants:
- not while something of the run is owed: who takes it over finds by these fields what the bot has written;
- once for each time that something was written, by a run of its own that stands in the record, whichever node sees it,
  also after a crash.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from bot.policy import Actor
from bot.run import events as ev
from bot.run.decide import RELEASING
from bot.run.state import Run, Step
from bot.store.log import Store

BOT = Actor("bot", "rollback-bot", (), "bot")
LATEST = 20
"""Runs that are looked at when a node starts."""
PURPOSE = "disown"

Beside = Callable[[str, str, str, Actor, str], Awaitable[object]]
"""Opens a run that brings no release back: service, purpose, reason, by whom, key."""


def holds_fields(run: Run) -> bool:
    """Whether a run that was given up, and owes nothing any more, has written to clusters."""
    given_up = run.closed is not None and run.aborted is not None and run.purpose in RELEASING
    return given_up and not run.debts and any(map(_wrote, run.steps.values()))


def _wrote(s: Step) -> bool:
    """Whether the step has changed something in clusters, taken back since or not."""
    return s.spec.changes and "kubernetes" in s.spec.needs and (s.made is not None or s.application > 1)


class Following:
    """Opens the runs that follow."""

    def __init__(self, store: Store, beside: Beside) -> None:
        self._store, self._beside = store, beside

    async def watch(self, run: Run, events: Sequence[ev.Event]) -> None:
        """A run was closed, or the last that it owed is given back. A watcher of the engine."""
        if any(isinstance(e, ev.Closed | ev.Undone | ev.TakenOver) for e in events) and holds_fields(run):
            await self._follow(run)

    async def catch_up(self) -> None:
        """The same for what was missed while nobody was there."""
        heads = await self._store.heads(limit=LATEST)
        for n, head in enumerate(heads):
            followed = any(later.kind == PURPOSE and later.service == head.service for later in heads[:n])
            if head.kind in RELEASING and not followed and holds_fields(run := await self._store.load(head.run)):
                await self._follow(run)

    async def _follow(self, run: Run) -> None:
        written = sum(s.application for s in run.steps.values())
        await self._beside(run.service, PURPOSE, f"{run.id} was aborted", BOT, f"disown:{run.id}:{written}")
