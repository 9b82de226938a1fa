"""How the app hears of things: once within three seconds for what a person did, with retries for events.

A click, a command or a submitted modal is delivered once; what is not acknowledged in time is shown to the person as
failed and never sent again. An event is sent again at once, after a minute and after five, marked as a retry.

Invariants: an envelope goes to one connection; the three seconds are those of the workspace's clock and begin when the
envelope is sent; nothing is still under way once `close` returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from bot.playground.workspace.clock import Clock
from bot.playground.workspace.faults import Faults
from bot.playground.workspace.wire import Json

Kind = Literal["events_api", "slash_commands", "interactive"]

ACK = 3.0
"""Seconds an app has to acknowledge."""
RETRIES = (0.0, 60.0, 300.0)
"""Seconds before an event is sent again, each time."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One thing to deliver. answerable: the acknowledgement may carry a response; attempt: 0 for the first."""

    kind: Kind
    payload: Json
    answerable: bool = False
    attempt: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    """What came of it. error: Slack's word for a failure, empty if it was acknowledged; body: the response in it;
    final: the app asked not to be sent this again."""

    error: str = ""
    body: Any = None
    final: bool = False


class Unreachable(Exception):
    """There is no way to the app at the moment."""


class Transport(Protocol):
    """Socket Mode, or signed HTTP."""

    timeout_reason: str
    """What a retry after a timeout is marked with."""
    sent: list[Json]
    """Every envelope, as it was written."""

    async def send(self, envelope: Envelope) -> Ack:
        """Deliver and wait for the acknowledgement, however long. Unreachable."""
        ...

    def drop(self) -> None:
        """Break off whatever connection there is."""
        ...


class Delivery:
    """Everything that is on its way to the app."""

    def __init__(self, clock: Clock, faults: Faults, transport: Transport) -> None:
        self.transport = transport
        self._clock, self._faults = clock, faults
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, kind: Kind, payload: Json, *, answerable: bool = False) -> Ack:
        """Deliver what a person did, once."""
        return await self._once(Envelope(kind, payload, answerable))

    def tell(self, payload: Json) -> None:
        """Deliver an event in the background, with retries."""
        self._background(self._event(payload))

    @property
    def busy(self) -> bool:
        """Whether anything is under way, retries included."""
        return bool(self._tasks)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _event(self, payload: Json) -> None:
        ack = await self._once(Envelope("events_api", payload))
        for attempt, pause in enumerate(RETRIES, start=1):
            if not ack.error or ack.final:
                return
            await self._clock.sleep(pause)
            reason = self.transport.timeout_reason if ack.error == "operation_timeout" else "connection_failed"
            ack = await self._once(Envelope("events_api", payload, attempt=attempt, reason=reason))

    async def _once(self, envelope: Envelope) -> Ack:
        if fault := self._faults.take(envelope.kind, ("late",)):
            await self._clock.sleep(fault.seconds)
        if self._faults.take(envelope.kind, ("duplicate",)):
            self._background(self._unheeded(envelope))
        lost = self._faults.take(envelope.kind, ("lose_ack",))
        ack = await self._timed(envelope)
        return Ack("operation_timeout") if lost else ack

    async def _unheeded(self, envelope: Envelope) -> None:
        await self._timed(envelope)

    async def _timed(self, envelope: Envelope) -> Ack:
        if self._faults.outage:
            return Ack("dispatch_failed")
        sending = asyncio.create_task(self.transport.send(envelope))
        waiting = asyncio.create_task(self._clock.sleep(ACK))
        try:
            if self._faults.take(envelope.kind, ("drop_socket",)):
                await asyncio.sleep(0)
                self.transport.drop()
            await asyncio.wait({sending, waiting}, return_when=asyncio.FIRST_COMPLETED)
            return sending.result() if sending.done() else Ack("operation_timeout")
        except Unreachable:
            return Ack("dispatch_failed")
        finally:
            for task in (sending, waiting):
                task.cancel()
            await asyncio.gather(sending, waiting, return_exceptions=True)

    def _background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
