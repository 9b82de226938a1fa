"""The shop's API: what customers and the bot's checks talk to.

    GET  /healthz       {"release", "cluster", "status", "errors", "settings"}: errors is the share of failed payments
                        (0 to 1) among samples and this pod's last 10 s; above a half the answer is 503
    GET  /readyz        200 once it listens and knows its settings: for the cluster
    GET  /catalogue     what is sold
    GET  /cart/<name>   somebody's cart;  POST {"item"} puts something into it
    POST /pay           {"id", "amount": "12.50", "customer", "card"}: paid once, whatever the customer repeats
    POST /express       the same in one click; 503 while `checkout.kill_switch` is "true"

Invariants: 200 to a payment is said after it is in the database. Standard library only.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from bot.playground.shop import behaviour, web
from bot.playground.shop.database import Database
from bot.playground.shop.settings import Settings, Unset
from bot.playground.shop.web import Answer, Asked

CATALOGUE = {"mug": "12.95", "shirt": "30.00", "lamp": "49.90", "book": "20.00", "poster": "15.00"}
UNWELL = 0.5
"""Share of failed payments above which the shop calls itself failing."""
RECENT = 10.0
"""Seconds of payments that its health looks back on."""


class Api:
    """The program."""

    def __init__(self) -> None:
        self._release, self._cluster = os.environ["SHOP_RELEASE"], os.environ["CLUSTER"]
        self._file, self._settings = os.environ["DATABASE"], Settings()
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

    def _handle(self, asked: Asked) -> Answer:
        if asked.body is None:
            return Answer(400, {"error": "the body must be a JSON object"})
        match asked.method, *[p for p in asked.path.split("/") if p]:
            case "GET", "readyz":
                self._settings.now()
                return Answer(200, {"release": self._release})
            case "GET", "healthz":
                return self._health()
            case "GET", "catalogue":
                return Answer(200, CATALOGUE)
            case "GET", "cart", name:
                with Database(self._file) as db:
                    return Answer(200, {"cart": db.cart(name)})
            case "POST", "cart", name:
                return self._put(name, asked.body.get("item"))
            case "POST", "pay":
                return self._pay(asked)
            case "POST", "express":
                if self._settings.now().get("checkout.kill_switch") == "true":
                    return Answer(503, {"error": "express checkout is switched off"})
                return self._pay(asked)
        return Answer(404, {"error": f"there is no {asked.method} {asked.path}"})

    def _put(self, name: str, item: object) -> Answer:
        if item not in CATALOGUE:
            return Answer(422, {"error": f"item must be one of {', '.join(CATALOGUE)}"})
        with Database(self._file) as db:
            return Answer(200, {"cart": db.put(name, str(item))})

    def _pay(self, asked: Asked) -> Answer:
        order = behaviour.checked(asked.body or {})
        id = order.get("id")
        if not isinstance(id, str) or not id:
            raise behaviour.BadOrder("id must be the customer's own name for this payment")
        with Database(self._file) as db:
            if not db.paid(id):
                self._charge(order)
                db.pay(id, behaviour.cents(order["amount"]), self._release, self._cluster)
        return Answer(200, {"paid": order["amount"], "release": self._release})

    def _charge(self, order: Mapping[str, Any]) -> None:
        settings = self._settings.now()
        try:
            behaviour.pay(self._release, settings, order, expired=self._expired())
        except Exception:
            self._note(False)
            raise
        self._note(True)

    def _expired(self) -> bool:
        with Database(self._file) as db:
            return db.expired(self._release)

    def _note(self, went: bool) -> None:
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
