"""Whether the bot has everything it needs: `doctor`; and the Slack app it needs: `slack manifest`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bot.cli.output import Code, End, asked, run_async, say
from bot.cli.root import root

if TYPE_CHECKING:
    from bot.slack.doctor import Finding

_WORDS = {"ok": "ok", "look": "look", "fault": "FAULT"}


@root.command("doctor")
def doctor() -> None:
    """Look at everything the bot needs, with the next thing to do for each fault.

    Settings, database, catalogue, who can decide, targets, and Slack: token, scopes, connection, channels, user
    groups, cards. On the bot's host, with its environment; works whether or not a bot runs, and posts nothing.
    """
    found = run_async(_examine())
    faults, looks = (sum(f.state == state for f in found) for state in ("fault", "look"))
    if asked().json:
        shown = [{"name": f.name, "state": f.state, "text": f.text, "next": f.next} for f in found]
        say({"findings": shown, "faults": faults}, "")
    else:
        say(None, f"{_sum(len(found), faults, looks)}")
    if faults:
        raise click.exceptions.Exit(int(Code.UNWELL))


async def _examine() -> list[Finding]:
    from bot.cli.examination import everything

    found: list[Finding] = []
    async for finding in everything():
        found.append(finding)
        if not asked().json:
            say(None, _line(finding))
    return found


def _line(f: Finding) -> str:
    """One line, and a second with the next thing to do."""
    text = "\n".join(f"{'':7}{line}" for line in f.text.splitlines()).strip()
    return f"{_WORDS[f.state]:<6} {f.name}: {text}" + (f"\n       Next: {f.next}." if f.next else "")


def _sum(all: int, faults: int, looks: int) -> str:
    if not faults and not looks:
        return f"All {all} fine."
    return f"{faults} at fault, {looks} to look at, {all - faults - looks} fine."


@root.group("slack")
def slack() -> None:
    """The Slack app that the bot is: what to create it from."""


@slack.command("manifest")
@click.option("--http", metavar="URL", help="For HTTP mode: the bot's https address as Slack reaches it.")
def manifest(http: str | None) -> None:
    """The app manifest as YAML, for Socket Mode unless an address is given. docs/slack.md says where it goes."""
    import yaml

    from bot.slack.manifest import manifest as written

    try:
        text = written(http)
    except ValueError as e:
        raise End(Code.USAGE, f"{e}.") from None
    say(yaml.safe_load(text), text.rstrip("\n"))
