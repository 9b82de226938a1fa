"""What the auditor knows besides the log and the journal, and what it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from bot.contract import Value
from tests.torture.eyes import Row
from tests.torture.trace import Trace
from tests.torture.world import Entry

Chain = list[tuple[int, str, int, str, str, str]]


@dataclass(frozen=True, slots=True)
class Death:
    """A process that is gone. why: as the harness or the node itself said."""

    pid: int
    at: float
    why: str


@dataclass(frozen=True, slots=True)
class Freeze:
    """A process that stood still. fatal: for longer than its lease."""

    pid: int
    since: float
    until: float
    fatal: bool


@dataclass(frozen=True, slots=True)
class Flood:
    """More connections than a node serves, for a while. asked, answered: probes; alive: the process outlived it."""

    pid: int
    since: float
    until: float
    asked: int
    answered: int
    alive: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise that was broken. rule: which; the text says where."""

    rule: str
    run: str
    text: str

    def __str__(self) -> str:
        return f"[{self.rule}] {self.run}: {self.text}"


@dataclass
class Case:
    """Everything that is on the table. made: (run, step) -> the product's undo data, target -> before; stuck: runs
    that were still open when time was up, with what they waited for."""

    rows: dict[str, list[Row]]
    journal: list[Entry]
    deaths: list[Death] = field(default_factory=list)
    freezes: list[Freeze] = field(default_factory=list)
    checkpoints: Chain = field(default_factory=list)
    made: dict[tuple[str, str], dict[str, Value]] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)
    floods: list[Flood] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.traces = {run: Trace(rows) for run, rows in self.rows.items()}

    def fault(self, rule: str, run: str, text: str) -> None:
        """One more finding."""
        self.findings.append(Finding(rule, run, text))

    def died(self, pid: int, since: float, until: float) -> Death | None:
        """The end of a process, if it lies between."""
        return next((d for d in self.deaths if d.pid == pid and since <= d.at <= until), None)

    def gone(self, pid: int) -> float:
        """From when on a process can do nothing more: its death, or the freeze that it does not survive."""
        ends = [d.at for d in self.deaths if d.pid == pid] + [f.since for f in self.freezes if f.pid == pid and f.fatal]
        return min(ends, default=float("inf"))

    def frozen_since(self, pid: int, at: float) -> Freeze | None:
        """The fatal freeze that a process had behind it at that moment."""
        return next((f for f in self.freezes if f.pid == pid and f.fatal and f.since < at), None)
