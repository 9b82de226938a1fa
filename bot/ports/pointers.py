"""JSON pointers (RFC 6901): where in a document a value stands."""

from __future__ import annotations

import re

from bot.ports import Json


def at(document: Json, pointer: str) -> tuple[bool, Json]:
    """Whether something stands at the pointer ("" is the whole), and what. A text that is no pointer leads nowhere."""
    first, *parts = pointer.split("/")
    found, there = document, not first
    for part in parts:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and re.fullmatch(r"0|[1-9][0-9]{0,8}", key) and int(key) < len(found):
            found = found[int(key)]
        else:
            return False, None
    return there, found if there else None
