"""The record of a run as one HTML page: who asked for what, how it ended, and everything in between with its time.

Invariants:
- one file that needs nothing else: no script, no address of elsewhere; a policy in the page forbids it to load any;
- it reads the same by eye, by keyboard and by ear: landmarks, headings, tables, nothing told by colour alone;
- whatever a text holds is shown as text: every value goes through `_t`;
- what the page says of the hashes, it has computed from the rows that it shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Literal

from bot.audit.entries import AuditEntry, RecordedRun, actor_words, day, time_of_day
from bot.audit.entries import escaped as _t
from bot.audit.overview import overview
from bot.run import events as ev
from bot.run.decide import RELEASING
from bot.store.chain import Stored
from bot.store.signing import Keys, LogRow, believed
from bot.telling.sentences import who
from bot.telling.times import duration, seat

Mark = Literal["", "decision", "person", "trouble", "done"]

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What the page may load: its own styles and the pictures in it, nothing else."""
LONG = 60.0
"""Seconds without any entry from which on the page says that time passed."""

_DECISION = (
    ev.Approved, ev.Declined, ev.BrokeGlass, ev.Agreed, ev.Retargeted, ev.FixAdmitted, ev.Skipped, ev.Accepted,
    ev.HandedOver, ev.Aborted, ev.FreezeOverridden,
)  # fmt: skip
_TROUBLE = (ev.Failed, ev.Lost, ev.Drifted, ev.Relocated, ev.Unknown)
_DONE = (ev.Applied, ev.Undone, ev.Restored, ev.Adopted, ev.Checked, ev.Closed)


def html(
    rows: Sequence[Stored], pictures: Mapping[str, bytes] | None = None, links: Mapping[str, str] | None = None
) -> str:
    """The page, from all rows of one run in order. Open runs are shown as they stood at the last row. pictures: digest
    -> PNG of what was kept, to be shown; links: digest -> where a file lies beside the page."""
    record = RecordedRun.of(rows)
    style = resources.files("bot.audit").joinpath("timeline.css").read_text(encoding="utf-8")
    title = _title(record)
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{_t(title)}</title>",
        f"<style>\n{style}</style>",
        '<a class="skip" href="#happened">Skip to what happened</a>' if record.entries else "",
        f"<header>\n<h1>{_t(title)}</h1>",
        *_header(record),
        "</header>\n<main>",
        *overview(record, pictures or {}, links or {}),
        *_timeline(record),
        *_proof(record),
        "</main>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


# -- the header --------------------------------------------------------------------------------------------------------


def _title(record: RecordedRun) -> str:
    c = record.created
    if c is None:
        return f"Record of run {record.entries[0].row.run}" if record.entries else "An empty record"
    word = {"rollback": "Rollback", "forward": "Roll forward"}.get(c.purpose, c.purpose.capitalize())
    return f"{word} of {c.service}: {c.removed.version} → {_target(record)}"


def _target(record: RecordedRun) -> str:
    moved = [e.event for e in record.entries if isinstance(e.event, ev.Retargeted)]
    release = moved[-1].target if moved else record.created.target if record.created else None
    return release.version if release else ""


def _header(record: RecordedRun) -> Iterator[str]:
    if not record.entries:
        return
    first, last = record.entries[0].row, record.entries[-1].row
    yield f'<p class="outcome {_verdict(record)}">{_outcome(record)}</p>'
    yield "<dl>"
    if (c := record.created) is not None:
        yield _fact("Why", c.reason)
        yield _fact("Asked for by", actor_words(c.by))
        if c.follows:
            yield _fact("Takes back" if c.purpose in RELEASING else "About", f"run {c.follows}")
        steps = len(c.plan.steps)
        yield _fact("Plan", f"{c.plan.name}, {steps} {'step' if steps == 1 else 'steps'}")
    yield _fact("From", f"{day(first.at)} {time_of_day(first.at)} UTC")
    yield _fact("To", f"{day(last.at)} {time_of_day(last.at)} UTC")
    if decided := "\n".join(_decided(record)):
        yield _fact("Decided", decided)
    yield _fact("Run", last.run)
    yield "</dl>"


def _verdict(record: RecordedRun) -> str:
    if record.closed is None:
        return "open"
    return "good" if record.closed.outcome == "verified" else "other"


def _outcome(record: RecordedRun) -> str:
    took = duration((record.entries[-1].row.at - record.entries[0].row.at) / 1e6)
    if record.closed is None:
        return f"<b>Not ended</b> by its last entry, {took} after the start"
    at = next(e.row.at for e in record.entries if e.event is record.closed)
    took = duration((at - record.entries[0].row.at) / 1e6)
    note = f": {_t(record.closed.note)}" if record.closed.note else ""
    return f"<b>{_t(record.closed.outcome.capitalize())}</b> after {took}{note}"


def _decided(record: RecordedRun) -> Iterator[str]:
    """Each decision that people passed, by whom and when, and which seat their yes filled in the end."""
    moved = {(e.event.decision, who): role for e in record.entries if isinstance(e.event, ev.Approved)
             for who, role in e.event.moved.items()}  # fmt: skip
    for e in record.entries:
        if isinstance(e.event, ev.Approved | ev.BrokeGlass):
            role = e.event.role if isinstance(e.event, ev.Approved) else ""
            role = moved.get((e.event.decision, e.event.by.id), role)
            how = (
                f"as {seat(role, e.event.young)}"
                if isinstance(e.event, ev.Approved)
                else "alone, by breaking the glass"
            )
            name = record.names.decision(e.event.decision)
            yield f"{name}: {e.event.by.name} {how}, {time_of_day(e.row.at)[:8]}"


