"""Every way to answer a request: JSON, or a "no" with why, what and who could; and every way to fail as one of them."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from bot.located import Faults
from bot.policy import Refusal, Why
from bot.releases.ledger import ReleaseConflict
from bot.releases.register import BadRelease, UnknownRelease
from bot.run.events import BadEvent, TooLarge
from bot.store.blobs import BlobsUnavailable
from bot.store.log import SchemaMismatch, StoreUnavailable
from bot.web.incoming import Malformed

log = logging.getLogger(__name__)
Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]

BODY_LIMIT = 48 * 1024
"""Bytes of a body; below what one event may hold."""
_STATUS = {
    Why.NOT_YOURS: 403, Why.BARRED: 403, Why.ALREADY: 409, Why.STALE: 409, Why.NOT_NOW: 409, Why.UNKNOWN: 404,
    Why.BAD_INPUT: 400, Why.IMPOSSIBLE: 409,
}  # fmt: skip


class No(Exception):
    """An answer that is not what was asked for: HTTP status, kind, text for people, who could."""

    def __init__(self, status: int, why: str, text: str, who_can: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.status, self.why, self.text, self.who_can = status, why, text, who_can

    @classmethod
    def of(cls, refusal: Refusal) -> No:
        """A refusal of policy or of the run's rules."""
        return cls(_STATUS[refusal.why], refusal.why, refusal.text, refusal.who_can)

    @property
    def response(self) -> web.Response:
        """As it is sent."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        body = {"why": self.why, "text": self.text, "who_can": list(self.who_can)}
        return as_json(body, status=self.status, headers=headers)


_JSON = {
    "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Content-Type": "application/json; charset=utf-8",
}  # fmt: skip


def written(body: Any) -> str:
    """As JSON."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def as_json(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """The body as JSON, never to be kept by anybody on the way."""
    return written_json(f"{written(body)}\n".encode(), status=status, headers=headers)


def written_json(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """The same of what is written already."""
    return web.Response(body=body, status=status, headers={**_JSON, **(headers or {})})


@web.middleware
async def answered(request: web.Request, handler: Answering) -> web.StreamResponse:
    """Every way to fail, as an answer."""
    try:
        return await handler(request)
    except No as no:
        return no.response
    except Malformed as e:
        return No(400, Why.BAD_INPUT, str(e)).response
    except web.HTTPException as e:
        return _of_http(e).response
    except web.RequestPayloadError:
        text = "The body is not what its Content-Encoding says, or broke off. Nothing was changed."
        return No(400, Why.BAD_INPUT, text).response
    except TooLarge as e:
        return No(413, "too-large", f"Too large to be recorded: {e}. Nothing was changed.").response
    except Faults as e:
        n = len(e.faults)
        head = f"The plan has {n} mistake{'s' if n > 1 else ''}; `rollback-bot plan lint` shows them too:"
        return No(409, "bad-plan", f"{head}\n{e}\nNothing was changed.").response
    except BadRelease as e:
        return No(400, Why.BAD_INPUT, str(e)).response
    except UnknownRelease as e:
        return No(404, Why.UNKNOWN, str(e)).response
    except ReleaseConflict as e:
        return No(409, Why.NOT_NOW, str(e)).response
    except BadEvent as e:
        return No(500, "bad-record", f"This record cannot be read: {e}. Next: `rollback-bot audit verify`.").response
    except (StoreUnavailable, SchemaMismatch, BlobsUnavailable) as e:
        return No(503, "unavailable", str(e)).response
    except Exception:
        ref = secrets.token_hex(4)
        log.exception("fault %s while answering %s %s", ref, request.method, request.path[:200])
        return No(500, "fault", f"This is a fault of the bot. Its log has the details under {ref}.").response


def _of_http(e: web.HTTPException) -> No:
    if isinstance(e, web.HTTPRequestEntityTooLarge):
        return No(413, "too-large", f"At most {BODY_LIMIT} bytes are read. Nothing was changed.")
    if isinstance(e, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(e.allowed_methods))
        return No(405, "no-such-method", f"Not {e.method} here; what works: {allowed}.")
    if e.status == 404:
        return No(404, Why.UNKNOWN, "There is nothing at this address.")
    return No(e.status, "http", e.reason)
