"""When releases of the service served, as the ledger has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Served:
    """A time in which a release served everywhere. until None: it serves now."""

    since: datetime
    until: datetime | None = None


class Releases(Protocol):
    """The ledger of one service, to be read."""

    async def served(self, version: str) -> Sequence[Served]:
        """When it served, oldest first; none for a version that is not registered."""
        ...
