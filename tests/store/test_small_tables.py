"""Slots, progress, tokens and releases: put replaces, and moments survive to the microsecond."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from bot.store import tables as t
from bot.store.log import Progress, ReleaseRow, Slot, Store, Token
from bot.store.rows import to_row

AT = 1_763_900_000.25


async def test_a_slot_is_replaced_by_name(store: Store) -> None:
    root = Slot("r1", "root", "C1", "1.1", "abc")
    for slot in (root, Slot("r1", "gate", "C1", "1.2", ""), Slot("r2", "root", "C2", "9", "")):
        await store.put_slot(slot)
    edited = replace(root, digest="def")
    await store.put_slot(edited)
    assert await store.slots("r1") == {"root": edited, "gate": Slot("r1", "gate", "C1", "1.2", "")}


async def test_the_last_progress_line_of_a_step_stays(store: Store) -> None:
    for done in (1, 2):
        await store.put_progress(Progress("r1", "deploy", f"{done} of 6 pods", done, 6, AT + done))
    await store.put_progress(Progress("r1", "drain", "214 jobs", None, None, AT))
    found = await store.progress("r1")
    assert found["deploy"] == Progress("r1", "deploy", "2 of 6 pods", 2, 6, AT + 2)
    assert found["drain"].total is None


async def test_a_token_is_found_by_its_hash_until_forgotten_and_ended_by_person(store: Store) -> None:
    mine = Token("h1", "U1", AT + 3600, AT, "host")
    await store.put_token(mine)
    await store.put_token(Token("h2", "U2", AT + 3600, AT, "U2"))
    assert await store.find_token("h1") == mine
    assert await store.find_token("h3") is None
    assert await store.revoke_tokens("U1", AT + 5) == 1 and await store.revoke_tokens("U1", AT + 6) == 0
    assert await store.find_token("h1") == replace(mine, revoked=AT + 5)
    found = await store.find_token("h2")
    assert found and found.revoked is None


async def test_releases_come_last_registered_first(store: Store) -> None:
    old = ReleaseRow("shop", "2.4.0", '{"commit":"a"}', "stable", "", AT, AT + 1, AT + 9)
    new = ReleaseRow("shop", "2.4.1", "{}", "candidate", "", AT + 10)
    rows = [to_row(r) for r in (old, new, replace(new, service="blog"))]
    await store.db.write(lambda c: c.execute(sa.insert(t.release), rows))
    assert await store.releases("shop") == [new, old]
