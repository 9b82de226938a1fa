"""Makes Slack look like the runs: draws a run's screen when something happened, and posts what differs.

One writer for all nodes, elected by a row. Level-triggered: what is to be said is never queued, it is the difference
between the screen (drawn from the log) and the slots (what was posted), taken anew whenever a call is possible.

Invariants:
- a run is marked as shown when nothing is missing any more, and only then; until then every node knows of it;
- whoever cannot prove to be elected makes no call, and a call given up ends before another node can be elected;
- what is wrong in Slack holds up only what it concerns (`trouble.py`), and never the engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from slack_sdk.web.async_client import AsyncWebClient

from bot.run.state import Run
from bot.slack.draw.post import Screen
from bot.slack.publish.calls import Calls, Down, Limited, SlackRefused, Unsure
from bot.slack.publish.pacing import Pacer
from bot.slack.publish.picture import DrawnScreen, Op
from bot.slack.publish.trouble import SOON, Troubles
from bot.slack.publish.writing import MessageWriter, Slots
from bot.store.lease import TTL, Lease
from bot.store.log import Store, StoreUnavailable, Unshown

log = logging.getLogger(__name__)

ROLE = "slack"
POLL = 1.0
"""Seconds between two looks at what other nodes appended."""
PROGRESS = 2.0
"""Seconds between two looks at the progress of a run at work."""
CROWD = 8
"""With more runs at work than this, only what the log says is shown: step starts and ends, not progress."""
LOOKS = 8
"""Runs drawn at the same time."""
HISTORY = 86400.0
"""Seconds after its end at which a run that was never shown, or cannot be, is history: it is left alone."""
REST = 5.0
"""Seconds until a run that could not be drawn, or stored, is tried again."""


@dataclass(slots=True)
class _Work:
    """A run that may have something to show. dirty: to be drawn; head: how far it was when last drawn, None where that
    is marked as shown; slots None: not read yet; busy: what is under way, by lane (`look` is one)."""

    run: str
    dirty: bool = True
    head: Unshown | None = None
    ended: float | None = None
    picture: DrawnScreen | None = None
    slots: Slots | None = None
    since: dict[str, float] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    busy: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    def idle(self) -> bool:
        """Nothing is to be drawn, wanted or under way."""
        return not (self.ops or self.dirty or self.busy.keys() - {"look"})


@dataclass(slots=True)
class _Term:
    """What is known since the election. compare: runs to look at once; again: when to look at a run although nothing
    happens; live: runs at work, and when they were drawn."""

    writer: MessageWriter
    compare: list[str]
    work: dict[str, _Work] = field(default_factory=dict)
    again: dict[str, float] = field(default_factory=dict)
    live: dict[str, float] = field(default_factory=dict)
    poll_at: float = float("-inf")

    def dirty(self, run_id: str) -> _Work:
        work = self.work.setdefault(run_id, _Work(run_id))
        work.dirty = True
        return work

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        return [task for work in self.work.values() for task in work.busy.values()]


class Publisher:
    """The writer of one workspace; every node has one, the elected one writes.

    client: made by `quiet_client` (ValueError for one that retries by itself). screen_of: what a run is to look like;
    it may read the database, not Slack. contents: (run, what) -> the bytes of an upload. clock: seconds since the
    epoch. ttl: seconds that a lease lasts (`Settings.lease`). patience: seconds to wait for Slack; None: what fits
    the lease.

    `run()` is to run as a task, on every node. `hint(run_id)` after each append makes it quick (a watcher of the
    engine: `async def hint(run, events): publisher.hint(run.id)`); it never blocks. `faults()` belongs into /readyz.
    """

    def __init__(
        self,
        store: Store,
        client: AsyncWebClient,
        screen_of: Callable[[Run], Awaitable[Screen]],
        lease: Lease,
        contents: Callable[[str, str], Awaitable[bytes]],
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        ttl: float = TTL,
        patience: float | None = None,
    ) -> None:
        self._patience = min(10.0, ttl / 4) if patience is None else patience
        self._store, self._calls = store, Calls(client, self._patience)
        self._screen_of, self._lease, self._contents = screen_of, lease, contents
        self._clock, self._monotonic, self._ttl = clock, monotonic, ttl
        self._pacer, self._troubles = Pacer(), Troubles()
        self._wake = asyncio.Event()
        self._term: _Term | None = None
        self._mine_until = self._ask_at = float("-inf")

    # -- for others ------------------------------------------------------------------------------------------------

    def hint(self, run_id: str) -> None:
        """Something happened to this run: look at once, and try again what Slack refused."""
        if self._term is None:
            return
        for op in self._term.dirty(run_id).ops:
            for place in op.where:
                self._troubles.hint(place, 0.0 if place == op.own else SOON)
        self._wake.set()

    def faults(self) -> dict[str, str]:
        """Place (`slack`, a method, a channel, a run's post) -> what is wrong there and the next thing to do."""
        return self._troubles.faults()

    @property
    def busy(self) -> bool:
        """Whether a look or a call is under way."""
        return bool(self._term and self._term.tasks)

    @property
    def elected(self) -> bool:
        """Whether this node writes."""
        return self._term is not None

    async def run(self) -> None:
        """Works until cancelled; then lets calls under way end."""
        told = False
        try:
            while True:
                self._wake.clear()
                try:
                    wait, told = await self.round(), False
                except Exception as e:  # the database, mostly: told once, and on it goes
                    if not told:
                        log.error("the Slack publisher rests: %s", e, exc_info=not isinstance(e, StoreUnavailable))
                    wait, told = POLL, True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(wait, POLL)):  # wait_for may lose a cancellation in Python 3.11
                        await self._wake.wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Lets calls under way end, and gives up what takes longer than `patience`."""
        tasks = self._term.tasks if self._term else []
        if tasks:
            await asyncio.wait(tasks, timeout=self._patience)
        self._step_down()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def round(self) -> float:
        """Starts everything that may start now. Returns the seconds until there may be more to do."""
        term = await self._election()
        if term is None:
            return POLL
        now = self._clock()
        if now >= term.poll_at:
            await self._poll(term, now)
            term.poll_at = now + POLL
        self._look_around(term)
        return max(0.0, min(self._call(term, now), term.poll_at - now))

    async def quiet(self) -> None:
        """Until no look and no call is under way."""
        while self._term and (tasks := self._term.tasks):
            await asyncio.wait(tasks)

    # -- being the one ---------------------------------------------------------------------------------------------

    async def _election(self) -> _Term | None:
        now = self._monotonic()
        if now >= self._ask_at or (self._term and not self._may()):
            won = await asyncio.to_thread(self._lease.elect, ROLE)
            self._ask_at = now + self._ttl / 6
            if not (won and self._may()):
                self._step_down()
            self._mine_until = now + 0.7 * self._ttl if won else now
            if won and self._term is None:
                every = await self._store.heads(open=True, limit=None)
                writer = MessageWriter(self._store, self._calls, self._troubles, self._contents, self._may, self._clock)
                self._term = _Term(writer, [head.run for head in every])
        return self._term if self._may() else None

    def _may(self) -> bool:
        """Whether nobody else can have been elected yet."""
        return self._lease.live() and self._monotonic() < self._mine_until

    def _step_down(self) -> None:
        """Everything is given up: whoever is elected next finds it stored."""
        for task in self._term.tasks if self._term else ():
            task.cancel()
        self._term, self._troubles = None, Troubles()

    # -- looking ---------------------------------------------------------------------------------------------------

    async def _poll(self, term: _Term, now: float) -> None:
        for head in await self._store.unshown():
            work = term.work.get(head.run)
            if work is None or (work.slots is not None and work.head != head):
                term.dirty(head.run)
        for run in [run for run, at in term.again.items() if at <= now]:
            del term.again[run]
            term.dirty(run)
        if len(term.live) <= CROWD:
            for run in [run for run, drawn in term.live.items() if now - drawn >= PROGRESS]:
                term.dirty(run)

    def _look_around(self, term: _Term) -> None:
        free = LOOKS - sum("look" in w.busy for w in term.work.values())
        waiting = [w for w in term.work.values() if w.dirty and "look" not in w.busy]
        while len(waiting) < free and term.compare:
            if (run_id := term.compare.pop()) not in term.work:
                waiting.append(term.dirty(run_id))
        for work in waiting[: max(0, free)]:
            work.dirty = False
            self._start(term, work, "look", self._look(term, work))

    async def _look(self, term: _Term, work: _Work) -> None:
        """Draws the run."""
        head = next(iter(await self._store.unshown(work.run)), None)  # before the run: what comes after is seen later
        run = await self._store.load(work.run)
        if work.slots is None:
            work.slots = await term.writer.load(work.run)
        screen = await self._screen_of(run)
        now = self._clock()
        forgotten = run.closed_at is not None and run.closed_at < now - HISTORY and not work.slots.known
        work.head, work.ended = head, run.closed_at
        work.picture = DrawnScreen.of(work.run, Screen(()) if forgotten else screen)
        term.live.pop(work.run, None)
        if run.in_flight:
            term.live[work.run] = now
        term.again.pop(work.run, None)
        if screen.again is not None and not forgotten:
            term.again[work.run] = max(screen.again, now + POLL)
        await self._settle(term, work)

    async def _settle(self, term: _Term, work: _Work) -> None:
        """Takes the difference; where there is none, the run is shown."""
        if work.picture is None or work.slots is None:
            return
        now = self._clock()
        work.ops = work.picture.wanted(
            work.slots.known,
            term.writer.resolve,
            lambda name: work.since.setdefault(name, now),
            lambda name: self._troubles.hopeless([f"{work.run}/{name}"]),
        )
        if work.ops and self._hopeless(work):
            log.warning("run %s ended long ago and cannot be shown in Slack; it is left alone now", work.run)
            work.ops = []
        if not work.idle():
            return
        over = work.ended is None or work.run not in term.again
        if over and work.head is not None:
            await self._store.mark_shown(work.head)
            work.head = None
        if over and work.run not in term.live and work.idle() and term.work.get(work.run) is work:
            del term.work[work.run]

    def _hopeless(self, work: _Work) -> bool:
        """Ended long ago, and everything missing waits for people."""
        old = work.ended is not None and work.ended < self._clock() - HISTORY
        return old and all(self._troubles.hopeless(op.where[1:]) for op in work.ops)

    # -- calling ---------------------------------------------------------------------------------------------------

    def _call(self, term: _Term, now: float) -> float:
        """Starts the calls that may be made now; the seconds until another may."""
        soonest, asks = float("inf"), []
        for work in term.work.values():
            if work.dirty or "look" in work.busy:
                continue  # it is being drawn anew, and wakes us then
            for op in work.ops:
                if op.lane in work.busy:
                    continue  # so does a call
                if (held := self._troubles.held(op.where, now)) > 0:
                    soonest = min(soonest, held)
                else:
                    asks.append(op)
        while asks and self._may():
            chosen, wait = self._pacer.first(asks, now)
            if chosen is None:
                return min(soonest, wait)
            self._pacer.spend(chosen, now)
            self._troubles.trying(chosen.where, now)
            work = term.work[chosen.slot.run]
            self._start(term, work, chosen.lane, self._perform(term, work, chosen))
            asks = [a for a in asks if a.lane not in term.work[a.slot.run].busy and not self._held(a, now)]
        return soonest

    def _held(self, op: Op, now: float) -> bool:
        return self._troubles.held(op.where, now) > 0

    async def _perform(self, term: _Term, work: _Work, op: Op) -> None:
        """One call, and what follows from its answer."""
        if work.slots is None:
            return
        try:
            again = await term.writer.do(work.slots, op)
            self._troubles.well(op.where)
            if again > 0:
                self._troubles.wait(op.own, again, self._clock())
            elif op.kind not in ("resolve", "find", "find_file"):
                work.since.pop(op.slot.name, None)
        except Limited as e:
            log.info("%s; %s goes slowly for a while", e, op.method)
            self._pacer.limited(op.method, e.after, self._clock())
        except Down as e:
            self._troubles.silent(op.own, str(e), self._clock())
        except Unsure as e:
            self._troubles.silent(op.own, str(e), self._clock(), doubtful=op.kind in ("post", "upload"))
        except SlackRefused as e:
            await term.writer.refused(work.slots, op, e)
        except StoreUnavailable:
            raise
        except Exception as e:  # a fault of ours, or of what makes the contents of files
            log.debug("run %s, %s", op.slot.run, op.slot.name, exc_info=True)
            text = f"{op.slot.name} cannot be shown: {e}. Next: look into the log, at level DEBUG."
            self._troubles.broken(op.own, text, self._clock())
        work.busy.pop(op.lane, None)
        await self._settle(term, work)

    def _start(self, term: _Term, work: _Work, lane: str, what: Awaitable[None]) -> None:
        async def go() -> None:
            try:
                await what
            except Exception as e:
                self._failed(term, work, e)
            finally:
                if work.busy.get(lane) is asyncio.current_task():
                    del work.busy[lane]
                self._wake.set()

        work.busy[lane] = asyncio.create_task(go())

    def _failed(self, term: _Term, work: _Work, e: Exception) -> None:
        """Nothing more is known of the run than what is stored: look again in a while."""
        log.error("run %s cannot be drawn or stored: %s", work.run, e, exc_info=not isinstance(e, StoreUnavailable))
        work.ops, work.picture, work.slots, work.dirty = [], None, None, False
        term.again[work.run] = self._clock() + REST
