"""Valkey, as the shop's programs speak to it: commands and their answers over a socket (RESP 2), nothing else.

Invariants: a connection that broke is not used again; no command is sent twice. Standard library only.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Any


class Refused(Exception):
    """The server's own words."""


class Valkey:
    """One connection, made at the first command: `Valkey("127.0.0.1:6379").ask("LLEN", "shop:jobs")`."""

    def __init__(self, place: str, timeout: float = 5.0) -> None:
        host, _, port = place.rpartition(":")
        self._place, self._timeout = (host, int(port)), timeout
        self._socket: socket.socket | None = None
        self._data = b""

    def __enter__(self) -> Valkey:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Harmless again."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._data = None, b""

    def ask(self, *words: str | int | float) -> Any:
        """The answer: text, a number, None or a list of those. Refused, OSError."""
        return self.together(words)[0]

    def together(self, *commands: tuple[str | int | float, ...]) -> list[Any]:
        """Several in one go; their answers. Refused, OSError."""
        try:
            if self._socket is None:
                self._socket = socket.create_connection(self._place, self._timeout)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(b"".join(map(_packed, commands)))
            answers = [self._answer() for _ in commands]
        except BaseException:
            self.close()
            raise
        wrong = next((a for a in answers if isinstance(a, Refused)), None)
        if wrong is not None:
            raise wrong
        return answers

    def _answer(self) -> Any:
        kind, rest = (line := self._line())[:1], line[1:]
        match kind:
            case b"+":
                return rest.decode()
            case b"-":
                return Refused(rest.decode())
            case b":":
                return int(rest)
            case b"$":
                return None if rest == b"-1" else self._bytes(int(rest)).decode(errors="replace")
            case b"*":
                return None if rest == b"-1" else [self._answer() for _ in range(int(rest))]
        raise OSError(f"no answer of Valkey's: {line[:40]!r}")

    def _line(self) -> bytes:
        while b"\r\n" not in self._data:
            self._more()
        line, _, self._data = self._data.partition(b"\r\n")
        return line

    def _bytes(self, length: int) -> bytes:
        while len(self._data) < length + 2:
            self._more()
        found, self._data = self._data[:length], self._data[length + 2 :]
        return found

    def _more(self) -> None:
        more = self._socket.recv(65_536) if self._socket is not None else b""
        if not more:
            raise ConnectionError("Valkey closed the connection")
        self._data += more


def _packed(words: tuple[str | int | float, ...]) -> bytes:
    parts = [str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def remembered(place: str, key: str, seconds: int, make: Callable[[], str]) -> str:
    """The text under this key, made and kept for so long where there is none; only made where Valkey is silent."""
    try:
        with Valkey(place, 1.0) as valkey:
            found = valkey.ask("GET", key)
            if found is None:
                found = make()
                valkey.ask("SET", key, found, "EX", seconds)
            return str(found)
    except (OSError, Refused):
        return make()


def forget(place: str, key: str) -> None:
    """It is made anew when it is asked for again; where Valkey does not answer it ends by itself."""
    with contextlib.suppress(OSError, Refused), Valkey(place, 1.0) as valkey:
        valkey.ask("UNLINK", key)
