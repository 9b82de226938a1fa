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
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast
from urllib.parse import quote, quote_plus

from bot.contract import Change, Edit, Fact, Receipt, Verdict
from bot.ports import Where
from bot.run import events as ev

E = TypeVar("E", bound=ev.Event)

SHORTEST = 4
"""Characters below which a known value is taken for no secret: it would blot out ordinary words."""
WORD = 12
"""Characters below which a known value is redacted only where it stands alone."""


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

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: frozenset[str] = frozenset()
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """From here on these are secrets as well."""
        self._secrets |= frozenset(secrets)
        secrets = self._secrets
        forms = {f for s in secrets if len(s) >= SHORTEST for f in _forms(s)}
        self._forms = tuple(sorted(forms, key=lambda f: (-len(f), f)))  # the longest first
        known = "|".join(re.escape(f) if len(f) >= WORD else rf"(?<!\w){re.escape(f)}(?!\w)" for f in self._forms)
        self._known = Net("secret", re.compile(f"(?P<value>{known})"))

    def text(self, text: str) -> str:
        """The text without secrets. What cannot be stored as UTF-8 is replaced as well."""
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode()
        if any(form in text for form in self._forms):
            text = self._known.blot(text)
        lower = text.lower()
        for net in NETS:
            if any(hint in lower for hint in net.hints):
                text = net.blot(text)
        return text

    def alters(self, value: object, name: str = "") -> str | None:
        """What kind of secret a JSON value holds, None if none. name: what it is the value of ("DB_PASSWORD")."""
        if isinstance(value, str):
            return _named(name, value) or self._kind(value)
        if isinstance(value, Mapping):
            pairs = [(str(k), v) for k, v in value.items()]
            if isinstance(value.get("name"), str) and "value" in value:  # {"name": "DB_PASSWORD", "value": ...}
                pairs.append((str(value["name"]), value["value"]))
            return next((k for n, v in pairs if (k := self._kind(n) or self.alters(v, n))), None)
        if isinstance(value, list | tuple):
            return next((k for v in value if (k := self.alters(v))), None)
        return None

    def event(self, event: E) -> E:
        """The event as it may be stored. Raises SecretInChange."""
        return cast(E, self._rewritten(event))

    def _kind(self, text: str) -> str | None:
        nets = (self._known, *NETS) if any(form in text for form in self._forms) else NETS
        return next((kind for net in nets if (kind := net.catch(text))), None)

    def _rewritten(self, whole: Any) -> Any:
        """A dataclass with its prose clean."""
        if isinstance(whole, Change):
            self._refuse(whole)
        old = {name: getattr(whole, name) for name in PROSE.get(type(whole), ())}
        new = {name: self._clean(value) for name, value in old.items()}
        return replace(whole, **new) if new != old else whole

    def _clean(self, value: Any, name: str = "") -> Any:
        if isinstance(value, str):
            kind = _named(name, value)
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


PROSE: Mapping[type, tuple[str, ...]] = {
    Change: ("summary", "facts", "warnings"),
    Fact: ("name", "value", "unit"),
    Receipt: ("detail", "evidence", "links", "output"),
    Verdict: ("observed", "expected", "data"),
    ev.Created: ("reason", "impact", "workaround", "impossible", "evidence", "places"),
    Where: ("at",),
    ev.Stopped: ("reason",),
    ev.Aborted: ("reason",),
    ev.Proposed: ("reason",),
    ev.Retargeted: ("reason",),
    ev.Relocated: ("places", "differences"),
    ev.FixAdmitted: ("reason",),
    ev.FreezeOverridden: ("deployed", "reason"),
    ev.PeopleChanged: ("impossible",),
    ev.Closed: ("note",),
    ev.LossAccepted: ("reason",),
    ev.Vouched: ("reason",),
    ev.Declined: ("reason",),
    ev.BrokeGlass: ("reason",),
    ev.Taken: ("why",),
    ev.Lapsed: ("why",),
    ev.Planned: ("change", "left"),
    ev.Drifted: ("change", "differences"),
    ev.ApplyStarted: ("change",),
    ev.Recorded: ("command",),
    ev.Noted: ("value",),
    ev.Waiting: ("note",),
    ev.Applied: ("receipt",),
    ev.Undone: ("receipt", "observed"),
    ev.Checked: ("verdict",),
    ev.Failed: ("error", "hint", "observed", "parts"),
    ev.Seen: ("observed", "error"),
    ev.Inherited: ("change",),
    ev.Lifted: ("missing",),
    ev.CameBack: ("seen",),
    ev.Reviewed: ("note",),
    ev.Cancelled: ("why",),
    ev.Lost: ("why",),
    ev.NotNeeded: ("why",),
    ev.Skipped: ("reason",),
    ev.Accepted: ("reason",),
    ev.UndoAsked: ("reason",),
    ev.HandedOver: ("reason",),
    ev.PartProposed: ("why", "reason"),
    ev.WentWithout: ("why", "reason"),
    ev.PartHandedOver: ("reason",),
    ev.AdoptAsked: ("reason",),
    ev.Adopted: ("observed", "summary", "output"),
}
"""The fields that are written for people (or seen by chance), by type; every other field is left as it is."""


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


