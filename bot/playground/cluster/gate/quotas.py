"""ResourceQuota: what a namespace's pods may ask for in sum, refused at creation as the API server does.

Only pods are counted, and of them those that have not ended. Source: plugin/pkg/admission/resourcequota.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction

from bot.playground.cluster.objects import Json, dig, name_of

_UNITS = {"": Fraction(1), "m": Fraction(1, 1000), "k": Fraction(10**3), "M": Fraction(10**6), "G": Fraction(10**9),
          "T": Fraction(10**12), "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30),
          "Ti": Fraction(2**40)}  # fmt: skip
_QUANTITY = re.compile(r"([0-9.]+)([a-zA-Z]{0,2})")


def quantity(text: object) -> Fraction:
    """A resource quantity as a number. ValueError."""
    found = _QUANTITY.fullmatch(str(text))
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{text!r} is no quantity")
    return Fraction(found[1]) * _UNITS[found[2]]


def refusal(quotas: Iterable[Json], pods: Iterable[Json], pod: Json) -> str:
    """Why this pod may not come beside those; empty where it may."""
    there = [p for p in pods if dig(p, "status", "phase") not in ("Succeeded", "Failed")]
    for quota in quotas:
        if why := _beyond(quota, there, pod):
            return why
    return ""


def used(quota: Json, pods: Iterable[Json]) -> dict[str, str]:
    """What is used of each limit of a quota, as its status says it."""
    there = [p for p in pods if dig(p, "status", "phase") not in ("Succeeded", "Failed")]
    hard: Mapping[str, str] = dig(quota, "spec", "hard") or {}
    nothing = Fraction(0)
    return {name: _text(sum((_asked(p, name) or nothing for p in there), nothing), hard[name]) for name in hard}


def _beyond(quota: Json, there: list[Json], pod: Json) -> str:
    hard: Mapping[str, str] = dig(quota, "spec", "hard") or {}
    missing = [name for name in hard if _asked(pod, name) is None]
    if missing:
        who = ",".join(c["name"] for c in pod["spec"]["containers"])
        return f"failed quota: {name_of(quota)}: must specify {','.join(f'{name} for: {who}' for name in missing)}"
    over = [n for n in hard if sum((_asked(p, n) or Fraction(0)) for p in (*there, pod)) > quantity(hard[n])]
    if not over:
        return ""
    now = used(quota, there)
    asked = ",".join(f"{n}={_text(_asked(pod, n) or Fraction(0), hard[n])}" for n in over)
    return (
        f"exceeded quota: {name_of(quota)}, requested: {asked}, used: {','.join(f'{n}={now[n]}' for n in over)}, "
        f"limited: {','.join(f'{n}={hard[n]}' for n in over)}"
    )


def _asked(pod: Json, name: str) -> Fraction | None:
    """What a pod asks for of one limit; None where a container does not say."""
    if name in ("pods", "count/pods"):
        return Fraction(1)
    side, _, resource = name.partition(".") if "." in name else ("requests", "", name)
    found = [(dig(c, "resources", side) or {}).get(resource) for c in pod["spec"]["containers"]]
    return None if None in found else sum((quantity(f) for f in found), Fraction(0))


def _text(amount: Fraction, like: str) -> str:
    """An amount in the largest binary unit that it is a whole number of, or as it is."""
    if not re.search(r"[KMGT]i", like):
        return str(amount if amount.denominator != 1 else amount.numerator)
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if amount and (amount / _UNITS[unit]).denominator == 1:
            return f"{amount / _UNITS[unit]}{unit}"
    return str(amount)
