"""A pager on loopback that speaks PagerDuty's Events v2 as strictly as the real one, and can be away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "R0UT1NGKEY0123456789abcdefABCDEF"
SEVERITIES = ("critical", "error", "warning", "info")


@dataclass
class Incidents:
    """What rang. ringing: dedup key -> its payload; log: (event_action, dedup_key) of all that was taken; answers:
    statuses to be given instead, first first; heard: requests so far, whatever became of them."""

    url: str = ""
    ringing: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    heard: int = 0

    @property
    def rang(self) -> list[str]:
        """The keys that were triggered."""
        return [key for doing, key in self.log if doing == "trigger"]

    async def enqueue(self, request: web.Request) -> web.Response:
        """POST /v2/enqueue."""
        self.heard += 1
        if self.answers:
            status = self.answers.pop(0)
            return web.json_response({"status": "no"}, status=status, headers={"Retry-After": "7"})
        body = await request.json()
        if errors := _wrong(body):
            said = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
            return web.json_response(said, status=400)
        doing, key = body["event_action"], body["dedup_key"]
        self.log.append((doing, key))
        if doing == "resolve":
            self.ringing.pop(key, None)
        else:
            self.ringing[key] = body["payload"]
        return web.json_response({"status": "success", "message": "Event processed", "dedup_key": key}, status=202)


def _wrong(body: Mapping[str, Any]) -> list[str]:
    errors = [] if body.get("routing_key") == KEY else ["Invalid routing key"]
    if not 0 < len(body.get("dedup_key", "")) <= 255:
        errors.append("Length of 'dedup_key' is incorrect (should be between 1 and 255 characters)")
    if body.get("event_action") not in ("trigger", "acknowledge", "resolve"):
        errors.append("'event_action' is invalid")
    if body.get("event_action") == "trigger":
        payload = body.get("payload", {})
        errors += [
            f"'payload.{k}' is missing or blank" for k in ("summary", "source", "severity") if not payload.get(k)
        ]
        errors += [] if payload.get("severity") in SEVERITIES else ["'payload.severity' is invalid"]
        errors += [] if len(payload.get("summary", "")) <= 1024 else ["'payload.summary' is too long"]
    return errors


@asynccontextmanager
async def pager() -> AsyncIterator[Incidents]:
    """One that is up."""
    found = Incidents()
    app = web.Application()
    app.router.add_post("/v2/enqueue", found.enqueue)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v2/enqueue"
        yield found
    finally:
        await runner.cleanup()