# -- what secrets look like ------------------------------------------------------------------------------------------


class Net(NamedTuple):
    """One kind of secret. pattern: `value` is what goes, `key` names the kind where none is given; hints: lower-case
    strings of which one must be there, asked first because they are a hundred times cheaper. Each repetition in a
    pattern is bounded, or starts only where the one before cannot have started: no text takes more than linear time."""

    kind: str
    pattern: re.Pattern[str]
    hints: tuple[str, ...] = ()

    def blot(self, text: str) -> str:
        """The text without what this net catches."""
        return self.pattern.sub(partial(_blotted, self.kind), text)

    def catch(self, text: str) -> str | None:
        """The kind of the first thing it catches."""
        m = self.pattern.search(text)
        return _kind_of(m, self.kind) if m else None


_KEYS = (
    r"(?P<key>passw(?:or)?d|passphrase|pwd|secret|token|signature|credentials?"
    r"|(?:api|access|secret|private|routing|integration|signing|encryption|account)[_-]?key)"
)
_KEY_HINTS = ("passw", "passphrase", "pwd", "secret", "token", "signature", "credential", "key")
_GIVEN = (  # not yet redacted, not a variable of the shell, not nothing
    r"(?![\"']?\[redacted:|(?-i:\$\{?[A-Z][A-Z0-9_]+\}?(?![\w!-]))|(?:null|none|true|false)\b|<|\*{3}|['\"]{2})"
)
_QUOTED = r"\"[^\"\n]+\"|'[^'\n]+'"
_VALUE = rf"(?P<value>{_QUOTED}|[^\s\"',;&)}}\]]+)"
_SCHEME = r"(?:Basic|Bearer|Token|Digest|Negotiate|ApiKey|GenieKey|SSWS|AWS4-HMAC-SHA256)"
_LABELS = r"(?:[A-Z0-9]{1,20} ){0,4}"
_GITLAB = r"gl(?:pat|oas|dt|rt|rtr|cbt|ptt|ft|imt|agent|soat|ffct|wt)"
_VENDORS = (
    r"(?:[rs]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{16,}|npm_[A-Za-z0-9]{36}|dckr_pat_[A-Za-z0-9_-]{20,}"
    r"|hvs\.[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{35}|pypi-AgE[A-Za-z0-9_-]{20,}|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})"
)


def _net(kind: str, pattern: str, *hints: str) -> Net:
    return Net(kind, re.compile(pattern), hints)


