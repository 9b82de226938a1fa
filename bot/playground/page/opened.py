"""The playground from its start to Ctrl-C: the demo's stage, a bad release that customers suffer from, and the page."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib import resources

import yaml

from bot.playground.demo.stage import Stage, peopled
from bot.playground.page.site import Site
from bot.playground.page.world import BAD, GOOD, OLDER, World
from bot.playground.workspace import App


@asynccontextmanager
async def opened(port: int = 0, *, second: bool = True, bad: bool = True) -> AsyncIterator[tuple[Site, Stage]]:
    """The page and the world behind it. port: of the page, 0 for any; second: the shop has its second half; bad: the
    bad release serves already. DemoFailed, OSError."""
    stage = Stage(second=second, workspace=peopled(_app()))
    async with stage:
        for version in (OLDER, GOOD, *([BAD] if bad else [])):
            await stage.release(version)
        async with Site(stage.workspace, World(stage), port) as site:
            yield site, stage


async def stay(port: int = 0) -> None:
    """Opens it, says where it is, and keeps it until SIGINT or SIGTERM. DemoFailed, OSError."""
    leave = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    _say("Sets up a Slack workspace, two Kubernetes clusters, a shop and the bot, on this machine: half a minute ...")
    async with opened(port) as (site, _):
        _say(f"\nOpen in a browser of this machine:  {site.url}\n")
        _say(f"{BAD} serves and cannot take payments. You are ana: type `/rollback shop because checkout fails` and")
        _say("start it; then be cho (top right) and approve. `World` has what else can go wrong. Ctrl-C ends it all.")
        await leave.wait()
        _say("Takes everything down ...")


def _app() -> App:
    """The simulator's app, which says while somebody types how the bot's own manifest describes its command."""
    manifest = yaml.safe_load(resources.files("bot.slack").joinpath("manifest.yaml").read_text(encoding="utf-8"))
    return replace(App(), hints=App.from_manifest(manifest).hints)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
