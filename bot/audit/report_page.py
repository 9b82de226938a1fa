"""The report over many runs as one HTML page: its times in tables, and each run as a bar of work, waiting and watching.

Invariants: as of the timeline, one file that needs nothing else and may load nothing; every bar is told in
words as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import resources

from bot.audit.entries import escaped as _t
from bot.audit.timeline import POLICY
from bot.telling.report import SPANS, Durations, RunsReport, Timed, causes_of
from bot.telling.times import duration

BARS = 30
"""Runs that are drawn, the newest."""


def report_page(found: RunsReport) -> str:
    """The page."""
    css = resources.files("bot.audit")
    style = "".join(css.joinpath(name).read_text(encoding="utf-8") for name in ("timeline.css", "report.css"))
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            "<title>Rollbacks</title>",
            f"<style>\n{style}</style>",
            "<header>\n<h1>Rollbacks</h1>\n</header>\n<main>",
            *_body(found),
            "</main>",
            "</html>",
            "",
        ]
    )


def _body(found: RunsReport) -> Iterator[str]:
    if not found.runs:
        yield "<p>There is no rollback yet.</p>"
        return
    outcomes = ", ".join(f"{n} {what}" for what, n in found.outcomes.items())
    count = "1 run" if len(found.runs) == 1 else f"{len(found.runs)} runs"
    yield f'<p class="outcome">{_t(f"{count}: {outcomes}")}</p>'
    yield "<h2>How long it took</h2>"
    yield from _table("Time", {SPANS[name]: span for name, span in found.spans.items()})
    if found.waits:
        yield "<h2>What people were waited for</h2>"
        yield from _table("Decision", found.waits)
    if found.stops:
        yield "<h2>Steps that stopped and asked</h2>"
        yield '<table><thead><tr><th scope="col">Step</th><th scope="col">How often</th></tr></thead><tbody>'
        for step, causes in found.stops.items():
            yield f'<tr><th scope="row">{_t(step)}</th><td>{_t(causes_of(causes))}</td></tr>'
        yield "</tbody></table>"
    yield from _bars(found)
    if found.unread:
        yield f"<p>{_t('Not in it, their record cannot be read: ' + ', '.join(found.unread))}</p>"


def _table(what: str, rows: Mapping[str, Durations]) -> Iterator[str]:
    heads = (what, "Runs", "In the middle", "Nine in ten within", "At most")
    yield f'<div class="wide" role="region" aria-label="{_t(what)}" tabindex="0"><table><thead><tr>'
    yield "".join(f'<th scope="col">{h}</th>' for h in heads) + "</tr></thead><tbody>"
    for name, s in rows.items():
        most = duration(s.nine_in_ten) if s.nine_in_ten is not None else "too few to say"
        cells = (str(s.runs), duration(s.median), most, duration(s.longest))
        yield f'<tr><th scope="row">{_t(name)}</th>' + "".join(f'<td class="n">{c}</td>' for c in cells) + "</tr>"
    yield "</tbody></table></div>"


def _bars(found: RunsReport) -> Iterator[str]:
    drawn = [r for r in found.runs if "restored" in r.times][:BARS]
    if not drawn:
        return
    longest = max(sum(s for _, _, s in _parts(r)) for r in drawn) or 1.0
    yield "<h2>Run by run</h2>"
    yield '<p class="key"><span class="work"></span><b>work</b>'
    yield '<span class="waiting"></span><b>waiting for decisions</b>'
    yield '<span class="watch"></span><b>watching</b></p><div class="bars">'
    for r in drawn:
        parts = _parts(r)
        said = ", ".join(f"{words} {duration(s)}" for _, words, s in parts)
        yield f'<div class="name">{_t(r.title)}<br>{_t(said)}</div><div class="bar" aria-hidden="true">'
        yield "".join(f'<span class="{css}" style="width:{100 * s / longest:.2f}%"></span>' for css, _, s in parts)
        yield "</div>"
    yield "</div>"


def _parts(r: Timed) -> list[tuple[str, str, float]]:
    """What its time went to: (class, words, seconds)."""
    parts = [("work", "work", r.times["work"]), ("waiting", "waiting", r.times["waiting"])]
    if "verified" in r.times:
        parts.append(("watch", "watching", max(r.times["verified"] - r.times["restored"], 0.0)))
    return parts
