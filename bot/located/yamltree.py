"""YAML text -> a tree that knows the place of every value, and plain JSON.

Invariants:
- reading raises nothing but `Faults`, in time and memory bounded by `LIMIT`, `VALUES` and `DEPTH`;
- what comes out is JSON: text, numbers, booleans, null, lists, mappings with text keys. Only `true` and
  `false` are booleans, a date stays text; merge keys, tags and numbers that are probably text are refused.
"""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from bot.located import Document, Fault, Faults, Node, Position, dotted, nearest, quoted, shortened
from bot.ports import Json

LIMIT = 256 * 1024
"""Bytes of a file. A long plan has a tenth of it."""
VALUES = 20_000
"""Values of a file, counted as if every alias were written out."""
DEPTH = 40
"""Levels of nesting, counted likewise."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INT = re.compile(r"[-+]?[0-9]+")
_ODD = re.compile(r"[-+]?(0[0-9]|[0-9]{18})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Mapping[str, bool | None] = {"": None, "~": None} | {
    form: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for form in (word, word.title(), word.upper())
}


def content(file: pathlib.Path, missing: str) -> bytes:
    """The bytes of a file that people write. Faults: why it cannot be read; `missing` says so where it is not there."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        what = missing
    except IsADirectoryError:
        what = "is a folder; a file is wanted"
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}"
    raise Faults([_fault(str(file), Position(), what)])


def read(text: str | bytes, source: str) -> Document:
    """Read one YAML document. Raises Faults for what keeps it from being read at all."""
    text = _decoded(text, source)
    builder = _Builder(source)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        place = _place(getattr(error, "problem_mark", None))
        what = _plain(text, place, str(getattr(error, "problem", None) or error))
        raise Faults([*builder.faults, _fault(source, place, what)]) from None
    except RecursionError:
        _refuse(source, Position(), f"nested more than {DEPTH} levels deep")
    if builder.root is None or builder.root.value is None:
        _refuse(source, Position(), "the file is empty")
    return Document(source, builder.root, tuple(builder.faults))


def _refuse(source: str, place: Position, message: str) -> NoReturn:
    raise Faults([_fault(source, place, message)])


def _fault(source: str, place: Position, message: str) -> Fault:
    return Fault(source, place.line, place.column, "", " ".join(message.split()))


def _decoded(text: str | bytes, source: str) -> str:
    size = len(text.encode(errors="surrogatepass") if isinstance(text, str) else text)
    if size > LIMIT:
        _refuse(source, Position(), f"{size:,} bytes is too large; the limit is {LIMIT:,} ({LIMIT // 1024} KiB)")
    try:
        text = text if isinstance(text, str) else text.decode()
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        _refuse(source, _place_of(before, len(before)), f"not UTF-8: byte 0x{error.object[error.start]:02x}")
    text = text.removeprefix("\ufeff")
    if bad := _FORBIDDEN.search(text):
        found = f"a character that does not belong into a text file: U+{ord(bad[0]):04X}"
        _refuse(source, _place_of(text, bad.start()), found)
    return text


def _place(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1) if mark else Position()


