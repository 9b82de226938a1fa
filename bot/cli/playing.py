"""What needs nothing but this machine: the demo, the playground, and a drill. Nothing else is touched by them."""

from __future__ import annotations

from collections.abc import Sequence

import click

from bot.cli.output import Code, End, note, run_async
from bot.cli.root import root
from bot.playground.demo.titles import TITLES, listed

_MISSING = "The playground is not installed ({}): pip install 'rollback-bot[playground]'"


@root.command("demo", epilog=f"\b\nThe stories:\n{listed()}")
@click.option("--story", type=click.Choice([*TITLES]), default="rollback", show_default=True, help="Which one.")
def demo(story: str) -> None:
    """A shop, a bad release and a rollback, on this machine; nothing else is touched."""
    try:
        from bot.playground.demo.play import play
        from bot.playground.demo.stage import DemoFailed
    except ImportError as e:
        raise End(Code.USAGE, _MISSING.format(e)) from None
    try:
        run_async(play(story))
    except DemoFailed as e:
        raise End(Code.FAULT, f"The demo failed: {e}") from None


@root.command("playground")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Of the page; 0 takes any.")
def playground(port: int) -> None:
    """The demo's world with a web page, to drive by hand: anybody's part, and faults to switch on. Until Ctrl-C."""
    try:
        from bot.playground.demo.stage import DemoFailed
        from bot.playground.page.opened import stay
    except ImportError as e:
        raise End(Code.USAGE, _MISSING.format(e)) from None
    try:
        run_async(stay(port))
    except (DemoFailed, OSError) as e:
        raise End(Code.FAULT, f"The playground did not come up: {e}") from None


@root.command("drill")
@click.argument("plan", required=False)
@click.option("--service", metavar="NAME", help="Whose; needed where the catalogue has several.")
@click.option("--pace", type=click.FloatRange(0, 600), default=5.0, show_default=True, help="Seconds to read a card.")
@click.option("--absent", multiple=True, metavar="NAME", help="Somebody who does not answer; more than once for more.")
def drill(plan: str | None, service: str | None, pace: float, absent: Sequence[str]) -> None:
    """Rehearse a rollback by your catalogue and PLAN, on this machine: people are acted, targets are played.

    PLAN is a name or a file; the service's own otherwise. Roles, channels, gates, limits and the plan are yours; who is
    in your user groups is asked of Slack where ROLLBACK_SLACK is set, and nothing else of yours is reached. It ends
    with what was slow, who was missing, and which gate nobody could pass; with 1 where one was, or where it did not
    end verified.
    """
    try:
        from bot.playground.demo.stage import DemoFailed
        from bot.playground.drill.play import drill as play
    except ImportError as e:
        raise End(Code.USAGE, _MISSING.format(e)) from None
    from bot.cli.drilling import team

    found = team(plan, service)
    names = [m.name for m in found.members]
    if unknown := [name for name in absent if name not in names]:
        raise End(Code.USAGE, f"Nobody of the catalogue is called {unknown[0]!r}; there are {', '.join(names)}.")
    note("Sets up a Slack workspace, clusters, a shop and the bot, on this machine: half a minute ...")
    try:
        good = run_async(play(found, pace=pace, absent=absent))
    except DemoFailed as e:
        raise End(Code.FAULT, f"The drill failed: {e}") from None
    if not good:
        raise click.exceptions.Exit(int(Code.REFUSED))
