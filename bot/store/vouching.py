"""Whether this node and the record know one another's keys; and a person who vouches for what no known key has signed.

Invariants:
- a node that would write what others do not believe, or could not check what they wrote, does not start;
- nothing is vouched for by itself: a person does it, on the bot's host with every bot stopped, by name and with a
  reason; the record must fit together before, and the entry about it is signed like any other.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from bot.policy import Actor
from bot.run import events as ev
from bot.run.state import new_run
from bot.store.log import Store
from bot.store.signing import Seal

KEYLESS = (
    "entries of the record are not signed: whoever can write to the database can approve. Next: `rollback-bot key`, "
    'then docs/audit.md, "Signatures"'
)
NAMED = 100
"""Runs that the entry names."""


async def unfit(store: Store) -> str:
    """Why this node must not work on this record; empty where nothing stands in the way."""
    keys = store.keys
    if keys.known and not keys.own:
        return (
            "ROLLBACK_SIGNED_BY names keys, but this node has none of its own: it would write what it does not believe."
            " Next: set ROLLBACK_SIGNING_KEY."
        )
    if not keys.own:
        signer = await store.signer()
        return signer and (
            f"The record is signed (by {signer}), and this node has no key: it could not tell what was forged, and "
            "other nodes would not believe what it writes. Next: set ROLLBACK_SIGNING_KEY; where the key is lost, make "
            "one (`rollback-bot key`) and vouch for the record (`rollback-bot audit sign`)."
        )
    last = await store.last_seal()
    if last is not None and last.signatures and (why := keys.doubt(last)):
        return (
            f"Checkpoint {last.seq} {why}. Next: add the key {_names(last)} to ROLLBACK_SIGNED_BY if it is yours; "
            "where it is lost, look at the record and vouch for it (`rollback-bot audit sign`)."
        )
    return ""


async def unsigned(store: Store) -> list[Seal]:
    """Ends of runs, and of the chain of checkpoints, that no known key has signed; none where this node checks none."""
    return [s for s in await store.seals() if store.keys.known and store.keys.doubt(s)]


async def vouch(store: Store, by: Actor, reason: str, at: float) -> ev.Vouched:
    """Signs every end that no known key has signed. ValueError where there is none, or nothing to sign with."""
    ends = await unsigned(store)
    if not store.keys.own:
        raise ValueError("This node has no key to sign with: set ROLLBACK_SIGNING_KEY (`rollback-bot key` makes one).")
    if not ends:
        raise ValueError("Nothing is to be vouched for: known keys have signed all of it.")
    runs = _runs(ends)
    said = ev.Vouched(by, reason, store.keys.own, runs[:NAMED], len(runs))
    await store.append(new_run(f"vouch-{secrets.token_hex(3)}"), [said], at, checkpoint=True)
    await store.seal(*ends)
    return said


def _runs(ends: Sequence[Seal]) -> tuple[str, ...]:
    return tuple(sorted(s.run for s in ends if s.run))


def _names(seal: Seal) -> str:
    return ", ".join(s.key[:60] for s in seal.signatures)
