"""`python -m bot.playground.demo [--story forward] [--trouble]`: plays a story, and says whether it ended right.

The exit code is 0 only if the shop really serves the right release everywhere and takes payments, nothing is paused,
lost or done twice, every duty of the run was done, its checks pass, CI cannot deploy the bad release, and the record
verifies.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from bot.playground.demo.play import play
from bot.playground.demo.stage import DemoFailed
from bot.playground.demo.titles import TITLES, listed
from bot.playground.demo.trouble import TROUBLES


def main(argv: Sequence[str] | None = None) -> int:
    """0 if everything came out as it must."""
    parser = argparse.ArgumentParser(
        prog="demo", description=f"The stories:\n{listed()}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--story", choices=[*TITLES], default="rollback", help="which one")
    parser.add_argument("--trouble", action="store_true", help="the bot is killed in the middle of it")
    args = parser.parse_args(argv)
    if args.trouble and args.story not in TROUBLES:
        parser.error(f"nothing goes wrong in {args.story}; it does in {', '.join(TROUBLES)}")
    try:
        asyncio.run(play(args.story, trouble=args.trouble))
    except DemoFailed as error:
        sys.stdout.write(f"\nThe demo failed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
