"""What the parts below a service share: scalars (paths, pointers, patterns, statuses, names of variables), and that a
target is there which is named."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from bot.located import Path, Report
from bot.located.strict import Word


def _pointer(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError(f"{text!r}: a JSON pointer begins with /, like /order/id")
    return text


def _source(text: str) -> str:
    kind, colon, name = text.partition(":")
    if colon and kind in ("header", "cookie") and name:
        return text
    return _pointer(text)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error.msg}") from None
    return text


def _path(text: str) -> str:
    if not text.startswith("/") or text.startswith("//"):
        raise ValueError("a path starts with one /, and is put behind the target's address")
    return text


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("must be the name of an environment variable, like SHOP_PASSWORD; its value stands there")
    return name


def base_url(url: str) -> str:
    """An address that paths are put behind. ValueError."""
    parts = urlsplit(url)  # ValueError where it is no URL at all
    if parts.scheme not in ("http", "https") or not parts.hostname or any(c.isspace() for c in url):
        raise ValueError("must be an address like https://api.internal:8080/base")
    if parts.username or parts.password:
        raise ValueError("no credentials in an address; they come from the environment")
    if parts.query or parts.fragment:
        raise ValueError("an address has no ? or # part; paths are put behind it")
    return url.rstrip("/")


_RESERVED = frozenset({"host", "content-length", "content-type", "if-match", "idempotency-key", "cookie", "connection"})


def _header(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or name.lower() in _RESERVED:
        raise ValueError("must be a header of yours, like X-Api-Key")
    return name


def either(words: Collection[str]) -> str:
    """ "cronjob, deployment or rollout"."""
    *first, last = sorted(words) or [""]
    return f"{', '.join(first)} or {last}" if first else last


def several(value: object) -> object:
    """One word stands for a list of it; lists become what frozen values hold."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def one_or_more(value: object) -> object:
    """One word or number stands for a list of it."""
    return [value] if isinstance(value, str | int) and not isinstance(value, bool) else value


Pointer = Annotated[str, AfterValidator(_pointer)]
Source = Annotated[str, AfterValidator(_source)]
"""Where in an answer a value stands: /pointer, header:name or cookie:name."""
Pattern = Annotated[str, AfterValidator(_pattern)]
UrlPath = Annotated[str, AfterValidator(_path), Field(max_length=2000)]
Variable = Annotated[Word, AfterValidator(_variable)]
Header = Annotated[Word, AfterValidator(_header)]
Statuses = Annotated[list[Annotated[int, Field(ge=100, le=599)]], BeforeValidator(one_or_more), Field(min_length=1)]


def check_http_target(name: str, path: Path, targets: Mapping[str, bool], report: Report) -> None:
    """That there is such a target, and that it is reached over HTTP. targets: name -> whether it is."""
    if not targets.get(name):
        known = [t for t, http in targets.items() if http]
        report.add(path, f"there is no HTTP target {name!r}", word=name, known=known)
