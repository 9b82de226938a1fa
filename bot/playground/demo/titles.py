"""The one list of the demo's stories: what each is called and what happens in it; light enough for any help text."""

from __future__ import annotations

TITLES = {
    "rollback": "a bad release, and the previous one comes back",
    "schema-keep": "the same: a dba keeps what it has done to the schema",
    "schema-down": "no backup can be read, and its schema is taken down",
    "schema-restore": "the same as the first, and its database comes back from the backup",
    "bad-target": "the previous one is bad too, and another is chosen in the same run",
    "forward": "the release was not the cause, and is brought forward again",
    "partial": "a region goes away half-way, and comes back later",
    "frontend-only": "pages alone are bad, and only they go back",
    "abort": "a rollback is given up half-way, and taken back from the record",
}


def listed() -> str:
    """A line each."""
    return "\n".join(f"  {name:<15} {title}" for name, title in TITLES.items())
