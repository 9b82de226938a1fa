"""What went between Slack and the app, both ways, for the inspector: calls of the Web API, and what was delivered.

Invariants: at most `MOST` lines are kept; no token is among them (the workspace's own log leaves it out too).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from bot.playground.workspace import Workspace
from bot.playground.workspace.wire import Json

MOST = 400
"""Lines that are kept."""


class Traffic:
    """Numbered lines, oldest first."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._lines: deque[Json] = deque(maxlen=MOST)
        self._calls = self._sent = self._number = 0

    def after(self, number: int) -> Json:
        """Lines with a higher number than this one."""
        self._gather()
        return {"lines": [line for line in self._lines if line["n"] > number]}

    def _gather(self) -> None:
        calls, sent = self._workspace.calls(), self._workspace.delivered
        found: list[tuple[float, Json]] = [
            (c.at, {"way": "to Slack", "what": c.method, "error": c.error, "body": c.args})
            for c in calls[self._calls :]
        ]
        now = self._workspace.clock.time()
        found += [(now, _delivered(envelope)) for envelope in sent[self._sent :]]
        self._calls, self._sent = len(calls), len(sent)
        for at, line in sorted(found, key=lambda pair: pair[0]):
            self._number += 1
            self._lines.append({"n": self._number, "at": at, **line})


def _delivered(envelope: Json) -> Json:
    payload: dict[str, Any] = envelope.get("payload") or {}
    kind = str(envelope.get("type", ""))
    name = payload.get("command") or payload.get("type") or kind
    if payload.get("type") == "event_callback":
        name = payload["event"]["type"]
    return {
        "way": "to the app",
        "what": f"{kind}: {name}",
        "error": "",
        "body": {k: v for k, v in payload.items() if k != "token"},
    }
