"""What people say to a run: one row a command of `bot/run/commands.py`, turned into its JSON and sent.

A test holds the rows to the dataclasses there: names, fields and help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from bot.cli.link import answer, bot, run_path, split
from bot.cli.output import say
from bot.cli.root import Remote, root
from bot.words import moment


def _time(word: str) -> float:
    return moment(word, datetime.now().astimezone())


def _name(word: str) -> str:
    return word.removeprefix("@")


def _release(word: str) -> dict[str, str]:
    return {"version": word}


@dataclass(frozen=True, slots=True)
class Says:
    """One command. words: fields given by place, behind RUN; reason: whether and how one is given; options: field
    -> (its help, metavar); reads: field -> what turns the word into its value; named: field -> word in the usage."""

    do: str
    help: str
    words: tuple[str, ...] = ()
    reason: str = ""
    text: str = "reason"
    options: tuple[tuple[str, str, str], ...] = ()


_READS: dict[str, Callable[[str], Any]] = {"until": _time, "to": _name, "release": _release}
_SHOWN = {"release": "VERSION", "to": "PERSON"}

SAYS = (
    Says("decline", "Not now: who and why are kept, the decision stays open.", ("decision",), "optional"),
    Says("stop", "Nothing new starts; what is at work is asked to end.", (), "optional"),
    Says("resume", "Go on after a stop."),
    Says("abort", "End the run; each debt is then restored or handed over.", (), "needed"),
    Says("retry", "Try a halted step again.", ("step",)),
    Says("skip", "Leave a step out.", ("step",), "needed"),
    Says("accept", "Accept a failing check, or what others changed meanwhile.", ("step",), "needed"),
    Says("undo", "Take back what a step did.", ("step",), "optional"),
    Says("restore", "Undo a debt now, outside its turn.", ("step",), "needed"),
    Says("hand-over", "A debt becomes a person's, until a time.", ("step",), "needed", options=(
        ("to", "PERSON", "Whose it becomes."),
        ("until", "TIME", "2h, 18:00 or 2026-11-23T18:00, in your zone."),
    )),
    Says("adopt", "The step was done by hand: look, and record it.", ("step",), "needed"),
    Says("retarget", "Restore another release from here on.", ("release",), "needed"),
    Says("admit", "Let one release, the fix, through the freeze.", ("release",), "needed"),
    Says("agree", "Yes to somebody's proposal.", ("proposal",)),
    Says("offer", "Hand the command to another commander, who then takes it.", ("to",)),
    Says("take", "Take command: offered, or after five minutes of silence."),
    Says("without", 'Go on without a part that is away: "us-1", or "us-1/deployment/shop-api".', ("part",), "needed"),
    Says("back", "A part that was left out is back: what it is owed is done now.", ("part",)),
    Says("review", "Broken glass was looked at afterwards, by somebody else.", ("decision",), "needed"),
    Says("close", "End a run that does not close itself.", (), "optional", "note"),
)  # fmt: skip


def body(s: Says, given: Sequence[str], reason: str, options: dict[str, str]) -> dict[str, Any]:
    """The command as the bot reads it."""
    fields = {**dict(zip(s.words, given, strict=True)), **options}
    found: dict[str, Any] = {"do": s.do, **{k: _READS.get(k, str)(v) for k, v in fields.items()}}
    return found | ({s.text: reason} if s.reason else {})


def _add(s: Says) -> None:
    wanted = [_SHOWN.get(w, w.upper()) for w in s.words]
    tail = {"": "", "optional": " [because WORDS...]", "needed": " because WORDS..."}[s.reason]

    def said(words: tuple[str, ...], reason: str = "", **options: str) -> None:
        run, given, because = split(words, wanted)
        if because and not s.reason:
            raise click.UsageError(f"{s.do} takes no reason.")
        reason = reason or because
        if s.reason == "needed" and not reason:
            raise click.UsageError(f"{s.do} needs a reason: because <why>, or --reason.")
        found = bot().post(run_path(run, "commands"), body(s, given, reason, options))
        say(found, answer(found))

    params: list[click.Parameter] = [
        click.Argument(["words"], nargs=-1, metavar=" ".join(["[RUN]", *wanted]) + tail),
        *(click.Option([f"--{name}"], metavar=metavar, help=help, required=True) for name, metavar, help in s.options),
    ]
    if s.reason:
        params.append(click.Option(["--reason"], default="", metavar="TEXT", help="The same as because WORDS."))
    root.add_command(Remote(s.do, callback=said, help=s.help, params=params))


for _one in SAYS:
    _add(_one)
