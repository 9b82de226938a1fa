"""What the bot does of itself after a run was given up, which never comes to the last steps of its plan.

- `disown`: it lets go of the fields that it has written (`fields.disown`), or the team's next `helm upgrade` would be
  refused for them; not while something of the run is owed: who takes it over finds by these fields what was written.
- `postmortem`: where the plan would have scheduled one, and something had been done, it is scheduled all the same.

Invariant: once for each, by a run of its own that stands in the record, whichever node sees it, also after a crash.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from typing import Protocol

from bot.policy import Actor
from bot.run import events as ev
from bot.run.decide import RELEASING
from bot.run.state import Run, Step
from bot.store.log import Store

BOT = Actor("bot", "rollback-bot", (), "bot")
LATEST = 20
"""Runs that are looked at when a node starts."""


class Beside(Protocol):
    """Opens a run that brings no release back; follows: the run that it is about."""

    def __call__(
        self, service: str, purpose: str, reason: str, by: Actor, key: str, channel: str = "", follows: str = ""
    ) -> Awaitable[object]: ...


def holds_fields(run: Run) -> bool:
    """Whether a run that was given up, and owes nothing any more, has written to clusters."""
    return _given_up(run) and not run.debts and any(s.acted and "kubernetes" in s.spec.needs for s in _steps(run))


def unlearnt(run: Run) -> bool:
    """Whether a run was given up after it had done something, and before the postmortem of its plan."""
    planned = [s for s in _steps(run) if "learn" in s.spec.duties and s.end != "done"]
    return _given_up(run) and bool(planned) and any(s.acted for s in _steps(run))


def _given_up(run: Run) -> bool:
    return run.closed is not None and run.aborted is not None and run.purpose in RELEASING


def _steps(run: Run) -> Iterator[Step]:
    return (s for s in run.steps.values() if s.spec.changes)


class Following:
    """Opens the runs that follow."""

    def __init__(self, store: Store, beside: Beside) -> None:
        self._store, self._beside = store, beside

    async def watch(self, run: Run, events: Sequence[ev.Event]) -> None:
        """A run was closed, or the last that it owed is given back. A watcher of the engine."""
        if any(isinstance(e, ev.Closed | ev.Undone | ev.TakenOver) for e in events):
            for purpose in due(run):
                await self._follow(run, purpose)

    async def catch_up(self) -> None:
        """The same for what was missed while nobody was there."""
        heads = await self._store.heads(limit=LATEST)
        for n, head in enumerate(heads):
            after = {later.kind for later in heads[:n] if later.service == head.service}
            if head.open or head.kind not in RELEASING:
                continue
            run = await self._store.load(head.run)
            for purpose in due(run):
                if purpose not in after:
                    await self._follow(run, purpose)

    async def _follow(self, run: Run, purpose: str) -> None:
        written = sum(s.application for s in run.steps.values()) if purpose == "disown" else 0
        key, channel = f"{purpose}:{run.id}:{written}", run.created.channel if run.created is not None else ""
        await self._beside(run.service, purpose, f"{run.id} was aborted", BOT, key, channel, run.id)


def due(run: Run) -> Iterator[str]:
    """The purposes of the runs that are to follow this one."""
    if holds_fields(run):
        yield "disown"
    if unlearnt(run):
        yield "postmortem"
