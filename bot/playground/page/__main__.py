"""`python -m bot.playground.page [--port 8800]`: the playground with its page, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from bot.playground.demo.stage import DemoFailed
from bot.playground.page.opened import stay


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="playground", description="A Slack workspace and a shop to break, by hand.")
    parser.add_argument("--port", type=int, default=0, help="of the page; 0 takes any free one")
    args = parser.parse_args(argv)
    try:
        asyncio.run(stay(args.port))
    except (DemoFailed, OSError) as error:
        sys.stderr.write(f"playground: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
