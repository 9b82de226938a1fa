"""What needs nothing but this machine: the demo, and the playground. Nothing else is touched by them."""

from __future__ import annotations

import click

from bot.cli.output import Code, End, run_async
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
