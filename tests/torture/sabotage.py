"""Faults put in on purpose, to prove that the auditor sees them. Each breaks one promise in one node program.

Nothing here is in the product: it is patched from outside, in a process that is told to.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.contract import Edit, Json
from bot.engine import attempt as attempts
from bot.engine import reconciler
from bot.engine.attempt_id import AttemptId
from bot.engine.executor import Executor
from bot.engine.ground import Anywhere
from bot.run import decide, fold_attempts, moments, rules
from bot.run import state as states
from bot.store.lease import Lease, RowLease
from bot.store.log import StoreUnavailable
from bot.web import doors

if TYPE_CHECKING:
    from tests.torture.node import Node


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a node is made of, as far as it can be broken."""

    executor: Executor
    lease: Lease
    node: Node


def _put(where: object, **what: object) -> None:
    """Patches attributes of an object or module."""
    for name, value in what.items():
        setattr(where, name, value)


def lease_ignored(node: Pieces) -> None:
    """Whoever works for half a second is taken for dead, and nobody tells him."""
    since: dict[AttemptId, float] = {}
    real = node.executor.lost

    async def lost(ids: Sequence[AttemptId], now: float, **how: bool) -> list[tuple[AttemptId, str]]:
        found = await real(ids, now)
        late = [a for a in ids if now - since.setdefault(a, now) > 0.5]
        return [*found, *((a, "sabotage") for a in late if a not in [x for x, _ in found])]

    async def cancel(a: AttemptId) -> None:
        return None

    _put(node.executor, lost=lost)
    _put(node.executor, cancel=cancel)


def fence_gone(node: Pieces) -> None:
    """As above, and what an old attempt says is taken down as if it were the new one's."""
    lease_ignored(node)

    async def write(self: attempts.Execution, *events: Any) -> None:
        now = (await self.log.recent(self.run.id)).steps[self.id]
        n = now.attempt.n if now.attempt is not None else now.n
        mine = [type(e)(**{f: getattr(e, f) for f in e.__slots__} | {"n": n}) for e in events]
        await self.log.submit(self.run.id, *mine)

    attempts.Execution.write = write  # type: ignore[method-assign]


def never_lost(node: Pieces) -> None:
    """Attempts of dead processes are waited for, for ever."""

    async def lost(ids: Sequence[AttemptId], now: float, **how: bool) -> list[tuple[AttemptId, str]]:
        return []

    _put(node.executor, lost=lost)


def undo_overwritten(node: Pieces) -> None:
    """The undo data of an application are those of its last attempt alone."""

    def merged(first: Sequence[Edit], then: Sequence[Edit]) -> tuple[Edit, ...]:
        return tuple(then)

    _put(fold_attempts, merged=merged)


def record_not_awaited(node: Pieces) -> None:
    """The effect does not wait until its command is in the log."""
    later: set[asyncio.Task[None]] = set()

    async def record(self: attempts.Execution, command: str) -> None:
        async def some_time() -> None:
            await asyncio.sleep(0.2)
            with contextlib.suppress(attempts.Superseded):
                await real(self, command)

        task = asyncio.ensure_future(some_time())
        later.add(task)
        task.add_done_callback(later.discard)

    real = attempts.Execution._record
    attempts.Execution._record = record  # type: ignore[method-assign]


def nobody_asked(node: Pieces) -> None:
    """Steps that people must approve run by themselves, and the rules let them."""
    states.Run.decision_of = lambda self, step: None  # type: ignore[method-assign]
    rules._released = lambda run, s: True  # type: ignore[attr-defined]


def other_change(node: Pieces) -> None:
    """What is done is not what was written down: one more character."""
    from tests.torture import handlers

    real = handlers._plain
    handlers._plain = lambda value: f"{real(value)}!"


def notes_forgotten(node: Pieces) -> None:
    """What was to be done once is not noted."""

    async def note(self: attempts.Execution, name: str, value: Json) -> None:
        return None

    attempts.Execution._note = note  # type: ignore[method-assign]


def debts_forgotten(node: Pieces) -> None:
    """A run closes over what is still in place."""
    states.Run.owing = ()  # type: ignore[assignment]


def fence_slow(node: Pieces) -> None:
    """A process that has lost its lease works on for two seconds before it ends (its log's reader is stuck, say)."""
    real = lease_of(node)._fence

    def fence(why: str) -> None:
        time.sleep(2.0)
        real(why)

    _put(lease_of(node), _fence=fence)


def place_ignored(node: Pieces) -> None:
    """A node works wherever its catalogue leads, whatever the run was approved for."""
    reach = node.node.reach
    assert reach is not None
    node.node.at_work.grounds = Anywhere()
    _put(reach, of=lambda run: reach.now[run.service])


def clock_believed(node: Pieces) -> None:
    """A clock that goes ahead is time that passed."""
    _put(node.node.at_work, clock=node.node.machine.wall)


def clock_kept(node: Pieces) -> None:
    """As above; and what was written by a clock that was ahead is waited for, when that one is right again."""
    clock_believed(node)
    for module in (decide, moments):
        _put(module, AHEAD=1e12)


def full_ignored(node: Pieces) -> None:
    """What cannot be written down is done all the same."""

    async def record(self: attempts.Execution, command: str) -> None:
        with contextlib.suppress(StoreUnavailable):
            await real(self, command)

    _put(reconciler, PATIENCE=-1.0)
    real = attempts.Execution._record
    attempts.Execution._record = record  # type: ignore[method-assign]


def doors_open(node: Pieces) -> None:
    """No connection is cut, and none is kept free."""
    _put(doors, HEAD_TIME=600.0, RESERVE=0)


def lease_of(node: Pieces) -> RowLease:
    """The lease, where there is one to lose."""
    assert isinstance(node.lease, RowLease)
    return node.lease


SABOTAGE: dict[str, Callable[[Pieces], None]] = {
    f.__name__.replace("_", "-"): f
    for f in (
        lease_ignored, fence_gone, never_lost, undo_overwritten, record_not_awaited, nobody_asked, other_change,
        notes_forgotten, debts_forgotten, fence_slow, place_ignored, clock_believed, clock_kept, full_ignored,
        doors_open,
    )
}  # fmt: skip
