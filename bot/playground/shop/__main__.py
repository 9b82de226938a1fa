"""`python -m bot.playground.shop`: the shop with both its releases and some customers, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bot.playground.shop.releases import VERSIONS
from bot.playground.shop.shop import Shop


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def _run(folder: Path, deployed: Sequence[str], per_second: float) -> None:
    leave = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    async with Shop(folder, deployed=deployed) as shop:
        (folder / "rollback.yaml").write_text(shop.catalogue())
        (folder / "releases.json").write_text(json.dumps(shop.releases, indent=2))
        for name, door in shop.doors.items():
            _say(f"{name}: http://{door}/healthz, cluster {shop.clusters[name].url}, registry {shop.registry.url}")
        _say(f"in {folder}: kubeconfig, rollback.yaml, releases.json, shop.db")
        async with shop.traffic(per_second) as traffic:
            while not leave.is_set():
                try:
                    await asyncio.wait_for(leave.wait(), 5.0)
                except TimeoutError:
                    late, truth = traffic.of_late(5.0), await shop.truth()
                    found = {version for one in truth.running.values() for some in one.values() for version in some}
                    _say(
                        f"{' and '.join(sorted(found))}: {late.paid} of {late.total} payments went through; "
                        f"{truth.queued} jobs wait, {len(truth.lost)} payments lost, {len(truth.doubled)} doubled"
                    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="shop", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--folder", type=Path, help="where its files lie; a temporary one if not given")
    parser.add_argument("--deploy", nargs="*", choices=[*VERSIONS], default=["2.4.0", "2.4.1"], metavar="VERSION")
    parser.add_argument("--traffic", type=float, default=5.0, help="payments a second")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="shop-") as spare:
        asyncio.run(_run(args.folder or Path(spare), args.deploy, args.traffic))
    return 0


if __name__ == "__main__":
    sys.exit(main())
