"""Where a mistake stands in a file that people write, and how it is said: one line, with a guess.

Invariants:
- a fault names file, line, column and path; several aliases of one mistake are one fault;
- a `Report` collects, so that one pass over a file finds every mistake, and only then raises.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

from bot.ports import Json

GUESSES = 50
"""Faults that get a guess; in a file with more of them guessing only costs time."""

Path = tuple[str | int, ...]
"""Where in the data: keys and list indices from the top."""


@dataclass(frozen=True, slots=True)
class Position:
    """A position in a file, counted from 1."""

    line: int = 1
    column: int = 1


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake: where, what, and what was probably meant. Its text is one line."""

    source: str
    line: int
    column: int
    path: str
    message: str
    guess: str | None = None

    def __str__(self) -> str:
        where = f"{self.source}:{self.line}:{self.column}: " + (f"{self.path}: " if self.path else "")
        return where + self.message + (f"; did you mean {self.guess!r}?" if self.guess else "")


class Faults(ValueError):
    """Everything that is wrong with a file, in the order of the file; one line each."""

    def __init__(self, faults: Iterable[Fault]):
        self.faults = tuple(sorted(faults, key=lambda f: (f.source, f.line, f.column, f.path, f.message)))
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(slots=True)
class Node:
    """One value of the file with its place. `raw`: a scalar as it is written."""

    place: Position
    value: Json = None
    raw: str = ""
    children: dict[str | int, Node] = field(default_factory=dict)
    keys: dict[str | int, Position] = field(default_factory=dict)
    size: int = 1
    height: int = 1


@dataclass(frozen=True)
class Document:
    """A file that was read. `found`: mistakes that did not keep it from being read."""

    source: str
    root: Node
    found: tuple[Fault, ...] = ()

    @property
    def data(self) -> Json:
        """The whole file as plain values; aliased parts are shared, so never change it."""
        return self.root.value

    def node(self, path: Path) -> Node:
        """The value at this path, or the last one on the way to it that exists."""
        node = self.root
        for part in path:
            if part not in node.children:
                break
            node = node.children[part]
        return node

    def place(self, path: Path, *, key: bool = False) -> Position:
        """Where the value stands, or its key."""
        if key and path:
            return self.node(path[:-1]).keys.get(path[-1], self.node(path).place)
        return self.node(path).place


class Report:
    """The mistakes found in one document so far."""

    def __init__(self, document: Document):
        self.document = document
        self._faults = list(document.found)
        self._unread = {Position(f.line, f.column) for f in document.found}
        self._paths: list[Path] = []
        self._seen: set[tuple[Position, str]] = set()

    def add(
        self, path: Path, message: str, *, key: bool = False, word: object = None, known: Iterable[str] = ()
    ) -> None:
        """Note a fault at the value (or key) of `path`; `word` was written, one of `known` probably meant."""
        self._paths.append(path)
        at = self.document.place(path, key=key)
        message = " ".join(message.split())
        if (at, message) in self._seen or at in self._unread:
            return
        self._seen.add((at, message))
        guess = nearest(word, known) if len(self._faults) < GUESSES else None
        self._faults.append(Fault(self.document.source, at.line, at.column, dotted(path), message, guess))

    def has(self, path: Path) -> bool:
        """Whether something at or below this path is known to be wrong."""
        return any(p[: len(path)] == path for p in self._paths)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong so far."""
        return not self._faults

    @property
    def faults(self) -> Faults:
        """What is wrong so far, to be raised."""
        return Faults(self._faults)


def dotted(path: Path) -> str:
    """`tracks.backend[2].gate`."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{shortened(p)}" for p in path).removeprefix(".")


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, if one is close."""
    if not isinstance(word, str):
        return None
    found = difflib.get_close_matches(word, sorted(k for k in known if k != word), n=1)
    return found[0] if found else None


def quoted(value: object) -> str:
    """A value for a message, cut to a readable length."""
    return shortened(repr(value))


def shortened(text: str) -> str:
    """The text, cut to a readable length."""
    return text if len(text) <= 60 else text[:59] + "…"
