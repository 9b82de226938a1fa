"""What is to be seen in Slack: messages by slot. Values only; `render` makes them, the publisher posts them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bot.contract import Json, canonical

Block = Mapping[str, Json]
Urgency = Literal["decision", "news", "live"]
"""decision: gates, halts and ends, before everything else; news: other new posts; live: cards that are redrawn."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of Slack. text: all of it in plain text, for notifications and for whoever sees no blocks."""

    text: str
    blocks: tuple[Block, ...] = ()

    @property
    def digest(self) -> str:
        """Changes exactly when the message does; 32 hex digits."""
        return hashlib.sha256(canonical([self.text, list(self.blocks)]).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file to be attached in the thread. what: which content (`audit.md`, `timeline.html`, a blob's digest); alt:
    what a picture shows, for whoever does not see it."""

    name: str
    title: str
    what: str
    alt: str = ""


@dataclass(frozen=True, slots=True)
class Post:
    """One message of a run. slot: its name in the run, for ever the same; channel: as catalogued (`#incidents`, `C…`);
    under: the slot whose thread it stands in, empty for the channel itself; shown there as well: `broadcast`.

    A post is made once and then kept equal to `message`; where `fixed` it stays as it was first posted (it mentions
    people, or says what was true then).
    """

    slot: str
    channel: str
    message: Message
    under: str = ""
    urgency: Urgency = "live"
    fixed: bool = False
    broadcast: bool = False
    files: tuple[Upload, ...] = ()


@dataclass(frozen=True, slots=True)
class Screen:
    """Everything that Slack is to show of a run, in the order of posting. again: when it will look different although
    nothing happened (seconds since the epoch), None: only when something happens."""

    posts: tuple[Post, ...]
    again: float | None = None
