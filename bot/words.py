"""What people type, in a terminal or in Slack, read as they meant it: `shop to 2.4.0 because checkout fails`, `2h`,
`18:00`. Pure, and of no way in: whoever asks says what an example looks like there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

EXAMPLE = "shop to 2.4.0 because checkout fails"
"""What a rollback in words looks like, behind the command."""
_RUN = re.compile(r"[a-z0-9][a-z0-9.-]*-[0-9a-f]{6}")
MOST = 8
"""Names that an answer lists."""
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days"}


class Unclear(ValueError):
    """Words that mean nothing here; says what would."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A rollback in words. plan: its name, None for the service's own."""

    service: str
    to: str | None = None
    reason: str = ""
    plan: str | None = None


def sentence(words: Sequence[str], example: str = EXAMPLE) -> Sentence:
    """`SERVICE [to VERSION] [plan NAME] [because WORDS...]`, however a shell has split it. Unclear says what is wrong,
    and how it looks when it is right."""
    before, reason = because(words)
    if not before:
        raise Unclear(f"Which service? For example: {example}")
    service, *rest = before
    said = dict(zip([w.lower() for w in rest[::2]], rest[1::2], strict=False))
    if len(rest) != 2 * len(said) or not said.keys() <= {"to", "plan"}:
        raise Unclear(f"I do not understand {' '.join(rest)!r}. For example: {example}")
    return Sentence(service, said.get("to"), reason, said.get("plan"))


def because(words: Sequence[str]) -> tuple[list[str], str]:
    """The words before `because`, and the reason behind it (empty where there is none)."""
    flat = " ".join(words).split()
    place = next((i for i, w in enumerate(flat) if w.lower() == "because"), len(flat))
    return flat[:place], " ".join(flat[place + 1 :])


def run_like(word: str, services: Collection[str] = ()) -> bool:
    """Whether a word means a run: a run's id, or a service."""
    return bool(_RUN.fullmatch(word)) or word.lower() in [s.lower() for s in services]


def moment(word: str, now: datetime, *, past: bool = False) -> float:
    """`2h`, `30min`, `3d` (from now), `18:00` (the next one), `2026-11-23 18:00`, in the zone of `now` unless the word
    names one, or seconds since the epoch. past: ago, the last one. Seconds since the epoch; Unclear otherwise."""
    word, way = word.strip(), -1 if past else 1
    if re.fullmatch(r"[0-9]{9,11}(\.[0-9]+)?", word):
        return float(word)
    if found := re.fullmatch(r"([0-9]{1,4}) ?(min|m|h|d)", word):
        return (now + way * timedelta(**{_UNITS[found[2]]: int(found[1])})).timestamp()
    if found := re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", word):
        then = now.replace(hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0)
        right = then <= now if past else then > now
        return (then if right else then + way * timedelta(days=1)).timestamp()
    try:
        then = datetime.fromisoformat(word)
        return (then if then.tzinfo else then.replace(tzinfo=now.tzinfo)).timestamp()
    except (ValueError, OverflowError):
        raise Unclear(f"{word!r} is no time; write 2h, 18:00 or 2026-11-23T18:00.") from None


def meant(word: str, known: Mapping[str, str], service: str = "") -> list[str]:
    """The ids that a word may mean: one that is it, or is called so; else those that begin so; else those of a choice
    that end in it ("down" for "schema-way.down.down"). known: id -> title; service: may stand before the word, where
    somebody named the run as well."""
    if word in known:
        return [word]
    said = _plain(word)
    for tried in dict.fromkeys((said, said.removeprefix(f"{_plain(service)} "))):
        whole = [i for i, called in known.items() if tried in (_plain(i), _plain(called))]
        begun = [i for i, called in known.items() if any(_plain(n).startswith(tried) for n in (i, called))]
        ends = [i for i in known if "." in i and _plain(i.rpartition(".")[2]) == tried]
        if tried and (whole or begun or ends):
            return whole or begun or ends
    return []


def listed(ids: Iterable[str], known: Mapping[str, str]) -> str:
    """ "deploy (Deploy 2.4.0), health (Health) and 3 more"."""
    every = list(ids)
    shown = [f"{i} ({known[i]})" if _plain(known[i]) != _plain(i) else i for i in every[:MOST]]
    more = f" and {len(every) - MOST} more" if len(every) > MOST else ""
    return f"{', '.join(shown)}{more}" if every else "none"


def _plain(word: str) -> str:
    return " ".join(word.casefold().replace("-", " ").replace("_", " ").split())
