"""What a query of Prometheus reads: its selectors, how far back each looks, and which are read as counters. Pure.

It is no parser: a query that Prometheus refuses may give anything here. What a query reads through a recorded rule is
not seen, only the rule's own name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

_TOKEN = re.compile(
    r"""
      (?P<skip>  \s+ | \#[^\n]* )
    | (?P<text>  "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | `[^`]*` )
    | (?P<range> \[ [^\]]* \] )
    | (?P<brace> \{ (?: "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | `[^`]*` | [^}"'`] )* \} )
    | (?P<number> 0x[0-9a-fA-F]+ | (?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?(?![\w.]) )
    | (?P<span>  (?:\d+(?:ms|[smhdwy]))+ )
    | (?P<name>  [A-Za-z_:][\w:]* )
    | (?P<sign>  . )
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_GROUPED = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = _GROUPED | {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"}
_AGGREGATE = frozenset({
    "sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values", "bottomk", "topk", "quantile",
    "limitk", "limit_ratio",
})  # fmt: skip
_COUNTING = frozenset({"rate", "irate", "increase", "resets"})
_SPAN = re.compile(r"(\d+)(ms|[smhdwy])")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}


@dataclass(frozen=True, slots=True)
class Selector:
    """`shop_requests_total{code="500"}`. back: seconds that it looks back; counter: whether it is read as one."""

    text: str
    name: str
    back: float = 0.0
    counter: bool = False

    def with_labels(self, labels: Mapping[str, str]) -> str:
        """The same of these labels only."""
        more = ",".join(f"{name}={quoted(value)}" for name, value in labels.items())
        if not more:
            return self.text
        head, brace, inside = self.text.partition("{")
        inside = inside.removesuffix("}").strip().rstrip(",") if brace else ""
        return f"{head}{{{inside}{',' if inside else ''}{more}}}"


@dataclass(frozen=True, slots=True)
class QueryReads:
    """What a query reads. back: seconds that it looks back at most; spare: whether it says what stands for a series
    that is not there (`or vector(0)`)."""

    selectors: tuple[Selector, ...]
    back: float
    spare: bool

    @property
    def counters(self) -> tuple[Selector, ...]:
        """Those that are read as counters."""
        return tuple(s for s in self.selectors if s.counter)


def quoted(value: str) -> str:
    """A value of a label as a query has it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def seconds(span: str) -> float:
    """ "1h30m" in seconds; 0 for what is no span of time."""
    return sum(float(n) * _SECONDS[unit] for n, unit in _SPAN.findall(span.lower()))


def read(query: str) -> QueryReads:
    """What a query reads, each selector once."""
    tokens = [(m.lastgroup or "", m.group()) for m in _TOKEN.finditer(query) if m.lastgroup != "skip"]
    found: dict[str, Selector] = {}
    around: list[str] = []  # what each open parenthesis belongs to
    nested, at = 0.0, 0
    while at < len(tokens):
        kind, text = tokens[at]
        after = tokens[at + 1] if at + 1 < len(tokens) else ("", "")
        at += 1
        if kind == "name" and text.lower() in _GROUPED and after[1] == "(":
            while at < len(tokens) and tokens[at][1] != ")":
                at += 1
            at += 1
        elif kind == "name" and after[1] == "(":
            around.append(text.lower())
            at += 1
        elif text == "(":
            around.append("")
        elif text == ")":
            around = around[:-1]
        elif kind == "range":
            nested += seconds(text.partition(":")[0])  # behind a parenthesis: a subquery
        elif kind == "brace" or (kind == "name" and text.lower() not in _WORDS | _AGGREGATE):
            selector, at = _selector(tokens, at - 1, counter=bool(_COUNTING.intersection(around)))
            known = found.get(selector.text, selector)
            back, counter = max(known.back, selector.back), known.counter or selector.counter
            found[selector.text] = replace(selector, back=back, counter=counter)
    back = max((s.back for s in found.values()), default=0.0) + nested
    return QueryReads(tuple(found.values()), back, bool(_SPARE.search(query)))


_SPARE = re.compile(r"\bor\b\s*(?:on\s*\(\s*\)\s*)?vector\s*\(", re.IGNORECASE)


def _selector(tokens: list[tuple[str, str]], at: int, *, counter: bool) -> tuple[Selector, int]:
    """The selector that begins here, and where it ends."""
    text, name = tokens[at][1], tokens[at][1] if tokens[at][0] == "name" else ""
    at += 1
    if name and at < len(tokens) and tokens[at][0] == "brace":
        text += tokens[at][1]
        at += 1
    back = 0.0
    if at < len(tokens) and tokens[at][0] == "range":
        back = seconds(tokens[at][1].partition(":")[0])
        at += 1
    if at + 1 < len(tokens) and tokens[at][1].lower() == "offset":
        back += seconds(tokens[at + 1][1])
        at += 2
    return Selector(text, name, back, counter), at


def recorded(read_: QueryReads) -> Iterator[str]:
    """Names in a query that by their form are those of recorded rules."""
    yield from (s.name for s in read_.selectors if ":" in s.name.strip(":"))
