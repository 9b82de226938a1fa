"""Releases over HTTP: CI registers them, commanders judge them, everybody reads them.

A webhook is signed over its bytes and the time (`X-Rollback-Timestamp`, `X-Rollback-Signature`); without a secret
in the settings there is none. It registers, and says what serves; judging takes a person.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter

from bot.catalogue import Service
from bot.policy import COMMANDER, Actor, Person, Why
from bot.releases.ledger import Registered
from bot.releases.register import BadRelease, ReleasePayload, verify_signature
from bot.telling.times import duration
from bot.web.answers import No, as_json
from bot.web.incoming import read_json
from bot.web.requests import PERSON, raw_body, read_body, word_in_address
from bot.web.serves import Serves

SIGNATURE, TIMESTAMP = "X-Rollback-Signature", "X-Rollback-Timestamp"
CI = "ci"
"""Who registers by webhook, in a release's history."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Why, and since when (seconds since the epoch; now where it is left out)."""

    reason: str = ""
    at: float | None = None


_PAYLOAD, _JUDGEMENT = TypeAdapter(ReleasePayload), TypeAdapter(Judgement)
_VERSION = re.compile(r"[^\s/]{1,128}")


def _free(p: ReleasePayload) -> Iterator[str]:
    """What CI writes into a release in its own words."""
    yield from (
        p.version,
        p.commit,
        p.frontend or "",
        p.schema_ or "",
        p.migrations or "",
        p.compatible or "",
        *p.images,
        *p.images.values(),
    )


