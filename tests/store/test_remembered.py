"""What adapters remember is there for all nodes, and goes when nobody renews it."""

from __future__ import annotations

from bot.store.log import Store
from bot.store.remembered import KEEP, Remembered


async def test_a_text_is_kept_by_its_name_and_replaced(store: Store) -> None:
    one, other = Remembered(store, lambda: 100.0), Remembered(store, lambda: 200.0)
    assert await one.get("backups/a/x") is None
    await one.put("backups/a/x", "old")
    await one.put("backups/a/x", "new")
    assert await other.get("backups/a/x") == "new"


async def test_what_nobody_has_renewed_is_forgotten_with_the_next_of_its_folder(store: Store) -> None:
    await Remembered(store, lambda: 100.0).put("backups/a/gone", "1")
    await Remembered(store, lambda: 100.0).put("backups/b/other", "2")
    later = Remembered(store, lambda: 101.0 + KEEP)
    await later.put("backups/a/new", "3")
    assert [await later.get(name) for name in ("backups/a/gone", "backups/a/new", "backups/b/other")] == [
        None,
        "3",
        "2",
    ]
