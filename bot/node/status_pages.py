"""Keeps customers' status pages by a webhook, where the catalogue names one for a service (`status_page`).

Level-triggered: what a page is to say is read from the runs, what was said is kept in a row a run, and the difference
is sent until the hook has taken it: `POST` of one JSON object, with an idempotency key.

Invariants:
- a row stands before it is first sent, so that whatever crashes, it is sent again; the key names run and words, so
  again is harmless;
- a run that nobody was told of is not told of when it is over;
- no run waits for it, and a hook that is away is a word in the log and in `/readyz`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Protocol

from bot.catalogue import Catalogue
from bot.contract import Json
from bot.ports import Record, Reply, Unreachable
from bot.run import events as ev
from bot.run.events import BadEvent
from bot.run.state import Run
from bot.steady.outage import Outage
from bot.store.lease import Lease
from bot.store.log import Slot, Store, away
from bot.telling.status_page import Update, update

log = logging.getLogger(__name__)

ROLE = PAGES = "status-pages"
"""The role that one node is elected to, and the name under which rows are kept: no run is called so."""
EVERY = 30.0
"""Seconds between two looks; what happens on this node is looked at at once."""
REST = (5.0, 300.0)
"""Seconds until the next try: at first, and at most."""
RECENT, DAY = 20, 86400.0
"""Runs that ended within a day, so many of them, are looked at as well: their page may not say so yet."""


class Hooks(Protocol):
    """A service's HTTP targets, as `bot.adapters.http` has them."""

    def bind(self, record: Record) -> Hooks: ...
    async def post(self, target: str, path: str, body: Json, *, key: str) -> Reply: ...


class StatusPages:
    """hooks: service -> its HTTP targets, None where it has none now; clock: seconds since the epoch.

    `run()` is to run as a task, on every node: the elected one sends. `watch` is a watcher of the engine.
    """

    def __init__(
        self, store: Store, lease: Lease, catalogue: Callable[[], Catalogue], hooks: Callable[[str], Hooks | None],
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._store, self._lease, self._catalogue, self._hooks, self._clock = store, lease, catalogue, hooks, clock
        self._wake, self._turn = asyncio.Event(), asyncio.Lock()
        self._known: dict[str, tuple[int, Update | None]] = {}
        self._rest, self._not_before = 0.0, 0.0
        self._outage = Outage("A status page", log)
        self.fault = ""
        """What is wrong, for `/readyz`; empty where nothing is."""

    async def watch(self, run: Run, events: Sequence[ev.Event]) -> None:
        """Something happened on this node."""
        if self._kept(run.service):
            self._wake.set()

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            self._wake.clear()
            try:
                wait = await self.round()
            except Exception as e:
                if not away(e):  # which the store tells
                    self._note(f"what pages say cannot be looked at: {type(e).__name__}: {e}")
                wait = EVERY
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def round(self) -> float:
        """Sends what is to be sent now. Returns the seconds until the next look."""
        if not any(map(self._kept, self._catalogue().services)):
            self.fault = ""
            return EVERY
        if not await asyncio.to_thread(self._lease.elect, ROLE):
            self.fault = ""
            return EVERY
        async with self._turn:
            return await self._round()

    async def _round(self) -> float:
        rows = await self._store.slots(PAGES)
        for u in await self._wanted():
            row = rows.get(u.key)
            if row is None and u.state == "resolved":
                continue
            words = json.dumps(_body(u), ensure_ascii=False, sort_keys=True)
            if row is None or row.digest != words:
                rows[u.key] = Slot(PAGES, u.key, u.service, "", words, self._clock())
                await self._store.put_slot(rows[u.key])
        if self._clock() >= self._not_before:
            await self._deliver(rows)
        for row in rows.values():
            if row.name not in self._known and (row.ts or not self._kept(row.channel)):
                await self._store.forget_slot(PAGES, row.name)
        return max(0.1, min(EVERY, self._not_before - self._clock())) if self._rest else EVERY

    # -- looking ---------------------------------------------------------------------------------------------------

    def _kept(self, service: str) -> bool:
        found = self._catalogue().services.get(service)
        return found is not None and found.status_page is not None

    async def _wanted(self) -> list[Update]:
        """What the pages are to say of these runs; only those that have changed are read."""
        heads = [
            h
            for h in await self._store.lately(self._clock() - DAY, RECENT)
            if self._kept(h.service) and h.kind == "rollback"
        ]
        for head in heads:
            if self._known.get(head.run, (0,))[0] != head.seq:
                with contextlib.suppress(BadEvent):  # what cannot be read is told by those who need it
                    run = await self._store.load(head.run)
                    self._known[head.run] = (head.seq, update(run, self._catalogue().services[head.service].title))
        self._known = {h.run: self._known[h.run] for h in heads if h.run in self._known}
        return [u for _, u in self._known.values() if u is not None]

    # -- sending ---------------------------------------------------------------------------------------------------

    async def _deliver(self, rows: Mapping[str, Slot]) -> None:
        """What was not taken yet; a hook that is away is left alone for a while."""
        said = ""
        for row in rows.values():
            if not row.ts and (fault := await self._one(row)):
                said = fault
        if said:
            self._rest = min(REST[1], max(REST[0], 2 * self._rest))
            self._not_before = self._clock() + self._rest
            return self._note(said)
        self._rest, self._not_before, self.fault = 0.0, 0.0, ""
        self._outage.up()

    async def _one(self, row: Slot) -> str:
        """Sends one row; what is wrong, "" where it was taken."""
        service = self._catalogue().services.get(row.channel)
        hook, there = (service.status_page if service is not None else None), self._hooks(row.channel)
        if hook is None or there is None:
            return ""
        key = hashlib.sha256(f"{row.name} {row.digest}".encode()).hexdigest()
        try:
            reply = await there.bind(_told).post(hook.target, hook.path, json.loads(row.digest), key=key)
        except Unreachable as e:
            return f"the status page of {row.channel}: {e}"
        if not 200 <= reply.status < 300:
            return f"the status page of {row.channel} answered {reply.status}; look at its target {hook.target}"
        await self._store.put_slot(replace(row, ts=f"{self._clock():.3f}"))
        return ""

    def _note(self, fault: str) -> None:
        self.fault = fault
        self._outage.down(fault)


async def _told(command: str) -> None:
    """What is sent is kept in the row: no run's record is about it."""
    log.info("%s", command)


def _body(u: Update) -> Json:
    """As the hook gets it."""
    began = datetime.fromtimestamp(u.began, UTC).isoformat(timespec="seconds")
    return {**asdict(u), "began": began}
