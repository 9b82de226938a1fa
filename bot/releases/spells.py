"""When releases of one service served: `ports.releases` over the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bot.ports.releases import Served
from bot.releases.register import ReleaseRegister


@dataclass(frozen=True, slots=True)
class Spells:
    """Implements `bot.ports.releases.Releases`."""

    register: ReleaseRegister
    service: str

    async def served(self, version: str) -> Sequence[Served]:
        """See the port."""
        found = await self.register.get(self.service, version)
        spells = found.served if found is not None else ()
        return [Served(_moment(s.since), None if s.until is None else _moment(s.until)) for s in spells]


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
