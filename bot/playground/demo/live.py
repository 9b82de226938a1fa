"""What is told of a rollback while it goes on: a line for each thing that people do and that Slack shows.

Invariant: it tells what stands in the workspace, read as a person reads it, and what customers are told; nothing of it
comes from inside the bot.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import textwrap
import time
from collections.abc import Callable
from types import TracebackType

from bot.playground.demo.stage import HERE, Stage
from bot.playground.workspace import Post

WIDTH = 118
_LOOK = 0.25
_CUSTOMERS, _SAME = 5.0, 20.0
"""Seconds between two words about payments; the same while nothing changes."""
_TASK = re.compile(r"^  \[(to do|under way|done|failed)\] (.*)$")
_FOLLOWED = ("checklist", "by-hand", "stakeholders")
"""Slots that are edited in place all the time: told once, when they appear."""
MOST = 9
"""Lines that are told of one post; the thread has all of it."""


class Live:
    """Tells while it is a context. say: takes one line."""

    def __init__(self, stage: Stage, say: Callable[[str], None]) -> None:
        self._stage, self._say = stage, say
        self._began = time.monotonic()
        self._known: dict[str, str] = {}
        self._tasks: dict[tuple[str, str], str] = {}
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Live:
        self._began = time.monotonic()
        self._loop = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop

    def tell(self, who: str, what: str) -> None:
        """One thing that happened; later lines of it are set under its first, MOST at most."""
        at = int(time.monotonic() - self._began)
        head = f"{at // 60:02d}:{at % 60:02d}  {who:<10} "
        wide = WIDTH - len(head)
        lines = [part for line in what.splitlines() or [""] for part in textwrap.wrap(line, wide) or [""]]
        if len(lines) > MOST:
            lines = [*lines[: MOST - 1], f"({len(lines) - MOST + 1} more lines stand in the thread)"]
        for i, line in enumerate(lines):
            self._say((" " * len(head) if i else head) + line)

    # -- watching ------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        told, share = 0.0, -1.0
        while True:
            self.look()
            late = self._stage.traffic.of_late(_CUSTOMERS)
            now = (late.failed + late.broken) / max(late.total, 1)
            if time.monotonic() - told > (_CUSTOMERS if abs(now - share) > 0.1 else _SAME):
                told, share = time.monotonic(), now
                self.tell("customers", payments(self._stage, _CUSTOMERS))
            await asyncio.sleep(_LOOK)

    def look(self) -> None:
        """Tell what is new in the channels."""
        for channel in (HERE, "status", "shop-private"):
            for post in self._stage.workspace.driver.read(channel):
                if post.by == "rollback":
                    self._post(post)

    def _post(self, post: Post) -> None:
        slot = str((post.metadata or {}).get("event_payload", {}).get("slot", ""))
        if slot == "root":
            self._root(post)
            return
        words = post.plain
        before = self._known.get(post.ts)
        self._known[post.ts] = words
        if before == words or (before is not None and slot.startswith(_FOLLOWED)):
            return
        if before is not None and before.partition("\n")[0] == words.partition("\n")[0]:
            return  # numbers in it have changed, and what it says has not
        where = "thread" if post.is_reply else f"#{post.channel}"
        lines = [line for line in words.splitlines() if line.strip()]
        if slot.startswith(_FOLLOWED[:2]):
            lines = lines[:1]
        self.tell(where[:10], "\n".join(lines))

    def _root(self, post: Post) -> None:
        lines = post.plain.splitlines()
        head = lines[0]
        if self._known.get(post.ts) != head:
            first = post.ts not in self._known
            self._known[post.ts] = head
            told = [line for line in lines if not line.startswith(" ")] if first else [_short(head)]
            self.tell("card", "\n".join(told))
        for line in lines:
            if (found := _TASK.match(line)) and found[1] in ("done", "failed"):
                name = found[2].partition(":")[0]
                if self._tasks.get((post.ts, name)) != found[2]:
                    self._tasks[post.ts, name] = found[2]
                    self.tell("  step", found[2])


def _short(head: str) -> str:
    """What is new in the first line of a card that is known."""
    return textwrap.shorten(head.partition(" · ")[2] or head, WIDTH - 18, placeholder=" …")


def payments(stage: Stage, seconds: float) -> str:
    """How customers fared: "41 of 50 payments fail"."""
    late = stage.traffic.of_late(seconds)
    bad = late.failed + late.broken
    return f"{bad} of {late.total} payments fail" if late.total else "nobody paid"
