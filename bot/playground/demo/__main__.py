"""`python -m bot.playground.demo [--story forward]`: plays a story, and says whether it ended right.

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


def main(argv: Sequence[str] | None = None) -> int:
    """0 if everything came out as it must."""
    parser = argparse.ArgumentParser(
        prog="demo", description=f"The stories:\n{listed()}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--story", choices=[*TITLES], default="rollback", help="which one")
    args = parser.parse_args(argv)
    try:
        asyncio.run(play(args.story))
    except DemoFailed as error:
        sys.stdout.write(f"\nThe demo failed: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
