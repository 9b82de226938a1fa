"""What a program of the shop counts, in Prometheus' text form.

    shop_build_info{release, cluster}               1
    shop_requests_total{route, code}                 requests answered
    shop_request_seconds{le}                         how long they took, a histogram
    shop_payments_total{result}                      ok, failed
    shop_jobs_total{kind, result}                    done, failed
    shop_events_total{kind, result}                  done, failed
    shop_exceptions_total{kind}                      by class

Invariants: a counter never goes down while its process lives; each of those that say how the shop fares is there from
the start, at 0. Standard library only.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds in seconds."""
TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HELP = {
    "shop_requests_total": "Requests answered.",
    "shop_payments_total": "Payments tried.",
    "shop_jobs_total": "Jobs carried out.",
    "shop_events_total": "Events carried out.",
    "shop_exceptions_total": "Exceptions, by class.",
}
_Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Counts of this process. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, _Labels]] = Counter()
        self._slow = [0] * len(BUCKETS)
        self._seconds, self._requests = 0.0, 0

    def begin(self, name: str, **labels: str) -> None:
        """This counter is there, at 0."""
        self.count(name, 0, **labels)

    def count(self, name: str, by: int = 1, **labels: str) -> None:
        """One more."""
        with self._lock:
            self._counts[name, tuple(labels.items())] += by

    def answered(self, route: str, code: int, seconds: float) -> None:
        """A request."""
        self.count("shop_requests_total", route=route, code=str(code))
        with self._lock:
            self._requests += 1
            self._seconds += seconds
            for i, bound in enumerate(BUCKETS):
                self._slow[i] += seconds <= bound

    def text(self) -> str:
        """All of it."""
        with self._lock:
            return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        about = (("release", os.environ.get("SHOP_RELEASE", "")), ("cluster", os.environ.get("CLUSTER", "")))
        yield "# HELP shop_build_info What runs."
        yield "# TYPE shop_build_info gauge"
        yield f"shop_build_info{_shown(about)} 1"
        for name, about_it in _HELP.items():
            yield f"# HELP {name} {about_it}"
            yield f"# TYPE {name} counter"
            yield from (f"{name}{_shown(at)} {n}" for (of, at), n in sorted(self._counts.items()) if of == name)
        yield "# HELP shop_request_seconds How long a request took."
        yield "# TYPE shop_request_seconds histogram"
        for bound, n in zip(BUCKETS, self._slow, strict=True):
            yield f'shop_request_seconds_bucket{{le="{bound}"}} {n}'
        yield f'shop_request_seconds_bucket{{le="+Inf"}} {self._requests}'
        yield f"shop_request_seconds_sum {self._seconds}"
        yield f"shop_request_seconds_count {self._requests}"


def _shown(labels: _Labels) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}"
