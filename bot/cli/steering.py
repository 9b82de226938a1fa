"""What people say to a run: each command of the table that needs no look at a card, turned into its JSON and sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import click

from bot.cli.link import answer, bot, run_path, split
from bot.cli.output import say
from bot.cli.root import Remote, root
from bot.run.commands import TABLE
from bot.run.declared import FIELDS, Declared
from bot.words import moment


def _time(word: str) -> float:
    return moment(word, datetime.now().astimezone())


def _name(word: str) -> str:
    return word.removeprefix("@")


def _release(word: str) -> dict[str, str]:
    return {"version": word}


_READS: dict[str, Callable[[str], Any]] = {"until": _time, "to": _name, "release": _release}
"""What turns a typed word into a field's value, where it is not the word itself."""

SAID = tuple(c for c in TABLE.values() if c.of_run and all(f.name != "card" for f in c.fields))
"""Commands that carry no card; those that do are in `deciding.py`."""


def body(c: Declared, given: Sequence[str], reason: str, options: dict[str, str]) -> dict[str, Any]:
    """The command as the bot reads it."""
    said = {**dict(zip(c.placed, given, strict=True)), **options}
    found: dict[str, Any] = {"do": c.do, **{k: _READS.get(k, str)(v) for k, v in said.items()}}
    return found | ({c.text.name: reason} if c.text is not None else {})


def _left_out(c: Declared, name: str) -> dict[str, Any]:
    """What becomes of an option that is not given."""
    needed = next(f.needed for f in c.fields if f.name == name)
    return {"required": True} if needed else {"default": ""}


def _add(c: Declared) -> None:
    wanted = [FIELDS[name].word for name in c.placed]
    needed = c.text is not None and c.text.needed
    tail = "" if c.text is None else " because WORDS..." if needed else " [because WORDS...]"

    def said(words: tuple[str, ...], reason: str = "", **options: str) -> None:
        run, given, because = split(words, wanted)
        if because and c.text is None:
            raise click.UsageError(f"{c.do} takes no reason.")
        reason = reason or because
        if needed and not reason:
            raise click.UsageError(f"{c.do} needs a reason: because <why>, or --reason.")
        found = bot().post(run_path(run, "commands"), body(c, given, reason, options))
        say(found, answer(found))

    params: list[click.Parameter] = [
        click.Argument(["words"], nargs=-1, metavar=" ".join(["[RUN]", *wanted]) + tail),
        *(
            click.Option([f"--{name}"], metavar=FIELDS[name].word, help=FIELDS[name].help, **_left_out(c, name))
            for name in c.options
        ),
    ]
    if c.text is not None:
        params.append(click.Option(["--reason"], default="", metavar="TEXT", help="The same as because WORDS."))
    root.add_command(Remote(c.do, callback=said, help=c.help, params=params))


for _one in SAID:
    _add(_one)