def _place_of(text: str, index: int) -> Position:
    return Position(text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def _plain(text: str, place: Position, problem: str) -> str:
    """What a YAML error means, in words of someone who writes a plan."""
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    rest = line[place.column - 1 :]
    if "\t" in line[: len(line) - len(line.lstrip())] or rest[:1] == "\t":
        return "a tab; YAML is indented with spaces"
    if line[: place.column - 1].endswith("$") and rest[:1] == "{":
        return 'quote what contains ${...}: "${target.version}"'
    if "mapping values are not allowed" in problem:
        return "a second ': ' in one value, or wrong indentation; quote text that contains ': '"
    return f"not valid YAML: {problem}"


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read."""

    node: Node
    anchor: str | None
    mapping: bool
    key: str | int | None = None
    refused: bool = False


class _Builder:
    """Makes the tree from parser events, without recursion."""

    def __init__(self, source: str):
        self.source = source
        self.root: Node | None = None
        self.faults: list[Fault] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}

    def take(self, event: yaml.Event) -> None:
        """Take the next event. Raises Faults where going on makes no sense."""
        place = _place(event.start_mark)
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, place)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), place)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event, place)
        elif isinstance(event, yaml.CollectionEndEvent):
            done = self._stack.pop()
            self._add(done.node, done.anchor)
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            _refuse(self.source, place, "a second document; a file holds one")

    def _open(self, event: yaml.CollectionStartEvent, place: Position) -> None:
        mapping = isinstance(event, yaml.MappingStartEvent)
        self._tagged(event.tag, place)
        if self._wants_key:
            _refuse(self.source, place, "a key must be plain text")
        if len(self._stack) >= DEPTH:
            _refuse(self.source, place, f"nested more than {DEPTH} levels deep")
        self._stack.append(_Open(Node(place, {} if mapping else []), event.anchor, mapping))

    def _scalar(self, event: yaml.ScalarEvent, place: Position) -> None:
        raw = str(event.value)
        if self._wants_key:
            self._key(raw, event.implicit[0], place)
            return
        self._tagged(event.tag, place)
        node = Node(place, raw, raw)
        if event.implicit[0]:
            node.value = self._resolved(raw, place)
        self._add(node, event.anchor)

    def _alias(self, name: str, place: Position) -> None:
        if self._wants_key:
            _refuse(self.source, place, "a key must be plain text")
        if any(o.anchor == name for o in self._stack):
            _refuse(self.source, place, f"*{name} stands inside the value that it names")
        if name not in self._anchors:
            self._note(place, f"no anchor &{name} before this", nearest(name, self._anchors))
        self._add(self._anchors.get(name) or Node(place), None, place)

    @property
    def _wants_key(self) -> bool:
        return bool(self._stack) and self._stack[-1].mapping and self._stack[-1].key is None

    def _key(self, key: str, plain: bool, place: Position) -> None:
        top = self._stack[-1]
        top.key, top.refused = key, True
        if plain and key == "<<":
            self._note(place, "merge keys (<<) are not understood; alias the whole value")
        elif key in top.node.keys:
            first = top.node.keys[key].line
            self._note(place, f"{quoted(key)} is given twice, first in line {first}")
        else:
            top.refused = False
            top.node.keys[key] = place

    def _add(self, node: Node, anchor: str | None, place: Position | None = None) -> None:
        """Put a finished value (or an alias of it, at `place`) into what is open, or make it the root."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        parent, value = top.node, top.node.value
        if isinstance(value, list):
            parent.children[len(value)] = node
            value.append(node.value)
        elif isinstance(value, dict):
            key, top.key = top.key, None
            if top.refused or not isinstance(key, str):
                return
            parent.children[key] = node
            value[key] = node.value
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        if parent.size > VALUES:
            _refuse(self.source, place or node.place, f"more than {VALUES:,} values, every alias counted in full")
        if parent.height + len(self._stack) - 1 > DEPTH + 1:
            _refuse(self.source, place or node.place, f"nested more than {DEPTH} levels deep, aliases in full")

    def _resolved(self, raw: str, place: Position) -> Json:
        if raw in _WORDS:
            return _WORDS[raw]
        if _INT.fullmatch(raw):
            return int(raw) if not _ODD.match(raw) else self._odd(raw, place)
        if _FLOAT.fullmatch(raw):
            return float(raw) if math.isfinite(float(raw)) else self._odd(raw, place)
        return raw

    def _odd(self, raw: str, place: Position) -> Json:
        self._note(place, f"{shortened(raw)} is no usable number; quote it if it is text")
        return 0

    def _tagged(self, tag: str | None, place: Position) -> None:
        if tag is not None:
            self._note(place, f"tags ({shortened(tag)}) are not understood")

    def _note(self, place: Position, message: str, guess: str | None = None) -> None:
        path = dotted(tuple(self._path()))
        self.faults.append(Fault(self.source, place.line, place.column, path, message, guess))

    def _path(self) -> Iterator[str | int]:
        for o in self._stack:
            if isinstance(o.node.value, list):
                yield len(o.node.value)
            elif o.key is not None:
                yield o.key
