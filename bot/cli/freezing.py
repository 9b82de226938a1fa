"""Freezing by hand, without a rollback: `freeze`, `thaw`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from bot.cli.client import path
from bot.cli.link import answer, bot
from bot.cli.output import say
from bot.cli.root import Remote, root
from bot.run.commands import TABLE
from bot.words import because


@root.command("freeze", cls=Remote, help=TABLE["freeze"].help)
@click.argument("words", nargs=-1, required=True, metavar="SERVICE because WORDS...")
def _freeze(words: Sequence[str]) -> None:
    _say(words, "freeze")


@root.command("thaw", cls=Remote, help=TABLE["thaw"].help)
@click.argument("words", nargs=-1, required=True, metavar="SERVICE because WORDS...")
def _thaw(words: Sequence[str]) -> None:
    _say(words, "thaw")


def _say(words: Sequence[str], what: str) -> None:
    given, reason = because(words)
    if len(given) != 1 or not reason:
        raise click.UsageError(f"Which service, and why? rollback-bot {what} shop because <why>")
    found = bot().post(path("freezes", given[0], what), {"reason": reason})
    say(found, answer(found))
