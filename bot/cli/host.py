"""What is done on the bot's own host: `serve`, `db`, `token`. These open the database themselves."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import click

from bot.cli.output import Code, End, asked, note, os_user, run_async, say
from bot.cli.root import root

if TYPE_CHECKING:
    from asyncio import Server

    from aiohttp.web import AppRunner

    from bot.settings import Settings
    from bot.wiring import Offline

_log = logging.getLogger(__name__)

HOURS = 12
"""A token's life, as in bot.store.tokens."""


@contextlib.asynccontextmanager
async def on_the_host() -> AsyncIterator[Offline]:
    """What a command works with that opens the database itself, which has this version's schema."""
    from bot import wiring
    from bot.settings import read_settings

    async with wiring.offline(read_settings()) as base:
        await wiring.check_schema(base.store)
        yield base


@root.command("serve")
def serve() -> None:
    """Run the bot until SIGTERM or Ctrl-C. What was under way is taken up again at the next start.

    Another catalogue is taken when its file changes, and at once on SIGHUP; one with mistakes is refused.
    """
    gc.disable()  # until it listens: hardly anything of a start is garbage, and looking for it takes a sixth of it
    from bot import wiring
    from bot.settings import read_settings

    wiring.one_folder()
    with contextlib.suppress(KeyboardInterrupt):
        run_async(_serve(read_settings()))


async def _serve(settings: Settings) -> None:
    import asyncio

    from aiohttp import web

    from bot import wiring
    from bot.cli import logs
    from bot.settings import strange
    from bot.web import app, doors

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    logs.set_up(settings.log_level, wiring.redactor_of(settings), settings.log_format)
    async with wiring.running(settings) as bot:
        logs.set_up(settings.log_level, bot.redactor, settings.log_format)  # it knows more secrets by now
        logs.fold(bot.store.db.outage)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, bot.reloading.soon)
        for text in strange(os.environ):
            _log.warning("%s; nothing that it says is heeded", text)
        wiring.tell_unfit(bot.rollbacks)
        runner = web.AppRunner(
            app(bot, others=bot.posts, metrics=bot.metrics.answer), access_log=None, shutdown_timeout=2.0,
            keepalive_timeout=doors.IDLE,
        )  # fmt: skip
        await runner.setup()
        try:
            server = await _listen(runner, settings)
            host, port = server.sockets[0].getsockname()[:2]
            click.echo(f"rollback-bot {wiring.VERSION} listens on http://{host}:{port}")
            sys.stdout.flush()
            gc.freeze()  # what stays for good is not gone through again and again
            gc.enable()
            await stop.wait()
            server.close()
        finally:
            await runner.cleanup()


async def _listen(runner: AppRunner, settings: Settings) -> Server:
    from bot.web.doors import listen

    try:
        return await listen(runner, settings.host, settings.port)
    except OSError as e:
        where = f"{settings.host}:{settings.port}"
        text = f"Cannot listen on {where}: {e.strerror or e}. ROLLBACK_HOST and ROLLBACK_PORT say where."
        raise End(Code.USAGE, text) from None


@root.command("token")
@click.argument("name")
@click.option("--hours", type=click.FloatRange(0, 24 * 31, min_open=True), default=HOURS, show_default=True,
              help="How long it is good for.")  # fmt: skip
def token(name: str, hours: float) -> None:
    """A personal token for somebody in the catalogue, shown once. Works on the bot's host only."""
    from bot.settings import read_settings

    found = run_async(_token(name.removeprefix("@"), hours))
    if asked().json:
        say({"token": found, "person": name, "hours": hours}, "")
    else:
        told = f"; in Slack {name} is told of it" if read_settings().slack != "off" else ""
        note(f"Good for {hours:g} h, for {name} alone, recorded as issued by {_by()}{told}.")
        note("Put it into ROLLBACK_TOKEN:")
        click.echo(found)


async def _token(name: str, hours: float) -> str:
    async with on_the_host() as bot:
        people = {p.id: p.name for p in await bot.people.everyone()}
        meant = [i for i, known in people.items() if name in (i, known)]
        if len(meant) != 1:
            where = "the catalogue" if bot.settings.slack == "off" else "the catalogue's roles, as Slack last said"
            raise End(Code.REFUSED, f"{name!r} is nobody in {where}; there are {', '.join(people.values())}.")
        return await bot.tokens.issue(meant[0], _by(), hours * 3600)


def _by() -> str:
    return f"os:{os_user()}"


@root.command("key")
def key() -> None:
    """New keys, shown once, as lines for the bot's environment: what a node signs its entries of the record with, and
    what digests of values that look like secrets are made with. `rollback-bot key >> env`"""
    from bot.store.signing import new_key

    own, public = new_key()
    digests = secrets.token_urlsafe(24)
    if asked().json:
        say({"signing_key": own, "public": public, "digest_key": digests}, "")
        return
    click.echo(f"ROLLBACK_SIGNING_KEY={own}\nROLLBACK_DIGEST_KEY={digests}")
    note(
        "Both are secret. ROLLBACK_DIGEST_KEY is to be the same on every node; each may have a signing key of its own."
    )
    note(f"The public key, for ROLLBACK_SIGNED_BY of other nodes and for auditors: {public}")


@root.group("db")
def db() -> None:
    """The bot's database: create it, upgrade it, look which version it is at."""


@db.command("upgrade")
@click.argument("revision", default="head")
def upgrade(revision: str) -> None:
    """Bring it to this version's revision. Waits for another upgrade; changes nothing where there is nothing to do."""
    import migrations

    found = migrations.upgrade(_url(), revision)
    say({"revision": found}, f"The database is at revision {found}.")


@db.command("downgrade")
@click.argument("revision")
@click.option("--yes", is_flag=True, help="Do not ask.")
def downgrade(revision: str, yes: bool) -> None:
    """Take it back to a revision ("base": before the first), with every bot stopped. What later ones added is lost."""
    import migrations

    url = _url()
    now = migrations.current(url) or "base"
    question = f"From {now} back to {revision}, and lose what came with it?"
    if not yes and not (sys.stdin.isatty() and click.confirm(question)):
        raise End(Code.REFUSED, "Nothing was changed. Stop the bot, make a backup, then repeat with --yes.")
    from bot.cli.alone import alone

    with alone(url, "downgrade", tables_stay=False):
        found = migrations.downgrade(url, revision)
    say({"revision": found or None}, f"The database is at revision {found or 'none'}.")


@db.command("current")
def current() -> None:
    """Which revision it is at, and which one this version needs."""
    import migrations

    found, needed = migrations.current(_url()), migrations.head()
    said = "fits" if found == needed else "run `rollback-bot db upgrade`"
    say({"revision": found, "needed": needed}, f"At {found or 'none'}; this version needs {needed}: {said}.")


def _url() -> str:
    from bot.settings import read_settings

    return read_settings().database_url