NETS: tuple[Net, ...] = (
    _net(
        "private-key",
        rf"(?P<value>-----BEGIN {_LABELS}PRIVATE KEY(?: BLOCK)?-----"
        rf"(?:[\s\S]*?-----END {_LABELS}PRIVATE KEY(?: BLOCK)?-----|[\s\S]*))",
        "private key",
    ),
    _net("slack-webhook", r"(?P<value>https://hooks\.slack(?:-gov)?\.com/[A-Za-z0-9/_-]+)", "hooks.slack"),
    _net("slack-token", r"(?<![A-Za-z0-9])(?P<value>(?:xoxe\.)?(?:xox[a-z]|xapp)-[A-Za-z0-9-]{8,})", "xox", "xapp"),
    _net(
        "aws-key",
        r"(?<![A-Z0-9])(?P<value>(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})(?![A-Z0-9])",
        "akia", "asia", "abia", "acca",
    ),
    _net(
        "github-token",
        r"(?<![A-Za-z0-9_])(?P<value>(?:gh[opusr]_|github_pat_)[A-Za-z0-9_]{20,})",
        "gh", "github_pat_",
    ),
    _net("gitlab-token", rf"(?<![A-Za-z0-9_-])(?P<value>{_GITLAB}-[A-Za-z0-9_-]{{16,}})", "gl"),
    _net("jwt", r"(?<![A-Za-z0-9_-])(?P<value>eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){2,4})", "eyj"),
    _net(
        "token",
        rf"(?<![A-Za-z0-9_])(?P<value>{_VENDORS})",
        "_live_", "_test_", "whsec_", "npm_", "dckr_pat_", "hvs.", "aiza", "pypi-age", "sg.",
    ),
    _net(
        "userinfo",
        r"(?<=://)(?P<value>[^\s/@:\"'<>]*:[^\s/\"'<>]+|[A-Za-z0-9_.~-]{20,})@(?=[^\s@])",
        "://",
    ),
    _net(
        "authorization",
        rf"(?i:authorization[\"']?\s{{0,3}}[:=]\s{{0,3}}[\"']?){_GIVEN}(?P<value>(?i:{_SCHEME}) [^\"'\r\n]+)",
        "authorization",
    ),
    _net("bearer", r"(?i:\bbearer\s{1,3})(?=[^\s\"',;]{0,200}\d)(?P<value>[A-Za-z0-9._~+/=-]{12,})", "bearer"),
    _net("", rf"(?i){_KEYS}[\"']?\s{{0,3}}:?=\s{{0,3}}{_GIVEN}{_VALUE}", *_KEY_HINTS),
    _net("", rf"(?i){_KEYS}[\"']\s{{0,3}}:\s{{0,3}}{_GIVEN}(?P<value>{_QUOTED})", *_KEY_HINTS),
    _net(
        "",
        rf"(?i)\b(?P<key>passw(?:or)?d|passphrase|pwd):\s{{0,3}}{_GIVEN}(?P<value>{_QUOTED}|[^\s\"',;]{{4,}})",
        "passw", "passphrase", "pwd",
    ),
    _net("", rf"(?i)(?<!\w)--(?:[a-z]{{1,20}}-){{0,3}}{_KEYS}\s{{1,3}}(?!-){_GIVEN}{_VALUE}", "--"),
    _net("literal", rf"--from-literal[= ][^\s=]{{1,100}}={_GIVEN}{_VALUE}", "--from-literal"),
    _net(
        "password",
        rf"(?<!\S)(?:-u|--user)[ =][^\s:]{{1,64}}:{_GIVEN}(?!\d+(?!\S))(?P<value>[^\s\"']+)",
        "-u",
    ),
    _net(
        "password",
        rf"(?i)\b(?:identified by|password)\s{{1,3}}{_GIVEN}(?P<value>'[^'\n]+')",
        "identified by", "password",
    ),
)  # fmt: skip
"""What is caught, in this order."""

_SECRET_NAME = re.compile(
    r"(?i)(?:passw(?:or)?d|passphrase)$|(?:^|[_.-])(?:pwd|token|(?:api|secret|private|access|signing|encryption)[_-]?key)$"
    r"|[_.-]secret$"
)
_REFERENCE = re.compile(
    r"(?i)(?:arn|ssm|secret|secretsmanager|vault|sha256|env|file|kubernetes|https?)[:/]|/|\$\{|\[redacted:"
    r"|[\w./-]*[@#]v?\d+$|v?\d+$|$"
)


def _forms(secret: str) -> Iterator[str]:
    """How a secret may be written: as it is, in a URL, in JSON, in Base64, and line by line."""
    yield secret
    yield from (quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    if len(secret) >= WORD:
        yield base64.b64encode(secret.encode()).decode()
        yield base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")
    if "\n" in secret:
        yield from (line for line in secret.splitlines() if len(line) >= 2 * WORD)


def _named(name: str, value: str) -> str | None:
    """The kind, where the name says secret and the value is no reference to one."""
    found = _SECRET_NAME.search(name) if name else None
    if found is None or _REFERENCE.match(value):
        return None
    return _slug(found[0])


def _blotted(kind: str, m: re.Match[str]) -> str:
    start, end = (m.start("value") - m.start(), m.end("value") - m.start())
    quote_ = m["value"][0] if m["value"][0] in "\"'" and m["value"][0] == m["value"][-1] else ""
    return f"{m[0][:start]}{quote_}[redacted:{_kind_of(m, kind)}]{quote_}{m[0][end:]}"


def _kind_of(m: re.Match[str], kind: str) -> str:
    return kind or _slug(m["key"])


def _slug(name: str) -> str:
    return re.sub(r"[^a-z]+", "-", name.lower()).strip("-")
