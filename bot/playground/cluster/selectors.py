"""Label and field selectors, in the two forms they have: a query string, and the JSON of a workload's selector."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from bot.playground.cluster.failures import bad_request
from bot.playground.cluster.objects import Json, dig, labels_of
from bot.playground.cluster.resources import Resource

Matches = Callable[[Json], bool]

_TERM = re.compile(
    r"\s*(?:(?P<absent>!)\s*(?P<no>[\w./-]+)"
    r"|(?P<key>[\w./-]+)\s*(?:(?P<op>==|=|!=)\s*(?P<value>[\w.-]*)|\s(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?)\s*(?:,|$)"
)


def label_selector(text: str) -> Matches:
    """A `labelSelector` parameter. ApiError 400 where it cannot be read."""
    terms: list[Callable[[Mapping[str, str]], bool]] = []
    at = 0
    while at < len(text):
        match = _TERM.match(text, at)
        if match is None or match.end() == at:
            raise bad_request(f"unable to parse requirement: found '{text[at:]}' in label selector {text!r}")
        terms.append(_label_term(match))
        at = match.end()
    return lambda obj: all(term(labels_of(obj)) for term in terms)


def _label_term(match: re.Match[str]) -> Callable[[Mapping[str, str]], bool]:
    if match["absent"]:
        return lambda labels: match["no"] not in labels
    key = match["key"]
    if match["set"]:
        values = {v.strip() for v in match["values"].split(",")}
        if match["set"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if match["op"] is None:
        return lambda labels: key in labels
    if match["op"] == "!=":
        return lambda labels: labels.get(key) != match["value"]
    return lambda labels: labels.get(key) == match["value"]


def field_selector(resource: Resource, text: str) -> Matches:
    """A `fieldSelector` parameter. ApiError 400 for a field that the kind does not offer."""
    known: dict[str, tuple[str, ...]] = {
        "metadata.name": ("metadata", "name"),
        "metadata.namespace": ("metadata", "namespace"),
        **resource.selectable,
    }
    terms: list[tuple[tuple[str, ...], str, bool]] = []
    for part in filter(None, text.split(",")):
        match = re.fullmatch(r"([\w.]+)(==|=|!=)(.*)", part.strip())
        if match is None:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        if match[1] not in known:
            raise bad_request(f"field label not supported: {match[1]}")
        terms.append((known[match[1]], match[3], match[2] != "!="))
    return lambda obj: all((_text(dig(obj, *path)) == value) is equal for path, value, equal in terms)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a `matchLabels`/`matchExpressions` selector takes these labels; an absent one takes none."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(k) == v for k, v in wanted.items()) and all(
        _holds(term, labels) for term in selector.get("matchExpressions") or ()
    )


def _holds(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = term["key"], term.get("values") or ()
    match term["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels
