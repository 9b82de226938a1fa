"""Who held which role since when, as far as the record says: by each entry that somebody is behind, with the roles that
they held at that moment. Pure.

roles: by the entries of the whole record that name them, first and last; new: where a role was first seen at somebody
less than an hour before it was used; now: as the directory was last known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from bot.audit.named import body_of
from bot.policy import Person
from bot.store.chain import Stored


class RolesHeld:
    """Of everybody who is in the record, by the entries that say so."""

    def __init__(self) -> None:
        self._seen: dict[str, dict[str, Any]] = {}

    def saw(self, row: Stored) -> None:
        """Who is behind a row, with the roles that were held then."""
        by = body.get("by") if isinstance(body := body_of(row), Mapping) else None
        if not isinstance(by, Mapping) or not isinstance(id := by.get("id"), str):
            return
        person = self._seen.setdefault(id, {"name": "", "via": [], "roles": {}})
        person["name"] = str(by.get("name", ""))
        person["via"] = sorted({*person["via"], str(by.get("via", ""))})
        where = {"run": row.run, "seq": row.seq, "at": _iso(row.at)}
        young = body.get("young")
        for role in by.get("roles", ()):
            held = person["roles"].setdefault(role, {"first": where, "entries": 0})
            first, last = held["first"], held.get("last", where)
            held["first"] = min(first, where, key=lambda w: str(w["at"]))
            held["last"] = max(last, where, key=lambda w: str(w["at"]))
            held["entries"] += 1
            if isinstance(young, Mapping) and role in young:
                held.setdefault("new", []).append({**where, "seconds_before": young[role]})

    def told(self, now: Iterable[Person]) -> dict[str, Any]:
        """Everybody, with what they hold now."""
        holding = {p.id: p for p in now}
        found = []
        for id in sorted({*self._seen, *holding}):
            p = holding.get(id)
            known = self._seen.get(id, {"name": p.name if p else "", "via": [], "roles": {}})
            present = {"kind": p.kind, "roles": sorted(p.roles), "on_call": sorted(p.on_call)} if p else None
            found.append({"id": id, **known, "now": present})
        about = (
            "roles: by the entries of the whole record that name them; new: where a role was first seen at somebody "
        )
        return {
            "about": f"{about}less than an hour before it was used; now: as the directory was last known",
            "people": found,
        }


def _iso(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="milliseconds")
