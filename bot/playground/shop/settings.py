"""The shop's settings as a running program sees them: its ConfigMap, asked of the cluster, and its environment.

A ConfigMap that was changed is seen within a second, without a restart; what stands in the pod's template, only by a
new pod. Invariants: while the cluster does not answer the last known settings hold. Standard library only.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Mapping

FRESH = 1.0
"""Seconds for which settings are believed."""
FROM_TEMPLATE = ("PAYMENTS_FORMAT",)
"""Environment variables that are settings."""


class Unset(Exception):
    """The cluster has not answered yet, so nothing is known."""


class Settings:
    """Reads $SETTINGS_URL, the address of the ConfigMap."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: Mapping[str, str] | None = None
        self._at = 0.0

    def now(self) -> Mapping[str, str]:
        """All of them. Unset."""
        with self._lock:
            if self._known is None or time.monotonic() - self._at > FRESH:
                try:
                    self._known = _get(os.environ["SETTINGS_URL"])
                except (OSError, ValueError, LookupError) as error:
                    if self._known is None:
                        raise Unset(f"settings are not known: {error}") from error
                self._at = time.monotonic()
            known = self._known
        return {**known, **{name: os.environ.get(name, "") for name in FROM_TEMPLATE}}


def _get(url: str) -> Mapping[str, str]:
    address, _, path = url.removeprefix("http://").partition("/")
    host, _, port = address.partition(":")
    request = f"GET /{path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=2.0) as connection:
        connection.sendall(request.encode())
        data = b""
        while more := connection.recv(65_536):
            data += more
    head, _, body = data.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise ValueError(f"{url} answered {head.split(b' ', 1)[-1][:40].decode(errors='replace')}")
    found = json.loads(body)["data"]
    return {str(k): str(v) for k, v in found.items()}
