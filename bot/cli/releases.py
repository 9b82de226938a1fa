"""The ledger of releases from a terminal: `release record | serving | stable | bad | ban | lift | list`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bot.cli.client import path
from bot.cli.link import answer, bot
from bot.cli.output import say
from bot.cli.root import Remote, root
from bot.words import because, moment

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@root.group("release")
def release() -> None:
    """What was released, what serves, what must not come back. Changing it takes a commander."""


@release.command("list", cls=Remote)
@click.argument("service")
def list_(service: str) -> None:
    """The releases of a service, and what could be gone back to now."""
    found = bot().get(path("releases", service))
    say(found, answer(found))


@release.command("record", cls=Remote)
@click.argument("service", required=False)
@click.argument("version", required=False)
@click.option("--commit", metavar="SHA", help="Commit it was built from.")
@click.option("--image", "images", multiple=True, metavar="WORKLOAD=IMAGE@DIGEST", help="Pinned; once a workload.")
@click.option("--frontend", metavar="PREFIX@DIGEST", help="Its frontend build, as `frontend manifest` names it.")
@click.option("--schema", metavar="REVISION", help="Revision of the database schema.")
@click.option("--migrations", metavar="IMAGE", help="Image or tree that its migrations live in.")
@click.option("--compatible", metavar="REVISION", help="Oldest revision whose releases work on its schema too.")
@click.option("--job", "jobs", multiple=True, metavar="KIND", help="A kind of job that it can read; once a kind.")
@click.option("--serving-since", metavar="TIME", help="Since when it serves, where it does already.")
@click.option("--file", "source", type=_FILE, help="All of it as JSON.")
def record(
    service: str | None,
    version: str | None,
    images: Sequence[str],
    jobs: Sequence[str],
    source: Path | None,
    **rest: str | None,
) -> None:
    """Register a release; the same again is harmless."""
    body: dict[str, Any] = _from_file(source) if source is not None else {}
    named = {"service": service, "version": version, **rest}
    if since := named.get("serving_since"):
        named["serving_since"] = datetime.fromtimestamp(_past(str(since)), UTC).isoformat()
    body |= {k: v for k, v in named.items() if v is not None}
    if images:
        body["images"] = dict(_image(i) for i in images)
    if jobs:
        body["jobs"] = [*jobs]
    if not body.get("service") or not body.get("version"):
        raise click.UsageError("Which release? release record SERVICE VERSION, or --file.")
    found = bot().post(path("releases"), body)
    say(found, answer(found))


def _from_file(source: Path) -> dict[str, Any]:
    try:
        found = json.loads(source.read_text(encoding="utf-8"))
    except (ValueError, OSError) as e:
        raise click.UsageError(f"{source}: {e}") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"{source}: must hold one JSON object.")
    return found


def _image(word: str) -> tuple[str, str]:
    workload, _, image = word.partition("=")
    if not workload or not image:
        raise click.UsageError(f"--image {word!r}: write WORKLOAD=IMAGE@sha256:...")
    return workload, image


@release.command("serving", cls=Remote)
@click.argument("service")
@click.argument("version")
@click.option("--at", metavar="TIME", help="Since when: 2h (ago), 14:02 or 2026-11-23T14:02; now otherwise.")
def serving(service: str, version: str, at: str | None) -> None:
    """It serves; the one before no longer does."""
    found = bot().post(path("releases", service, version, "serving"), {} if at is None else {"at": _past(at)})
    say(found, answer(found))


def _judge(what: str, help: str) -> None:
    def said(service: str, version: str, words: tuple[str, ...], reason: str) -> None:
        before, why = because(words)
        if before:
            raise click.UsageError(f"I do not understand {' '.join(before)!r}; a reason begins with because.")
        found = bot().post(path("releases", service, version, what), {"reason": reason or why})
        say(found, answer(found))

    params: list[click.Parameter] = [
        click.Argument(["service"]),
        click.Argument(["version"]),
        click.Argument(["words"], nargs=-1, metavar="[because WORDS...]" if what == "stable" else "because WORDS..."),
        click.Option(["--reason"], default="", metavar="TEXT", help="The same as because WORDS."),
    ]
    release.add_command(Remote(what, callback=said, help=help, params=params))


_judge("stable", "You vouch for it.")
_judge("bad", "It is not gone back to.")
_judge("ban", "It is not gone back to, and CI is to refuse it.")
_judge("lift", "A bad or banned one is a candidate again.")


def _past(word: str) -> float:
    return moment(word, datetime.now().astimezone(), past=True)
