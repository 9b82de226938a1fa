"""What is kept outside the database: by-hand files, and the newest link of the chain of checkpoints.

Invariants:
- the link outside is only ever replaced by a later one of the same chain: where the database lacks it (an older backup
  was restored, its tail was cut, it was rewritten) it stays, whatever is appended meanwhile, and is told;
- the bot does not start on such a database. A person may accept the loss: with a name and a reason, as an event that
  enters the chain; the link that was lost is kept beside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bot.audit.verifying import anchor_fault
from bot.blobs import BlobsUnavailable, FileBlobs
from bot.by_hand import Changes, Typed, by_hand, in_words
from bot.contract import Edit, Value
from bot.outage import Outage
from bot.policy import Actor
from bot.ports import Blob, Unreachable
from bot.releases import Releases
from bot.run import events as ev
from bot.run.state import Run, new_run
from bot.store import Store
from bot.store.chain import Checkpoint

log = logging.getLogger(__name__)

ANCHOR = "checkpoint.json"
"""The newest link."""
NEXT = (
    "The bot does not start on it. Next: stop every bot and restore the newest backup; or, where what came after is "
    'lost for good, look by hand what it did, then `rollback-bot audit accept-loss --reason "..."`.'
)
_QUIET = (ev.Recorded, ev.Noted, ev.Waiting, ev.Checked, ev.Reminded, ev.Paged)
"""What changes nothing of what is to be done by hand."""
_SAMPLED = (ev.Created, ev.Approved, ev.BrokeGlass, ev.Aborted, ev.Closed)


class RecordCut(Exception):
    """The database lacks what the copy outside it knows of; says what, and what to do."""


@dataclass(frozen=True, slots=True)
class ByHand:
    """The by-hand text of a run, with what large values hold. typed: a run -> the commands of its targets; Unreachable
    where they are not catalogued any more; foreseen: what steps would do of which the log does not say it yet; about:
    name of a handler -> what it does."""

    files: FileBlobs
    clock: Callable[[], float]
    typed: Callable[[Run], Typed]
    foreseen: Callable[[Run], Changes] = lambda run: {}
    about: Mapping[str, str] = field(default_factory=dict)

    async def of(self, run: Run) -> str:
        """The text, as of now."""
        typed: Typed = in_words
        foreseen = self.foreseen(run)
        whole = await self._large(run, foreseen)
        with contextlib.suppress(Unreachable):
            typed = self.typed(run)

        def lines(uses: str, edits: Sequence[Edit]) -> Sequence[str]:
            return typed(uses, [replace(e, before=whole(e.before), after=whole(e.after)) for e in edits])

        return by_hand(run, self.clock(), lines, foreseen, self.about)

    async def _large(self, run: Run, foreseen: Changes) -> Callable[[Value], Value]:
        """Value -> itself, or what a reference to a large one stands for, as far as it can be read."""
        found: dict[str, Value] = {}
        changes = [c for s in run.steps.values() for c in (s.made, s.released, s.change) if c is not None]
        for blob in {
            v
            for c in (*changes, *foreseen.values())
            for e in c.edits
            for v in (e.before, e.after)
            if isinstance(v, Blob)
        }:
            with contextlib.suppress(KeyError, ValueError, BlobsUnavailable):
                text = (await self.files.get(blob)).decode()
                found[blob.digest] = json.loads(text) if blob.type == "application/json" else text
        return lambda value: found.get(value.digest, value) if isinstance(value, Blob) else value


@dataclass(frozen=True, slots=True)
class Outside:
    """Watchers of the engine; the ledger, told how runs end, is one of them. clock: seconds since the epoch; by_hand:
    what is to be kept of a run for whoever has to go on without the bot."""

    files: FileBlobs
    store: Store
    releases: Releases
    clock: Callable[[], float]
    by_hand: Callable[[Run], Awaitable[str]] | None = None
    outage: Outage = field(default_factory=lambda: Outage("The record", log, words=("is cut", "is whole again")))
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def files_behind(self, run: Run, events: Sequence[ev.Event]) -> None:
        """Writes the by-hand file before each step acts, and whenever anything came of it or people said anything."""
        if not all(isinstance(e, _QUIET) for e in events):
            await self.file_behind(run)

    async def file_behind(self, run: Run) -> None:
        """Writes the by-hand file of a run as it is."""
        if self.by_hand is not None and run.created is not None:
            text = await self.by_hand(run)
            await asyncio.to_thread(self.files.put_anchor, f"by-hand/{run.id}.md", text)

    async def anchor(self, run: Run, events: Sequence[ev.Event]) -> None:
        """Keeps the newest checkpoint beside the files, so that a cut tail of the database shows."""
        if any(isinstance(e, _SAMPLED) for e in events):
            await self.keep()

    async def ledger(self, run: Run, events: Sequence[ev.Event]) -> None:
        """Tells the release ledger what a run found out about releases."""
        if any(isinstance(e, ev.Closed | ev.Retargeted) for e in events):
            await self.releases.after_run(run)

    async def whole(self) -> None:
        """RecordCut unless the database holds what the copy outside knows of."""
        if why := await self.missing():
            raise RecordCut(f"{why} {NEXT}")

    async def missing(self) -> str:
        """Why the copy outside does not fit the database; empty where it does, or where there is none yet."""
        return await missing(self.files, self.store)

    async def accept(self, by: Actor, reason: str) -> Checkpoint:
        """Goes on from the database as it is; the new head. ValueError where nothing is missing."""
        if not await self.missing():
            raise ValueError("Nothing is missing: the database holds what the copy outside it knows of.")
        lost = await asyncio.to_thread(self.files.get_anchor, ANCHOR) or ""
        last = await self.store.last_checkpoint()
        mark = secrets.token_hex(3)
        await asyncio.to_thread(self.files.put_anchor, f"checkpoint-lost-{mark}.json", lost)
        accepted = ev.LossAccepted(by, reason, lost[:2000], last.n if last is not None else 0)
        await self.store.append(new_run(f"loss-{mark}"), [accepted], self.clock(), checkpoint=True)
        head = await self.store.last_checkpoint()
        if head is None:
            raise RuntimeError("the checkpoint that was just written is not there")
        await asyncio.to_thread(self.files.put_anchor, ANCHOR, head.text)
        return head

    async def keep(self) -> None:
        """Puts the newest link outside, where it is a later one of what is kept there."""
        async with self._turn:
            await self._keep()

    async def _keep(self) -> None:
        last = await self.store.last_checkpoint()
        if last is None:
            return
        if why := await self.missing():
            self.outage.down(f"{why} {NEXT}")
            return
        self.outage.up()
        kept = await asyncio.to_thread(self.files.get_anchor, ANCHOR)
        if kept is None or Checkpoint.parse(kept).n < last.n:  # another node may be ahead of us
            await asyncio.to_thread(self.files.put_anchor, ANCHOR, last.text)


async def missing(files: FileBlobs, store: Store) -> str:
    """Why the copy outside does not fit the database; empty where it does."""
    text = await asyncio.to_thread(files.get_anchor, ANCHOR)  # first: the log only grows
    if text is None:
        return ""
    try:
        outside = Checkpoint.parse(text)
    except ValueError as e:
        return f"The copy of the chain's head outside the database is bad: {e}."
    there = await store.checkpoints(outside.n - 1)
    last = await store.last_checkpoint()
    fault = anchor_fault(there[0] if there else None, last.n if last is not None else 0, outside)
    return fault.text if fault is not None else ""