def _fact(name: str, text: str) -> str:
    return f"<div><dt>{name}</dt><dd>{_t(text)}</dd></div>"


# -- the timeline ------------------------------------------------------------------------------------------------------


def _timeline(record: RecordedRun) -> Iterator[str]:
    if not record.entries:
        return
    yield '<section aria-labelledby="happened"><h2 id="happened">What happened</h2>'
    yield '<p class="hint">Times are UTC; below each, the time since the start. What people decided is '
    yield "set off; entries without a name are the bot's.</p>"
    yield '<ol class="timeline">'
    start = before = record.entries[0].row.at
    date = ""
    for entry in record.entries:
        at = entry.row.at
        if (today := day(at)) != date:
            date = today
            yield f'<li class="day">{_t(today or "in no calendar")}</li>'
        elif at - before >= LONG * 1e6:
            yield f'<li class="pause">{duration((at - before) / 1e6)} later</li>'
        yield from _item(entry, start)
        before = at
    yield "</ol></section>"


def _item(entry: AuditEntry, start: int) -> Iterator[str]:
    mark = _mark(entry.event)
    label = f'<span class="label">{mark}</span>' if mark in ("decision", "trouble") else ""
    seq, at = entry.row.seq, entry.row.at
    yield f'<li class="{mark or "plain"}" id="e{seq}">'
    since = _since(at - start)
    yield f'<div class="when"><time datetime="{_iso(at)}">{_t(time_of_day(at))}</time><span>{since}</span></div>'
    yield f'<div class="what"><p class="said">{label}{_t(entry.said)}</p>'
    if (person := who(entry.event)) is not None:
        yield f'<p class="by"><b>{_t(person.name)}</b>{_t(entry.by.removeprefix(person.name))}</p>'
    yield from _details(entry)
    yield f'</div><a class="seq" href="#e{seq}" aria-label="Entry {seq}">{seq}</a></li>'


def _details(entry: AuditEntry) -> Iterator[str]:
    """Folded, but for the one line that is the point of its entry: the command."""
    lines, n = "".join(f"<pre>{_t(d)}</pre>" for d in entry.details), len(entry.details)
    if isinstance(entry.event, ev.Recorded):
        yield lines
    elif lines:
        yield f"<details><summary>{n} {'detail' if n == 1 else 'details'}</summary>{lines}</details>"


def _mark(event: ev.Event) -> Mark:
    """What kind of entry it is, for the eye. Trouble outranks the rest."""
    if isinstance(event, _TROUBLE) or (isinstance(event, ev.Checked) and event.verdict.status not in ("pass", "warn")):
        return "trouble"
    if isinstance(event, _DECISION):
        return "decision"
    if isinstance(event, _DONE):
        return "done"
    return "person" if who(event) else ""


def _since(us: int) -> str:
    """ "+0.1 s", "+45 s", "+5 min 15 s"."""
    sign, seconds = ("-" if us < 0 else "+"), abs(us) / 1e6
    return f"{sign}{seconds:.1f} s" if seconds < 10 else f"{sign}{duration(seconds)}"


def _iso(us: int) -> str:
    return f"{day(us)}T{time_of_day(us)}Z" if day(us) else ""


# -- the proof ---------------------------------------------------------------------------------------------------------


def _proof(record: RecordedRun) -> Iterator[str]:
    if not record.entries:
        return
    rows = [e.row for e in record.entries]
    last = rows[-1]
    plain = [LogRow(r.seq, r.at, r.kind, r.body, r.prev, r.hash) for r in rows]
    _, wrong = believed(last.run, 0, "", plain, Keys())
    n = len(rows)
    yield '<section class="proof" aria-labelledby="proof"><h2 id="proof">Is this the record?</h2>'
    if not wrong:
        yield f"<p>Each of the {n} entries carries the hash of the one before it. All were computed again when this "
        yield "page was written, and fit. The last one is the head:</p>"
    else:
        yield f'<p class="bad"><b>No: this record was altered.</b> {_t(wrong[0].upper() + wrong[1:])}.</p>'
        yield "<p>The head as it is stored:</p>"
    yield f'<pre class="head">{_t(last.hash)}</pre>'
    moves = "" if record.closed else " (or of a later one: the run was not over when this page was written)"
    yield "<p>A page can be edited, so do not trust it, but compare. This computes every hash in the bot's database "
    yield f"again, and must print the first digits of the same head{moves}:</p>"
    yield f"<pre>rollback-bot audit {_t(_word(last.run))} verify</pre>"
    yield "<p>And this writes the entries as they are stored, to be checked without the bot (SHA-256):</p>"
    yield f"<pre>rollback-bot audit {_t(_word(last.run))} export --format jsonl</pre></section>"


def _word(run: str) -> str:
    """The run as one word of a shell."""
    return run if re.fullmatch(r"[\w.:@/-]+", run, re.ASCII) else "'" + run.replace("'", "'\"'\"'") + "'"
