"""Keeps secrets out of the record, the log and the thread: known values, and what looks like one.

Invariants:
- prose is rewritten (`[redacted:<kind>]`), values that are to be written never are: an edit that holds a secret
  is refused (`SecretInChange`), because what is approved, hashed and undone must be what is written;
- digests, ids, fingerprints, versions and people are never touched; a change keeps its fingerprint;
- redacting twice is redacting once; the time is linear in the text.
A pattern is a net, not a promise: name the variables that hold secrets in the settings, then their values are known.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from typing import Any, TypeVar, cast, get_args
from urllib.parse import quote, quote_plus

from bot.contract import Change, Edit, Fact, Json, Receipt, Verdict, canonical
from bot.ports import Where
from bot.redaction.patterns import SecretSpan, of_name, spans
from bot.run import events as ev

E = TypeVar("E", bound=ev.Event)

SHORTEST = 4
"""Characters below which a known value is taken for no secret: it would blot out ordinary words."""
WORD = 12
"""Characters below which a known value is redacted only where it stands alone."""


JUDGED = 400
"""Characters up to which it is remembered whether a text holds a secret."""


class SecretInChange(Exception):
    """A change holds a secret value. Its text names the target and the kind, never the value."""

    def __init__(self, target: str, kind: str):
        super().__init__(
            f"{target}: the change holds a secret ({kind}); it must carry a reference (name and version) instead. "
            "Nothing was changed."
        )
        self.target, self.kind = target, kind


class Redactor:
    """Knows the secret values of this process; one for everything. What it has learned it never forgets."""

    def __init__(self, secrets: Iterable[str] = (), *, key: str = "") -> None:
        """key: what digests of secrets are made with; without one there are none."""
        self._secrets: frozenset[str] = frozenset()
        self._key = key.encode()
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """From here on these are secrets as well."""
        self._secrets |= frozenset(secrets)
        secrets = self._secrets
        forms = {f for s in secrets if len(s) >= SHORTEST for f in _forms(s)}
        self._forms = tuple(sorted(forms, key=lambda f: (-len(f), f)))  # the longest first
        known = "|".join(re.escape(f) if len(f) >= WORD else rf"(?<!\w){re.escape(f)}(?!\w)" for f in self._forms)
        self._known = re.compile(known)
        self._judged = lru_cache(maxsize=16_384)(self._judge)  # templates say the same many times

    def text(self, text: str) -> str:
        """The text without secrets. What cannot be stored as UTF-8 is replaced as well."""
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()
        clean, done = [], 0
        for span in self._spans(text):
            clean += [text[done : span.start], f"[redacted:{span.kind}]"]
            done = span.end
        return "".join([*clean, text[done:]])

    def alters(self, value: object, name: str = "") -> str | None:
        """What kind of secret a JSON value holds, None if none. name: what it is the value of ("DB_PASSWORD")."""
        if isinstance(value, str):
            return (of_name(name, value) if name else None) or self._kind(value)
        if isinstance(value, Mapping):
            pairs = [(str(k), v) for k, v in value.items()]
            if isinstance(value.get("name"), str) and "value" in value:  # {"name": "DB_PASSWORD", "value": ...}
                pairs.append((str(value["name"]), value["value"]))
            return next((k for n, v in pairs if (k := self._kind(n) or self.alters(v, n))), None)
        if isinstance(value, list | tuple):
            return next((k for v in value if (k := self.alters(v))), None)
        return None

    def objection(self, *texts: str) -> str:
        """Why what a person has typed is not taken; empty where it holds no secret. A mere word behind "password:"
        stops nobody in an incident: it is only redacted."""
        found = (s.kind for text in texts for s in self._spans(text) if not text[s.start : s.end].isalpha())
        if (kind := next(found, None)) is None:
            return ""
        return (
            f"This text holds what looks like a secret ({kind}), and would be kept for ever and shown to others. "
            "Say it without the value. Nothing was changed. If it is a real one have it replaced: it was typed here."
        )

    def looks(self, value: Json, name: str = "") -> bool:
        """Whether a value looks like a secret, or holds one (`bot.ports.Secrets`)."""
        return self.alters(value, name) is not None

    def digest(self, value: Json) -> str:
        """Which key, and an HMAC-SHA256 of the value with it; "" without a key."""
        if not self._key:
            return ""
        key = hmac.new(self._key, b"which key", hashlib.sha256).hexdigest()[:8]
        return f"{key}:{hmac.new(self._key, canonical(value).encode(), hashlib.sha256).hexdigest()}"

    def event(self, event: E) -> E:
        """The event as it may be stored. Raises SecretInChange."""
        return cast(E, self._rewritten(event))

    def _spans(self, text: str) -> list[SecretSpan]:
        known = any(form in text for form in self._forms)
        return spans(text, (SecretSpan(*m.span(), "secret") for m in self._known.finditer(text)) if known else ())

    def _kind(self, text: str) -> str | None:
        return self._judged(text) if len(text) <= JUDGED else self._judge(text)

    def _judge(self, text: str) -> str | None:
        return next((span.kind for span in self._spans(text)), None)

    def _rewritten(self, whole: Any) -> Any:
        """A dataclass with its prose clean."""
        if isinstance(whole, Change):
            self._refuse(whole)
        old = {name: getattr(whole, name) for name in PROSE.get(type(whole), ())}
        new = {name: self._clean(value) for name, value in old.items()}
        return replace(whole, **new) if new != old else whole

    def _clean(self, value: Any, name: str = "") -> Any:
        if isinstance(value, str):
            kind = of_name(name, value) if name else None
            return f"[redacted:{kind}]" if kind else self.text(value)
        if isinstance(value, Mapping):
            return {self.text(k): self._clean(v, k) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._clean(v) for v in value)
        return self._rewritten(value) if type(value) in PROSE else value

    def _refuse(self, change: Change) -> None:
        """SecretInChange where a bound part of the change would have to be altered."""
        for target, value, name in _bound(change):
            kind = self._kind(target) or self.alters(value, name)
            if kind:
                raise SecretInChange(self.text(target), kind)


KEPT = frozenset({
    "id", "service", "plan", "plan_digest", "removed", "target", "release", "by", "purpose", "channel", "channels",
    "limits", "digests", "follows", "what", "step", "how", "to", "outcome", "decision", "fingerprints", "fingerprint",
    "role", "phrase", "n", "application", "doing", "node", "name", "until", "done", "total", "cause", "retry_at",
    "debt", "was", "body", "lost", "ended", "instead", "instead_of", "given_up", "moved",
    "there", "run", "of", "since", "part", "unasked", "barred", "key", "runs", "count", "token", "person", "issuer",
})  # fmt: skip
"""Fields of events that are ids, digests, people, numbers or references: they are left as they are."""
PROSE: Mapping[type, tuple[str, ...]] = {
    Change: ("summary", "facts", "warnings"),
    Fact: ("name", "value", "unit"),
    Receipt: ("detail", "evidence", "links", "output"),
    Verdict: ("observed", "expected", "data"),
    Where: ("at",),
    **{event: tuple(f.name for f in fields(event) if f.name not in KEPT) for event in get_args(ev.Event)},
}
"""The fields that are written for people, or seen by chance, by type: of an event whatever is not known as something
else, so that nobody who adds one has to think of it."""


def _bound(change: Change) -> Iterator[tuple[str, object, str]]:
    """(target, value, name of the value) of everything that people approve or that is put back."""
    for e in change.edits:
        yield from ((e.target, value, _last(e)) for value in (e.before, e.after))
    for effect in change.effects:
        yield effect.what, None, ""
    for fact in change.facts:
        if fact.ceiling is not None:
            yield fact.name, None, ""


def _last(e: Edit) -> str:
    return re.split(r"[/.:]", e.target)[-1]


# -- what is known --------------------------------------------------------------------------------------------------


def _forms(secret: str) -> Iterator[str]:
    """How a secret may be written: as it is, in a URL, in JSON, in Base64, and line by line."""
    yield secret
    yield from (quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    if len(secret) >= WORD:
        yield from _inside_base64(secret.encode())
    if "\n" in secret:
        yield from (line for line in secret.splitlines() if len(line) >= 2 * WORD)


def _inside_base64(secret: bytes) -> Iterator[str]:
    """What Base64 makes of it, wherever it begins in a longer text: what its neighbours have no part in."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(secret).decode()
        for before in range(3):
            first, last = -(-before * 8 // 6), (before + len(secret)) * 8 // 6
            yield encode(b"\0" * before + secret)[first:last].decode()
