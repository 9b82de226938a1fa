"""An object store of one's own that speaks S3, from a PyPI package: gone afterwards, and only on loopback."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

STARTED = 30.0
"""Seconds that it may take to answer."""


@contextmanager
def private_objects() -> Iterator[str]:
    """Its address. RuntimeError where it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    try:
        _wait(server, url)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def _wait(server: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + STARTED
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/moto-api/", timeout=2):  # noqa: S310
            return
        time.sleep(0.05)
    raise RuntimeError("the object store did not start: is moto[server] installed?")
