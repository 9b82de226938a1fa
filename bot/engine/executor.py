"""The seam to DBOS: dispatch, cancel, rest, lost; and launch and close around them.

The log is the truth. DBOS runs one pass of one attempt, in one process, and delivers cancellation; it decides nothing
and keeps nothing that could not be thrown away. One attempt is one DBOS workflow of one preemptible step, and its id
is the attempt's, so handing it over twice is handing it over once.

The node that appends a `Started` starts the attempt itself, once the append stands: nobody waits for a queue to be
looked into. Between the two a process may die, or have no room; so every node, as it looks after runs that are due,
starts what the log calls running and DBOS has never heard of. Of several that start the same attempt DBOS lets one
begin.

Invariants:
- a pass is begun at most once per attempt, as long as DBOS keeps its row. DBOS's own recovery never begins one
  again: at launch it puts back every pending workflow of its executor id, so each launch has an id of its own
  (`<node>:<random>`) that nothing can be pending under. What a dead process left behind is told by `lost`, and goes
  on as another attempt;
- what is started or cancelled here is nobody's child: every call into DBOS runs in a context of its own;
- closing cancels passes without marking them cancelled: they stay pending under a dead executor, for takeover;
- what DBOS keeps in SQLite need not outlive the machine: an attempt that it forgot is started by `lost`, one of which
  it forgot the end is over by the log;
- an attempt's record in the log outranks whatever DBOS says about it: ask `lost` only about attempts that the log
  calls running.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID, WorkflowStatus, error

from bot.engine.attempt_id import AttemptId
from bot.store.database import disposable_lite, parse_url, private
from bot.store.lease import Lease

T = TypeVar("T")

APPLICATION = "rollback-bot"
WORKFLOW = "attempt"

ABI = "1"
"""What an attempt's arguments mean. Not the version of the code: old and new nodes take each other's attempts."""

GRACE = 2.0
"""Seconds during which an attempt that DBOS has ended may still record what came of it: DBOS writes CANCELLED about
a second before the handler hears of it."""

PATIENCE = 1.0
"""Seconds that whoever hands an attempt over waits for its start to be written down. It goes on without that: what
never comes to be written, another look at the run finds."""

UNSERVED = 10.0
"""Seconds that an attempt may wait in the queue of an earlier version (which looked there ten times a second) before it
is begun anew: no node of that version has room, or there is none any more."""

KEEP = 7 * 24 * 3600.0
"""Seconds that rows of finished attempts stay in DBOS's tables."""

THREADS = 20
"""The pool that DBOS makes the event loop's default: `asyncio.to_thread` of the whole process runs here."""

_log = logging.getLogger(__name__)


Pass = Callable[[AttemptId], Awaitable[None]]
"""Runs the handler once and records what came of it. Looks into the log first, whether the attempt is still wanted;
lets CancelledError through. What else it raises is logged, and the attempt is lost."""


