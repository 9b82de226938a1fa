"""PostgreSQL's client programs on this machine, and which of them fits.

A pg_restore reads archives of its own and of older versions, and writes SQL for a server of its own version (that of 17
sets what a server of 15 does not know, which it counts as an error). So there may be several, and the archive and the
server choose.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

USUAL = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
"""Where systems put the programs of several versions beside each other."""
_VERSION = re.compile(r"\b(\d+)(?:\.(\d+))?")
QUIET = {"LC_ALL": "C.UTF-8", "PGOPTIONS": "", "PGAPPNAME": "rollback-bot"}
"""What each of them is told by its surroundings, so that its words can be read."""


@dataclass(frozen=True, slots=True)
class Program:
    """A pg_restore. major: its version's first number; version: as it says it."""

    path: str
    major: int
    version: str


def major_of(version: str) -> int:
    """16 of "16.4 (Debian 16.4-1)"; 0 where it says none."""
    found = _VERSION.search(version)
    return int(found[1]) if found else 0


def programs(folder: str = "", environment: Mapping[str, str] = os.environ) -> tuple[Program, ...]:
    """Every pg_restore that is found, newest first, one a version: in the folder, or else on the path and where systems
    put them."""
    found: dict[int, Program] = {}
    for path in _candidates(folder, environment.get("PATH", os.defpath)):
        if (known := _asked(path)) is not None:
            found.setdefault(known.major, known)
    return tuple(sorted(found.values(), key=lambda p: -p.major))


def _candidates(folder: str, path: str) -> Iterator[str]:
    folders = [folder] if folder else [*path.split(os.pathsep)]
    for each in folders:
        yield str(Path(each or ".") / "pg_restore")
    for pattern in () if folder else USUAL:
        root, _, _ = pattern.partition("*")
        parent = Path(root).parent
        if parent.is_dir():
            yield from map(str, sorted(parent.glob(f"{pattern[len(str(parent)) + 1 :]}/pg_restore"), reverse=True))


@cache
def _asked(path: str) -> Program | None:
    """The program there, by its own word; None where there is none that runs."""
    if not os.access(path, os.X_OK):
        return None
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    version = done.stdout.strip().rpartition("(PostgreSQL) ")[2]
    major = major_of(version)
    return Program(path, major, version) if major else None


def surroundings() -> dict[str, str]:
    """The environment for a program: ours without what would make it connect elsewhere or speak another language."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_", "LANG"))}
    return {**kept, **QUIET}
