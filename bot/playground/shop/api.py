"""The shop's API: what customers and the bot's checks talk to.

    GET  /healthz       {"release", "cluster", "status", "errors", "settings"}: errors is the share of failed payments
                        (0 to 1) among samples and this pod's last 10 s; above a half the answer is 503
    GET  /readyz        200 once it listens and knows its settings: for the cluster
    GET  /metrics       what it counts, as Prometheus reads it
    GET  /catalogue     what is sold
    GET  /cart/<name>   somebody's cart;  POST {"item"} puts something into it
    POST /pay           {"id", "amount": "12.50", "customer", "card"}: paid once, whatever the customer repeats
    POST /express       the same in one click; 503 while `checkout.kill_switch` is "true"

With the second half of the shop there is more: `tenants`, a switch that closes it for writes, and a cache in Valkey
under keys that begin with the release: `shop:2.4.1:catalogue`, `shop:2.4.1:cart:<name>`, `shop:2.4.1:order:<id>`.

Invariants: 200 to a payment is said after it is in the database.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bot.playground.shop import behaviour, web
from bot.playground.shop.cache import forget, remembered
from bot.playground.shop.orders import ReadOnly
from bot.playground.shop.settings import Settings, Unset
from bot.playground.shop.stores import check_schema, opener, orders
from bot.playground.shop.web import METRICS, Answer, Asked

if TYPE_CHECKING:
    from bot.playground.shop.tenants import Switch, Tenants

CATALOGUE = {"mug": "12.95", "shirt": "30.00", "lamp": "49.90", "book": "20.00", "poster": "15.00"}
UNWELL = 0.5
"""Share of failed payments above which the shop calls itself failing."""
KEPT = 600
"""Seconds for which something stays in the cache."""
RECENT = 10.0
"""Seconds of payments that its health looks back on."""


class Api:
    """The program."""

    def __init__(self) -> None:
        self._release, self._cluster = os.environ["SHOP_RELEASE"], os.environ["CLUSTER"]
        check_schema(self._release)
        self._open, self._settings, self._cache = opener(), Settings(), os.environ.get("CACHE", "")
        second = orders()
        self._tenants: Tenants | None = None
        self._switch: Switch | None = None
        if second is not None:
            from bot.playground.shop.tenants import Switch, Tenants  # what they import takes a while

            self._tenants, self._switch = Tenants(second), Switch(self._cache)
        for result in ("ok", "failed"):
            METRICS.begin("shop_payments_total", result=result)
        self._went: deque[tuple[float, bool]] = deque(maxlen=1000)
        self._lock = threading.Lock()

    def handle(self, asked: Asked) -> Answer:
        """Any request."""
        try:
            return self._handle(asked)
        except behaviour.BadOrder as error:
            return Answer(422, {"error": str(error)})
        except Unset as error:
            return Answer(503, {"error": str(error)})
        except ReadOnly as error:
            return Answer(503, {"error": str(error)}, {"Retry-After": "60"})

    def _handle(self, asked: Asked) -> Answer:
        if asked.body is None:
            return Answer(400, {"error": "the body must be a JSON object"})
        if self._switch is not None and asked.method != "GET":
            if (asked.method, asked.path) == ("PUT", "/maintenance"):
                return self._switch.put(asked)
            self._switch.check()
        match asked.method, *[p for p in asked.path.split("/") if p]:
            case "GET", "readyz":
                self._settings.now()
                return Answer(200, {"release": self._release})
            case "GET", "healthz":
                return self._health()
            case "GET", "metrics":
                return Answer(200, METRICS.text())
            case "GET", "maintenance" if self._switch is not None:
                return self._switch.get()
            case "GET", "catalogue":
                return Answer(200, self._kept("catalogue", lambda: CATALOGUE))
            case "GET", "cart", name:
                return Answer(200, {"cart": self._kept(f"cart:{name}", lambda: self._cart(name))})
            case "POST", "cart", name:
                return self._put(name, asked.body.get("item"))
            case "POST", "pay":
                return self._pay(asked)
            case "POST", "express":
                if self._settings.now().get("checkout.kill_switch") == "true":
                    return Answer(503, {"error": "express checkout is switched off"})
                return self._pay(asked)
        found = self._tenants.handle(asked) if self._tenants is not None else None
        return found or Answer(404, {"error": f"there is no {asked.method} {asked.path}"})

    def _kept(self, name: str, make: Callable[[], object]) -> Any:
        """Out of the cache, where there is one."""
        if not self._cache:
            return make()
        return json.loads(remembered(self._cache, f"shop:{self._release}:{name}", KEPT, lambda: json.dumps(make())))

    def _cart(self, name: str) -> list[str]:
        with self._open() as db:
            return db.cart(name)

    def _put(self, name: str, item: object) -> Answer:
        if item not in CATALOGUE:
            return Answer(422, {"error": f"item must be one of {', '.join(CATALOGUE)}"})
        with self._open() as db:
            cart = db.put(name, str(item))
        if self._cache:
            forget(self._cache, f"shop:{self._release}:cart:{name}")
        return Answer(200, {"cart": cart})

    def _pay(self, asked: Asked) -> Answer:
        order = behaviour.checked(asked.body or {})
        id = order.get("id")
        if not isinstance(id, str) or not id:
            raise behaviour.BadOrder("id must be the customer's own name for this payment")
        customer = (self._tenants.whose(asked) if self._tenants is not None else None) or ""
        with self._open() as db:
            if not db.paid(id):
                self._charge(order)
                db.pay(id, behaviour.cents(order["amount"]), self._release, self._cluster, customer)
        return Answer(200, {"paid": order["amount"], "release": self._release})

    def _charge(self, order: Mapping[str, Any]) -> None:
        settings = self._settings.now()
        try:
            provider = os.environ.get("PROVIDER", "")
            behaviour.pay(self._release, settings, order, expired=self._expired(), provider=provider)
        except Exception:
            self._note(False)
            raise
        self._note(True)

    def _expired(self) -> bool:
        with self._open() as db:
            return db.expired(self._release)

    def _note(self, went: bool) -> None:
        METRICS.count("shop_payments_total", result="ok" if went else "failed")
        with self._lock:
            self._went.append((time.monotonic(), went))

    def _health(self) -> Answer:
        settings = self._settings.now()
        since, expired = time.monotonic() - RECENT, self._expired()
        with self._lock:
            went = [ok for at, ok in self._went if at >= since]
        for order in behaviour.SAMPLES:
            try:
                behaviour.pay(self._release, settings, order, expired=expired)
            except Exception:
                went.append(False)
            else:
                went.append(True)
        share = went.count(False) / len(went)
        status = "ok" if share == 0 else "degraded" if share <= UNWELL else "failing"
        body = {"release": self._release, "cluster": self._cluster, "status": status, "errors": round(share, 3)}
        return Answer(503 if status == "failing" else 200, {**body, "settings": dict(sorted(settings.items()))})


if __name__ == "__main__":
    web.serve(Api().handle)