class Executor:
    """Hands attempts to DBOS and says which will never report. One at a time in a process: DBOS is global.

    url: of the log's database. dbos_url: of DBOS's SQLite file, by default beside the log's (`bot.db` ->
    `bot.dbos.db`); on PostgreSQL DBOS shares the database, in schema `dbos`. on_cancelled: told of an attempt that
    `cancel` ended: one that waits here for room, or that a process had taken, possibly when its pass had recorded
    something already.
    concurrency: passes at once in this process; nearly all of a pass is waiting for targets, so this many that hang
    must not hold up the checks beside them. drain: seconds that `close` waits for passes. clock: seconds since the
    epoch, to tell old rows.
    """

    def __init__(
        self,
        url: str,
        *,
        lease: Lease,
        run_pass: Pass,
        on_cancelled: Callable[[AttemptId], Awaitable[None]],
        dbos_url: str | None = None,
        concurrency: int = 64,
        drain: float = 10.0,
        sweep_every: float = 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.id = f"{lease.id}:{uuid.uuid4().hex[:12]}"
        if url.startswith("sqlite"):
            self._dbos_url = dbos_url or beside(url)
            private(parse_url(self._dbos_url))
        else:
            self._dbos_url = parse_url(url).render_as_string(hide_password=False)
        self._engine = disposable_lite(self._dbos_url) if url.startswith("sqlite") else None
        self._lease, self._run_pass, self._on_cancelled = lease, run_pass, on_cancelled
        self._concurrency, self._drain = concurrency, drain
        self._sweep_every, self._clock = sweep_every, clock
        self._waiting: dict[AttemptId, None] = {}
        self._taken: set[AttemptId] = set()
        self._begun: dict[AttemptId, asyncio.Task[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._suspects: dict[AttemptId, float] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    # -- from launch to close ------------------------------------------------------------------------------------

    async def launch(self) -> None:
        """Start DBOS on the running loop; creates or upgrades its tables. Blocks the loop for some 0.1 s.

        RuntimeError if another executor of this process is open, or this one was closed.
        """
        global _here
        if _here is not None or self._closing.is_set():
            raise RuntimeError("one executor at a time in a process, and each only once: DBOS is global")
        _quieten()
        _here = self
        try:
            DBOS(config=self._config())
            DBOS.listen_queues([])
            DBOS.launch()
        except BaseException:
            self._closing.set()
            await self._end(0)
            raise
        self._sweeper = asyncio.create_task(self._sweep_now_and_then(), context=contextvars.Context())

    def _config(self) -> DBOSConfig:
        return {
            "name": APPLICATION,
            "system_database_url": self._dbos_url,
            "system_database_engine": self._engine,
            "application_version": ABI,
            "executor_id": self.id,
            "serializer": DBOSPortableJSONSerializer(),
            "max_executor_threads": THREADS,
            "sys_db_pool_size": 10,
            "log_level": "WARNING",
            # We use no DBOS schedules, messages, events or streams. Listening for them costs 1.5 % of a core; the
            # fallback poller finds nothing to look for and sleeps.
            "scheduler_polling_interval_sec": 3600.0,
            "use_listen_notify": False,
            "notification_listener_polling_interval_sec": 0.25,  # how long closing may have to wait for it
        }

    async def close(self) -> None:
        """Begin nothing more, wait `drain` seconds for the passes begun, and leave the rest to takeover. A pass that
        only waits (`rest`) ends at once."""
        if _here is not self or self._closing.is_set():
            return
        self._closing.set()
        self._waiting.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.wait([self._sweeper])
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE)
        begun = set(self._begun.values())
        # DBOS looks once a second whether workflows have ended, and only if it is given time at all.
        ending = asyncio.ensure_future(self._end(math.ceil(self._drain) + 2 if begun else 0))
        if begun:
            _, late = await asyncio.wait(begun, timeout=self._drain)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=2)
        await ending

    async def _end(self, seconds: int) -> None:
        """DBOS.destroy, outside the pool that it takes down. The loop has a pool of its own again before that: whoever
        hands something to a thread meanwhile is not refused."""
        global _here
        loop = asyncio.get_running_loop()
        pool, own = ThreadPoolExecutor(1, "dbos-end"), ThreadPoolExecutor(thread_name_prefix="asyncio")
        destroy = functools.partial(DBOS.destroy, workflow_completion_timeout_sec=seconds)
        ending = loop.run_in_executor(pool, destroy)
        try:
            while not ending.done():
                loop.set_default_executor(own)  # each call into DBOS makes it the one that is about to end
                await asyncio.wait([ending], timeout=0.05)
            await ending
        finally:
            pool.shutdown(wait=False)
            loop.set_default_executor(own)
            if self._engine is not None:
                self._engine.dispose()
            _here = None

    # -- the verbs ----------------------------------------------------------------------------------------------

    async def dispatch(self, attempts: Iterable[AttemptId]) -> None:
        """Start attempts that stand in the log, here: at once where there is room, else as soon as there is.

        Starting again what was started, here or elsewhere, does nothing. While closing it does nothing either: another
        process starts them, or the next. It waits until they have begun, but not for a database that is away.
        """
        for a in attempts:
            if a not in self._begun and a not in self._taken:
                self._waiting.setdefault(a)
        if starts := self._begin_next():
            await asyncio.wait(starts, timeout=PATIENCE)

    async def cancel(self, attempt: AttemptId) -> None:
        """End an attempt: a pass hears CancelledError within about 1.5 s, in whichever process it is; one that waits
        here for room never begins. Nothing happens to one that is over or unknown."""
        if attempt in self._waiting:
            del self._waiting[attempt]
            self._kept(asyncio.create_task(self._tell_cancelled(attempt), context=contextvars.Context()))
        await _outside(DBOS.cancel_workflow_async, str(attempt))

    def live(self) -> bool:
        """Whether this process may still begin an effect. Never blocks."""
        return self._lease.live()

    async def rest(self, seconds: float) -> bool:
        """Wait so long in the middle of a pass. False, and at once, when this process is about to end: so is the pass
        then, with what it knows written down."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        return not self._closing.is_set()

    async def lost(
        self, attempts: Sequence[AttemptId], now: float, *, repair: bool = True
    ) -> list[tuple[AttemptId, str]]:
        """Which of these attempts, running by the log, will never report, and why; now: of a clock that nobody sets.

        Those that DBOS has never heard of are dispatched, and are not lost; repair: whether this node may.
        """
        if not attempts:
            return []
        found = await _outside(self._look, [str(a) for a in attempts])
        alive = await asyncio.to_thread(self._lease.alive_nodes)  # after the look: whoever owned then had a lease
        if repair:
            await self.dispatch(a for a in attempts if str(a) not in found)
        self._suspects = {a: since for a, since in self._suspects.items() if now - since < 3600}
        reasons = ((a, self._why_lost(a, found[str(a)], alive, now)) for a in attempts if str(a) in found)
        return [(a, why) for a, why in reasons if why]

    def _why_lost(self, a: AttemptId, w: WorkflowStatus, alive: Collection[str], now: float) -> str:
        """Why the attempt will never report, or nothing. What may still be under way is given GRACE."""
        grace = GRACE
        if w.status == "PENDING" and (a in self._begun or a in self._taken):
            self._suspects.pop(a, None)
            return ""
        if w.status in ("ENQUEUED", "DELAYED"):
            why, grace = "no node takes it out of its queue", UNSERVED
        elif w.status != "PENDING":
            why = f"it ended without a record ({w.status.lower()})"
        elif w.executor_id == self.id:
            why = "it was taken here but never began"
        else:
            node, _, _ = (w.executor_id or "").rpartition(":")  # our own, if of an executor before this one
            return "its process is gone" if node not in alive or node == self._lease.id else ""
        return why if now - self._suspects.setdefault(a, now) >= grace else ""

    # -- inside DBOS ---------------------------------------------------------------------------------------------

    def _begin_next(self) -> set[asyncio.Task[None]]:
        """Start what waits, oldest first, as far as there is room."""
        began = set()
        while self._waiting and len(self._begun) + len(self._taken) < self._concurrency and not self._closing.is_set():
            a = next(iter(self._waiting))
            del self._waiting[a]
            self._taken.add(a)
            # Within a pass, what it starts would be a child: so in a context of its own.
            began.add(self._kept(asyncio.create_task(self._start(a), context=contextvars.Context())))
        return began

    async def _start(self, a: AttemptId) -> None:
        try:
            with SetWorkflowID(str(a)):
                await DBOS.start_workflow_async(_attempt, a.run, a.step, a.application, a.n)
        except Exception as e:
            _log.warning("attempt %s could not be started, and will be at another look: %s", a, e)
            self._leave(a)
        else:  # where another process was first, it will not begin here
            asyncio.get_running_loop().call_later(GRACE, self._leave, a)

    def _leave(self, a: AttemptId) -> None:
        """Its room is free again."""
        self._taken.discard(a)
        self._begin_next()

    def _kept(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """A task that nobody else holds on to."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _look(self, ids: list[str]) -> Mapping[str, WorkflowStatus]:
        rows = await DBOS.list_workflows_async(workflow_ids=ids, load_input=False, load_output=False)
        return {w.workflow_id: w for w in rows}

    async def _tell_cancelled(self, a: AttemptId) -> None:
        await self._on_cancelled(a)

    async def _one_attempt(self, a: AttemptId) -> None:
        task = asyncio.current_task()
        if self._closing.is_set() or task is None:
            raise asyncio.CancelledError  # stays pending under an executor that is about to be gone
        self._taken.discard(a)
        self._begun[a] = task
        try:
            await DBOS.run_step_async({"name": "pass", "preemptible": True}, self._run_pass, a)
        except error.DBOSWorkflowCancelledError:
            await self._on_cancelled(a)
            raise
        finally:
            del self._begun[a]
            self._begin_next()

    async def _sweep_now_and_then(self) -> None:
        while True:  # first waits: `lost` must have seen what a long absence left behind
            await asyncio.sleep(self._sweep_every)
            try:
                await self._sweep(self._clock() - KEEP)
            except Exception:
                _log.exception("could not delete old rows of DBOS; trying again in %.0f s", self._sweep_every)

    async def _sweep(self, before: float) -> None:
        """Delete what ended before that moment (seconds since the epoch)."""
        moment = datetime.fromtimestamp(before, UTC).isoformat()
        while True:
            old = await DBOS.list_workflows_async(
                name=WORKFLOW,
                status=["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
                completed_before=moment,
                limit=200,
                load_input=False,
                load_output=False,
            )
            if not old:
                return
            await DBOS.delete_workflows_async([w.workflow_id for w in old])


_here: Executor | None = None


@DBOS.workflow(name=WORKFLOW, max_recovery_attempts=1_000_000)
async def _attempt(run: str, step: str, application: int, n: int) -> None:
    """The workflow. It must be a module's function, found by its name; so the executor is found here too."""
    if _here is None:
        raise asyncio.CancelledError
    await _here._one_attempt(AttemptId(run, step, application, n))


async def _outside(call: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """Call DBOS as if from nowhere. Within a pass, what it starts would be a child, and its answers be replayed."""
    if _here is None:
        raise RuntimeError("the executor is not open")
    return await asyncio.create_task(call(*args), context=contextvars.Context())


def beside(url: str) -> str:
    """Where DBOS's SQLite file lies: `sqlite:////d/bot.db` -> `sqlite:////d/bot.dbos.db`. ValueError."""
    path = Path(parse_url(url).database or "")
    return f"sqlite:///{path.with_suffix(f'.dbos{path.suffix}')}"


class _Expected(logging.Filter):
    """Drops what DBOS reports as a fault and we caused: a cancelled attempt."""

    def filter(self, record: logging.LogRecord) -> bool:
        told = record.exc_info[1] if record.exc_info else None
        if isinstance(told, error.DBOSWorkflowCancelledError | error.DBOSAwaitedWorkflowCancelledError):
            return False
        return not (record.levelno == logging.WARNING and "Waiting for the recorded outcome" in record.getMessage())


_expected = _Expected()


def _quieten() -> None:
    """Let DBOS log warnings and errors through the root logger. With a handler there, it adds none of its own."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.addFilter(_expected)
