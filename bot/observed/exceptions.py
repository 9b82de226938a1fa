"""Exceptions in the logs of pods, told apart by what they are and not by whom they hit. Pure.

A log is text: JSON documents a line (structlog, zap, logback, pino), or lines with tracebacks of Python, Java, Node or
Go between them. A fingerprint is made of the exception's type and of its message without what differs each time
(numbers, ids, addresses, quoted values). Line numbers and frames are no part of it: they are others in each release.

Nothing that was quoted in a message is in a title, so that a title holds no customer's data by that way.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

LONGEST = 160
"""Characters of a title."""
WIDE = 4000
"""Characters of a line that are looked at."""

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) ")
_TYPE = r"(?:[A-Za-z_$][\w$]*[.:/]{1,2})*[A-Za-z_$][\w$]*"
_NAMED = re.compile(
    rf"(?P<type>{_TYPE}(?:Error|Exception|Exit|Interrupt|Warning|Failure|Fault|Timeout|Declined))\b:?\s*(?P<what>.*)"
)
_RAISED = re.compile(rf"(?P<type>{_TYPE})(?::\s*(?P<what>.*))?$")
_PANIC = re.compile(r"(?:panic|fatal error): (?P<what>.*)")
_BEGINS = "Traceback (most recent call last):"
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause", "Caused by:")
_LEVEL = re.compile(r"\b(?:ERROR|FATAL|CRITICAL|SEVERE|PANIC)\b")
_FRAME = re.compile(r"\s+(?:at |File |\.\.\. \d+ more)|goroutine \d+|\s*$")

_VARIES = (
    (re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`"), "…"),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), "…"),
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "…"),
    (re.compile(r"\b\w+://\S+"), "…"),
    (re.compile(r"(?<![\w.])/(?:[\w.@%+-]+/)*[\w.@%+-]+"), "…"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-fA-F]*\d)(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{6,}\b"), "…"),
    (re.compile(r"\b\w*\d[\w.:,-]*"), "…"),
)
_LEVELS = ("level", "severity", "lvl", "log.level", "levelname", "loglevel")
_TYPES = (
    "exc_type",
    "error.type",
    "exception.type",
    "exception_type",
    "error_type",
    "err.type",
    "kind",
    "type",
    "name",
)
_TEXTS = ("message", "msg", "event", "error", "err", "exception", "error.message", "exception.message")
_STACKS = ("exc_info", "exception", "stack_trace", "stack", "error.stack_trace", "traceback", "stacktrace")
_BAD = frozenset(
    {"error", "err", "fatal", "critical", "crit", "severe", "panic", "alert", "emergency", "emerg", "dpanic"}
)


@dataclass(frozen=True, slots=True)
class Raised:
    """One kind of exception. first, last: when, as far as the log says."""

    fingerprint: str
    title: str
    count: int = 1
    first: datetime | None = None
    last: datetime | None = None

    def and_(self, other: Raised) -> Raised:
        """Both counted together."""
        moments = [m for m in (self.first, self.last, other.first, other.last) if m is not None]
        return replace(
            self, count=self.count + other.count, first=min(moments, default=None), last=max(moments, default=None)
        )


def stamped(line: str) -> tuple[datetime | None, str]:
    """The moment that the cluster has put before a line, and the line."""
    found = _STAMP.match(line)
    if found is None:
        return None, line
    try:
        return datetime.fromisoformat(found[1]), line[found.end() :]
    except ValueError:
        return None, line


def exceptions(text: str) -> dict[str, Raised]:
    """By fingerprint, every exception in a log."""
    return together(Raised(fingerprint(title), title, 1, at, at) for at, title in _titles(text))


def together(every: Iterable[Raised]) -> dict[str, Raised]:
    """Counted by fingerprint."""
    found: dict[str, Raised] = {}
    for each in every:
        known = found.get(each.fingerprint)
        found[each.fingerprint] = known.and_(each) if known else each
    return found


def fingerprint(title: str) -> str:
    """12 hex digits of SHA-256 over a title."""
    return hashlib.sha256(title.encode()).hexdigest()[:12]


def titled(type_: str, what: str) -> str:
    """ "PaymentDeclined: card … of … declined": type without its package, message without what differs each time."""
    short = re.split(r"[.:/$]+", type_.strip(".:/"))[-1] if type_ else ""
    for pattern, instead in _VARIES:
        what = pattern.sub(instead, what)
    what = re.sub(r"(?:…[\s,;:]*)+…", "…", " ".join(what.split())).strip(" :")
    title = f"{short}: {what}" if short and what else short or what
    return title if len(title) <= LONGEST else f"{title[: LONGEST - 1]}…"


def _titles(text: str) -> Iterator[tuple[datetime | None, str]]:
    """Each exception as it comes: when, and its title."""
    trace = False  # inside a traceback of Python's, before its last line
    chain = False  # what was found belongs to the traceback that goes on
    said = False  # the line before said it, as a logger does before the traceback
    held: tuple[datetime | None, str] | None = None
    for whole in text.splitlines():
        at, line = stamped(whole[:WIDE])
        if trace and (line.startswith((" ", "\t")) or not line.strip()):
            continue
        if line.startswith(_BEGINS):
            trace = True
            if not chain:  # else the one before is a part of this
                if held is not None and not said:  # what a logger said first is the same exception
                    yield held
                held = None
            chain = False
        elif line.startswith(_CHAINED):
            chain = True
        elif trace:
            trace = False
            found = _RAISED.match(line)
            held = (at, titled(found["type"], found["what"] or "") if found else titled("", line))
        elif held is not None and not line.strip():
            continue  # between two of a chain
        else:
            if held is not None:
                yield held
                held, chain = None, False
            if (title := _of_line(line)) is not None:
                held = (at, title)
            said = title is not None
            continue
        said = False
    if held is not None:
        yield held


def _of_line(line: str) -> str | None:
    """The title of what a line raises; None where it raises nothing."""
    if line.startswith("{"):
        document = _document(line)
        if document is not None:
            return _of_document(document)
    if _FRAME.match(line):
        return None
    if (panic := _PANIC.match(line)) is not None:
        return titled("panic", panic["what"])
    level = _LEVEL.search(line[:200])
    after = line[level.end() :] if level else line
    named = _NAMED.search(after) if level else _NAMED.match(line)
    if named is not None:
        return titled(named["type"], named["what"])
    return titled("", after.strip(" :-]|")) or None if level else None


def _document(line: str) -> Mapping[str, object] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _of_document(said: Mapping[str, object]) -> str | None:
    flat = {**{f"{k}.{n}": v for k, inner in said.items() if isinstance(inner, dict) for n, v in inner.items()}, **said}
    level = next((flat[name] for name in _LEVELS if name in flat), None)
    stack = next((v for name in _STACKS if isinstance(v := flat.get(name), str) and "\n" in v), "")
    if not stack and not _is_bad(level):
        return None
    if stack and (inside := [title for _, title in _titles(stack)]):
        return inside[-1]
    type_ = next((v for name in _TYPES if isinstance(v := flat.get(name), str) and re.fullmatch(_TYPE, v)), "")
    text = next((v for name in _TEXTS if isinstance(v := flat.get(name), str) and v.strip()), "")
    first = text.strip().partition("\n")[0]
    named = _NAMED.match(first) if not type_ else None
    return (titled(named["type"], named["what"]) if named else titled(type_, first)) or None


def _is_bad(level: object) -> bool:
    if isinstance(level, str):
        return level.strip().lower() in _BAD
    return isinstance(level, int) and not isinstance(level, bool) and level >= 50  # pino's numbers
