"""Signatures: the log is folded as far as known keys vouch for it, whoever else has written to the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import sqlalchemy as sa

from bot.policy import Actor
from bot.run import events as ev
from bot.run.decide import Next, decide
from bot.run.rules import refused
from bot.run.state import new_run
from bot.store import tables as t
from bot.store.chain import event_hash
from bot.store.log import TOKENS, Keys, Store
from bot.store.signing import BadKey, new_key
from bot.store.tokens import NotBelieved, Tokens
from bot.store.vouching import unfit, unsigned, vouch
from tests.store.conftest import ANA

AT = 1_763_900_000.0
OWN, PUBLIC = new_key()
OTHER, OTHERS_PUBLIC = new_key()
APPROVED = ev.Stopped(ANA)
"""What is forged: anything that the run would heed."""

Opens = Callable[..., Any]


@pytest.fixture
async def opened(migrated_url: str) -> AsyncIterator[Opens]:
    """Opens stores on one database: (private key, public keys of others)."""
    found: list[Store] = []

    async def open(own: str = "", *others: str) -> Store:
        found.append(await Store.open(migrated_url, keys=Keys(own, others)))
        return found[-1]

    yield open
    for store in found:
        await store.close()


async def signed(store: Store) -> int:
    return await store.db.read(lambda c: c.execute(sa.select(sa.func.count()).select_from(t.signature)).scalar_one())


async def test_each_append_and_each_checkpoint_is_signed_and_believed_by_whoever_knows_the_key(
    opened: Opens, sample: Any
) -> None:
    mine = await opened(OWN)
    run = await mine.append(new_run("r1"), [sample.created()], AT, checkpoint=True)
    run = await mine.append(run, sample.work(), AT + 1)
    assert await signed(mine) == 3
    for store in (await opened(OWN), await opened(OTHER, PUBLIC), await opened()):
        assert await store.load("r1") == run
    assert await unsigned(mine) == []


async def test_an_append_without_a_key_signs_nothing(opened: Opens, sample: Any) -> None:
    store = await opened()
    await store.append(new_run("r1"), [sample.created()], AT, checkpoint=True)
    assert await signed(store) == 0 and await unsigned(store) == []


async def test_a_row_that_nobody_signed_is_not_folded_and_nothing_follows_from_it(opened: Opens, sample: Any) -> None:
    mine, forger = await opened(OWN), await opened()
    run = await mine.append(new_run("r1"), [sample.created()], AT)
    await forger.append(await forger.load("r1"), [APPROVED, ev.Resumed(ANA)], AT + 1)
    for store in (mine, await opened(OWN)):
        found = await store.load("r1")
        assert found.seq == 1 and found.stopped is None
        assert found.doubt == "row 3 (resumed) is not signed, nor is any from row 2 on"
        assert decide(found, AT + 2) == Next()
        no = refused(found, APPROVED)
        assert no is not None and "not believed" in no.text
        with pytest.raises(ValueError, match="is not believed"):
            await store.append(found, [APPROVED], AT + 3)
    assert await mine.beyond() == []  # the forger has moved the index, too
    await mine.db.write(lambda c: c.execute(sa.update(t.head).values(seq=1)))
    assert await mine.beyond() == ["r1"]
    assert run.doubt == ""


async def test_what_a_known_key_signed_behind_the_rows_of_nobody_vouches_for_them(opened: Opens, sample: Any) -> None:
    mine, forger = await opened(OWN), await opened()
    await mine.append(new_run("r1"), [sample.created()], AT)
    forged = await forger.append(await forger.load("r1"), [APPROVED], AT + 1)
    assert (await mine.load("r1")).doubt
    said = await vouch(mine, ANA, "a colleague wrote it by hand", AT + 2)
    assert (said.runs, said.count, said.key) == (("r1",), 1, PUBLIC)
    assert await mine.load("r1") == forged and await unsigned(mine) == []
    with pytest.raises(ValueError, match="Nothing is to be vouched for"):
        await vouch(mine, ANA, "again", AT + 3)


@pytest.mark.parametrize("key", [PUBLIC, OTHERS_PUBLIC, "nonsense"], ids=["own", "unknown", "none"])
async def test_a_signature_that_does_not_hold_is_as_good_as_none(opened: Opens, sample: Any, key: str) -> None:
    mine, forger = await opened(OWN), await opened()
    await mine.append(new_run("r1"), [sample.created()], AT)
    await forger.append(await forger.load("r1"), [APPROVED], AT + 1)
    row = {"run": "r1", "seq": 2, "key": key, "signature": "A" * 86}
    await forger.db.write(lambda c: c.execute(sa.insert(t.signature), row))
    told = "has a signature that does not hold" if key == PUBLIC else f"a key that this node does not know ({key})"
    found = await mine.load("r1")
    assert found.seq == 1 and told in found.doubt


async def test_a_signature_of_another_row_or_of_a_checkpoint_does_not_fit(opened: Opens, sample: Any) -> None:
    mine, forger = await opened(OWN), await opened()
    run = await mine.append(new_run("r1"), [sample.created()], AT, checkpoint=True)
    await forger.append(await forger.load("r1"), [APPROVED], AT + 1)

    def steal(c: sa.Connection) -> None:
        for n, (key, text) in enumerate(c.execute(sa.select(t.signature.c.key, t.signature.c.signature)).all()):
            c.execute(sa.insert(t.signature), {"run": f"x{n}", "seq": 2, "key": key, "signature": text})
        text = c.scalar(sa.select(t.signature.c.signature).where(t.signature.c.run == ""))
        c.execute(sa.insert(t.signature), {"run": "r1", "seq": 2, "key": PUBLIC, "signature": text})

    await forger.db.write(steal)
    assert (await mine.load("r1")).doubt == "row 2 (stopped) has a signature that does not hold"
    good = mine.keys.sign("event", run.head)
    assert good is not None and mine.keys.holds("event", run.head, PUBLIC, good.text)
    assert not mine.keys.holds("checkpoint", run.head, PUBLIC, good.text)


async def test_rows_that_do_not_fit_together_are_not_believed_without_keys_either(opened: Opens, sample: Any) -> None:
    mine = await opened()
    run = await mine.append(new_run("r1"), [sample.created()], AT)
    body = ev.encode(APPROVED)[1]

    def row(seq: int, prev: str, hash_: str) -> dict[str, Any]:
        return {"run": "r1", "seq": seq, "at": 1, "kind": "stopped", "body": body, "prev": prev, "hash": hash_}

    fits = event_hash(run.head, "r1", 3, 1, "stopped", body)
    await mine.db.write(lambda c: c.execute(sa.insert(t.event), row(3, run.head, fits)))
    assert (await mine.load("r1")).doubt == "row 2 is missing"
    wrong = event_hash("a" * 64, "r1", 2, 1, "stopped", body)
    await mine.db.write(lambda c: c.execute(sa.insert(t.event), row(2, "a" * 64, wrong)))
    assert (await mine.load("r1")).doubt == "row 2 (stopped) does not follow the row before it"
    with pytest.raises(ValueError, match="not believed"):
        await mine.append(await mine.load("r1"), [APPROVED], AT)


async def test_a_changed_row_is_not_believed(opened: Opens, sample: Any) -> None:
    mine = await opened()
    await mine.append(new_run("r1"), [sample.created(), APPROVED], AT)

    def change(c: sa.Connection) -> None:
        lite = c.dialect.name == "sqlite"
        c.exec_driver_sql("DROP TRIGGER event_no_update" if lite else "ALTER TABLE event DISABLE TRIGGER ALL")
        c.execute(sa.update(t.event).where(t.event.c.seq == 2).values(body="{}"))

    await mine.db.write(change)
    fresh = await opened()
    assert (await fresh.load("r1")).doubt == "row 2 (stopped) is not as it was written"
    assert (await fresh.load("r1")).seq == 1


async def test_what_was_forged_and_is_gone_again_leaves_no_doubt(opened: Opens, sample: Any) -> None:
    mine, forger = await opened(OWN), await opened()
    run = await mine.append(new_run("r1"), [sample.created()], AT)
    await forger.append(await forger.load("r1"), [APPROVED], AT + 1)
    assert (await mine.load("r1")).doubt

    def remove(c: sa.Connection) -> None:
        lite = c.dialect.name == "sqlite"
        c.exec_driver_sql("DROP TRIGGER event_no_delete" if lite else "ALTER TABLE event DISABLE TRIGGER ALL")
        c.execute(sa.delete(t.event).where(t.event.c.seq == 2))

    await forger.db.write(remove)
    assert await mine.load("r1") == run
    assert (await mine.append(run, [APPROVED], AT + 2)).seq == 2


async def test_a_node_that_others_would_not_believe_or_that_could_not_check_them_does_not_start(
    opened: Opens, sample: Any
) -> None:
    old = await opened()
    run = await old.append(new_run("r0"), [sample.created("older")], AT, checkpoint=True)
    for store in (old, await opened(OWN)):
        assert await unfit(store) == ""
    assert "none of its own" in await unfit(await opened("", PUBLIC))

    mine = await opened(OWN)
    assert [s.run for s in await unsigned(mine)] == ["r0", ""] and (await mine.load("r0")).doubt
    await vouch(mine, ANA, "signing begins", AT)
    assert await mine.load("r0") == run
    assert await unfit(mine) == "" and await unfit(await opened(OTHER, PUBLIC)) == ""
    assert "this node has no key" in await unfit(old) and PUBLIC in await unfit(old)
    assert "a key that this node does not know" in await unfit(await opened(OTHER))


async def test_a_key_is_replaced_by_one_that_names_the_old_one(opened: Opens, sample: Any) -> None:
    before = await (await opened(OWN)).append(new_run("r1"), [sample.created()], AT, checkpoint=True)
    new = await opened(OTHER, PUBLIC)
    after = await new.append(await new.load("r1"), [APPROVED], AT + 1)
    assert before.head in {e.prev for e in await new.events("r1")}
    assert await (await opened(OWN, OTHERS_PUBLIC)).load("r1") == after
    lost = await opened(OTHER)  # the old one was taken off the list: what the new one signed behind it still holds
    assert (await lost.load("r1")).doubt == "" and await unfit(lost) != ""
    with pytest.raises(ValueError, match="no key to sign with"):
        await vouch(await opened(), Actor("U1", "ana"), "why", AT)


def test_keys_are_told_apart_and_bad_ones_named() -> None:
    own, public = new_key()
    assert Keys(own).own == public and Keys(own).known == {public} and not Keys().known
    with pytest.raises(BadKey, match="this is a private key"):
        Keys("", [own])
    for bad in ("", "rbp_", public[:-1], "rbp_" + "*" * 43, "x" * 47):
        with pytest.raises(BadKey, match="no public key"):
            Keys("", [bad])
    with pytest.raises(BadKey, match="no private key"):
        Keys(public)
    assert own not in repr(Keys(own))


async def test_loading_a_run_takes_one_signature_however_long_it_is(
    opened: Opens, sample: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await opened(OWN)
    run = await mine.append(new_run("r1"), [sample.created()], AT)
    for n in range(50):
        run = await mine.append(run, [ev.Stopped(ANA) if n % 2 else ev.Resumed(ANA)], AT + n)
    checked: list[str] = []
    holds = Keys.holds

    def counted(self: Keys, *args: Any) -> bool:
        checked.append(args[1])
        return holds(self, *args)

    monkeypatch.setattr(Keys, "holds", counted)
    fresh = await opened(OWN)
    assert await fresh.load("r1") == run and checked == [run.head]
    await asyncio.gather(*(fresh.load("r1") for _ in range(20)))
    assert checked == [run.head]


async def test_where_the_record_of_tokens_is_not_believed_no_new_one_is_good(opened: Opens) -> None:
    mine, forger = await opened(OWN), await opened()
    tokens = Tokens(mine, lambda: AT)
    old = await tokens.issue("U1", "os:root")
    assert await tokens.whose(old) is not None
    run = await forger.load(TOKENS)
    await forger.append(run, [ev.TokenIssued("000000000000", "U2", "nobody", AT + 60)], AT)
    fresh = Tokens(mine, lambda: AT)
    new = await fresh.issue("U2", "nobody")
    with pytest.raises(NotBelieved, match=r"\(token issued\) is not signed"):
        await fresh.whose(new)
    assert await fresh.whose(old) is not None
    await vouch(mine, ANA, "looked at, and right", AT)
    assert await fresh.whose(new) is not None
