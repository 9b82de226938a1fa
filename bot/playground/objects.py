"""An object store of one's own that speaks S3, from a PyPI package: gone afterwards, and only on loopback."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from bot.playground.free_port import free_port

STARTED = 120.0
"""Seconds that it may take to answer on a very busy machine; alone it takes one."""


@contextmanager
def private_objects(page: int = 1000) -> Iterator[str]:
    """Its address. page: names that it lists at once, where nobody asks for fewer. RuntimeError where it does not
    start."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONWARNINGS": "ignore", "MOTO_S3_DEFAULT_MAX_KEYS": str(page)},
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
    ended = "does not answer" if server.poll() is None else f"ended with {server.poll()}: is moto[server] installed?"
    raise RuntimeError(f"the object store at {url} {ended}")
