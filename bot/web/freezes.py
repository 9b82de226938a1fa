"""What CI asks before it deploys, and what it leaves behind where people have it deploy all the same.

Invariants: who cannot be answered is refused: an unknown service, a malformed digest, a bad token are errors, never a
yes. An override is recorded before it is answered.
"""

from __future__ import annotations

import hmac
import logging
import re
from dataclasses import asdict, dataclass, field
from functools import cached_property

from aiohttp import web
from pydantic import TypeAdapter

from bot.catalogue import Service
from bot.policy import Actor, Refusal, Why
from bot.releases.freeze_answer import Freeze
from bot.releases.register import BadRelease
from bot.run import events as ev
from bot.web.answers import No, as_json, written, written_json
from bot.web.requests import PERSON, click_key, read_body, via, word_in_address
from bot.web.serves import Serves

log = logging.getLogger(__name__)

PATH = "/v1/freezes/"
SAME = 64
"""Questions of which the answer is kept, a service."""
OVERRIDES = 30
"""How often a service's freeze may be overridden within an hour."""
_DIGEST = re.compile(r"(?:\S+@)?(sha256:[0-9a-f]{64})")
_VERSION = re.compile(r"[^\s/]{1,128}")


@dataclass(frozen=True, slots=True)
class Override:
    """Why something is deployed in spite of a freeze or a ban, what, and who says so where a pipeline asks."""

    reason: str
    who: str = ""
    version: str = ""
    digest: str = ""


@dataclass
class AnswersOfOneLook:
    """What was answered after one look, which many share: query -> body. It may name hundreds of bans, and pipelines
    ask the same again and again."""

    freeze: Freeze
    answers: dict[str, bytes] = field(default_factory=dict)

    @cached_property
    def stands(self) -> str:
        """How the service stands, as JSON has it."""
        f = self.freeze
        return written({
            "service": f.service, "state": "locked" if f.locked else "open", "run": f.run,
            "who": f.who, "why": f.why, "since": f.since,
            "banned": [asdict(b) for b in f.banned], "admitted": [asdict(a) for a in f.admitted],
        })  # fmt: skip


@dataclass(frozen=True, slots=True)
class Because:
    """Why a person freezes or thaws."""

    reason: str


_OVERRIDE, _BECAUSE = TypeAdapter(Override), TypeAdapter(Because)


