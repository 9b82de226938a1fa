"""Is the record whole, and as it was written?

Invariants:
- it trusts no index, and says where that differs: every hash is computed anew from the stored bytes, by this process;
- the first bad row of a run is named with what is wrong; what follows it in that run proves nothing;
- it reads one moment, so a bot at work does not disturb it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from bot.run.events import CHECKPOINTED
from bot.store.chain import ZERO, Checkpoint, checkpoint_hash
from bot.store.log import Keys, SealedRow, Store
from bot.store.reading import IndexEntry
from bot.store.signing import Seal

_KINDS = frozenset(c.kind for c in CHECKPOINTED)

What = Literal[
    "gap", "prev", "hash", "cut", "missing run", "checkpoint", "index", "anchor", "line", "signature", "triggers",
]  # fmt: skip


Signatures = Literal["", "hold", "not checked"]


@dataclass(frozen=True, slots=True)
class RecordFault:
    """One thing that is wrong. seq: of the row, or of the checkpoint or line where there is no run."""

    what: What
    run: str
    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification saw. faults: the first of each run, in the order of the log; empty: all is well."""

    rows: int
    runs: int
    checkpoints: int
    faults: tuple[RecordFault, ...] = ()
    head: str = ""
    """The last hash: of the checkpoint chain, or of the one run."""
    losses: tuple[str, ...] = ()
    """Where a person accepted that something was lost; their entries say who, why and what."""
    signatures: Signatures = ""
    """Of the newest row of each run, and of the newest checkpoint; "hold" where no fault says otherwise; empty where
    there are none."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    @property
    def text(self) -> str:
        """One line for people: the verdict, or the first fault."""
        size = f"{self.rows} {'entry' if self.rows == 1 else 'entries'}"
        size += f" of {self.runs} {'run' if self.runs == 1 else 'runs'}"
        if self.ok:
            lost = f"; a loss was accepted in {', '.join(self.losses)}" if self.losses else ""
            signed = {
                "": "",
                "hold": ", signed by known keys",
                "not checked": ", signatures not checked (no key is known)",
            }
            return f"{size}, head {self.head[:12] or 'none'}: verified{signed[self.signatures]}{lost}"
        more = f" And {len(self.faults) - 1} more." if len(self.faults) > 1 else ""
        return f"{size}: NOT verified. {self.faults[0].text}{more}"


async def verify(store: Store, *, run: str | None = None, anchor: Checkpoint | None = None) -> Verification:
    """Compute every hash again: of all runs, or of one.

    anchor: the newest checkpoint as kept outside the database (`Checkpoint.parse`); it must still be in there.
    Signatures are checked where the store knows keys; the index and the triggers are looked at, too.
    """
    async with store.snapshot() as snapshot:
        checkpoints = await snapshot.checkpoints()
        heads = await snapshot.heads()
        losses = await snapshot.losses()
        if run is not None:
            heads = {r: seq for r, seq in heads.items() if r == run}
        broken = next(_chain_faults(checkpoints), None)
        marks: dict[str, dict[int, str]] = {}
        for c in checkpoints:
            if broken is None and run in (None, c.run):  # a broken chain accuses nobody
                marks.setdefault(c.run, {})[c.seq] = c.hash
        walk = _Walk(heads, marks)
        async for rows in snapshot.chain(run):
            walk.over(rows)
        unlinked = await snapshot.unlinked(_KINDS)
        entries = await snapshot.entries()
        seals = await snapshot.seals()
        unguarded = await snapshot.unguarded()
    walk.end()
    bad = {f.run for f in walk.faults}
    ours = [f for f in (*_unlinked(unlinked), *_entry_faults(entries)) if f.run not in bad and run in (None, f.run)]
    unsigned = [f for f in _seal_faults(seals, store.keys) if run in (None, f.run) or not f.run]
    faults = [*([broken] if broken else []), *walk.faults, *ours, *unsigned, *_anchor_faults(checkpoints, anchor)]
    faults += [RecordFault("triggers", "", 0, unguarded.partition(" Next: ")[0])] if unguarded else []
    if run is not None and not walk.runs and not faults:
        faults.append(RecordFault("missing run", run, 0, f"There is no run {run}."))
    last = walk.head if run is not None and walk.rows else checkpoints[-1].chain if checkpoints else ""
    signed: Signatures = "" if not any(s.signatures for s in seals) else "hold" if store.keys.known else "not checked"
    return Verification(
        walk.rows, walk.runs, len(checkpoints), tuple(faults), last, losses if run is None else (), signed
    )


class _Walk:
    """One pass over the rows in order of run and seq. `over` is the hot loop: as little as possible per row."""

    def __init__(self, heads: Mapping[str, int], marks: Mapping[str, Mapping[int, str]]) -> None:
        self.heads, self.marks = heads, marks
        self.faults: list[RecordFault] = []
        self.rows = self.runs = 0
        self.run: str | None = None
        self.seq = 0
        self.head = ZERO
        self.bad = False
        self.due: Mapping[int, str] = {}
        self.met: set[str] = set()

    def over(self, rows: Sequence[SealedRow]) -> None:
        """A chunk of rows."""
        run, seq, hash_, due, digest = self.run, self.seq, self.head, self.due, sha256
        begins = f"{hash_}\n".encode()
        for of, n, hash_, sealed in rows:
            if of != run:
                self.seq = seq
                self._next(of)
                run, seq, due, begins = of, 0, self.due, f"{ZERO}\n".encode()
            seq += 1
            if n != seq or not sealed.startswith(begins) or digest(sealed).hexdigest() != hash_:
                self._bad(of, n, seq, hash_, sealed)
                seq = n
            if n in due and due[n] != hash_:
                self._add("checkpoint", of, n, f"Row {n} of run {of} is not the one that was checkpointed.")
            begins = f"{hash_}\n".encode()
        self.run, self.seq, self.head = run, seq, hash_
        self.rows += len(rows)

    def end(self) -> None:
        """After the last row: what should have been there and was not."""
        self._close()
        for run in sorted((self.heads.keys() | self.marks.keys()) - self.met):
            known = "the index" if run in self.heads else "a checkpoint"
            self.faults.append(
                RecordFault("missing run", run, 0, f"Run {run} is named by {known}, but has no rows: it was removed.")
            )

    def _next(self, run: str) -> None:
        self._close()
        self.run, self.bad = run, False
        self.due = self.marks.get(run, {})
        self.runs += 1
        self.met.add(run)

    def _close(self) -> None:
        """At the last row of a run."""
        run, last = self.run, self.seq
        if run is None:
            return
        known = max([*self.due, self.heads.get(run, 0)])
        if known > last:
            self._add("cut", run, last, f"Run {run} ends at row {last}, but row {known} was there: its tail was cut.")
        elif run not in self.heads:
            self._add("index", run, last, f"Run {run} is not in the index (table head), so nothing looks after it.")
        elif self.heads[run] < last:
            known = self.heads[run]
            self._add("index", run, last, f"Run {run} has {last} rows, the index knows {known}: rows were added.")

    def _bad(self, run: str, n: int, seq: int, hash_: str, sealed: bytes) -> None:
        row = f"Row {n} of run {run}"
        if n != seq:
            missing = f"row {seq} is" if n == seq + 1 else f"rows {seq} to {n - 1} are"
            text = f"{missing[0].upper()}{missing[1:]} missing" if n > seq else f"Row {n} comes before the first"
            self._add("gap", run, n, f"{text} in run {run}.")
        elif sha256(sealed).hexdigest() != hash_:
            self._add("hash", run, n, f"{row} is not as it was written: its hash does not fit its content.")
        else:
            self._add("prev", run, n, f"{row} does not follow the row before it: one of them was replaced.")

    def _add(self, what: What, run: str, seq: int, text: str) -> None:
        if not self.bad:
            self.faults.append(RecordFault(what, run, seq, text))
        self.bad = True


def _chain_faults(checkpoints: Sequence[Checkpoint]) -> Iterator[RecordFault]:
    """The first fault of the checkpoint chain."""
    prev = ZERO
    for n, c in enumerate(checkpoints, 1):
        if c.n != n:
            yield RecordFault("checkpoint", c.run, c.seq, f"Checkpoint {n} is missing.")
        elif c.prev != prev or checkpoint_hash(c.prev, c.n, c.run, c.seq, c.hash) != c.chain:
            yield RecordFault("checkpoint", c.run, c.seq, f"Checkpoint {n} is not as it was written.")
        else:
            prev = c.chain
            continue
        return


def _unlinked(rows: Iterable[tuple[str, int, str]]) -> Iterator[RecordFault]:
    for run, seq, kind in rows:
        yield RecordFault("checkpoint", run, seq, f"Row {seq} of run {run} ({kind}) is in no checkpoint: it was added.")


def _entry_faults(entries: Iterable[IndexEntry]) -> Iterator[RecordFault]:
    """What the index says otherwise than the log: whoever believes it looks after too much, or not enough."""
    for e in entries:
        begun = _began(e)
        told = {
            "service": (e.service, begun.get("service", e.service)),
            "purpose": (e.kind, begun.get("purpose", e.kind)),
            "end": (e.closed, e.ended),
            "state": (e.open, e.open if e.ended is not None and e.undone else bool(begun) and e.ended is None),
        }
        for what, (found, meant) in told.items():
            if found != meant and not (what == "state" and e.closed != e.ended):
                said = f"the index has {found!r} for its {what}, the log {meant!r}"
                if what == "state":
                    said = f"the index calls it {_word(e.open)}, the log {_word(not e.open)}"
                yield RecordFault("index", e.run, 0, f"Run {e.run} is not in the index as it is: {said}.")


def _word(open: bool) -> str:
    return "open" if open else "ended"


def _began(e: IndexEntry) -> Mapping[str, str]:
    """How the run began; empty where that is not told, or cannot be read."""
    try:
        found = json.loads(e.began or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _seal_faults(seals: Iterable[Seal], keys: Keys) -> Iterator[RecordFault]:
    for s in seals if keys.known else ():
        if why := keys.doubt(s):
            what = f"Row {s.seq} of run {s.run}, its last," if s.run else f"Checkpoint {s.seq}, the last,"
            yield RecordFault("signature", s.run, s.seq, f"{what} {why}.")


def _anchor_faults(checkpoints: Sequence[Checkpoint], anchor: Checkpoint | None) -> Iterator[RecordFault]:
    if anchor is not None:
        found = next((c for c in checkpoints if c.n == anchor.n), None)
        if (fault := anchor_fault(found, len(checkpoints), anchor)) is not None:
            yield fault


def anchor_fault(found: Checkpoint | None, last: int, anchor: Checkpoint) -> RecordFault | None:
    """What is wrong where the database has `found` in the place of the checkpoint kept outside, and ends at `last`."""
    named = f"checkpoint {anchor.n} (run {anchor.run}, row {anchor.seq}, {anchor.chain[:12]})"
    if found is None or found.n != anchor.n:
        text = f"The copy outside the database names {named}; the database ends at {last}:"
        text += " its tail was cut, or an older backup restored."
    elif found.chain != anchor.chain:
        text = f"The copy outside the database names {named}; the database has another one: it was rewritten."
    else:
        return None
    return RecordFault("anchor", anchor.run, anchor.seq, text)
