"""Writes every message of every scene as TypeScript literals, for the compiler to hold against Slack's own types.

python -m tests.slack.types.payloads messages.ts
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from bot.slack.draw.post import Block
from tests.slack.scenes import SCENES

HEAD = """// Written by tests/slack/types/payloads.py.
import type { KnownBlock, TaskCardBlock } from "@slack/types";

"""


def payloads() -> tuple[dict[str, list[Block]], list[object]]:
    """The blocks of each message by scene and slot, and every task card (a plan's type takes anything as a task)."""
    messages = {f"{f.__name__}/{p.slot}": list(p.message.blocks) for f in SCENES for p in f().screen().posts}
    return messages, [t for blocks in messages.values() for t in _tasks(blocks)]


def _tasks(blocks: list[Block]) -> Iterator[object]:
    for b in blocks:
        tasks = b.get("tasks")
        yield from tasks if isinstance(tasks, list) else ()


def main(target: str) -> None:
    """Writes the file."""
    messages, tasks = payloads()
    assert any(b["type"] == "table" for blocks in messages.values() for b in blocks)
    text = f"export const messages: Record<string, KnownBlock[]> = {json.dumps(messages, indent=1)};\n\n"
    text += f"export const tasks: TaskCardBlock[] = {json.dumps(tasks, indent=1)};\n"
    Path(target).write_text(HEAD + text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
