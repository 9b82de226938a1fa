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
MOST = 4
"""Rows that are told of one post; the thread has all of it."""
PLENTY = 28
"""Rows after which the rest is told in one row each."""
_LOOK = 0.25
_CUSTOMERS, _TURN = 5.0, 0.4
"""Seconds between two words about payments, and how much of them must have begun or ceased to fail since the last."""
_TASK = re.compile(r"^  \[(to do|under way|done|failed)\] (.*)$")
_FOLLOWED = ("by-hand", "checklist", "stakeholders")
"""Slots that are edited in place all the time: told once, when they appear, or (by hand) not at all."""
_PASSING = ("at work: ", "waiting for an approver")
"""What a card says for a moment, or what a decision of its own says as well."""
_UNTOLD = ("[file: ", "Files: ", "[image: ", "Reversible.")


class Live:
    """Tells while it is a context. say: takes one line."""

    def __init__(self, stage: Stage, say: Callable[[str], None]) -> None:
        self._stage, self._say = stage, say
        self._began = time.monotonic()
        self._known: dict[str, str] = {}
        self._said: dict[str, set[str]] = {}
        self._told = 0
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
        """One thing that happened; later lines of it are set under its first, `MOST` rows at most."""
        at = int(time.monotonic() - self._began)
        head = f"{at // 60:02d}:{at % 60:02d}  {who:<10} "
        wide = WIDTH - len(head)
        if self._told < PLENTY:
            first, *more = what.splitlines() or [""]
            rows = textwrap.wrap(first, wide, max_lines=3, placeholder=" …") or [""]
            rows += [textwrap.shorten(line, wide, placeholder=" …") for line in more]
        else:
            rows = [textwrap.shorten(" · ".join(what.splitlines()), wide, placeholder=" …")]
        self._told += len(rows[:MOST])
        for i, row in enumerate(rows[:MOST]):
            self._say((" " * len(head) if i else head) + row)

    # -- watching ------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        told, share = 0.0, 0.0
        while True:
            self.look()
            late = self._stage.traffic.of_late(_CUSTOMERS)
            now = (late.failed + late.broken) / max(late.total, 1)
            if time.monotonic() - told > _CUSTOMERS and abs(now - share) > _TURN:
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
        lines = [line for line in words.splitlines() if line.strip() and not line.startswith((" ", *_UNTOLD))]
        if not lines or slot.startswith("by-hand"):
            return
        where = "thread" if post.is_reply else f"#{post.channel}"[:10]
        self.tell(where, "\n".join(lines[: 1 if slot.startswith("checklist") else MOST]))

    def _root(self, post: Post) -> None:
        lines = post.plain.splitlines()
        known = self._said.setdefault(post.ts, set())
        news = [said for said in re.split(r" · |; ", lines[0]) if said not in known]
        if not known:
            self.tell("card", "\n".join(line for line in lines if not line.startswith(" ")))
        elif told := [said for said in news if not said.startswith(_PASSING)]:
            self.tell("card", "; ".join(told))
        known.update(news)
        for line in lines:
            if (found := _TASK.match(line)) and found[1] in ("done", "failed"):
                name = found[2].partition(":")[0]
                if self._tasks.get((post.ts, name)) != found[2]:
                    self._tasks[post.ts, name] = found[2]
                    self.tell("  track", f"{found[2]} {found[1]}")


def payments(stage: Stage, seconds: float) -> str:
    """How customers fared: "41 of 50 payments fail"."""
    late = stage.traffic.of_late(seconds)
    bad = late.failed + late.broken
    return f"{bad} of {late.total} payments fail" if late.total else "nobody paid"
