"""What is kept of an incident for a while and for few eyes: logs and events hold people's data."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bot.ports import Blob


class Evidence(Protocol):
    """A place of its own, apart from the record's files: nobody is shown it in Slack, and it is deleted in time."""

    async def keep(self, text: str, until: datetime) -> Blob:
        """Keeps a text, compressed, until a day has passed; secrets are taken out of it first. Again is harmless: the
        same text is the same file. Unreachable where it cannot be written."""
        ...
