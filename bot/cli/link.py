"""To the bot: over HTTP as the person whose token this is, or straight to the database of a dead bot."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import click

from bot.cli.client import Client, path
from bot.cli.output import asked
from bot.words import Unclear, because, run_like

ONLY = "-"
"""Stands for the only open run."""
_CALLED = (["STEP"], ["DECISION"], ["PROPOSAL"])
"""What people call by its title, or by the beginning of that."""


def bot() -> Client:
    """The bot that this command is for; a fresh connection each."""
    a = asked()
    if a.direct:
        from bot.cli.direct import opened

        client: Client = click.get_current_context().with_resource(opened(a.direct))
        return client
    return Client(a.url, os.environ.get("ROLLBACK_TOKEN", ""), _away(a.url))


def _away(url: str) -> str:
    files = os.environ.get("ROLLBACK_BLOBS_URL", "file:rollback-files").removeprefix("file:")
    return (
        f"  Is it running, and is {url} right (ROLLBACK_URL)? On its host: `rollback-bot serve`.\n"
        f"  Going on by hand: {files}/outside/by-hand/RUN.md on its host says what is left to do.\n"
        "  Where the bot stays dead: the same command on its host with --direct 'why'."
    )


def run_path(run: str, *parts: str) -> str:
    """`/v1/runs/RUN/...`."""
    return path("runs", run, *parts)


def split(words: Sequence[str], wanted: Sequence[str]) -> tuple[str, list[str], str]:
    """`[RUN] WANTED... [because WORDS...]` -> (run, the wanted words, reason). Unclear where they do not fit. A step
    may be called by several words, in quotes or not: two words alone are a run and a step of one word."""
    found, reason = because(words)
    if list(wanted) in _CALLED and found:
        apart = list(takewhile(lambda w: w.lower() != "because", words))
        apart = found if " ".join(apart).split() != found else apart
        named = len(apart) == 2 or (len(apart) > 1 and run_like(apart[0]))
        return (apart[0], [" ".join(apart[1:])], reason) if named else (ONLY, [" ".join(apart)], reason)
    if len(found) == len(wanted):
        return ONLY, found, reason
    if len(found) == len(wanted) + 1:
        return found[0], found[1:], reason
    usage = " ".join(["[RUN]", *wanted])
    raise Unclear(f"This takes {usage}; {len(found)} words were given.")


def answer(found: Any) -> str:
    """What the bot said."""
    return str(found["text"])
