"""What a guard of ours in a cluster refuses, as a value. In a change and in the record it is plain JSON.

Two kinds: a freeze refuses every new release but the `admitted` images, and does not bind the bot; a ban refuses the
`banned` images, of the bot too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import JsonValue as Json

LIMIT = 1000
"""Digests that one guard holds; about 1,350 fill the text that a policy's expression may have."""
_LISTS = ("digests", "banned", "groups", "users")
_TEXTS = ("service", "selector", "version", "message")


@dataclass(frozen=True, slots=True)
class GuardRules:
    """Digests are "sha256:<64 hex>". banned: a ban where there are any, else a freeze; version: the release whose
    images are banned, "" where that is not known (older bots); selector: of the workloads that it is about, "" for all
    of the namespace; groups, users: whom it never refuses; message: what the refused are told, one line."""

    service: str
    admitted: tuple[str, ...] = ()
    banned: tuple[str, ...] = ()
    version: str = ""
    selector: str = ""
    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    message: str = ""

    @property
    def json(self) -> dict[str, Json]:
        """As an edit holds it, and the policy keeps it: what is empty is left out."""
        images: dict[str, Json] = {"banned": [*self.banned]} if self.banned else {"digests": [*self.admitted]}
        lists: dict[str, Json] = {"groups": [*self.groups], "users": [*self.users]}
        texts: dict[str, Json] = {"version": self.version, "selector": self.selector, "message": self.message}
        return {"service": self.service, **images, **{k: v for k, v in {**lists, **texts}.items() if v}}

    @classmethod
    def of(cls, rules: object) -> GuardRules:
        """Rules as they stand in a change or with a policy, of an older bot too. ValueError for what is none."""
        if not isinstance(rules, dict) or "service" not in rules or not rules.keys() <= {*_LISTS, *_TEXTS}:
            told = json.dumps(rules, default=repr, sort_keys=True)[:500]
            known = ", ".join(sorted((*_LISTS, *_TEXTS)))
            raise ValueError(f"rules of a guard hold a service and of {known}; not {told}")
        if "banned" in rules and (not rules["banned"] or "digests" in rules):
            raise ValueError("a guard bans digests, or admits them; `banned` is not empty and stands alone")
        admitted, banned, groups, users = (_list(rules, name) for name in _LISTS)
        if len(banned or admitted) > LIMIT:
            many = len(banned or admitted)
            raise ValueError(f"a guard holds {LIMIT} digests at most, not {many}: its text would be too long")
        service, selector, version, message = (str(rules.get(name) or "") for name in _TEXTS)
        return cls(service, admitted, banned, version, selector, groups, users, message)

    @classmethod
    def read(cls, rules: object) -> GuardRules | None:
        """The same; None for what is none."""
        try:
            return cls.of(rules)
        except ValueError:
            return None


def _list(rules: dict[str, object], name: str) -> tuple[str, ...]:
    listed = rules.get(name) or ()
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise ValueError(f"{name} of a guard's rules must be a list")
    return tuple(map(str, listed))
