"""What the steps of a run would do that the log does not say yet: planned beside the run, and never waited for.

For a first idea of how long it takes, and for whoever goes on by hand. It binds nothing and nothing of it is stored:
what people decide about is always planned anew, and written down.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from bot.contract import Change
from bot.engine.attempt import PortsOf
from bot.engine.preview import foresee
from bot.handlers.registry import Registry
from bot.redaction.redactor import Redactor, SecretInChange
from bot.run import events as ev
from bot.run.state import Run, Step

log = logging.getLogger(__name__)

WITHIN = 60.0
"""Seconds that looking may take; after them it is given up for this target of the run."""
_NOTHING: Mapping[str, Change] = MappingProxyType({})

Key = tuple[str, str]
"""Run and version of its target."""


class Foresight:
    """Looks once for each run and target, on each node that is asked. then: told of a run that more is known of now."""

    def __init__(self, registry: Registry, ports_of: PortsOf, redactor: Redactor, clock: Callable[[], float]) -> None:
        self._registry, self._ports_of, self._redactor, self._clock = registry, ports_of, redactor, clock
        self._found: dict[Key, Mapping[str, Change]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.then: list[Callable[[Run], Awaitable[None]]] = []

    def of(self, run: Run) -> Mapping[str, Change]:
        """Step -> what it would do, of those whose change is not known yet. Empty at first: then it begins to look."""
        key = (run.id, run.target.version if run.target is not None else "")
        if not run.open or run.aborted is not None or run.created is None:
            self._found.pop(key, None)
            return _NOTHING
        if key not in self._found:
            if any(s.open for s in run.steps.values() if s.spec.phase == "preflight"):
                return _NOTHING  # what it finds may be needed to plan
            self._found[key] = _NOTHING
            task = asyncio.create_task(self._look(run, key), name=f"foresight {run.id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return {i: c for i, c in self._found[key].items() if _unsaid(run.steps[i])}

    async def close(self) -> None:
        """Looks no more."""
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, run: Run, key: Key) -> None:
        try:
            async with asyncio.timeout(WITHIN):
                found = await foresee(run, self._registry, self._ports_of, self._clock)
            self._found[key] = dict(self._clean(found))
            for told in self.then:
                await told(run)
        except Exception as e:  # it is only a help
            log.info("run %s: what its later steps would do is not known beforehand: %s", run.id, e)

    def _clean(self, found: Mapping[str, Change]) -> list[tuple[str, Change]]:
        """Without what holds a secret."""
        clean: list[tuple[str, Change]] = []
        for step, change in found.items():
            with contextlib.suppress(SecretInChange):
                clean.append((step, self._redactor.event(ev.Planned(step, 1, change, "")).change))
        return clean


def _unsaid(s: Step) -> bool:
    return s.open and s.change is None and s.made is None
