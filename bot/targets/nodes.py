"""What nodes tell each other of where their catalogues lead.

Invariants:
- it is told by the digests of the places: so a run whose place nobody knows any more can be told from one that only
  this node does not know;
- what is said of a place holds no secret.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from pydantic import TypeAdapter

from bot.ports import Where
from bot.store.lease import Lease
from bot.store.log import Store
from bot.store.rows import Known

HEARD = 2.0
"""Seconds for which what other nodes say is not asked again."""
TOLD = "places/"
"""What the database keeps a node's places under, with its id."""
KEEP = 3600.0
"""Seconds for which what a node said is kept behind its end."""

Places = Mapping[str, Mapping[str, Where]]
"""Service -> target -> which place it is."""
_SAID: TypeAdapter[Places] = TypeAdapter(dict[str, dict[str, Where]])


class Nodes:
    """What nodes tell each other of their places. lease: this node's, once it has one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lease: Lease | None = None
        self._told = ""
        self._heard: tuple[float, Mapping[str, Places | None]] = (float("-inf"), {})

    async def tell(self, places: Places) -> None:
        """What this one's catalogue says: service -> target -> place."""
        body = _SAID.dump_json(dict(places)).decode()
        if self.lease is not None and body != self._told:
            await self._store.put_known(Known(TOLD + self.lease.id, body, time.time()))
            self._told = body

    async def others(self) -> Mapping[str, Places | None]:
        """Node -> what it says, of those that are alive; None where it has said nothing (yet)."""
        at, known = self._heard
        if self.lease is None or time.monotonic() - at < HEARD:
            return known
        if alive := await asyncio.to_thread(self.lease.alive_nodes) - {self.lease.id}:
            rows = {k.name.removeprefix(TOLD): k for k in await self._store.all_known(TOLD)}
            for node in rows.keys() - alive - {self.lease.id}:
                if rows[node].at < time.time() - KEEP:
                    await self._store.forget(TOLD + node)
            known = {node: _said(rows[node].body) if node in rows else None for node in sorted(alive)}
        else:
            known = {}
        self._heard = (time.monotonic(), known)
        return known


def _said(body: str) -> Places | None:
    try:
        return _SAID.validate_json(body)
    except ValueError:  # of another version
        return None
