"""The smallest HTTP server that a shop needs: one thread a connection, one request a connection.

Invariants: listens on loopback only; SIGTERM ends it after the requests that it has begun; an exception of a handler
is a 500 and a traceback in the log. Standard library only.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bot.playground.shop.metrics import TYPE, Metrics

LIMIT = 65_536
"""Bytes of a request."""


class Asked(NamedTuple):
    """A request. body: None where it is no JSON object; headers: by their names in small letters."""

    method: str
    path: str
    body: dict[str, Any] | None
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    """status and a body: text as it is, anything else as JSON, None is no body."""

    status: int
    body: object
    headers: Mapping[str, str] = {}


def log(level: str, text: str) -> None:
    """One line on standard output, as the cluster keeps it."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sys.stdout.write(f"{stamp} {level} {os.environ.get('SHOP_RELEASE', '')} {text}\n")
    sys.stdout.flush()


METRICS = Metrics()
"""What this program counts."""


def complain(doing: str, error: BaseException) -> None:
    """An exception in the log, with its traceback."""
    import traceback  # takes a while, and good releases never need it

    METRICS.count("shop_exceptions_total", kind=type(error).__name__)
    log("ERROR", f"{doing}: {type(error).__name__}: {error}\n" + "".join(traceback.format_exception(error)).rstrip())


def serve(handle: Callable[[Asked], Answer]) -> None:
    """Listen on $PORT until SIGTERM; that is seen to by whoever calls this from a thread."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # threads that answer are joined on the way out
    with socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=64) as listener:
        log("INFO", f"listening on {listener.getsockname()[1]}")
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_answer, args=(connection, handle)).start()


def _answer(connection: socket.socket, handle: Callable[[Asked], Answer]) -> None:
    with connection:
        connection.settimeout(5.0)
        try:
            asked = _read(connection)
            if asked is not None:
                connection.sendall(_reply(asked, handle))
        except OSError:
            return  # whoever asked has gone


def _read(connection: socket.socket) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < LIMIT:
        more = connection.recv(LIMIT)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, *_ = [*first.split(" "), "", ""]
    headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
    length = min(int(headers.get("content-length") or 0), LIMIT)
    while len(body) < length:
        more = connection.recv(LIMIT)
        if not more:
            return None
        body += more
    return Asked(method, path.partition("?")[0], _json(body), headers)


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body) if body else {}
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _reply(asked: Asked, handle: Callable[[Asked], Answer]) -> bytes:
    began = time.monotonic()
    try:
        answer = handle(asked)
    except Exception as error:
        complain(f"{asked.method} {asked.path}", error)
        answer = Answer(500, {"error": f"{type(error).__name__}: {error}"})
    route = "/" + asked.path.split("/")[1]
    METRICS.answered(route if answer.status != 404 else "other", answer.status, time.monotonic() - began)
    return _bytes(answer)


def _bytes(answer: Answer) -> bytes:
    text = isinstance(answer.body, str)
    data = b"" if answer.body is None else str(answer.body).encode() if text else json.dumps(answer.body).encode()
    headers = {"Content-Type": TYPE if text else "application/json", "Content-Length": len(data), **answer.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} .\r\n{lines}Connection: close\r\n\r\n".encode() + data