class Freezes:
    """The handlers of /v1/freezes."""

    def __init__(self, bot: Serves) -> None:
        self.bot = bot
        self._overridden: dict[str, list[float]] = {}
        self._told: dict[str, AnswersOfOneLook] = {}

    async def show(self, request: web.Request) -> web.Response:
        """How a service stands; with ?version= or ?digest= (several may be given) whether that may be deployed."""
        service = self._service(request)
        freeze = await self.bot.rollbacks.freeze(service.name)
        told = self._told.get(service.name)
        if told is None or told.freeze is not freeze:
            told = self._told[service.name] = AnswersOfOneLook(freeze)
        body = told.answers.get(request.query_string)
        if body is None:
            body = self._answer(request, told)
            if len(told.answers) < SAME:
                told.answers[request.query_string] = body
        return written_json(body)

    def _answer(self, request: web.Request, told: AnswersOfOneLook) -> bytes:
        """No where the question is none."""
        version = request.query.get("version", "")
        if version and not _VERSION.fullmatch(version):
            raise No(400, Why.BAD_INPUT, "?version= is none; write it as it was registered, like 2.4.1.")
        digests = [_digest(word) for word in request.query.getall("digest", [])]
        if unknown := sorted(set(request.query) - {"version", "digest"}):
            raise No(400, Why.BAD_INPUT, f"?{unknown[0]}= is not known here; ask with ?digest= or ?version=.")
        answer = told.freeze.answer(version, digests)
        asked = {"allowed": answer.allowed} if version or digests else {}
        return f"{told.stands[:-1]},{written(asked | {'reason': answer.reason})[1:]}\n".encode()

    async def override(self, request: web.Request) -> web.Response:
        """Records that something is deployed all the same; in the run that froze the service, else in the log."""
        service = self._service(request)
        given = await read_body(_OVERRIDE, request)
        reason, who = given.reason.strip(), given.who.strip()
        if not reason:
            raise BadRelease("reason: an override needs a reason. Nothing was recorded.")
        if no := self.bot.redactor.objection(reason, who, given.version):
            raise BadRelease(no)
        self._not_too_often(service.name)
        person = request.get(PERSON)
        by = Actor.of(person, via(request, "http")) if person is not None else Actor("ci", who or "CI", (), "ci")
        what = ", ".join(w for w in (given.version, _digest(given.digest) if given.digest else "") if w)
        run = (await self.bot.rollbacks.freeze(service.name)).run
        why = await self.bot.engine.submit(run, ev.FreezeOverridden(what, reason, by)) if run else "nothing is frozen"
        log.warning("%s: %s deploys %s in spite of it: %s", service.name, by.name, what or "something", reason)
        kept = "the bot's log" if why else run
        text = f"Recorded in {kept}. A cluster's guard is not lifted by this."
        return as_json({"recorded": kept, "text": text}, status=201)

    def _not_too_often(self, service: str) -> None:
        """Each is recorded for ever, and who asks is a token that every pipeline has."""
        now = self.bot.clock()
        lately = [t for t in self._overridden.get(service, ()) if abs(now - t) < 3600]
        if len(lately) >= OVERRIDES:
            text = f"{service} was overridden {OVERRIDES} times within the hour; that is no deployment any more."
            raise No(
                429, "too-often", f"{text} Nothing was recorded. Next: `rollback-bot thaw {service}`, by a commander."
            )
        self._overridden[service] = [*lately, now]

    async def freeze(self, request: web.Request) -> web.Response:
        """A commander freezes a service by hand."""
        reason = (await read_body(_BECAUSE, request)).reason
        found = await self.bot.rollbacks.hold(
            self._service(request).name, reason, request[PERSON], via(request, "cli"), key=click_key(request)
        )
        if isinstance(found, Refusal):
            raise No.of(found)
        said = f"{found.service} is being frozen. `rollback-bot thaw {found.service}` lifts it."
        return as_json({"run": found.id, "text": said}, status=201)

    async def thaw(self, request: web.Request) -> web.Response:
        """A commander lifts a freeze."""
        reason = (await read_body(_BECAUSE, request)).reason
        service = self._service(request).name
        found = await self.bot.rollbacks.thaw(
            service, reason, request[PERSON], via(request, "cli"), key=click_key(request)
        )
        if isinstance(found, Refusal):
            raise No.of(found)
        return as_json({"run": found, "text": f"{service} takes new releases again, in a moment."}, status=201)

    def _service(self, request: web.Request) -> Service:
        name = word_in_address(request, "service")
        service = self.bot.catalogue.services.get(name)
        if service is None:
            known = ", ".join(sorted(self.bot.catalogue.services))
            raise No(404, Why.UNKNOWN, f"There is no service {name!r} in the catalogue; there are {known}.")
        return service


def is_ci(bot: Serves, request: web.Request) -> bool:
    """Whether a pipeline asks about a freeze, with the token that all pipelines share."""
    token = bot.settings.ci_token
    asks = request.method == "GET" or request.path.endswith("/overrides")
    if token is None or not request.path.startswith(PATH) or not asks:
        return False
    given = request.headers.get("Authorization", "")
    return hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {token.get_secret_value()}".encode())


def _digest(word: str) -> str:
    found = _DIGEST.fullmatch(word)
    if found is None:
        raise No(400, Why.BAD_INPUT, "A digest is sha256:<64 hex digits>, alone or behind <repository>@.")
    return found[1]
