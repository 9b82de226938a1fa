"""The loop that runs the controllers: whatever changed is looked at again, and so is what asked to be.

A controller is a function of one object's place; it reads the store, writes what is missing and says when to look
again. Nothing else runs while it does, so it never meets a conflict.

Invariants: a controller that fails is told as an event and tried again; two looks at one object never overlap.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bot.playground.cluster.core import Core
from bot.playground.cluster.failures import ApiError
from bot.playground.cluster.objects import controller_of, name_of, namespace_of
from bot.playground.cluster.resources import Resource, by_kind
from bot.playground.cluster.store import Change, Key

Reconcile = Callable[[str, str], float | None]
"""Namespace and name in; seconds until it is to be looked at again out, None where only a change matters."""

_RETRY = 1.0
_STEP = 0.01
"""Seconds between two rounds, so that a burst of changes is one look."""


@dataclass(frozen=True)
class Controller:
    """One kind's. concerns: places to look at when something else changed."""

    resource: Resource
    reconcile: Reconcile
    concerns: Callable[[Change], Iterable[Key]] = lambda _: ()


class Manager:
    """All controllers of a cluster. sweep: what runs after a change for which `needs_sweep` holds."""

    def __init__(self, core: Core, sweep: Callable[[], None], needs_sweep: Callable[[Change], bool]) -> None:
        self._core = core
        self._sweep, self._needs_sweep, self._dirty = sweep, needs_sweep, False
        self._controllers: dict[str, list[Controller]] = {}
        self._all: list[Controller] = []
        self._due: dict[tuple[int, Key], float] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        core.store.listeners.append(self._heard)

    def add(self, controller: Controller) -> None:
        """One more."""
        self._all.append(controller)
        self._controllers.setdefault(controller.resource.store, []).append(controller)

    def start(self) -> None:
        """Begin to run."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="controllers")

    async def stop(self) -> None:
        """Stop running. Harmless again."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def look(self, resource: Resource, namespace: str, name: str) -> None:
        """Look at this object soon."""
        for controller in self._controllers.get(resource.store, ()):
            self._enqueue(controller, (namespace, name), self._core.now())

    def _heard(self, change: Change) -> None:
        if self._needs_sweep(change):
            self._dirty = True
            self._wake.set()
        now, key = self._core.now(), (namespace_of(change.new), name_of(change.new))
        for controller in self._controllers.get(change.store, ()):
            self._enqueue(controller, key, now)
        owner = controller_of(change.new)
        if owner is not None:
            above = by_kind(owner["apiVersion"], owner["kind"])
            for controller in self._controllers.get(above.store if above else "", ()):
                self._enqueue(controller, (key[0], owner["name"]), now)
        for controller in self._all:
            for concerned in controller.concerns(change):
                self._enqueue(controller, concerned, now)

    def _enqueue(self, controller: Controller, key: Key, at: float) -> None:
        place = (self._all.index(controller), key)
        self._due[place] = min(at, self._due.get(place, at))
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            now = self._core.now()
            ready = [place for place, at in self._due.items() if at <= now]
            for place in ready:
                del self._due[place]
            for number, key in ready:
                self._reconcile(self._all[number], key)
            if self._dirty:
                self._dirty = False
                self._sweep()
            if ready or self._dirty:
                await asyncio.sleep(_STEP)
                continue
            await self._sleep(min(self._due.values(), default=now + 3600.0) - now)

    async def _sleep(self, seconds: float) -> None:
        tasks = [asyncio.ensure_future(self._wake.wait()), asyncio.ensure_future(self._core.clock.sleep(seconds))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    def _reconcile(self, controller: Controller, key: Key) -> None:
        try:
            again = controller.reconcile(*key)
        except ApiError as error:
            obj = self._core.find(controller.resource, *key)
            if obj is not None:
                self._core.event(
                    obj, "Warning", "FailedSync", error.message, f"{controller.resource.plural}-controller"
                )
            again = _RETRY
        if again is not None:
            self._enqueue(controller, key, self._core.now() + max(again, 0.001))
