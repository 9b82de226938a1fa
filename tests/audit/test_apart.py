"""A large export is made in another process, and is what it would be here."""

from __future__ import annotations

import os

import pytest

from bot.audit import apart, html
from bot.store.chain import ZERO, Stored, event_hash


async def test_what_is_large_is_made_in_another_process_and_what_is_small_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    body = '{"by":{"id":"ana","name":"ana","roles":["commander"],"via":"cli"},"reason":"wait"}'
    rows = [
        Stored("r1", 1, 1_763_900_000_000_000, "stopped", body, ZERO, event_hash(ZERO, "r1", 1, 1, "stopped", body))
    ]
    here = await apart.made(html, rows)
    asked = "__import__('os').getpid()"
    monkeypatch.setattr(apart, "LARGE", 100)
    assert await apart.made(eval, asked) == os.getpid()
    monkeypatch.setattr(apart, "LARGE", 1)
    assert await apart.made(eval, asked) != os.getpid()
    assert await apart.made(html, rows) == here and "stopped" in here
    with pytest.raises(ZeroDivisionError):
        await apart.made(eval, "1 / 0")
