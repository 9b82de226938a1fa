"""The audit: is the record whole and as it was written; and the record of a run for others to read and to check.

`verifying` judges what is stored, `json_lines` exports it byte for byte, `archive` with all that belongs to it;
`markdown` and `timeline` write it for people from the same `entries`. An export shows text as text, whatever is in it.
"""

from bot.audit.archive import ArchiveSources, Packed, archive
from bot.audit.entries import AuditEntry, RecordedRun
from bot.audit.json_lines import export_jsonl, exported, line
from bot.audit.markdown import code, export_markdown, prose
from bot.audit.named import pictures_of
from bot.audit.timeline import POLICY, html
from bot.audit.verifying import RecordFault, Verification, verify

__all__ = [
    "POLICY",
    "ArchiveSources",
    "AuditEntry",
    "Packed",
    "RecordFault",
    "RecordedRun",
    "Verification",
    "archive",
    "code",
    "export_jsonl",
    "export_markdown",
    "exported",
    "html",
    "line",
    "pictures_of",
    "prose",
    "verify",
]  # fmt: skip
