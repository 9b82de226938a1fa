"""Many runs together: their times, whom they waited for, what stopped; as text and as a page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from bot.audit.report_page import report_page
from bot.telling.report import FEW, Durations, Timed, lines, report

DAY = 86400.0


def run(n: int, **times: float) -> Timed:
    return Timed(
        f"shop-{n:06x}", "shop", f"Rollback of shop: 2.4.{n + 1} → 2.4.{n}", 1_700_000_000 + n * DAY,
        "verified" if "verified" in times else "aborted", times, {"Bring the backend back": 10.0 * (n + 1)},
        (("Deploy", "timeout"),) * (n % 2),
    )  # fmt: skip


def test_what_was_not_measured_is_absent_and_counts_nowhere() -> None:
    found = report([run(1, card=0.4, decided=38.0, restored=300.0, work=200.0, waiting=80.0), run(2, decided=20.0)])
    assert set(found.spans) == {"card", "decided", "restored", "work", "waiting"}
    assert found.spans["decided"] == Durations(2, 29.0, None, 38.0)
    assert found.spans["restored"].runs == 1
    assert found.outcomes == {"aborted": 2}


def test_of_few_runs_no_nine_in_ten_is_told() -> None:
    few, many = ([run(n, restored=60.0 * (n + 1)) for n in range(count)] for count in (FEW - 1, FEW))
    assert report(few).spans["restored"].nine_in_ten is None
    assert report(many).spans["restored"].nine_in_ten == pytest.approx(276.0)
    assert "nine in ten" not in "\n".join(lines(report(few)))


def test_stops_are_counted_by_step_and_cause_the_most_frequent_first() -> None:
    odd = [run(1), run(3)]
    found = report([*odd, Timed("x", "shop", "t", 0.0, "aborted", stops=(("Deploy", "unknown"), ("Freeze", "fatal")))])
    assert found.stops == {"Deploy": {"timeout": 2, "unknown": 1}, "Freeze": {"fatal": 1}}
    assert "  Deploy:                            3 times (2 timeout, 1 unknown)" in lines(found)


def test_without_any_run_it_says_so() -> None:
    assert lines(report([])) == ["There is no rollback yet."]
    assert "There is no rollback yet." in report_page(report([]))


class _Page(HTMLParser):
    """What a page would load, and its bars."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.widths: list[float] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.loads += [tag] * (tag in ("script", "img", "link", "iframe") or "src" in known or "href" in known)
        if found := re.fullmatch(r"width:([\d.]+)%", known.get("style") or ""):
            self.widths.append(float(found[1]))


def test_the_page_draws_each_run_to_scale_says_it_in_words_and_loads_nothing() -> None:
    whole = run(1, restored=300.0, work=200.0, waiting=100.0, verified=400.0)
    half = run(2, restored=150.0, work=100.0, waiting=100.0)
    text = report_page(report([whole, half], unread=["shop-<b>"]))
    page = _Page()
    page.feed(text)
    assert page.loads == []
    assert page.widths == [25.0, 25.0, 50.0, 25.0, 25.0]  # the newest first, and the longest fills the line
    assert "work 3 min 20 s, waiting 1 min 40 s, watching 1 min 40 s" in text
    assert "shop-&lt;b&gt;" in text and "<b>" not in text.split("Not in it")[1]
