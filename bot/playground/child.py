"""Programs that the playground starts: they end with what made them, however that ends, where the system can see to it
(Linux with util-linux)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_KEEPER = shutil.which("setpriv")
_LEAVE = 10.0
"""Seconds that one has to end when it is told to."""


def kept(argv: Sequence[str]) -> list[str]:
    """The command line of a program that is killed when its maker dies."""
    return [_KEEPER, "--pdeathsig", "KILL", "--", *argv] if _KEEPER else [*argv]


@contextmanager
def running(argv: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program while it is a context; what it says goes into the log."""
    with (
        log.open("wb") as said,
        subprocess.Popen(kept(argv), stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT) as made,
    ):
        try:
            yield made
        finally:
            made.terminate()
            try:
                made.wait(_LEAVE)
            except subprocess.TimeoutExpired:
                made.kill()
