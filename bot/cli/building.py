"""Makes the manifest of a frontend build from its folder, for `rollback-bot frontend manifest`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from bot.ports.builds import MANIFEST, NEVER, File, Headers, Manifest, digest_of, fault_of_key, file_of, headers_for


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What people said of the files; encodings: "*.br=br"."""

    entries: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    config: str = ""
    immutable: tuple[str, ...] = ()
    encodings: Sequence[str] = ()
    calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """The manifest, where it was written, and its digest."""

    manifest: Manifest
    path: Path
    digest: str


def build(folder: Path, said: BuildOptions) -> Written:
    """Reads every file of the folder and writes the manifest beside them. click.UsageError."""
    keys = sorted(_keys(folder))
    entries = said.entries or _pages(keys)
    if not entries:
        raise click.UsageError(f"{folder} holds no HTML page; name what people open: --entry FILE.")
    fronts = {*entries, *said.workers, *((said.config,) if said.config else ())}
    if missing := sorted(fronts - {*keys}):
        raise click.UsageError(f"{folder} has no {', '.join(missing)}.")
    packed = dict(_packed(word) for word in said.encodings)

    def file(key: str) -> File:
        plain = headers_for(key, immutable=said.immutable, front=key in fronts)
        encoding = next((word for pattern, word in packed.items() if Path(key).match(pattern)), "")
        cache = NEVER if key in said.workers else plain.cache
        return file_of(key, (folder / key).read_bytes(), Headers(plain.type, cache, encoding))

    manifest = Manifest({key: file(key) for key in keys}, entries, said.workers, said.config, said.calls)
    text = manifest.dump()
    try:
        Manifest.load(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    (folder / MANIFEST).write_bytes(text)
    return Written(manifest, folder / MANIFEST, digest_of(text))


def _keys(folder: Path) -> Sequence[str]:
    keys = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
    keys = [key for key in keys if key != MANIFEST]
    if faults := [fault for key in keys if (fault := fault_of_key(key))]:
        raise click.UsageError("; ".join(faults[:5]))
    return keys


def _pages(keys: Sequence[str]) -> tuple[str, ...]:
    """Every HTML page, that of the folder itself last."""
    pages = [key for key in keys if key.endswith((".html", ".htm"))]
    return tuple(sorted(pages, key=lambda key: (key in ("index.html", "index.htm"), key)))


def _packed(word: str) -> tuple[str, str]:
    pattern, _, encoding = word.rpartition("=")
    if not pattern or not encoding:
        raise click.UsageError(f"--encoding {word!r}: write PATTERN=br or PATTERN=gzip.")
    return pattern, encoding
