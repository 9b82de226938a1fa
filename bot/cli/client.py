"""Speaks to the running bot over HTTP, with nothing but the standard library, so that a command starts at once.

Invariants:
- the token goes to the bot's address and nowhere else: no proxy of the environment, no redirect is followed;
- what changes something carries a key of its own, so that asking again after a broken connection is safe, and is
  done here; whatever is given up says whether the bot may have received it.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from bot.cli.output import Code, End

TIMEOUT = 40.0
"""Seconds for an answer; a long poll takes up to 25."""
CONNECTING = 5.0
"""Seconds for a connection."""
TRIES = 3
ANSWER_LIMIT = 64 * 1024 * 1024
"""Bytes of an answer."""

_CODES = {400: Code.USAGE, 408: Code.USAGE, 413: Code.USAGE, 500: Code.FAULT, 503: Code.UNREACHABLE}


class BotAway(End):
    """The bot does not answer."""

    def __init__(self, what: str, help: str) -> None:
        super().__init__(Code.UNREACHABLE, f"{what}\n{help}")


class BotRefused(End):
    """The bot's answer is a no. status: of HTTP; why: the kind."""

    def __init__(self, status: int, answer: Mapping[str, Any]) -> None:
        self.status, self.why = status, str(answer.get("why", ""))
        code = Code.BAD_RECORD if self.why == "bad-record" else _CODES.get(status, Code.REFUSED)
        super().__init__(code, str(answer.get("text", "")), answer)


class Client:
    """One person at one bot. help: what to say where it does not answer."""

    def __init__(self, url: str, token: str, help: str) -> None:
        parts = _address(url)
        if parts is None:
            raise End(Code.USAGE, f"ROLLBACK_URL: {url!r} is no address like http://127.0.0.1:8090")
        try:
            token.encode("ascii")
        except UnicodeEncodeError:
            raise End(Code.USAGE, "ROLLBACK_TOKEN holds a character that no token has.") from None
        self.url, self._parts, self._help = url.rstrip("/"), parts, help
        self._headers = {"User-Agent": "rollback-bot", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token.strip()}"

    def get(self, path: str, **query: object) -> Any:
        """Reads. BotRefused, BotAway."""
        given = {k: v for k, v in query.items() if v is not None}
        return self._json(self._read(path + (f"?{urlencode(given)}" if given else "")))

    def text(self, path: str) -> str:
        """Reads what is not JSON."""
        return self._read(path).decode()

    def post(self, path: str, body: object) -> Any:
        """Changes something, once. BotRefused, BotAway."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": os.urandom(16).hex()}
        data = json.dumps(body).encode()
        for attempt in range(1, TRIES + 1):
            try:
                return self._json(self._ask("POST", path, data, headers))
            except _Broken as e:
                if attempt == TRIES:
                    left = "Whether it was received is not known: look before you ask again."
                    raise self._unreachable(f"{e} {left}") from e
                time.sleep(0.5 * attempt)
            except BotRefused as e:
                if attempt > 1 and e.why == "already":
                    return {"text": "Received: the first answer was lost on its way.", "run": None}
                raise
        raise AssertionError("unreachable")

    def _read(self, path: str) -> bytes:
        try:
            return self._ask("GET", path, None, {})
        except _Broken as e:
            raise self._unreachable(str(e)) from e

    def _json(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError:
            raise self._unreachable(f"Something else than the bot answers at {self.url}.") from None

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        connection = self._connect()
        try:
            connection.request(method, self._parts.path.rstrip("/") + path, body, {**self._headers, **headers})
            answer = connection.getresponse()
            data = answer.read(ANSWER_LIMIT)
        except (OSError, http.client.HTTPException) as e:
            raise _Broken(f"The connection to {self.url} broke: {_cause(e)}.") from e
        finally:
            connection.close()
        if answer.status < 300:
            return data
        raise self._no(answer.status, data)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = str(self._parts.hostname), self._parts.port
        made: http.client.HTTPConnection
        if self._parts.scheme == "https":
            made = http.client.HTTPSConnection(host, port, timeout=CONNECTING, context=ssl.create_default_context())
        else:
            made = http.client.HTTPConnection(host, port, timeout=CONNECTING)
        try:
            made.connect()
        except OSError as e:
            raise self._unreachable(f"The bot does not answer at {self.url}: {_cause(e)}.") from e
        made.sock.settimeout(TIMEOUT)
        return made

    def _no(self, status: int, data: bytes) -> End:
        try:
            answer = json.loads(data)
            answer["text"]
        except (ValueError, TypeError, KeyError):
            return self._unreachable(f"Something else than the bot answers at {self.url} (HTTP {status}).")
        return BotRefused(status, answer)

    def _unreachable(self, what: str) -> BotAway:
        return BotAway(what, self._help)


class _Broken(Exception):
    """The connection broke when something may have been received already."""


def _address(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return parts if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 else None
    except ValueError:
        return None


def path(*parts: str) -> str:
    """`/v1/a/b`, quoted."""
    return "/v1/" + "/".join(quote(p, safe="") for p in parts)


def _cause(e: Exception) -> str:
    return str(getattr(e, "strerror", None) or e) or type(e).__name__
