"""Reads the SQL of a dump as it streams by: how many rows each table has, where sequences stand, what wrote it.

What counts is the comment that pg_dump puts above each item (`-- Data for Name: orders; Type: TABLE DATA; ...`), so no
function's text is taken for data. Rows are lines: in COPY's text a line break inside a value is written as `\\n`.

Invariant: memory does not grow with the data; at most one line is kept, and of that no more than `LINE` bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LINE = 64 * 1024
"""Bytes of a line that are looked at; the rest of a longer one tells nothing."""
STAMPS = 50
"""Rows of the table of revisions that are kept."""
END = b"-- PostgreSQL database dump complete"
_ITEM = re.compile(rb"-- (?:Data for )?Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: ")
_FROM = re.compile(rb"-- Dumped from database version (.+)")
_BY = re.compile(rb"-- Dumped by pg_dump version (.+)")
_EXTENSION = re.compile(rb"^\d+; \d+ \d+ EXTENSION - (.+?) ?$")
_SET = re.compile(rb"SELECT pg_catalog\.setval\('(.+)', (-?\d+), (true|false)\);")


@dataclass
class Script:
    """What has streamed by so far. `feed` it, then `end`."""

    stamp_table: str = ""
    server: str = ""
    dumper: str = ""
    rows: dict[str, int | None] = field(default_factory=dict)
    sequences: dict[str, int | None] = field(default_factory=dict)
    extensions: list[str] = field(default_factory=list)
    stamp: list[str] = field(default_factory=list)
    items: int = 0
    complete: bool = False
    _rest: bytes = b""
    _item: tuple[str, str, str] = ("", "", "")
    _copying: str = ""
    _stamping: bool = False
    _long: bool = False

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""
        data = self._rest + chunk
        while data:
            done = self._rows(data) if self._copying and not self._stamping else self._lines(data)
            if done is None:
                return
            data = done
        self._rest = b""

    def end(self) -> None:
        """No more comes."""
        self.feed(b"\n")

    def contents(self, line: bytes) -> None:
        """A line of `pg_restore --list`, instead: it knows versions, how many items there are and extensions."""
        if line.startswith(b";"):
            name, _, value = line.strip(b"; ").decode(errors="replace").partition(": ")
            self.server = value if name == "Dumped from database version" else self.server
            self.dumper = value if name == "Dumped by pg_dump version" else self.dumper
            self.items = int(value) if name == "TOC Entries" and value.isdecimal() else self.items
        elif found := _EXTENSION.search(line):
            self.extensions.append(found[1].decode(errors="replace"))

    def _lines(self, data: bytes) -> bytes | None:
        """Reads line by line up to where rows begin: what comes then. None where all is read, or kept for later."""
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            if self._long:
                self._long = False
            else:
                self._line(data[start:end])
            start = end + 1
            if self._copying and not self._stamping:
                return b"\n" + data[start:]
        self._rest = data[start:]
        if len(self._rest) > LINE:
            self._rest, self._long = b"", True
        return None

    def _rows(self, data: bytes) -> bytes | None:
        """Counts the rows of a table up to its end mark: what comes then. The first byte of `data` is counted already;
        None where the end mark is not in it."""
        mark = data.find(b"\n\\.\n")
        if mark >= 0:
            self._count(data.count(b"\n", 1, mark + 1))
            self._copying = ""
            return data[mark + 4 :]
        keep = max(0, len(data) - 3)
        self._count(data.count(b"\n", 1, keep + 1))
        self._rest = data[keep:]
        return None

    def _count(self, more: int) -> None:
        self.rows[self._copying] = (self.rows.get(self._copying) or 0) + more

    def _line(self, line: bytes) -> None:
        if self._stamping:
            if line == b"\\.":
                self._stamping, self._copying = False, ""
            else:
                self._count(1)
                if len(self.stamp) < STAMPS:
                    self.stamp.append(line.decode(errors="replace"))
            return
        if line.startswith(b"-- "):
            self._comment(line)
        elif line.startswith(b"COPY ") and line.endswith(b"FROM stdin;") and self._item[1] == "TABLE DATA":
            self._copying = self._table
            self._stamping = self._item[0] == self.stamp_table
            self.rows[self._copying] = 0
        elif line.startswith(b"INSERT INTO ") and self._item[1] == "TABLE DATA":
            self.rows[self._table] = None  # a value may hold line breaks
        elif self._item[1] == "SEQUENCE SET" and (found := _SET.fullmatch(line)):
            self.sequences[self._table] = int(found[2]) if found[3] == b"true" else None

    @property
    def _table(self) -> str:
        return f"{self._item[2]}.{self._item[0]}"

    def _comment(self, line: bytes) -> None:
        if found := _ITEM.match(line):
            name, kind, schema = (part.decode(errors="replace") for part in found.groups())
            self._item = (name, kind, schema)
            self.items += 1
            if kind == "TABLE DATA":
                self.rows.setdefault(self._table, 0)
            elif kind == "EXTENSION":
                self.extensions.append(name)
        elif found := _FROM.match(line):
            self.server = found[1].decode(errors="replace")
        elif found := _BY.match(line):
            self.dumper = found[1].decode(errors="replace")
        elif line == END:
            self.complete = True
