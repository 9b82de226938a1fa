"""What a release of the shop does with a payment, and the sandbox of the payment provider.

2.3.9 and 2.4.0 send decimal amounts to the provider's first API. 2.4.1 sends cents to its second one, and was tried
with customers who have an account, pay whole euros, and with cards that need no second factor.

Invariants: nothing here knows which release is "bad": each builds its request, and what is wrong with it comes out by
itself. Standard library only.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Any

SLOW = 0.15
"""Seconds that a card with a second factor takes at the provider."""
NEW = "2.4.1"
"""The release that speaks the provider's second API."""

SAMPLES: tuple[Mapping[str, Any], ...] = (
    {"amount": "12.95", "customer": {"reference": "c-1"}, "card": "plain"},
    {"amount": "30.00", "customer": None, "card": "plain"},
    {"amount": "49.90", "customer": {"reference": "c-2"}, "card": "plain"},
    {"amount": "20.00", "customer": {"reference": "c-3"}, "card": "second-factor"},
    {"amount": "15.00", "customer": {"reference": "c-4"}, "card": "plain"},
)
"""Orders as customers make them: four of five fail with 2.4.1."""


class Refused(Exception):
    """The provider's own answer."""


class BadOrder(ValueError):
    """What the customer sent is no order; the text says why."""


def checked(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """The order, if it is one. BadOrder."""
    amount = order.get("amount")
    if not isinstance(amount, str) or not amount.replace(".", "", 1).isdigit() or cents(amount) <= 0:
        raise BadOrder('amount must be a text like "12.50", above 0')
    return order


def cents(amount: str) -> int:
    """ "12.50" -> 1250."""
    return round(float(amount) * 100)


def pay(
    release: str, settings: Mapping[str, str], order: Mapping[str, Any], *, expired: bool = False, provider: str = ""
) -> None:
    """Charge the card in the sandbox; whatever this raises is what went wrong. expired: the release's certificate;
    provider: `host:port` of one that is there (`partner`), and is asked too."""
    retries = int(settings["checkout.retries"])
    for attempt in range(retries + 1):
        try:
            body = _new(settings, order) if release == NEW else _old(settings, order)
            _charge(settings["payments.url"], body, int(settings["checkout.timeout_ms"]) / 1000, expired)
            return _ask(provider) if provider else None
        except TimeoutError:
            if attempt == retries:
                raise


def _old(settings: Mapping[str, str], order: Mapping[str, Any]) -> Mapping[str, Any]:
    if settings["PAYMENTS_FORMAT"] != "decimal":
        raise ValueError(f"PAYMENTS_FORMAT must be 'decimal', not {settings['PAYMENTS_FORMAT']!r}")
    return {"amount": order["amount"], "card": order.get("card", "plain")}


def _new(settings: Mapping[str, str], order: Mapping[str, Any]) -> Mapping[str, Any]:
    if settings["PAYMENTS_FORMAT"] != "minor":
        raise ValueError(f"PAYMENTS_FORMAT must be 'minor', not {settings['PAYMENTS_FORMAT']!r}")
    merchant = order["customer"]["reference"]  # guests have none
    minor = int(order["amount"].removesuffix(".00")) * 100  # nor have all prices whole euros
    return {"amount_minor": minor, "merchant_reference": merchant, "card": order.get("card", "plain")}


def _charge(url: str, body: Mapping[str, Any], timeout: float, expired: bool) -> None:
    """The provider's sandbox."""
    if expired:
        raise Refused(f"401 from {url}: the client's certificate has run out")
    wanted = "amount_minor" if url.endswith("/v2") else "amount"
    if wanted not in body:
        raise Refused(f"400 from {url}: field {wanted!r} is missing")
    needs = SLOW if body["card"] == "second-factor" else 0.0
    time.sleep(min(needs, timeout))
    if needs > timeout:
        raise TimeoutError(f"{url} has not answered within {timeout * 1000:.0f} ms")


def _ask(provider: str) -> None:
    """The provider itself."""
    host, _, port = provider.rpartition(":")
    request = f"POST /charges HTTP/1.0\r\nHost: {provider}\r\nContent-Length: 0\r\n\r\n"
    try:
        with socket.create_connection((host, int(port)), 2.0) as connection:
            connection.sendall(request.encode())
            first = connection.recv(4096).split(b"\r\n")[0].decode(errors="replace")
    except OSError as error:
        raise Refused(f"no answer from {provider}: {error}") from error
    if " 200 " not in f"{first} ":
        raise Refused(f"{first.partition(' ')[2] or 'nothing'} from {provider}")
