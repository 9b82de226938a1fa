"""The record of a run as Markdown: a table for people. Whatever a text holds, it stays in its cell."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bot.audit.entries import AuditEntry, RecordedRun, day, time_of_day, visible
from bot.store.chain import Stored


def export_markdown(rows: Sequence[Stored]) -> str:
    """The record of one run as a table for people: when (UTC), who (roles held, which way in), what."""
    record = RecordedRun.of(rows)
    lines = [*_title(record), "| # | Time (UTC) | Who | What |", "|--:|---|---|---|"]
    for e in record.entries:
        what = "<br>".join([prose(e.said), *(code(d) for d in e.details)])
        lines.append(f"| {e.row.seq} | {_time(e)} | {prose(e.by)} | {what} |")
    return "\n".join(lines) + "\n"


def _title(record: RecordedRun) -> list[str]:
    if not record.entries:
        return ["# An empty record", ""]
    created, first, last = record.created, record.entries[0], record.entries[-1]
    title = f"{created.service}: {created.removed.version} → {created.target.version}" if created else last.row.run
    return [
        f"# Record of {prose(title)}",
        "",
        f"Run {code(last.row.run)}, {len(record.entries)} entries, {_time(first)} to {_time(last)} UTC.",
        f"Head {code(last.row.hash)}: `rollback-bot audit verify` computes it again.",
        "",
    ]


def _time(entry: AuditEntry) -> str:
    return f"{day(entry.row.at)} {time_of_day(entry.row.at)}".strip()


_SPECIAL = re.compile(r"([\\`*_\[\]|~#!])")
_ENTITIES = {c: f"&#{ord(c)};" for c in "&<>`*_[]|~\\"}


def prose(text: str) -> str:
    """Text for a cell of a Markdown table: shown as it is, whatever it holds; line breaks stay."""
    text = _SPECIAL.sub(r"\\\1", visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))
    return re.sub(r"\s*\n\s*", "<br>", text.strip())


def code(text: str) -> str:
    """The same in code font. Plain where backticks can do it, else with entities inside <code>."""
    text = visible(text)
    if text.strip() and not re.search(r"[`\\\n]", text):
        return f"`{text.strip()}`".replace("|", "\\|")
    body = "".join(_ENTITIES.get(c, c) for c in text.strip("\n"))
    return f"<code>{body}</code>".replace("\n", "<br>")
