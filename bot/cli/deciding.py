"""Saying yes: the card is shown first, and the yes carries what was shown. `approve` and `break-glass`.

On a terminal the card is printed and asked about; in a script `--card` says which card was looked at. Without
either nothing is approved: the card and the command to repeat are printed.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from bot.cli.client import BotRefused, Client
from bot.cli.link import ONLY, answer, bot, run_path
from bot.cli.output import Code, End, asked, note, say
from bot.cli.root import Remote, root
from bot.run.commands import TABLE
from bot.words import because, listed, meant


@dataclass(frozen=True, slots=True)
class ShownDecision:
    """An open decision as it was shown. run: its id; card: what a yes must carry; phrase: what must be typed."""

    run: str
    decision: str
    card: str
    text: str
    phrase: str


@root.command("approve", cls=Remote, help=TABLE["approve"].help)
@click.argument("words", nargs=-1, metavar="[RUN] [DECISION]")
@click.option("--card", metavar="HEX", help="Which card was looked at: for scripts; nothing is asked then.")
@click.option("--phrase", default="", metavar="TEXT", help="The phrase, where one is to be typed.")
def _approve(words: tuple[str, ...], card: str | None, phrase: str) -> None:
    client = bot()
    if card is not None and len(words) == 2:
        yes = {"do": "approve", "decision": words[1], "card": card, "phrase": phrase}
        _send(client, words[0], yes)
        return
    shown = _card(client, words)
    if card is None:
        phrase = _asked(shown, "approve", phrase)
    yes = {"do": "approve", "decision": shown.decision, "card": card or shown.card, "phrase": phrase}
    _send(client, shown.run, yes)


@root.command("break-glass", cls=Remote, help=TABLE["break-glass"].help)
@click.argument("words", nargs=-1, metavar="[RUN] [DECISION] because WORDS...")
@click.option("--reason", default="", metavar="TEXT", help="The same as because WORDS.")
@click.option("--card", metavar="HEX", help="Which card was looked at: for scripts; nothing is asked then.")
def _break_glass(words: tuple[str, ...], reason: str, card: str | None) -> None:
    before, said = because(words)
    reason = reason or said
    if not reason:
        raise click.UsageError("break-glass needs a reason: because <why>, or --reason.")
    client = bot()
    shown = _card(client, before)
    if card is None:
        _asked(shown, "break-glass", "", f" --reason {shlex.quote(reason)}")
    yes = {"do": "break-glass", "decision": shown.decision, "card": card or shown.card, "reason": reason}
    _send(client, shown.run, yes)


def _send(client: Client, run: str, body: dict[str, str]) -> None:
    found = client.post(run_path(run, "commands"), body)
    say(found, answer(found))


def _card(client: Client, words: Sequence[str]) -> ShownDecision:
    """The open decision that is meant. End where there is none, or more than one."""
    found, wanted = _looked_up(client, words)
    opened = {d["name"]: d for d in found["decisions"] if d["state"] == "open"}
    if wanted:
        titles = {name: str(d["title"]) for name, d in opened.items()}
        opened = {name: opened[name] for name in meant(wanted, titles)}
    if len(opened) == 1:
        d = next(iter(opened.values()))
        return ShownDecision(found["run"], d["name"], d["card"], found["cards"][d["name"]], d["phrase"])
    if opened:
        titles = {name: str(d["title"]) for name, d in opened.items()}
        raise End(Code.USAGE, f"Which decision? Open in {found['run']}: {listed(opened, titles)}.")
    what = f"{wanted!r} is not open for a decision" if wanted else "No decision is open"
    raise End(Code.REFUSED, f"{what} in {found['run']}: {found['status']}. Nothing was changed.")


def _looked_up(client: Client, words: Sequence[str]) -> tuple[Any, str]:
    """(the run as shown, the decision that was named or ""). One word may be the one or the other."""
    if len(words) > 2:
        raise click.UsageError("This takes [RUN] [DECISION].")
    if len(words) == 2:
        return client.get(run_path(words[0])), words[1]
    if not words:
        return client.get(run_path(ONLY)), ""
    with contextlib.suppress(BotRefused):
        found = client.get(run_path(ONLY))
        if meant(words[0], {d["name"]: d["title"] for d in found["decisions"]}):
            return found, words[0]
    return client.get(run_path(words[0])), ""


def _asked(shown: ShownDecision, do: str, phrase: str, more: str = "") -> str:
    """Shows the card and asks; the phrase that was typed. End unless somebody said yes."""
    note(shown.text)
    if asked().json or not sys.stdin.isatty():
        typed = f" --phrase {shlex.quote(shown.phrase)}" if shown.phrase and do == "approve" else ""
        again = f"rollback-bot {do} {shown.run} {shown.decision} --card {shown.card}{typed}{more}"
        text = f"Nobody can be asked here, so nothing was changed. Whoever has read this card repeats:\n  {again}"
        raise End(Code.REFUSED, text, {**asdict(shown), "again": again})
    question = "Break the glass, alone?" if do == "break-glass" else "Approve this?"
    if not click.confirm(question, err=True):
        raise End(Code.REFUSED, "Nothing was changed. `decline` records a no with its reason.")
    if shown.phrase and do == "approve" and not phrase:
        phrase = click.prompt(f'Type "{shown.phrase}"', err=True)
    return phrase
