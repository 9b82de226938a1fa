"""The audit: is the record whole and as it was written; and the record of a run for others to read and to check.

Invariants:
- it trusts no index: every hash is computed anew from the stored bytes, by this process;
- the first bad row of a run is named with what is wrong; what follows it in that run proves nothing;
- it reads one moment, so a bot at work does not disturb it;
- an export can be checked without this program (`docs/audit.md`), and shows text as text, whatever is in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from bot.policy import Actor
from bot.run import events as ev
from bot.sentences import Names, details, sentence, who
from bot.store import SealedRow, Store
from bot.store.chain import ZERO, Checkpoint, Stored, checkpoint_hash, event_hash

What = Literal["gap", "prev", "hash", "cut", "missing run", "checkpoint", "index", "anchor", "line"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. seq: of the row, or of the checkpoint or line where there is no run."""

    what: What
    run: str
    seq: int
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a verification saw. faults: the first of each run, in the order of the log; empty: all is well."""

    rows: int
    runs: int
    checkpoints: int
    faults: tuple[Finding, ...] = ()
    head: str = ""
    """The last hash: of the checkpoint chain, or of the one run."""

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
            return f"{size}, head {self.head[:12] or 'none'}: verified"
        more = f" And {len(self.faults) - 1} more." if len(self.faults) > 1 else ""
        return f"{size}: NOT verified. {self.faults[0].text}{more}"


async def verify(store: Store, *, run: str | None = None, anchor: Checkpoint | None = None) -> Report:
    """Compute every hash again: of all runs, or of one.

    anchor: the newest checkpoint as kept outside the database (`Checkpoint.parse`); it must still be in there.
    """
    async with store.snapshot() as snapshot:
        checkpoints = await snapshot.checkpoints()
        heads = await snapshot.heads()
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
    walk.end()
    faults = [*([broken] if broken else []), *walk.faults, *_anchor_faults(checkpoints, anchor)]
    if run is not None and not walk.runs and not faults:
        faults.append(Finding("missing run", run, 0, f"There is no run {run}."))
    last = walk.head if run is not None and walk.rows else checkpoints[-1].chain if checkpoints else ""
    return Report(walk.rows, walk.runs, len(checkpoints), tuple(faults), last)


class _Walk:
    """One pass over the rows in order of run and seq. `over` is the hot loop: as little as possible per row."""

    def __init__(self, heads: Mapping[str, int], marks: Mapping[str, Mapping[int, str]]) -> None:
        self.heads, self.marks = heads, marks
        self.faults: list[Finding] = []
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
                Finding("missing run", run, 0, f"Run {run} is named by {known}, but has no rows: it was removed.")
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
            self.faults.append(Finding(what, run, seq, text))
        self.bad = True


def _chain_faults(checkpoints: Sequence[Checkpoint]) -> Iterator[Finding]:
    """The first fault of the checkpoint chain."""
    prev = ZERO
    for n, c in enumerate(checkpoints, 1):
        if c.n != n:
            yield Finding("checkpoint", c.run, c.seq, f"Checkpoint {n} is missing.")
        elif c.prev != prev or checkpoint_hash(c.prev, c.n, c.run, c.seq, c.hash) != c.chain:
            yield Finding("checkpoint", c.run, c.seq, f"Checkpoint {n} is not as it was written.")
        else:
            prev = c.chain
            continue
        return


def _anchor_faults(checkpoints: Sequence[Checkpoint], anchor: Checkpoint | None) -> Iterator[Finding]:
    if anchor is None:
        return
    found = next((c for c in checkpoints if c.n == anchor.n), None)
    named = f"checkpoint {anchor.n} (run {anchor.run}, row {anchor.seq}, {anchor.chain[:12]})"
    if found is None:
        text = f"The copy outside the database names {named}; the database ends at {len(checkpoints)}:"
        yield Finding("anchor", anchor.run, anchor.seq, f"{text} its tail was cut, or an older backup restored.")
    elif found.chain != anchor.chain:
        text = f"The copy outside the database names {named}; the database has another one: it was rewritten."
        yield Finding("anchor", anchor.run, anchor.seq, text)


# -- JSON Lines --------------------------------------------------------------------------------------------------------


async def export_jsonl(store: Store, run: str) -> str:
    """The rows of a run, one JSON object a line, bodies byte for byte as stored. LookupError for an unknown run."""
    rows = await store.events(run)
    if not rows:
        raise LookupError(f"there is no run {run}")
    return "".join(line + "\n" for line in jsonl(rows))


def jsonl(rows: Iterable[Stored]) -> Iterator[str]:
    """Each row as one line: run, seq, at (microseconds since the epoch), kind, prev, hash, and last the body.

    The stored body stands between `"body":` and the closing brace, unchanged. One that is no single line of JSON
    (it was tampered with) becomes a string under `body_text`.
    """
    for r in rows:
        start = json.dumps({"run": r.run, "seq": r.seq, "at": r.at, "kind": r.kind, "prev": r.prev, "hash": r.hash})
        if "\n" not in r.body and "\r" not in r.body and _is_json(r.body):
            yield f'{start[:-1]}, "body":{r.body}}}'
        else:
            yield f'{start[:-1]}, "body_text":{json.dumps(r.body)}}}'


def verify_jsonl(lines: Iterable[str]) -> Report:
    """Check an export by itself: every row from the first on, of one run or several one after another."""
    faults: list[Finding] = []
    run, seq, head, runs, bad, count = "", 0, ZERO, 0, False, 0
    for number, line in enumerate(lines, 1):
        count += 1
        try:
            row = _read(line.rstrip("\r\n"))
        except (ValueError, KeyError, TypeError) as e:
            faults.append(Finding("line", run, number, f"Line {number} is no row of a record: {e}."))
            bad = True
            continue
        if row.run != run or not runs:
            run, seq, head, bad, runs = row.run, 0, ZERO, False, runs + 1
        finding = _misfit(row, seq + 1, head)
        if finding and not bad:
            faults.append(finding)
        bad = bad or finding is not None
        seq, head = row.seq, row.hash
    return Report(count, runs, 0, tuple(faults), head if runs else "")


def _misfit(row: Stored, seq: int, head: str) -> Finding | None:
    where = f"row {row.seq} of run {row.run}"
    if row.seq != seq:
        return Finding("gap", row.run, row.seq, f"Expected row {seq}, found {where}.")
    if "\n" in row.kind or event_hash(row.prev, row.run, row.seq, row.at, row.kind, row.body) != row.hash:
        return Finding("hash", row.run, row.seq, f"The hash of {where} does not fit its content.")
    if row.prev != head:
        return Finding("prev", row.run, row.seq, f"The {where} does not follow the row before it.")
    return None


def _read(line: str) -> Stored:
    start, mark, body = line.partition(', "body":')
    if mark and body.endswith("}"):
        given = json.loads(start + "}")
        return Stored(**given, body=body[:-1])
    given = json.loads(line)
    return Stored(body=given.pop("body_text"), **given)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


# -- Markdown ----------------------------------------------------------------------------------------------------------


def export_markdown(rows: Sequence[Stored]) -> str:
    """The record of one run as a table for people: when (UTC), who (roles held, which way in), what."""
    events = [_event(r) for r in rows]
    created = next((e for e in events if isinstance(e, ev.Created)), None)
    names = Names.of(created.plan) if created else Names()
    lines = [*_title(rows, created), "| # | Time (UTC) | Who | What |", "|--:|---|---|---|"]
    for row, event in zip(rows, events, strict=True):
        what = "<br>".join([prose(sentence(event, names)), *(code(d) for d in details(event))])
        lines.append(f"| {row.seq} | {_time(row.at)} | {_who(who(event))} | {what} |")
    return "\n".join(lines) + "\n"


def _event(row: Stored) -> ev.Event:
    """The event of a row; one that cannot be read is shown as such, not left out."""
    try:
        return ev.decode(row.kind, row.body)
    except ValueError:
        return ev.Unknown(f"{row.kind}, which cannot be read", row.body)


def _title(rows: Sequence[Stored], created: ev.Created | None) -> list[str]:
    if not rows:
        return ["# An empty record", ""]
    last = rows[-1]
    title = f"{created.service}: {created.removed.version} → {created.target.version}" if created else last.run
    return [
        f"# Record of {prose(title)}",
        "",
        f"Run {code(last.run)}, {len(rows)} entries, {_time(rows[0].at)} to {_time(last.at)} UTC.",
        f"Head {code(last.hash)}: `rollback-bot audit verify` computes it again.",
        "",
    ]


def _who(actor: Actor | None) -> str:
    if actor is None:
        return "the bot"
    roles = f" ({', '.join(actor.roles)})" if actor.roles else ""
    return prose(f"{actor.name}{roles}, {actor.id} via {actor.via}")


def _time(us: int) -> str:
    at = datetime.fromtimestamp(us // 1_000_000, UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{us // 1000 % 1000:03}"


_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_SPECIAL = re.compile(r"([\\`*_\[\]|~#!])")
_ENTITIES = {c: f"&#{ord(c)};" for c in "&<>`*_[]|~\\"}


def prose(text: str) -> str:
    """Text for a cell of a Markdown table: shown as it is, whatever it holds; line breaks stay."""
    text = _SPECIAL.sub(r"\\\1", _visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return re.sub(r"\s*\n\s*", "<br>", text.strip())


def code(text: str) -> str:
    """The same in code font. Plain where backticks can do it, else with entities inside <code>."""
    text = _visible(text)
    if text.strip() and not re.search(r"[`\\\n]", text):
        return f"`{text.strip()}`".replace("|", "\\|")
    body = "".join(_ENTITIES.get(c, c) for c in text.strip("\n"))
    return f"<code>{body}</code>".replace("\n", "<br>")


def _visible(text: str) -> str:
    """Control characters and those that turn the direction of writing, as escapes that can be seen."""
    return _UNSEEN.sub(lambda m: f"\\u{ord(m[0]):04x}", text.replace("\r\n", "\n").replace("\t", " "))
