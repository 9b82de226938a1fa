"""A run at a glance, for the top of its page: its steps as bars along its time, who waited for whom, what was kept.

Pure. Every bar and every plot is told in words as well. A record that makes no sense any more has no overview: its
entries are shown all the same, each as it is.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bot.audit.entries import RecordedRun, escaped, time_of_day
from bot.run import events as ev
from bot.run.fold import evolve
from bot.run.state import Run, Step, new_run
from bot.telling.times import duration, seat

_ENDED = {
    "adopted": "done by hand", "failed": "failed, went on", "undone": "taken back", "not needed": "was not needed",
}  # fmt: skip
_VERDICTS = {"pass": "fine", "warn": "fine, but", "fail": "not fine", "unknown": "not known"}
_HEARD = (ev.Applied, ev.Undone, ev.Checked, ev.Failed, ev.Lost, ev.Waiting)
_ATTEMPTS = ("apply", "undo", "check")


@dataclass(slots=True)
class _Span:
    """When a step was at work: first and last, in microseconds since the epoch."""

    began: int
    last: int


def overview(record: RecordedRun, pictures: Mapping[str, bytes], links: Mapping[str, str]) -> Iterator[str]:
    """Its sections. pictures: digest -> PNG, to be shown; links: digest -> where a file lies beside the page."""
    run = _folded(record)
    if run is None or not record.entries:
        return
    yield from _decisions(run)
    yield from _steps(run, record)
    yield from _kept(run, pictures, links)


def _folded(record: RecordedRun) -> Run | None:
    """The run as its rows leave it; None where they make none."""
    if record.created is None:
        return None
    run = new_run(record.entries[0].row.run)
    try:
        for e in record.entries:
            run = evolve(run, e.event, e.row.at / 1e6)
    except Exception:  # it was altered: whatever of it is missing may be missed by any part of the fold
        return None
    return run if run.created is not None else None


# -- steps -------------------------------------------------------------------------------------------------------------


def _steps(run: Run, record: RecordedRun) -> Iterator[str]:
    spans = _spans(record)
    if not spans:
        return
    first = record.entries[0].row.at
    whole = max(s.last for times in spans.values() for s in times) - first or 1
    yield '<section aria-labelledby="steps"><h2 id="steps">Step by step</h2>'
    yield from _opened("Steps, by track", ("Step", "Began (UTC)", "Took", "Ended"))
    left_out = [s for s in run.steps.values() if s.end == "not needed"]
    for track in dict.fromkeys(s.spec.track for s in run.steps.values()):
        told = [s for s in run.steps.values() if s.spec.track == track and s not in left_out]
        shown = [s for s in told if s.spec.id in spans or s.end is not None or s.halt is not None]
        if not shown:
            continue
        yield '<tbody role="rowgroup"><tr role="row" class="track">'
        yield f'<th role="rowheader" scope="rowgroup" colspan="4">{escaped(track.capitalize())}</th></tr>'
        for s in shown:
            yield _step(s, spans.get(s.spec.id, ()), first, whole)
        yield "</tbody>"
    yield "</table>"
    if left_out:
        yield f"<p>Not needed: {escaped(', '.join(s.spec.title for s in left_out))}.</p>"
    yield "</section>"


def _opened(name: str, heads: Sequence[str]) -> Iterator[str]:
    """A table up to its first row. Roles are said: on a phone its rows stand below each other, and stay rows."""
    yield f'<table role="table" aria-label="{name}"><thead role="rowgroup"><tr role="row">'
    yield from (f'<th role="columnheader" scope="col">{head}</th>' for head in heads)
    yield "</tr></thead>"


def _row(head: str, *cells: tuple[str, str]) -> str:
    """head: as HTML; cells: (class, text)."""
    told = "".join(f'<td role="cell"{f" class={css!r}" if css else ""}>{escaped(c)}</td>' for css, c in cells)
    return f'<tr role="row"><th role="rowheader" scope="row">{head}</th>{told}</tr>'


def _step(s: Step, spans: Sequence[_Span], first: int, whole: int) -> str:
    css = "trouble" if s.end is None or s.end == "failed" else "done"
    parts, end = "", 0.0
    for span in spans:
        left, width = 100 * (span.began - first) / whole, 100 * (span.last - span.began) / whole
        place = f"margin-left:{max(left - end, 0):.2f}%;width:{max(width, 0.7):.2f}%"
        parts += f'<span class="{css}" style="{place}"></span>'
        end = left + max(width, 0.7)
    bar = f'<span class="bar" aria-hidden="true">{parts}</span>' if parts else ""
    began = time_of_day(spans[0].began)[:8] if spans else ""
    took = duration(sum(span.last - span.began for span in spans) / 1e6) if spans else ""
    again = f" ({len(spans)} times)" if len(spans) > 1 else ""
    return _row(f"{escaped(s.spec.title)}{bar}", ("n", began), ("", took + again), ("", _end(s)))


def _end(s: Step) -> str:
    """How it ended, in words."""
    how = s.end or ("stopped" if s.halt is not None else "had not ended")
    if how == "done" and s.verdict is not None:
        return f"{_VERDICTS[s.verdict.status]}: {s.verdict.observed}"
    said = _said(s)
    return f"{_ENDED.get(how, how)}{f': {said}' if said else ''}"


def _said(s: Step) -> str:
    if s.halt is not None:
        return s.halt.error
    if s.why:
        return s.why
    if s.verdict is not None:
        return f"{s.verdict.status}, {s.verdict.observed}"
    return s.receipt.detail if s.receipt is not None else ""


def _spans(record: RecordedRun) -> dict[str, list[_Span]]:
    """Step -> each time that it was done, from its first attempt that did more than plan to the last thing heard of
    that."""
    found: dict[str, dict[int, _Span]] = {}
    at_work: dict[str, _Span] = {}
    for e in record.entries:
        step = getattr(e.event, "step", "")
        if isinstance(e.event, ev.Started) and e.event.doing in _ATTEMPTS:
            span = found.setdefault(step, {}).setdefault(e.event.application, _Span(e.row.at, e.row.at))
            at_work[step] = span
        if step in at_work and isinstance(e.event, _HEARD):
            at_work[step].last = max(at_work[step].last, e.row.at)
    return {step: [*times.values()] for step, times in found.items()}


# -- decisions ---------------------------------------------------------------------------------------------------------


def _decisions(run: Run) -> Iterator[str]:
    asked = [a for a in run.asked.values() if a.spec.gate is not None and (a.shown or a.decided is not None)]
    if not asked:
        return
    yield '<section aria-labelledby="decisions"><h2 id="decisions">Who waited for whom</h2>'
    yield from _opened("Decisions", ("Decision", "Asked", "Waited", "Said"))
    yield '<tbody role="rowgroup">'
    for a in sorted(asked, key=lambda a: a.decided or float("inf")):
        needs = a.spec.gate.words if a.spec.gate is not None else ""
        waited = duration(a.waited) if a.waited is not None and a.decided is not None else ""
        said = [f"{v.by.name} yes, as {seat(v.role, v.young)}, {_clock(v.at)}" for v in a.votes]
        said += [f"{who.name} not now{f' ({why})' if why else ''}, {_clock(at)}" for who, why, at in a.declined]
        if a.glass is not None:
            said.append(f"{a.glass.name} alone, by breaking the glass{f' ({a.taken})' if a.taken else ''}")
        elif a.taken:
            said.append(f"nobody had to: {a.taken}")
        yield _row(escaped(a.spec.title), ("", needs), ("n", waited), ("", "; ".join(said) or "not decided"))
    yield "</tbody></table></section>"


def _clock(at: float) -> str:
    return time_of_day(round(at * 1e6))[:8]


# -- what was kept -----------------------------------------------------------------------------------------------------


def _kept(run: Run, pictures: Mapping[str, bytes], links: Mapping[str, str]) -> Iterator[str]:
    told = ((s, name, value) for s in run.steps.values() if s.receipt for name, value in s.receipt.evidence.items())
    kept = [(s, name, value) for s, name, value in told if isinstance(value, Mapping) and "digest" in value]
    if not kept:
        return
    yield '<section aria-labelledby="kept"><h2 id="kept">What was kept</h2>'
    for _, name, value in kept:
        if (png := pictures.get(str(value["digest"]))) is not None:
            words = escaped(str(value.get("alt") or name))
            yield f'<figure><img alt="{words}" src="data:image/png;base64,{b64encode(png).decode()}">'
            yield f"<figcaption>{words}</figcaption></figure>"
    yield '<ul class="files">'
    for s, name, value in kept:
        digest = str(value["digest"])
        shown = escaped(name)
        if (at := links.get(digest)) is not None:
            shown = f'<a href="{escaped(at)}">{shown}</a>'
        size = value.get("size")
        bytes_ = f", {size:,} bytes" if isinstance(size, int) else ""
        yield f"<li>{shown}, of {escaped(s.spec.title)}{bytes_}<br><code>{escaped(digest)}</code></li>"
    yield "</ul></section>"
