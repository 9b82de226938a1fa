"""The seam to DBOS: in_tx, dispatch, cancel, rest, lost; and launch and close around them.

The log is the truth. DBOS runs one pass of one attempt, in one process, and delivers cancellation; it decides nothing
and keeps nothing that could not be thrown away. One attempt is one DBOS workflow of one preemptible step, and its id
is the attempt's, so handing it over twice is handing it over once.

Invariants:
- a pass is begun at most once per attempt, as long as DBOS keeps its row. DBOS's own recovery never begins one
  again: at launch it puts back every pending workflow of its executor id, so each launch has an id of its own
  (`<node>:<random>`) that nothing can be pending under. What a dead process left behind is told by `lost`, and goes
  on as another attempt;
- what is started or cancelled here is nobody's child: every call into DBOS runs in a context of its own;
- closing cancels passes without marking them cancelled: they stay pending under a dead executor, for takeover;
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
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from dbos import (
    DBOS,
    DBOSClient,
    DBOSConfig,
    DBOSPortableJSONSerializer,
    EnqueueOptions,
    SetWorkflowID,
    WorkflowStatus,
    error,
)

from bot.engine.attempt_id import AttemptId
from bot.store.database import Transaction, parse_url, private
from bot.store.lease import Lease

T = TypeVar("T")

APPLICATION = "rollback-bot"
QUEUE = "attempts"
WORKFLOW = "attempt"

ABI = "1"
"""What an attempt's arguments mean. Not the version of the code: old and new nodes take each other's attempts."""

GRACE = 2.0
"""Seconds during which an attempt that DBOS has ended may still record what came of it: DBOS writes CANCELLED about
a second before the handler hears of it."""

QUICK, BUSY = 0.03, 3.0
"""PostgreSQL: seconds between two looks into the queue while this node has handed something over in the last BUSY
seconds. Looking that often all the time would cost a tenth of a core."""

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
    `cancel` ended after a process had taken it, possibly when its pass had recorded something already; one that was
    still queued is told by `lost`.
    concurrency: passes at once in this process. poll: seconds between two looks into the queue (PostgreSQL). drain:
    seconds that `close` waits for passes. clock: seconds since the epoch, to tell old rows.
    """

    def __init__(
        self,
        url: str,
        *,
        lease: Lease,
        run_pass: Pass,
        on_cancelled: Callable[[AttemptId], Awaitable[None]],
        dbos_url: str | None = None,
        concurrency: int = 20,
        poll: float = 0.1,
        drain: float = 10.0,
        sweep_every: float = 3600.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.id = f"{lease.id}:{uuid.uuid4().hex[:12]}"
        self._queued = not url.startswith("sqlite")
        whole = parse_url(url).render_as_string(hide_password=False)
        self._dbos_url = whole if self._queued else dbos_url or beside(url)
        if not self._queued:
            private(parse_url(self._dbos_url))
        self._lease, self._run_pass, self._on_cancelled = lease, run_pass, on_cancelled
        self._concurrency, self._poll, self._drain = concurrency, poll, drain
        self._sweep_every, self._clock = sweep_every, clock
        self._slots = asyncio.Semaphore(concurrency)
        self._begun: dict[AttemptId, asyncio.Task[Any]] = {}
        self._suspects: dict[AttemptId, float] = {}
        self._client: DBOSClient | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._pace: asyncio.Task[None] | None = None
        self._busy_until = 0.0
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
            DBOS.listen_queues([QUEUE] if self._queued else [])
            DBOS.launch()
            if self._queued:
                await DBOS.register_queue_async(
                    QUEUE,
                    worker_concurrency=self._concurrency,
                    polling_interval_sec=self._poll,
                    on_conflict="always_update",
                )
                self._client = await asyncio.to_thread(self._new_client)
        except BaseException:
            self._closing.set()
            await self._end(0)
            raise
        self._sweeper = asyncio.create_task(self._sweep_now_and_then(), context=contextvars.Context())

    def _config(self) -> DBOSConfig:
        return {
            "name": APPLICATION,
            "system_database_url": self._dbos_url,
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

    def _new_client(self) -> DBOSClient:
        return DBOSClient(
            system_database_url=self._dbos_url,
            serializer=DBOSPortableJSONSerializer(),
            system_database_pool_size=1,
            application_name=APPLICATION,
            lazy=True,  # it only writes on connections that it is given
        )

    async def close(self) -> None:
        """Begin nothing more, wait `drain` seconds for the passes begun, and leave the rest to takeover. A pass that
        only waits (`rest`) ends at once."""
        if _here is not self or self._closing.is_set():
            return
        self._closing.set()
        own = [task for task in (self._sweeper, self._pace) if task is not None]
        for task in own:
            task.cancel()
        if own:
            await asyncio.wait(own)
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
        """DBOS.destroy, outside the pool that it takes down; then give the loop a pool of its own again."""
        global _here
        loop = asyncio.get_running_loop()
        pool = ThreadPoolExecutor(1, thread_name_prefix="dbos-end")
        destroy = functools.partial(DBOS.destroy, workflow_completion_timeout_sec=seconds)
        try:
            await loop.run_in_executor(pool, destroy)
            if self._client is not None:
                await loop.run_in_executor(pool, self._client.destroy)
        finally:
            pool.shutdown(wait=False)
            loop.set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))
            _here = None

    # -- the verbs ----------------------------------------------------------------------------------------------

    def in_tx(self, attempts: Sequence[AttemptId]) -> Callable[[Transaction], Awaitable[None]] | None:
        """PostgreSQL: what puts the attempts into the queue within the caller's transaction. None: nothing to do."""
        client = self._client
        if client is None or not attempts:
            return None

        self._hurry()

        def enqueue(connection: Any) -> None:
            for a in attempts:
                options: EnqueueOptions = {
                    "workflow_name": WORKFLOW,
                    "queue_name": QUEUE,
                    "workflow_id": str(a),
                    "app_version": ABI,
                }
                client.enqueue_in_transaction(connection, options, a.run, a.step, a.application, a.n)

        async def also(transaction: Transaction) -> None:
            await transaction.run_sync(enqueue)

        return also

    async def dispatch(self, attempts: Sequence[AttemptId], *, repair: bool = False, here: bool = False) -> None:
        """SQLite: start the attempts that were just appended. PostgreSQL: nothing, unless to repair, or to start them
        `here`, in this process and no other.

        Starting again what was started does nothing. While closing it does nothing either: `lost` of the next
        process starts them.
        """
        if (repair or here or not self._queued) and not self._closing.is_set():
            await asyncio.gather(*(_outside(self._start, a, here) for a in attempts))

    async def cancel(self, attempt: AttemptId) -> None:
        """End an attempt: a pass hears CancelledError within about 1.5 s, in whichever process it is; one that has
        not begun never will. Nothing happens to one that is over or unknown."""
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
        self, attempts: Sequence[AttemptId], now: float, *, repair: bool = True, here: bool = False
    ) -> list[tuple[AttemptId, str]]:
        """Which of these attempts, running by the log, will never report, and why; now: seconds, of any clock.

        Those that DBOS has never heard of are dispatched again, and are not lost; repair: whether this node may.
        """
        if not attempts:
            return []
        found = await _outside(self._look, [str(a) for a in attempts])
        alive = await asyncio.to_thread(self._lease.alive_nodes)  # after the look: whoever owned then had a lease
        if repair:
            await self.dispatch([a for a in attempts if str(a) not in found], repair=True, here=here)
        self._suspects = {a: since for a, since in self._suspects.items() if now - since < 3600}
        reasons = ((a, self._why_lost(a, found[str(a)], alive, now)) for a in attempts if str(a) in found)
        return [(a, why) for a, why in reasons if why]

    def _why_lost(self, a: AttemptId, w: WorkflowStatus, alive: Collection[str], now: float) -> str:
        """Why the attempt will never report, or nothing. What may still be under way is given GRACE."""
        if w.status in ("ENQUEUED", "DELAYED") or (w.status == "PENDING" and a in self._begun):
            self._suspects.pop(a, None)
            return ""
        if w.status != "PENDING":
            why = f"it ended without a record ({w.status.lower()})"
        elif w.executor_id == self.id:
            why = "it was taken here but never began"
        else:
            node, _, _ = (w.executor_id or "").rpartition(":")  # our own, if of an executor before this one
            return "its process is gone" if node not in alive or node == self._lease.id else ""
        return why if now - self._suspects.setdefault(a, now) >= GRACE else ""

    # -- inside DBOS ---------------------------------------------------------------------------------------------

    async def _start(self, a: AttemptId, here: bool) -> None:
        with SetWorkflowID(str(a)):
            if self._queued and not here:
                await DBOS.enqueue_workflow_async(QUEUE, _attempt, a.run, a.step, a.application, a.n)
            else:
                await DBOS.start_workflow_async(_attempt, a.run, a.step, a.application, a.n)

    async def _look(self, ids: list[str]) -> Mapping[str, WorkflowStatus]:
        rows = await DBOS.list_workflows_async(workflow_ids=ids, load_input=False, load_output=False)
        return {w.workflow_id: w for w in rows}

    def _hurry(self) -> None:
        """Something was handed over, and more is likely to follow: look into the queue more often for a while."""
        self._busy_until = time.monotonic() + BUSY
        if not self._closing.is_set() and (self._pace is None or self._pace.done()):
            self._pace = asyncio.create_task(self._hurrying(), context=contextvars.Context())

    async def _hurrying(self) -> None:
        queue = await DBOS.retrieve_queue_async(QUEUE)
        if queue is None:
            return
        try:
            while (left := self._busy_until - time.monotonic()) > 0:
                await queue.set_polling_interval_sec_async(min(QUICK, self._poll))
                await asyncio.sleep(left)
        finally:
            await asyncio.shield(queue.set_polling_interval_sec_async(self._poll))

    async def _one_attempt(self, a: AttemptId) -> None:
        task = asyncio.current_task()
        if self._closing.is_set() or task is None:
            raise asyncio.CancelledError  # stays pending under an executor that is about to be gone
        self._begun[a] = task
        try:
            await DBOS.run_step_async({"name": "pass", "preemptible": True}, self._one_pass, a)
        except error.DBOSWorkflowCancelledError:
            await self._on_cancelled(a)
            raise
        finally:
            del self._begun[a]

    async def _one_pass(self, a: AttemptId) -> None:
        async with self._slots:
            await self._run_pass(a)

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
