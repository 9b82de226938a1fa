"""`python -m bot.playground.workspace --port 8090`: a workspace to point a bot at, until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from bot.playground.workspace.app import App
from bot.playground.workspace.server import Workspace


def _describe(workspace: Workspace) -> str:
    """What a bot and a person need to know, as JSON on one line each."""
    app, state = workspace.app, workspace.state
    told = {
        "api": workspace.api_url,
        "bot_token": app.bot_token,
        "app_token": app.app_token,
        "signing_secret": app.signing_secret,
        "driver": f"{workspace.url}/_driver/",
        "faults": f"{workspace.url}/_faults",
        "people": ", ".join(u.name for u in state.users.values()),
        "channels": ", ".join(c.name for c in state.channels.values() if c.name),
    }
    return "".join(f"{name:15} {value}\n" for name, value in told.items())


async def _run(workspace: Workspace) -> None:
    leave = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    async with workspace:
        sys.stdout.write(f"workspace on {workspace.url}\n{_describe(workspace)}")
        sys.stdout.flush()
        await leave.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="workspace", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("--port", type=int, default=0, help="0 takes any free one")
    parser.add_argument("--manifest", type=Path, help="an app manifest: scopes, commands and events are taken from it")
    parser.add_argument("--request-url", help="call the app here over signed HTTP instead of by Socket Mode")
    parser.add_argument("--no-rates", action="store_true", help="do not enforce rate limits")
    args = parser.parse_args(argv)
    try:
        app = App.from_manifest(yaml.safe_load(args.manifest.read_text())) if args.manifest else None
        workspace = Workspace(port=args.port, app=app, rates=not args.no_rates, request_url=args.request_url)
        asyncio.run(_run(workspace))
    except (OSError, ValueError, KeyError, AttributeError, yaml.YAMLError) as error:
        sys.stderr.write(f"workspace: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
