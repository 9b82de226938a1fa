"""Keeps customers' status pages by a webhook, where the catalogue names one for a service (`status_page`).

Level-triggered (`keeper.py`): what was said is kept in a row a run, and sent as `POST` of one JSON object, with an
idempotency key.

Invariants:
- a row stands before it is first sent, so that whatever crashes, it is sent again; the key names run and words, so
  again is harmless;
- a run that nobody was told of is not told of when it is over.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Protocol

from bot.catalogue import Catalogue
from bot.contract import Json
from bot.node.keeper import Keeper
from bot.ports import Record, Reply, Unreachable
from bot.run import events as ev
from bot.run.state import Run
from bot.steady.outage import Outage
from bot.store.lease import Lease
from bot.store.log import Slot, Store
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


class StatusPages(Keeper[Update | None]):
    """hooks: service -> its HTTP targets, None where it has none now; clock: seconds since the epoch."""

    def __init__(
        self, store: Store, lease: Lease, catalogue: Callable[[], Catalogue], hooks: Callable[[str], Hooks | None],
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        super().__init__(
            store, lease, clock, Outage("A status page", log), role=ROLE, every=EVERY, rest=REST,
            looked_at="what pages say",
        )  # fmt: skip
        self._catalogue, self._hooks = catalogue, hooks

    def _concerns(self, run: Run, events: Sequence[ev.Event]) -> bool:
        return self._kept(run.service)

    def _wanted_at_all(self) -> bool:
        return any(map(self._kept, self._catalogue().services))

    async def _compare(self) -> None:
        rows = await self._store.slots(PAGES)
        lately = await self._store.lately(self._clock() - DAY, RECENT)
        heads = [h for h in lately if self._kept(h.service) and h.kind == "rollback"]
        for u in await self._learnt(heads, self._said):
            row = rows.get(u.key) if u is not None else None
            if u is None or (row is None and u.state == "resolved"):
                continue
            words = json.dumps(_body(u), ensure_ascii=False, sort_keys=True)
            if row is None or row.digest != words:
                rows[u.key] = Slot(PAGES, u.key, u.service, "", words, self._clock())
                await self._store.put_slot(rows[u.key])
        if not self._resting:
            await self._deliver(rows)
        for row in rows.values():
            if row.name not in self._known and (row.ts or not self._kept(row.channel)):
                await self._store.forget_slot(PAGES, row.name)

    def _kept(self, service: str) -> bool:
        found = self._catalogue().services.get(service)
        return found is not None and found.status_page is not None

    def _said(self, run: Run) -> Update | None:
        return update(run, self._catalogue().services[run.service].title)

    async def _deliver(self, rows: Mapping[str, Slot]) -> None:
        """What was not taken yet; a hook that is away is left alone for a while."""
        said = ""
        for row in rows.values():
            if not row.ts and (fault := await self._one(row)):
                said = fault
        if said:
            return self._wait(said)
        self._taken()

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


async def _told(command: str) -> None:
    """What is sent is kept in the row: no run's record is about it."""
    log.info("%s", command)


def _body(u: Update) -> Json:
    """As the hook gets it."""
    began = datetime.fromtimestamp(u.began, UTC).isoformat(timespec="seconds")
    return {**asdict(u), "began": began}