class LedgerRoutes:
    """The handlers of /v1/releases."""

    def __init__(self, bot: Serves) -> None:
        self.bot = bot
        self._judge: Mapping[str, Callable[[str, str, Judgement, str], Awaitable[Registered]]] = {
            "serving": self._serving, "stable": self._stable, "bad": self._bad, "ban": self._ban, "lift": self._lift,
        }  # fmt: skip

    async def record(self, request: web.Request) -> web.Response:
        """Registers a release; the same again is harmless."""
        payload = read_json(_PAYLOAD, await raw_body(request))
        by = self._commander(request).id if PERSON in request else CI
        service = self._service(payload.service)
        since = payload.serving_since.timestamp() if payload.serving_since is not None else None
        if no := self.bot.redactor.objection(*_free(payload)):
            raise BadRelease(no)
        done = await self.bot.releases.record(service.name, payload.release, by=by, serving_since=since)
        person = request.get(PERSON)
        by_whom = Actor.of(person, "http") if person is not None else Actor(CI, "CI", (), "webhook")
        await self.bot.rollbacks.end_bans(service.name, by_whom)
        said = "is registered" if done.new else "was registered before; nothing has changed"
        text = f"{service.name} {payload.version} {said}."
        return as_json(self._one(done.registered) | {"new": done.new, "text": text}, status=201 if done.new else 200)

    async def list(self, request: web.Request) -> web.Response:
        """The releases of a service, last registered first, and what could be gone back to now."""
        service = self._service(word_in_address(request, "service"))
        found = [self._one(r) for r in await self.bot.releases.all(service.name)]
        now = self.bot.clock()
        choice = await self.bot.releases.choose(
            service.name, removed=None, floor=service.floor, now=now, stable_after=service.stable_after
        )
        best = choice.best.release.version if choice.best is not None else None
        lines = [_line(r, now) for r in found] or [f"No release of {service.name} is registered."]
        text = "\n".join([*lines, "", *choice.evidence])
        return as_json({"releases": found, "best": best, "evidence": list(choice.evidence), "text": text})

    async def mark(self, request: web.Request) -> web.Response:
        """What a commander says of a release: serving, stable, bad, ban, lift."""
        what, version = request.match_info["what"], request.match_info["version"]
        if what not in self._judge or not _VERSION.fullmatch(version) or not version.isprintable():
            raise No(404, Why.UNKNOWN, f"There is nothing at this address; a release is {', '.join(self._judge)}.")
        judgement = await read_body(_JUDGEMENT, request)
        person = self._commander(request)
        service = self._service(word_in_address(request, "service"))
        done = await self._judge[what](service.name, version, judgement, person.id)
        await self.bot.rollbacks.end_bans(service.name, Actor.of(person, "http"))
        one = self._one(done)
        return as_json(one | {"text": _line(one, self.bot.clock())})

    async def _serving(self, service: str, version: str, j: Judgement, by: str) -> Registered:
        at = self.bot.clock() if j.at is None else j.at
        if not 0 < at <= self.bot.clock() + 60:
            raise BadRelease("at: must be a moment that has been. Nothing was changed.")
        return await self.bot.releases.served(service, version, at, by)

    async def _stable(self, service: str, version: str, j: Judgement, by: str) -> Registered:
        return await self.bot.releases.stable(service, version, by, self._prose(j))

    async def _bad(self, service: str, version: str, j: Judgement, by: str) -> Registered:
        return await self.bot.releases.bad(service, version, self._prose(j), by)

    async def _ban(self, service: str, version: str, j: Judgement, by: str) -> Registered:
        return await self.bot.releases.ban(service, version, self._prose(j), by)

    async def _lift(self, service: str, version: str, j: Judgement, by: str) -> Registered:
        return await self.bot.releases.lift(service, version, self._prose(j), by)

    def _prose(self, j: Judgement) -> str:
        if j.at is not None:
            raise BadRelease("at: belongs to `serving` only. Nothing was changed.")
        if no := self.bot.redactor.objection(j.reason):
            raise BadRelease(no)
        return j.reason

    def _service(self, name: str) -> Service:
        service = self.bot.catalogue.services.get(name)
        if service is None:
            known = ", ".join(sorted(self.bot.catalogue.services))
            raise No(404, Why.UNKNOWN, f"There is no service {name!r} in the catalogue; there are {known}.")
        return service

    def _commander(self, request: web.Request) -> Person:
        person = request[PERSON]
        if COMMANDER not in person.roles:
            text = "Not yours to say: this needs a commander, or a webhook's signature. Nothing was changed."
            raise No(403, Why.NOT_YOURS, text)
        return person

    def _one(self, r: Registered) -> dict[str, Any]:
        serving = bool(r.served) and r.served[-1].until is None
        return {
            "service": r.service, "version": r.version, "state": r.state, "reason": r.reason, "at": r.at,
            "serving": serving, "release": asdict(r.release), "history": [asdict(e) for e in r.history],
            "served": [asdict(s) for s in r.served], "served_for": r.served_for(self.bot.clock()),
        }  # fmt: skip


async def signed(bot: Serves, request: web.Request) -> bool:
    """Whether a request is a webhook with a good signature. No where it claims to be one and is not."""
    if SIGNATURE not in request.headers or request.method != "POST" or request.path != "/v1/releases":
        return False
    secret = bot.settings.webhook_secret
    if secret is None:
        raise No(401, "no-webhook", "The webhook is off: ROLLBACK_WEBHOOK_SECRET is not set where the bot runs.")
    timestamp, signature = request.headers.get(TIMESTAMP, ""), request.headers[SIGNATURE]
    if not verify_signature(secret.get_secret_value(), timestamp, await raw_body(request), signature, bot.clock()):
        text = f"The signature is not good: sign v0:<{TIMESTAMP}>:<body> with the shared secret, within five minutes."
        raise No(401, "bad-signature", text)
    return True


def _line(r: Mapping[str, Any], now: float) -> str:
    """ "2.4.0  stable, served 6 d 4 h, serves now"."""
    parts = [str(r["state"]) + (f" ({r['reason']})" if r["reason"] else "")]
    if r["served"]:
        parts.append(f"served {duration(r['served_for'])}")
    if r["serving"]:
        parts.append("serves now")
    at = datetime.fromtimestamp(r["at"], UTC)
    return f"{r['version']:<16} {', '.join(parts)}, registered {at:%Y-%m-%d %H:%M} UTC"
