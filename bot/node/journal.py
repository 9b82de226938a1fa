"""One line in the log for each event of a run that this process appends; found at the one place where that is done.

A watcher of the engine, so no handler and no command writes a line of its own. What is told was redacted before it was
stored. What stops a run or needs a second look is told at WARNING.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from bot.run import events as ev
from bot.run.state import Run
from bot.telling.sentences import Names, sentence, who

log = logging.getLogger(__name__)

LOUD = (
    ev.Failed,
    ev.Drifted,
    ev.Relocated,
    ev.Lost,
    ev.BrokeGlass,
    ev.Aborted,
    ev.Stopped,
    ev.HandedOver,
    ev.FreezeOverridden,
)
"""Told at WARNING."""


async def watch(run: Run, events: Sequence[ev.Event]) -> None:
    """The run as it is behind these events, which were just appended."""
    names = Names.of(run.plan) if run.created is not None else Names()
    for seq, event in enumerate(events, run.seq - len(events) + 1):
        by, step = who(event), getattr(event, "step", "")
        more = {"run": run.id, "seq": seq, "event": event.kind, "service": run.service}
        more |= {"step": step} if step else {}
        more |= {"person": by.name} if by is not None else {}
        level = logging.WARNING if isinstance(event, LOUD) else logging.INFO
        command = f": {event.command}" if isinstance(event, ev.Recorded) else ""
        said = " ".join(f"{sentence(event, names)}{command}".split())  # people's words may hold line feeds
        log.log(level, "run %s #%d %s: %s", run.id, seq, event.kind, said, extra=more)
