"""What targets say, as much of it as a record needs: nothing that answers too much may keep a run from going on."""

from __future__ import annotations

from dataclasses import replace

from bot.contract import Status, Verdict, canonical

TEXT = 2000
"""Characters of one text."""
DATA = 16 * 1024
"""Bytes of what a check hands on."""


def text(words: str) -> str:
    """At most `TEXT` characters, with how long it was."""
    return words if len(words) <= TEXT else f"{words[:TEXT]}… ({len(words)} characters)"


def verdict(found: Verdict) -> Verdict:
    """The verdict, if its data can be kept; else that nothing is known, and why."""
    size = len(canonical(dict(found.data)).encode()) if found.data else 0
    if size <= DATA:
        return replace(found, observed=text(found.observed), expected=text(found.expected))
    what = f"{text(found.observed)[:200]}: {size} bytes of data, more than {DATA} are not kept"
    return Verdict(Status.UNKNOWN, what, text(found.expected))
