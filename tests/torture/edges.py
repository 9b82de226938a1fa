"""Where a node dies: right before or after the commit of an append that holds a given kind of event, or at a place
inside a handler. Only wraps the store; no product code knows of it.

A mine is `<phase>:<what>:<count>`: `before:applied:1` (in the transaction, before its commit), `after:started:2`
(committed, nothing dispatched yet), `inside:wrote:1` (a place that handlers name). With `:freeze` behind it the process
is stopped there, and goes on when the harness lets it, as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Sequence
from contextvars import ContextVar
from random import Random

import sqlalchemy as sa

from bot.run.decide import Next
from bot.run.events import Event
from bot.run.state import Run
from bot.store.database import SqlDatabase
from bot.store.log import Store
from bot.store.signing import Keys
from tests.fixtures.stores import Then, ending
from tests.torture import handlers

KINDS = (
    "created", "approved", "taken", "started", "planned", "drifted", "apply started", "recorded", "noted", "waiting",
    "applied", "undone", "checked", "failed", "cancelled", "lost", "stopped", "resumed", "aborted", "proposed",
    "agreed", "retried", "skipped", "accepted", "undo asked", "retargeted", "restored", "closed",
)  # fmt: skip
COMMON = {"started": 12, "planned": 12, "recorded": 10, "apply started": 6, "applied": 6, "checked": 5, "approved": 4}
"""Kinds of which a run has many; the others come first or second."""
WEIGHTS = {"apply started": 4, "recorded": 4, "noted": 4, "applied": 3, "undone": 3, "waiting": 2, "approved": 2}
PLACES = ("entered", "looked", "wrote", "posted", "leaving")


def sampled(random: Random, freeze: bool = False) -> str:
    """A mine; how likely which is, and after how many events it goes off, is weighted."""
    end = ":freeze" if freeze else ""
    if random.random() < 0.3:
        return f"inside:{random.choice(PLACES)}:{random.randint(1, 6)}{end}"
    kind = random.choices(KINDS, [WEIGHTS.get(k, 1) for k in KINDS])[0]
    return f"{random.choice(('before', 'after'))}:{kind}:{random.randint(1, COMMON.get(kind, 2))}{end}"


def tell(url: str, said: object) -> None:
    """Tells the world something, at once: nothing else happens in this thread meanwhile."""
    body = json.dumps(said).encode()
    urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=5).close()


TIMES = "create table torture_time (run text, seq bigint, at double precision, primary key (run, seq))"
_TIME = sa.text("insert into torture_time (run, seq, at) values (:run, :seq, :at)")


_ends: ContextVar[Then | None] = ContextVar("ends", default=None)
"""What the append of this task ends with."""


class Mine:
    """One mine in this process. world: its address; it hears of the death before it comes."""

    def __init__(self, text: str, world: str) -> None:
        phase, what, count, *freeze = (text or "none:none:0").split(":")
        self._left = Counter({(phase, what): int(count)})
        self._freeze = bool(freeze)
        self._text, self._world = text, world
        handlers.reach = lambda place: self.step("inside", place)

    def goes_off(self, phase: str, what: str) -> bool:
        """Whether this is where it is to be; counts."""
        if (phase, what) not in self._left:
            return False
        self._left[phase, what] -= 1
        return self._left[phase, what] == 0

    def step(self, phase: str, what: str) -> None:
        """Dies here, if it is to be."""
        if self.goes_off(phase, what):
            self.die()

    def die(self) -> None:
        """The end, without another instruction of ours; or a long pause."""
        if self._freeze:
            tell(f"{self._world}/frozen", {"pid": os.getpid(), "why": self._text})
            os.kill(os.getpid(), signal.SIGSTOP)
            return
        tell(f"{self._world}/dying", {"pid": os.getpid(), "why": self._text})
        os.kill(os.getpid(), signal.SIGKILL)


class MinedStore(Store):
    """A store in which some appends are the last thing that a process does."""

    mine: Mine | None = None
    timed = False
    """Whether it notes, beside the log, when each event was really written."""

    def __init__(self, db: SqlDatabase, keys: Keys | None = None) -> None:
        super().__init__(db, keys)
        ending(db, _ends.get)

    async def append(
        self,
        run: Run,
        events: Sequence[Event],
        at: float,
        *,
        key: str | None = None,
        checkpoint: bool = False,
        decided: Next | None = None,
    ) -> Run:
        """As the product's, and dies before or after the commit."""
        kinds = sorted({e.kind for e in events})
        mine = self.mine
        dies = mine is not None and any([mine.goes_off("before", k) for k in kinds])
        _ends.set(self._end(run, len(events), mine if dies else None))
        try:
            done = await super().append(run, events, at, key=key, checkpoint=checkpoint, decided=decided)
        finally:
            _ends.set(None)
        if mine is not None:
            for k in kinds:
                mine.step("after", k)
        return done

    def _end(self, run: Run, events: int, dies: Mine | None) -> Then:
        rows = [{"run": run.id, "seq": run.seq + 1 + i} for i in range(events if self.timed else 0)]
        loop, over = asyncio.get_running_loop(), threading.Event()

        def die(mine: Mine) -> None:
            mine.die()
            over.set()

        def then(c: sa.Connection) -> None:
            if rows:
                c.execute(_TIME, [{**row, "at": time.time()} for row in rows])
            if dies is not None and self.db.lite:  # in a thread: yet nothing else may happen meanwhile
                loop.call_soon_threadsafe(die, dies)
                over.wait()
            elif dies is not None:
                dies.die()

        return then
