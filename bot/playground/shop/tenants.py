"""What the shop's second half offers to those who have an account, over HTTP; and the switch that closes it for writes.

    POST   /tenants          {"name", "secret"}: a new account; only names that begin with "synthetic-" may be made so
    DELETE /tenants/<name>   everything of a synthetic account: orders, messages, disputes; 204, also where it is gone
    POST   /login            {"name", "secret"} -> {"token"}
    GET    /account          {"name", "orders"} of whose token it is (Authorization: Bearer ...), else 401
    POST   /messages         {"text"} -> 201 {"id", "state"};  GET /messages/<id>
    POST   /disputes         {"order", "reason"} -> 201 {"id", "state"};  GET /disputes/<id>; orders of one's own alone
    GET    /maintenance      {"read_only", "notice"} with an ETag; PUT replaces both and honours If-Match (412)

While `read_only` holds, or the database refuses writes, whatever would write is answered 503 with Retry-After.
Standard library and this package only.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

from bot.playground.shop.cache import Valkey
from bot.playground.shop.orders import Orders, ReadOnly
from bot.playground.shop.web import Answer, Asked

SYNTHETIC = "synthetic-"
MAINTENANCE = "shop:maintenance"
_FRESH = 0.3
"""Seconds for which the switch is believed."""
_WRITE = """
local version = redis.call('HGET', KEYS[1], 'version') or '0'
if ARGV[1] ~= '' and ARGV[1] ~= version then return {0, version} end
version = tostring(tonumber(version) + 1)
redis.call('HSET', KEYS[1], 'read_only', ARGV[2], 'notice', ARGV[3], 'version', version)
return {1, version}
"""


class Switch:
    """The maintenance document, in Valkey: the same for all pods."""

    def __init__(self, place: str) -> None:
        self._place, self._at, self._notice = place, 0.0, ""
        self._closed = False

    def check(self) -> None:
        """ReadOnly while it is on."""
        if time.monotonic() - self._at > _FRESH:
            document, _ = self._read()
            self._closed, self._notice, self._at = document["read_only"], document["notice"], time.monotonic()
        if self._closed:
            raise ReadOnly(self._notice or "the shop is read-only at the moment")

    def get(self) -> Answer:
        """GET /maintenance"""
        document, version = self._read()
        return Answer(200, document, {"ETag": f'"{version}"'})

    def put(self, asked: Asked) -> Answer:
        """PUT /maintenance"""
        body = asked.body or {}
        on, notice = body.get("read_only"), body.get("notice", "")
        if set(body) - {"read_only", "notice"} or not isinstance(on, bool) or not isinstance(notice, str):
            return Answer(422, {"error": 'must be {"read_only": true or false, "notice": "<text>"}'})
        wanted = asked.headers.get("if-match", "").strip('"').removeprefix("*")
        with Valkey(self._place) as valkey:
            done, version = valkey.ask("EVAL", _WRITE, 1, MAINTENANCE, wanted, "1" if on else "0", notice)
        self._at = 0.0
        tag = {"ETag": f'"{version}"'}
        if not done:
            return Answer(412, {"error": f"/maintenance is at version {version} now"}, tag)
        return Answer(200, {"read_only": on, "notice": notice}, tag)

    def _read(self) -> tuple[dict[str, Any], str]:
        with Valkey(self._place) as valkey:
            on, notice, version = valkey.ask("HMGET", MAINTENANCE, "read_only", "notice", "version")
        return {"read_only": on == "1", "notice": notice or ""}, version or "0"


class Tenants:
    """Accounts, and what they write. `handle` answers None to what is not its matter."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    def handle(self, asked: Asked) -> Answer | None:
        """Any request."""
        body = asked.body or {}
        match asked.method, *[p for p in asked.path.split("/") if p]:
            case "POST", "tenants":
                return self._create(body)
            case "DELETE", "tenants", name:
                return self._remove(name)
            case "POST", "login":
                return self._login(body)
            case "GET", "account":
                return self._account(asked)
            case "POST", ("messages" | "disputes") as what:
                return self._write(asked, what)
            case "GET", ("messages" | "disputes") as what, id if id.isdigit():
                return self._show(asked, what, int(id))
        return None

    def whose(self, asked: Asked) -> str | None:
        """The account that a request is made for."""
        token = asked.headers.get("authorization", "").removeprefix("Bearer ")
        found = self._rows("SELECT name FROM tenants WHERE session = %s", token) if token else []
        return str(found[0][0]) if found else None

    def _write(self, asked: Asked, what: str) -> Answer:
        name = self.whose(asked)
        if name is None:
            return _unknown()
        write = self._message if what == "messages" else self._dispute
        return write(name, asked.body or {})

    def _create(self, body: Mapping[str, Any]) -> Answer:
        name, secret = body.get("name"), body.get("secret")
        if not isinstance(name, str) or not name.startswith(SYNTHETIC) or not isinstance(secret, str) or not secret:
            return Answer(422, {"error": f"name must begin with {SYNTHETIC!r}, and there must be a secret"})
        into = "INSERT INTO tenants (name, secret) VALUES (%s, %s) ON CONFLICT DO NOTHING RETURNING name"
        made = self._rows(into, name, _hidden(secret))
        return Answer(201 if made else 409, {"name": name} if made else {"error": f"{name} is there already"})

    def _remove(self, name: str) -> Answer:
        if not name.startswith(SYNTHETIC):
            return Answer(403, {"error": f"only accounts whose name begins with {SYNTHETIC!r} are removed"})
        with self._orders.pool.transaction() as db:
            db.execute("DELETE FROM orders WHERE customer = %s", (name,))
            db.execute("DELETE FROM tenants WHERE name = %s", (name,))
        return Answer(204, None)

    def _login(self, body: Mapping[str, Any]) -> Answer:
        token = secrets.token_urlsafe(16)
        into = "UPDATE tenants SET session = %s WHERE name = %s AND secret = %s RETURNING name"
        found = self._rows(into, token, body.get("name"), _hidden(str(body.get("secret"))))
        return Answer(200, {"token": token}) if found else Answer(401, {"error": "no such name and secret"})

    def _account(self, asked: Asked) -> Answer:
        name = self.whose(asked)
        if name is None:
            return _unknown()
        orders = self._rows("SELECT id, cents, status FROM orders WHERE customer = %s ORDER BY at", name)
        shown = [{"id": id, "cents": cents, "status": status} for id, cents, status in orders]
        return Answer(200, {"name": name, "orders": shown})

    def _message(self, name: str, body: Mapping[str, Any]) -> Answer:
        text = body.get("text")
        if not isinstance(text, str) or not text:
            return Answer(422, {"error": "text must not be empty"})
        into = "INSERT INTO messages (tenant, text) VALUES (%s, %s) RETURNING id"
        [(id,)] = self._rows(into, name, text)
        self._orders.tell("message.sent", id)
        return Answer(201, {"id": id, "state": "queued"})

    def _dispute(self, name: str, body: Mapping[str, Any]) -> Answer:
        order, reason = body.get("order"), body.get("reason")
        if not isinstance(reason, str) or not reason:
            return Answer(422, {"error": "reason must not be empty"})
        into = (
            "INSERT INTO disputes (tenant, order_id, reason) SELECT %s, id, %s FROM orders"
            " WHERE id = %s AND customer = %s RETURNING id"
        )
        found = self._rows(into, name, reason, order, name)
        if not found:
            return Answer(404, {"error": f"{name} has no order {order!r}"})
        return Answer(201, {"id": found[0][0], "state": "received"})

    def _show(self, asked: Asked, what: str, id: int) -> Answer:
        whose = self.whose(asked)
        if whose is None:
            return _unknown()
        found = self._rows(f"SELECT state FROM {what} WHERE id = %s AND tenant = %s", id, whose)  # noqa: S608 - ours
        return Answer(200, {"id": id, "state": found[0][0]}) if found else Answer(404, {"error": f"no {what} {id}"})

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._orders.pool.transaction() as db:
            return list(db.execute(query, values).fetchall())


def _unknown() -> Answer:
    return Answer(401, {"error": "log in first: POST /login, then Authorization: Bearer <token>"})


def _hidden(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
