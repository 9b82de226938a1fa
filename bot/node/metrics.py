"""What Prometheus reads at `/metrics`. docs/operators.md lists what it means, and what to be alerted of.

Invariants:
- answering reads numbers that are there already: the answer is made in the event loop, so nothing here asks a database
  or a target while it waits. What has to be looked up is looked up by `run`, now and then;
- events are counted where this process appends them (`watch`, a watcher of the engine), so the nodes' counters add up;
  gauges of runs and decisions say the same on every node;
- labels are names from the catalogue, from handlers and from code, never run ids or people: their number is bounded.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.aiohttp import make_aiohttp_handler

from bot.contract import Fatal, NotYet, Retryable
from bot.ports import Unreachable
from bot.run import events as ev
from bot.run.state import Run
from bot.store.log import Store, told

T = TypeVar("T")
log = logging.getLogger(__name__)

EVERY = 15.0
"""Seconds between two looks at open runs."""
STATES = ("stopped", "halted", "waits for people", "at work")
_WAITS = (15, 60, 180, 300, 600, 1800, 3600, 14400)
_WORKS = (0.5, 1, 5, 15, 60, 180, 600, 1800)
_OUTCOMES: Mapping[type[ev.Event], str] = {
    ev.Applied: "done", ev.Undone: "undone", ev.Failed: "failed", ev.Lost: "lost", ev.Cancelled: "cancelled",
    ev.Skipped: "skipped", ev.Accepted: "accepted", ev.Adopted: "adopted", ev.NotNeeded: "not needed",
    ev.Drifted: "drifted",
}  # fmt: skip
_REFUSED: Mapping[type[Exception], str] = {
    Unreachable: "unreachable", Retryable: "retryable", NotYet: "not yet", Fatal: "fatal",
}  # fmt: skip


class BotMetrics:
    """Of one bot, in a registry of its own. clock: seconds since the epoch."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self.registry = r = CollectorRegistry()
        self.answer = make_aiohttp_handler(r)
        self._events = Counter("rollback_events", "Events of runs that this process appended.", ["kind"], registry=r)
        self._ended = Counter("rollback_runs_ended", "Runs that ended, by how.", ["service", "outcome"], registry=r)
        self._steps = Counter("rollback_steps", "What came of attempts of steps.", ["uses", "outcome"], registry=r)
        self._work = Histogram(
            "rollback_step_seconds",
            "From the start of an attempt to its outcome.",
            ["uses"],
            buckets=_WORKS,
            registry=r,
        )
        self._waited = Histogram(
            "rollback_decision_wait_seconds", "From asking people to their decision.", ["service"], buckets=_WAITS,
            registry=r,
        )  # fmt: skip
        self._calls = Counter("rollback_port_calls", "Calls of handlers.", ["port", "call", "outcome"], registry=r)
        self._open = Gauge("rollback_runs_open", "Open runs, by what they do.", ["service", "state"], registry=r)
        self._asked = Gauge("rollback_decisions_open", "Decisions that wait for people.", ["service"], registry=r)
        self._oldest = Gauge("rollback_decision_oldest_seconds", "How long the oldest waits.", ["service"], registry=r)
        self._flying = Gauge("rollback_engine_attempts", "Attempts under way, of all nodes.", registry=r)
        self._due = Gauge("rollback_engine_due_runs", "Runs that are due and not looked after yet.", registry=r)
        self._unshown = Gauge("rollback_publisher_lag_runs", "Runs of which Slack does not show all yet.", registry=r)
        self._looked = Gauge("rollback_looked_timestamp_seconds", "When these gauges were last looked up.", registry=r)
        self._began: dict[tuple[str, str, int], float] = {}

    def gauge(self, name: str, help: str, value: Callable[[], float]) -> None:
        """One more number that is there already whenever it is asked for."""
        Gauge(name, help, registry=self.registry).set_function(value)

    # -- what happens here -----------------------------------------------------------------------------------------

    async def watch(self, run: Run, events: Sequence[ev.Event]) -> None:
        """These were appended; `run` is behind them."""
        for event in events:
            self._events.labels(event.kind).inc()
            if isinstance(event, ev.Closed):
                self._ended.labels(run.service, event.outcome).inc()
                self._began = {k: at for k, at in self._began.items() if k[0] != run.id}
            elif isinstance(event, ev.Approved | ev.BrokeGlass | ev.Taken):
                asked = run.asked.get(event.decision)
                if asked is not None and asked.decided == run.at and asked.waited is not None:
                    self._waited.labels(run.service).observe(asked.waited)
            else:
                self._of_step(run, event)

    def _of_step(self, run: Run, event: ev.Event) -> None:
        step = run.steps.get(getattr(event, "step", ""))
        if step is None:
            return
        uses = step.spec.uses or step.spec.kind
        if isinstance(event, ev.Started):
            self._began[run.id, event.step, event.n] = run.at
            return
        outcome = event.verdict.status.value if isinstance(event, ev.Checked) else _OUTCOMES.get(type(event), "")
        if not outcome:
            return
        self._steps.labels(uses, outcome).inc()
        began = self._began.pop((run.id, step.spec.id, getattr(event, "n", 0)), None)
        if began is not None:
            self._work.labels(uses).observe(max(0.0, run.at - began))

    def counted(self, port: str, inner: T) -> T:
        """The port, each of its calls counted by what came of it."""
        return cast(T, _Counted(port, inner, self._calls))

    # -- what is looked up -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Looks, until cancelled."""
        while True:
            with told(log, "the gauges of /metrics cannot be looked up"):
                await self.look()
            await asyncio.sleep(EVERY)

    async def look(self) -> None:
        """Sets every gauge of runs and decisions anew."""
        now = self._clock()
        runs = [await self._store.load(h.run) for h in await self._store.heads(open=True, limit=None)]
        due, unshown = await self._store.due(now, 1000), await self._store.unshown()
        states = Tally((run.service, _state(run)) for run in runs)
        waits: dict[str, list[float]] = {run.service: [] for run in runs}
        for run in runs:
            waits[run.service] += [now - a.opened for a in run.asked.values() if a.opened and a.decided is None]
        for gauge in (self._open, self._asked, self._oldest):
            gauge.clear()
        for service, since in waits.items():
            for state in STATES:
                self._open.labels(service, state).set(states[service, state])
            self._asked.labels(service).set(len(since))
            self._oldest.labels(service).set(max(since, default=0.0))
        self._flying.set(sum(len(run.in_flight) for run in runs))
        self._due.set(len(due))
        self._unshown.set(len(unshown))
        self._looked.set(now)


def _state(run: Run) -> str:
    """One of STATES."""
    if run.stopped is not None:
        return "stopped"
    if run.halted:
        return "halted"
    waits = any(a.opened is not None and a.decided is None for a in run.asked.values())
    return "waits for people" if waits and not run.in_flight else "at work"


class _Counted:
    """A port whose calls are counted; everything else of it is as it was."""

    def __init__(self, port: str, inner: object, calls: Counter) -> None:
        self._port, self._inner, self._calls = port, inner, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        @wraps(found)
        async def call(*args: Any, **more: Any) -> Any:
            outcome = "error"
            try:
                answer = await found(*args, **more)
                outcome = "ok"
                return answer
            except asyncio.CancelledError:
                outcome = "cancelled"
                raise
            except Exception as e:
                outcome = next((word for kind, word in _REFUSED.items() if isinstance(e, kind)), type(e).__name__)
                raise
            finally:
                self._calls.labels(self._port, name, outcome).inc()

        return call
