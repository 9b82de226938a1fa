"""The record as JSON Lines: the stored bytes, row by row, and how such an export is checked by itself.

An export can be checked without this program (`docs/audit.md`): bodies stand in it byte for byte as stored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from bot.audit.verifying import Finding, Report
from bot.store import Store
from bot.store.chain import ZERO, Stored, event_hash


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
