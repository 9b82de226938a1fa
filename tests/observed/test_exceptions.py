"""Exceptions are found in logs of every kind, and are the same whoever they hit."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from bot.observed.exceptions import LONGEST, exceptions, titled

BEGINS = "Traceback (most recent call last):"
PYTHON = """\
2026-11-25 14:02:11 INFO served GET /carts
Traceback (most recent call last):
  File "/app/pay.py", line 41, in charge
    raise PaymentDeclined(f"card {card} of {who} declined")
shop.pay.PaymentDeclined: card 4711 of 'ana@example.org' declined
2026-11-25 14:02:12 INFO served GET /carts
"""
CHAINED = """\
Traceback (most recent call last):
  File "/app/db.py", line 3, in read
KeyError: 'coupon_id'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/orders.py", line 9, in total
shop.orders.BrokenOrder: order 77 cannot be read
"""
JAVA = """\
2026-11-25 14:02:11,042 ERROR [http-8080-exec-3] c.s.Checkout - org.shop.PaymentDeclinedException: card 4711 declined
\tat org.shop.Checkout.charge(Checkout.java:41)
\tat org.shop.Checkout.pay(Checkout.java:12)
Caused by: java.net.SocketTimeoutException: Read timed out
\t... 12 more
"""
NODE = """\
TypeError: Cannot read properties of undefined (reading 'id')
    at charge (/app/pay.js:41:7)
    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)
"""
GO = """\
panic: runtime error: index out of range [5] with length 3

goroutine 1 [running]:
main.main()
\t/app/main.go:9 +0x1d
"""


@pytest.mark.parametrize(
    ("log", "titles"),
    [
        (PYTHON, ["PaymentDeclined: card … of … declined"]),
        (CHAINED, ["BrokenOrder: order … cannot be read"]),
        (JAVA, ["PaymentDeclinedException: card … declined"]),
        (NODE, ["TypeError: Cannot read properties of undefined (reading …)"]),
        (GO, ["panic: runtime error: index out of range […] with length …"]),
        ("14:02 ERROR could not reach 10.1.2.3:5432 after 3 tries", ["could not reach … after … tries"]),
        ("INFO no error here, errors=0\nWARN a retry of TimeoutError was fine\n", []),
        ("", []),
    ],
)
def test_an_exception_is_found_once_by_type_and_shape(log: str, titles: list[str]) -> None:
    assert [e.title for e in exceptions(log).values()] == titles


@pytest.mark.parametrize(
    "document",
    [
        {"level": "error", "msg": "PaymentDeclined: card 4711 declined"},
        {"level": "ERROR", "exc_type": "shop.pay.PaymentDeclined", "message": "card 4711 declined"},
        {"level": 50, "err": {"type": "PaymentDeclined", "message": "card 1 declined"}, "msg": "card 4711 declined"},
        {"severity": "CRITICAL", "error.type": "PaymentDeclined", "message": "card 0815 declined"},
        {"level": "info", "exc_info": f"{BEGINS}\n  File a\nPaymentDeclined: card 7 declined"},
        {"log.level": "error", "error": {"type": "PaymentDeclined"}, "message": "card 9 declined\nand more"},
    ],
)  # fmt: skip
def test_json_logs_say_the_same_as_text(document: dict[str, object]) -> None:
    assert [e.title for e in exceptions(json.dumps(document)).values()] == ["PaymentDeclined: card … declined"]


@pytest.mark.parametrize("document", [{"level": "info", "msg": "ok"}, {"level": 30}, {"msg": "error"}, [], 3, "x"])
def test_json_that_raises_nothing_is_nothing(document: object) -> None:
    assert exceptions(json.dumps(document)) == {}


def test_the_same_exception_is_counted_with_its_moments() -> None:
    log = "".join(f"2026-11-25T14:02:{s:02}.123456789Z ValueError: no order {s}\n" for s in (1, 5, 9))
    [found] = exceptions(log).values()
    assert (found.count, found.title) == (3, "ValueError: no order …")
    assert found.first is not None
    assert found.first.replace(microsecond=0) == datetime(2026, 11, 25, 14, 2, 1, tzinfo=UTC)
    assert found.last is not None
    assert found.last.second == 9


def test_what_a_logger_says_before_a_traceback_is_the_same_exception() -> None:
    log = f"14:02 ERROR worker: job 5 failed\n{PYTHON.partition(chr(10))[2]}14:03 ERROR queue is slow\n{PYTHON}"
    assert {e.title: e.count for e in exceptions(log).values()} == {
        "PaymentDeclined: card … of … declined": 2,
        "queue is slow": 1,
    }


def test_two_tracebacks_one_after_the_other_are_two() -> None:
    assert sum(e.count for e in exceptions(PYTHON + PYTHON).values()) == 2
    assert sum(e.count for e in exceptions(CHAINED + CHAINED).values()) == 2


@pytest.mark.parametrize(
    "what",
    ["for 'ana@example.org'", "for ana@example.org", "at /home/ana/x.txt", "of 6ba7b810-9dad-11d1-80b4-00c04fd430c8",
     "at https://x.example/a?token=b", "order A-4711", "0xdeadbeef", "deadbeef42 gone"],
)  # fmt: skip
def test_what_differs_each_time_is_in_no_title(what: str) -> None:
    title = titled("E", what)
    assert "…" in title
    assert not any(word in title for word in ("ana", "4711", "6ba7", "token", "deadbeef"))


def test_a_title_is_short_and_a_long_log_takes_a_moment() -> None:
    assert len(titled("E", "word " * 200)) <= LONGEST
    assert len(exceptions(("x" * 100_000 + "\n") * 20 + "ERROR " + "a" * 50_000)) == 1
