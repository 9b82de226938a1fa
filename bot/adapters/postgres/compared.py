"""A live schema against what a release's models say, beyond what Alembic's own comparison sees. Pure.

Alembic compares tables, columns, types, defaults, indexes and foreign keys. It passes over primary keys, identities,
generated columns, named checks and their values, labels of enums, what makes an index a partial one, and whether an
index or a constraint is valid at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bot.ports.databases import SchemaDifference, TableShape, unsound


def differences(said: Mapping[str, Any], shape: TableShape) -> list[SchemaDifference]:
    """What differs. said: of the models, as `alembic_child` tells."""
    found = [SchemaDifference(d["said"], d["more"]) for d in said["differs"]]
    found += [SchemaDifference(line) for line in (*_of_tables(said["tables"], shape), *_of_enums(said["enums"], shape))]
    return [*dict.fromkeys([*found, *unsound(shape)])]


def _of_tables(tables: Mapping[str, Any], shape: TableShape) -> Iterator[str]:
    for table, wanted in tables.items():
        if f"table {table}" not in shape:
            continue  # Alembic has said so
        keys = [w for n, w in shape.items() if n.startswith(f"constraint {table}.") and w.startswith("PRIMARY KEY")]
        key = _columns(keys[0]) if keys else []
        if key != wanted["key"]:
            yield f"primary key of {table}: {_listed(key)} there, {_listed(wanted['key'])} in the models"
        for kind, word in (("identity", " identity"), ("generated", " generated as ")):
            for column in wanted[kind]:
                if word not in shape.get(f"column {table}.{column}", word):
                    yield f"column {table}.{column} is not {kind} there, and is in the models"
        for check, text in wanted["checks"].items():
            there = shape.get(f"constraint {table}.{check}")
            if there is None:
                yield f"check {table}.{check} is missing"
            elif text and sorted(words := _values(text)) != sorted(now := _values(there)):
                both = f"{_listed(sorted(now))} there, {_listed(sorted(words))} in the models"
                yield f"check {table}.{check} is about {both}"
        for index, partial in wanted["partial"].items():
            if (there := shape.get(f"index {index}")) is not None and (" WHERE " in there) != partial:
                some = "covers some rows only" if not partial else "covers every row"
                yield f"index {index} {some} there, and not in the models"


def _of_enums(enums: Mapping[str, list[str]], shape: TableShape) -> Iterator[str]:
    for name, wanted in enums.items():
        there = shape.get(f"type {name}")
        if there is None:
            yield f"type {name} is missing"
            continue
        labels = _values(there)
        if lacking := [label for label in wanted if label not in labels]:
            yield f"type {name} lacks {', '.join(map(repr, lacking))}"
        if more := [label for label in labels if label not in wanted]:
            yield f"type {name} has {', '.join(map(repr, more))}, which the models do not know"


def _values(text: str) -> list[str]:
    """The texts that stand in SQL, each once: a server writes the rest of an expression in its own way."""
    return [*dict.fromkeys(label.replace("''", "'") for label in re.findall(r"'((?:[^']|'')*)'", text))]


def _columns(definition: str) -> list[str]:
    """Of "PRIMARY KEY (a, b)"."""
    inner = definition.partition("(")[2].partition(")")[0]
    return [c.strip().strip('"') for c in inner.split(",")]


def _listed(columns: list[str]) -> str:
    return ", ".join(columns) or "none"
