"""What the catalogue says of the shop's second half: its database, cache and queues, backups, monitor, journeys and
partners, as values for `rollback.yaml`, and the variables of the environment that hold their secrets.

Invariant: no secret stands in the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.playground.shop import monitoring
from bot.playground.shop.data import Data
from bot.playground.shop.database import LEASE
from bot.playground.shop.orders import EVENTS, GROUP, JOBS, TAKEN, reads, understands
from bot.playground.shop.partner import NAME
from bot.playground.shop.releases import VERSIONS
from bot.playground.shop.tenants import SYNTHETIC

SECRET = "playground-synthetic"  # noqa: S105 - of accounts that live for a few seconds, here
Told = dict[str, object]


@dataclass(frozen=True)
class Beside:
    """What there is. tools: the folder of pg_restore; prometheus, alertmanager: addresses, empty where nobody watches;
    api: names of the HTTP targets that customers come through."""

    data: Data
    partner: str
    tools: Path
    api: Sequence[str]
    prometheus: str = ""
    alertmanager: str = ""

    @property
    def variables(self) -> Mapping[str, str]:
        """Environment of the bot."""
        logins = {who: ":".join(self.data.logins[who]) for who in ("app", "owner")}
        return {"SHOP_DB_LOGIN": logins["app"], "SHOP_DB_ADMIN": logins["owner"], "SHOP_SYNTHETIC_SECRET": SECRET}

    def targets(self) -> Told:
        """Target -> what it is."""
        found: Told = {"db": self._database(), "cache": self._cache(), "backups": self._backups()}
        found["cardwise"] = {"http": self.partner, "timeout": 2}
        found["cardwise-status"] = {"http": self.partner, "timeout": 2}
        if self.prometheus:
            found["monitor"] = self._monitor()
        return found

    def _database(self) -> Told:
        return {
            "postgres": self.data.place,
            "login": "SHOP_DB_LOGIN",
            "admin": "SHOP_DB_ADMIN",
            "tls": False,
            "migrations": str(self.data.migrations),
            "rows": 5000,
            "integrity": {
                "orders without a job": "SELECT id FROM orders o WHERE NOT EXISTS"
                " (SELECT 1 FROM jobs j WHERE j.order_id = o.id)",
                "orders settled twice": "SELECT order_id FROM settlements GROUP BY order_id HAVING count(*) > 1",
            },
        }

    def _cache(self) -> Told:
        jobs = {"list": JOBS, "taken": TAKEN, "kind": "/kind", "at": "/at"}
        events = {"stream": EVENTS, "group": GROUP, "kind": "/kind", "claim": LEASE}
        kinds: Told = {v: sorted(reads(v)) for v in VERSIONS}
        heard: Told = {v: sorted(understands(v)) for v in VERSIONS}
        return {
            "redis": f"{self.data.valkey}/0",
            "flush": ["shop:{removed}:"],
            "database": "db",
            "queues": {"jobs": {**jobs, "kinds": kinds}, "events": {**events, "kinds": heard}},
        }

    def _backups(self) -> Told:
        return {
            "backups": str(self.data.backups),
            "names": "shop-%Y%m%dT%H%M%SZ.dump",
            "of": "db",
            "max_age": 1800,
            "programs": str(self.tools),
        }

    def _monitor(self) -> Told:
        enough = f"sum(increase(shop_payments_total[{monitoring.WINDOW}]))"
        return {
            "prometheus": self.prometheus,
            "alertmanager": self.alertmanager,
            "series": {
                "payments_failing": {"query": monitoring.ERRORS, "limit": 0.05, "noise": 0.02, "samples": enough},
                "answers": {"query": monitoring.SLOWEST, "unit": "s", "limit": 3.0, "noise": 1.0, "samples": enough},
                "jobs_failing": {"query": monitoring.JOBS, "unit": "/s", "limit": 0.5, "noise": 0.2, "samples": enough},
            },
        }

    def partners(self) -> Told:
        """Who serves the shop from outside."""
        page = {"target": "cardwise-status", "components": ["Charges"]}
        return {"payments": {"title": NAME, "probe": {"target": "cardwise", "path": "/health"}, "page": page}}

    def journeys(self) -> Told:
        """The four that matter, and one that only reads."""
        return {
            "authentication": self._journey(_get("see the account", "/account", {"/name": _NAME})),
            "payments": self._journey(
                _post("pay", "/pay", {"id": _NAME, **_ORDER}, 200, {"/paid": "15.00"}),
                _get("see the order", "/account", {"/orders/0/id": _NAME}),
            ),
            "messaging": self._journey(
                _post("write to us", "/messages", {"text": "where is my order"}, 201) | {"capture": {"message": "/id"}},
                _get("see the message", "/messages/${message}", {"/state": {"matches": "^(queued|delivered)$"}}),
            ),
            "disputes": self._journey(
                _post("pay", "/pay", {"id": _NAME, **_ORDER}, 200),
                _post("dispute", "/disputes", {"order": _NAME, "reason": "never came"}, 201) | {
                    "capture": {"dispute": "/id"}
                },
                _get("see the dispute", "/disputes/${dispute}", {"/state": "received"}),
            ),
            "shelf": {
                "target": [*self.api],
                "reads": True,
                "steps": [{"title": "look around", "get": "/catalogue", "expect": {"json": {"/mug": "12.95"}}}],
            },
        }  # fmt: skip

    def _journey(self, *steps: Told) -> Told:
        """With an account of its own, which is removed with all that it made."""
        account = {"name": _NAME, "secret": "${secret}"}
        login = _post("log in", "/login", account, 200) | {"capture": {"session": "/token"}}
        return {
            "target": [*self.api],
            "within": 15,
            "variables": {"secret": "SHOP_SYNTHETIC_SECRET"},
            "steps": [_post("open an account", "/tenants", account, 201), login, *steps],
            "clean_up": [{"delete": f"/tenants/{_NAME}"}],
        }


_NAME = f"{SYNTHETIC}${{mark}}"
_ORDER = {"amount": "15.00", "customer": {"reference": "synthetic"}, "card": "plain"}
_BEARER = {"Authorization": "Bearer ${session}"}


def _post(
    title: str, path: str, body: Mapping[str, object], status: int, json: Mapping[str, object] | None = None
) -> Told:
    headers = {} if path in ("/tenants", "/login") else {"headers": _BEARER}
    expect = {"status": status, **({"json": dict(json)} if json else {})}
    return {"title": title, "post": path, **headers, "body": dict(body), "expect": expect}


def _get(title: str, path: str, json: Mapping[str, object]) -> Told:
    return {"title": title, "get": path, "headers": _BEARER, "expect": {"status": 200, "json": dict(json)}}
