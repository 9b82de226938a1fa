"""Who wrote the record: signatures by Ed25519 over the hashes of `chain.py`. Pure; `docs/audit.md` has the format.

The last event of each append is signed, and each checkpoint. Every hash covers what comes before it, and no node
appends to what it does not believe: so the newest signature of a run speaks for all of it.

Invariants:
- what a node believes is what a key that it knows has signed; without keys it believes whatever fits together;
- whoever can check cannot forge: checking takes public keys alone.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from bot.store.chain import ZERO, event_hash

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PRIVATE, PUBLIC = "rbk_", "rbp_"
"""What keys begin with; behind it are their 32 bytes in base64 (the kind for URLs, without `=`)."""
OF_CHECKPOINTS = ""
"""Stands for the run where a checkpoint is signed; its `seq` is the checkpoint's number."""

Signed = Literal["event", "checkpoint"]


class BadKey(ValueError):
    """No key of this kind; says what one looks like."""


@dataclass(frozen=True, slots=True)
class Signature:
    """By whom (a public key) and what; both as text."""

    key: str
    text: str


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row of a run as it is loaded, with one of its signatures, if it has any."""

    seq: int
    at: int
    kind: str
    body: str
    prev: str
    hash: str
    key: str | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Seal:
    """The end of something, and who has signed it. run: its run, or OF_CHECKPOINTS; hash: of the row or the chain."""

    run: str
    seq: int
    hash: str
    signatures: tuple[Signature, ...] = ()


class Keys:
    """The keys of a node. own: its private key, empty where it signs nothing; others: public keys that it knows beside
    its own. BadKey."""

    def __init__(self, own: str = "", others: Iterable[str] = ()) -> None:
        self._seed = _bytes(own, PRIVATE) if own else b""
        theirs = {o: _bytes(o, PUBLIC) for o in others}
        self.own = _text(self._private.public_key().public_bytes_raw(), PUBLIC) if own else ""
        """This node's public key; empty where it signs nothing."""
        self.known = frozenset(theirs) | ({self.own} if own else frozenset[str]())

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # costs 20 ms

        return Ed25519PrivateKey.from_private_bytes(self._seed)

    def sign(self, what: Signed, hash: str) -> Signature | None:
        """The signature over a hash; None without a key."""
        return Signature(self.own, _base64(self._private.sign(_message(what, hash)))) if self.own else None

    def holds(self, what: Signed, hash: str, key: str, signature: str) -> bool:
        """Whether it was made by a key that is known, over this hash."""
        if key not in self.known:
            return False
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(_bytes(key, PUBLIC)).verify(_raw(signature), _message(what, hash))
        except (InvalidSignature, BadKey):
            return False
        return True

    def doubt(self, seal: Seal) -> str:
        """Why a seal is not believed; empty where it is."""
        return self.why_not("event" if seal.run else "checkpoint", seal.hash, seal.signatures)

    def why_not(self, what: Signed, hash: str, found: Sequence[Signature]) -> str:
        """What is wrong where none of these is believed; empty where one is."""
        if any(self.holds(what, hash, s.key, s.text) for s in found):
            return ""
        if not found:
            return "is not signed"
        if strangers := [s.key for s in found if s.key not in self.known]:
            return f"is signed by a key that this node does not know ({strangers[0][:60]})"
        return "has a signature that does not hold"


def new_key() -> tuple[str, str]:
    """A new private key and its public one."""
    own = _text(secrets.token_bytes(32), PRIVATE)
    return own, Keys(own).own


def believed(run: str, seq: int, head: str, rows: Sequence[LogRow], keys: Keys) -> tuple[list[LogRow], str]:
    """The rows behind `seq`, whose hash is `head`, that are to be believed, each once; and what is wrong with the first
    that is not, empty where all are."""
    whole: list[LogRow] = []
    signatures: list[list[Signature]] = []
    doubt, prev = "", head or ZERO
    for _, same in groupby(rows, key=lambda r: r.seq):
        found = list(same)
        if doubt := _unfit(run, seq + len(whole) + 1, prev, found[0]):
            break
        whole.append(found[0])
        signatures.append(list(_signatures(found)))
        prev = found[0].hash
    if not keys.known:
        return whole, doubt
    good = len(whole)
    while good and keys.why_not("event", whole[good - 1].hash, signatures[good - 1]):
        good -= 1
    if good < len(whole):
        last = whole[-1]
        doubt = f"row {last.seq} ({last.kind}) {keys.why_not('event', last.hash, signatures[-1])}"
        if good + 1 < len(whole):
            doubt += f", nor is any from row {whole[good].seq} on"
    return whole[:good], doubt


def _unfit(run: str, seq: int, prev: str, row: LogRow) -> str:
    if row.seq != seq:
        return f"row {seq} is missing"
    if row.prev != prev:
        return f"row {seq} ({row.kind}) does not follow the row before it"
    if "\n" in run + row.kind or event_hash(prev, run, seq, row.at, row.kind, row.body) != row.hash:
        return f"row {seq} ({row.kind}) is not as it was written"
    return ""


def _signatures(rows: Iterable[LogRow]) -> Iterator[Signature]:
    return (Signature(r.key, r.signature) for r in rows if r.key is not None and r.signature is not None)


def _message(what: Signed, hash: str) -> bytes:
    return f"rollback-bot {what}\n{hash}".encode()


def _text(raw: bytes, begins: str) -> str:
    return begins + _base64(raw)


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _bytes(text: str, begins: str) -> bytes:
    kind = {PRIVATE: "private", PUBLIC: "public"}
    if text.startswith(PRIVATE) and begins == PUBLIC:
        raise BadKey("this is a private key, which belongs to one node alone; here public ones are named (rbp_...)")
    raw = _raw(text.removeprefix(begins)) if text.startswith(begins) else b""
    if len(raw) != 32:
        raise BadKey(f"this is no {kind[begins]} key: one begins with {begins}; `rollback-bot key` makes a pair")
    return raw


def _raw(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
