"""Names of backups: `shop-%Y-%m-%dT%H%MZ.dump`, where `*` and `?` stand for anything and `%Y` and so on for the moment
at which the dump began. Without a zone in the name (`%z`, or a `Z` that simply stands there) it is UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

FIELDS = {
    "Y": r"\d{4}", "m": r"\d{2}", "d": r"\d{2}", "j": r"\d{3}", "H": r"\d{2}", "M": r"\d{2}", "S": r"\d{2}",
    "s": r"\d{9,11}", "z": r"(?:Z|[+-]\d{2}:?\d{2})",
}  # fmt: skip
"""What may stand behind a percent sign: as in `date`, `%s` are seconds since 1970."""


@dataclass(frozen=True)
class NamePattern:
    """A pattern of names. ValueError where it is none."""

    text: str

    def __post_init__(self) -> None:
        if not self.text or "/" in self.text or self.text in (".", ".."):
            raise ValueError("must be the name of a file, like shop-%Y-%m-%dT%H%MZ.dump or *.dump")
        if wrong := sorted(set(re.findall(r"%(.?)", self.text)) - FIELDS.keys() - {"%"}):
            known = ", ".join(f"%{f}" for f in FIELDS)
            raise ValueError(f"%{wrong[0]} is nothing that a name's moment is made of; there are {known}")
        if len(self._fields) != len(set(self._fields)):
            raise ValueError("says a part of the moment twice")
        there = {*self._fields}
        if there and "s" not in there and not ({"Y", "m", "d"} <= there or {"Y", "j"} <= there):
            raise ValueError("a moment needs year, month and day: %Y, %m and %d")

    def fits(self, name: str) -> bool:
        """Whether a name is one of these."""
        return self._regex.fullmatch(name) is not None

    def moment(self, name: str) -> datetime | None:
        """The moment in a name, in UTC; None where it holds none, or one that cannot be."""
        found = self._regex.fullmatch(name)
        if found is None or not self._fields:
            return None
        said = found.groupdict()
        try:
            if "s" in said:
                return datetime.fromtimestamp(int(said["s"]), UTC)
            names = [f for f in FIELDS if f in said]
            when = datetime.strptime(" ".join(said[f] for f in names), " ".join(f"%{f}" for f in names))
        except (ValueError, OverflowError, OSError):
            return None
        return when.astimezone(UTC) if when.tzinfo is not None else when.replace(tzinfo=UTC)

    @cached_property
    def _fields(self) -> list[str]:
        return [f for f in re.findall(r"%(.)", self.text.replace("%%", "")) if f != "%"]

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        made = ""
        for part in re.findall(r"%.|.", self.text, re.DOTALL):
            if part == "%%":
                made += "%"
            elif len(part) == 2:
                made += f"(?P<{part[1]}>{FIELDS[part[1]]})"
            else:
                made += {"*": "[^/]*", "?": "[^/]"}.get(part) or re.escape(part)
        return re.compile(made, re.DOTALL)
