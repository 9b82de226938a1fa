"""The manifest of a frontend build, made where it is built: `frontend manifest FOLDER`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from bot.cli.output import say
from bot.cli.root import root

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@root.group("frontend")
def frontend() -> None:
    """Builds of a frontend."""


@frontend.command("manifest")
@click.argument("folder", type=_FOLDER)
@click.option("--prefix", metavar="PREFIX", help="Where the build is uploaded; printed before the digest.")
@click.option("--entry", "entries", multiple=True, metavar="FILE", help="What people open, the main one last.")
@click.option("--worker", "workers", multiple=True, metavar="FILE", help="Script of a service worker.")
@click.option("--config", metavar="FILE", help="Its runtime configuration.")
@click.option("--immutable", multiple=True, metavar="PATTERN", help="Names that never change, beside hashed ones.")
@click.option("--encoding", "encodings", multiple=True, metavar="PATTERN=WORD", help="Files that are packed already.")
@click.option("--calls", multiple=True, metavar="CALL", help="What it asks of the backend, like 'GET /v2/cart'.")
def manifest(
    folder: Path,
    prefix: str | None,
    entries: Sequence[str],
    workers: Sequence[str],
    config: str | None,
    immutable: Sequence[str],
    encodings: Sequence[str],
    calls: Sequence[str],
) -> None:
    """Write frontend-manifest.json into FOLDER and say what to register the release with.

    Without --entry every HTML page is one, index.html of the folder last.
    """
    from bot.cli.building import BuildOptions, build

    found = build(
        folder, BuildOptions(tuple(entries), tuple(workers), config or "", tuple(immutable), encodings, tuple(calls))
    )
    name = f"{(prefix or '<prefix>').strip('/')}@{found.digest}"
    lasting = sum(f.immutable for f in found.manifest.files.values())
    counted = {"files": len(found.manifest.files), "size": found.manifest.size, "immutable": lasting}
    words = [
        f"{found.path}: {counted['files']} files, {counted['size'] / 1e6:.1f} MB, {lasting} of them kept for ever.",
        f"Entry points: {', '.join(found.manifest.entries)}.",
        f"Upload the folder with it, then register: --frontend {name}",
    ]
    say({"build": name, **counted}, "\n".join(words))
