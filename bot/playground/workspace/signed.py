"""Signed HTTP: how Slack calls an app's request URL.

https://docs.slack.dev/authentication/verifying-requests-from-slack

The signature's time is the machine's, not the workspace's clock: the app that checks it has only the machine's.

Invariants: every request is signed with the app's secret over exactly the bytes that are sent; redirects are not
followed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from urllib.parse import urlencode

import aiohttp

from bot.playground.workspace.app import App
from bot.playground.workspace.delivery import Ack, Envelope, Unreachable
from bot.playground.workspace.wire import Json

AGENT = "Slackbot 1.0 (+https://api.slack.com/robots)"


def signature(secret: str, timestamp: str, body: str) -> str:
    """The value of X-Slack-Signature."""
    digest = hmac.new(secret.encode(), f"v0:{timestamp}:{body}".encode(), hashlib.sha256)
    return f"v0={digest.hexdigest()}"


def written(envelope: Envelope) -> tuple[str, str]:
    """(content type, body) of an envelope over HTTP."""
    if envelope.kind == "events_api":
        return "application/json", json.dumps(envelope.payload)
    form = envelope.payload if envelope.kind == "slash_commands" else {"payload": json.dumps(envelope.payload)}
    return "application/x-www-form-urlencoded", urlencode(form)


class Signed:
    """One app's request URL. secret, skew: what it is signed with, and seconds added to the time, for tests."""

    timeout_reason = "http_timeout"

    def __init__(self, app: App, url: str) -> None:
        self._app, self._url = app, url
        self._session: aiohttp.ClientSession | None = None
        self.sent: list[Json] = []

    async def send(self, envelope: Envelope) -> Ack:
        """POST and read the answer. Unreachable where nobody listens."""
        self.sent.append({"type": envelope.kind, "payload": envelope.payload, "retry_attempt": envelope.attempt})
        kind, body = written(envelope)
        again = {"X-Slack-Retry-Num": str(envelope.attempt), "X-Slack-Retry-Reason": envelope.reason}
        headers = {"Content-Type": kind, **(again if envelope.attempt else {})}
        try:
            status, answered, text = await self.post(body, headers)
        except aiohttp.ClientError as error:
            raise Unreachable from error
        if not 200 <= status < 300:
            error_code = "http_client_error" if status < 500 else "http_service_error"
            return Ack(error_code, final=answered.get("X-Slack-No-Retry") == "1")
        return Ack(body=_answer(text))

    async def post(
        self, body: str, headers: Mapping[str, str], *, secret: str | None = None, skew: float = 0.0
    ) -> tuple[int, Mapping[str, str], str]:
        """(status, headers, body) of one signed request; secret and skew (seconds) spoil the signature on purpose."""
        timestamp = str(int(time.time() + skew))
        signed = {
            "User-Agent": AGENT,
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": signature(secret or self._app.signing_secret, timestamp, body),
        }
        self._session = self._session or aiohttp.ClientSession()
        asked = self._session.post(self._url, data=body.encode(), headers={**headers, **signed}, allow_redirects=False)
        async with asked as answer:
            return answer.status, answer.headers, await answer.text()

    async def verify(self) -> bool:
        """Whether the URL answers Slack's challenge, as it must before Slack uses it."""
        challenge = secrets.token_urlsafe(16)
        told = {"type": "url_verification", "challenge": challenge, "token": self._app.verification_token}
        status, _, text = await self.post(json.dumps(told), {"Content-Type": "application/json"})
        answer = _answer(text)
        return status == 200 and challenge in (answer, answer.get("challenge") if isinstance(answer, dict) else None)

    def drop(self) -> None:
        """There is no connection to break."""

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _answer(text: str) -> Json | str | None:
    """The response in an acknowledgement: JSON, plain text, or none."""
    if not text:
        return None
    try:
        body = json.loads(text)
    except ValueError:
        return text
    return body if isinstance(body, dict) else text
