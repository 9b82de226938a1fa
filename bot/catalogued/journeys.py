"""`journeys:` of a service: what customers do, as data, from the file to the values of `bot.ports.journeys`.

    journeys:
      payments:
        target: api
        within: 10s
        variables: {password: SHOP_SYNTHETIC_PASSWORD}
        steps:
          - post: /sessions
            body: {user: synthetic-1, password: "${password}"}
            expect: {status: 201}
            capture: {session: /token}
          - title: pay
            post: /payments
            headers: {Authorization: "Bearer ${session}"}
            body: {amount: 1, reference: "${mark}", sandbox: true}
            expect: {status: 201, within: 2s, json: {/state: {matches: "^(paid|pending)$"}}}
        clean_up:
          - delete: "/payments?reference=${mark}"

Invariants: a name that no variable and no earlier step gives, a target that is not there, a request with no method or
two, and a change in a journey that only reads are faults of the file; no secret stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated

from pydantic import BeforeValidator, Discriminator, Field, JsonValue, Tag, WithJsonSchema

from bot.catalogued.shapes import Pattern, Pointer, Source, Statuses, UrlPath, Variable, one_or_more
from bot.located import Path, Report
from bot.located.strict import NEITHER, Duration, Key, Slug, Strict, Text
from bot.ports import Json
from bot.ports.journeys import MARK, Assertion, Comparison, ExpectedAnswer, Journey, Request

NAMED = re.compile(r"\$\{([^}]*)\}")
"""A value that is put in when the request is made."""
METHODS = ("get", "post", "put", "patch", "delete")
WITHIN = 30.0
"""Seconds that a journey may take where it says nothing."""


HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", max_length=200)]
HeaderText = Annotated[str, Field(max_length=2000)]


class ConditionFile(Strict):
    """What a value must be, other than simply equal."""

    matches: Pattern | None = Field(None, description="Regular expression in it.")
    at_least: float | None = Field(None, description="Smallest number.")
    at_most: float | None = Field(None, description="Largest number.")
    exists: bool | None = Field(None, description="Whether it is there at all.")


def _kind(value: object) -> str | None:
    if isinstance(value, ConditionFile | Mapping):
        return "ConditionFile"
    return None if isinstance(value, list) else "scalar"


Expected = Annotated[
    Annotated[ConditionFile, Tag("ConditionFile")]
    | Annotated[JsonValue, WithJsonSchema({"type": ["boolean", "number", "string", "null"]}), Tag("scalar")],
    Discriminator(
        _kind,
        custom_error_type=NEITHER,
        custom_error_message="must be one value, or matches, at_least, at_most, exists",
    ),
]
"""One value that must be there, or conditions for it."""


class AnswerFile(Strict):
    """What must come back."""

    status: Statuses | None = Field(None, description="One status or several; every 2xx where nothing is said.")
    headers: dict[HeaderName, Expected] = Field({}, description="Header -> what it must be.")
    json_: dict[Pointer, Expected] = Field({}, alias="json", description="JSON pointer -> what must stand there.")
    within: Duration | None = Field(None, gt=0, description="How long this answer may take.")


class RequestFile(Strict):
    """One request: a method with its path, what is sent, what must come back."""

    title: Text | None = Field(None, description="What the customer does here.")
    get: UrlPath | None = Field(None, description="Path to read.")
    post: UrlPath | None = Field(None, description="Path to post to.")
    put: UrlPath | None = Field(None, description="Path to put to.")
    patch: UrlPath | None = Field(None, description="Path to patch.")
    delete: UrlPath | None = Field(None, description="Path to delete.")
    headers: dict[HeaderName, HeaderText] = Field({}, description="Headers to send, besides the target's own.")
    body: JsonValue = Field(None, description="JSON to send.")
    expect: AnswerFile = Field(AnswerFile(), description="What must come back.")
    capture: dict[Key, Source] = Field(
        {}, description="Name -> where in the answer its value stands: /pointer, header:name or cookie:name."
    )


class JourneyFile(Strict):
    """What a customer does, walked by a synthetic one."""

    title: Text | None = Field(None, description="What people call it; made from its name otherwise.")
    target: Annotated[list[Slug], BeforeValidator(one_or_more), Field(min_length=1)] = Field(
        description="HTTP target that it is walked on, or several, each by itself."
    )
    reads: bool = Field(False, description="It only reads: a probe without traffic may walk it too.")
    within: Duration = Field(WITHIN, gt=0, description="How long the whole may take.")
    variables: dict[Key, Variable] = Field({}, description="Name -> environment variable with its value.")
    steps: list[RequestFile] = Field(min_length=1, description="The requests, one after another.")
    clean_up: list[RequestFile] = Field([], description="Requests that remove what a walk made, whatever came of it.")


def check_journeys(
    journeys: Mapping[str, JourneyFile], path: Path, targets: Mapping[str, bool], report: Report
) -> None:
    """What the shape alone does not hold. targets: name -> whether it is reached over HTTP."""
    http = [name for name, is_http in targets.items() if is_http]
    for name, journey in journeys.items():
        at: Path = (*path, name)
        for i, target in enumerate(journey.target):
            if target not in http:
                what = f"there is no HTTP target {target!r}" if target not in targets else f"{target} is no HTTP target"
                single = not isinstance(report.document.node((*at, "target")).value, list)
                report.add((*at, "target") if single else (*at, "target", i), what, word=target, known=http)
        _check_requests(journey, at, report)


def _check_requests(journey: JourneyFile, at: Path, report: Report) -> None:
    if MARK in journey.variables:
        report.add((*at, "variables", MARK), f"{MARK!r} is given by the bot: another text for each walk", key=True)
    given = {MARK, *journey.variables}
    writes = False
    for part, requests in (("steps", journey.steps), ("clean_up", journey.clean_up)):
        for i, request in enumerate(requests):
            here: Path = (*at, part, i)
            methods = [m for m in METHODS if getattr(request, m) is not None]
            if len(methods) != 1 and not report.has(here):
                none = f"no method; one of {', '.join(METHODS)}, with its path"
                report.add(here, f"{' and '.join(methods)}: a request has one method" if methods else none)
            writes |= part == "steps" and any(m != "get" for m in methods)
            if journey.reads and (part == "clean_up" or any(m != "get" for m in methods)):
                report.add(here, "a journey that only reads has nothing but get; leave out `reads`, or this")
            if "get" in methods and request.body is not None:
                report.add((*here, "body"), "a get sends no body")
            _check_names(request, here, given, report)
            if part == "clean_up":
                _check_kept(request, here, journey, report)
            given |= {*request.capture}
    if writes and not journey.clean_up and not journey.reads:
        report.add(at, "it changes something and has no clean_up; say how what it made is removed, by ${mark} at best")


def _check_names(request: RequestFile, at: Path, given: Collection[str], report: Report) -> None:
    places: list[tuple[Path, str]] = [((*at, m), text) for m in METHODS if (text := getattr(request, m)) is not None]
    places += [((*at, "headers", header), text) for header, text in request.headers.items()]
    places += [((*at, "body", *below), text) for below, text in _texts(request.body)]
    for kind, wanted in (("headers", request.expect.headers), ("json", request.expect.json_)):
        places += [((*at, "expect", kind, key), v) for key, v in wanted.items() if isinstance(v, str)]
    for where, text in places:
        for name in NAMED.findall(text):
            if name not in given:
                report.add(where, f"nothing gives ${{{name}}} before this step", word=name, known=given)


def _check_kept(request: RequestFile, at: Path, journey: JourneyFile, report: Report) -> None:
    """After a crash only what is no secret is known: what stands in a header mostly is one, and is not kept."""
    for header, text in request.headers.items():
        for name in NAMED.findall(text):
            if name not in {MARK, *journey.variables}:
                what = f"${{{name}}} was captured: unknown after a crash; take a variable"
                report.add((*at, "headers", header), what)


def _texts(value: Json, at: Path = ()) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _texts(below, (*at, key))
    elif isinstance(value, list):
        for i, below in enumerate(value):
            yield from _texts(below, (*at, i))


def journeys_of(journeys: Mapping[str, JourneyFile], ways: Mapping[str, str]) -> dict[str, Journey]:
    """The values, by name. ways: HTTP target -> the cluster that it is the way into."""
    return {name: _journey(name, file, ways) for name, file in journeys.items()}


def _journey(name: str, file: JourneyFile, ways: Mapping[str, str]) -> Journey:
    steps, clean_up = (tuple(map(_request, part)) for part in (file.steps, file.clean_up))
    title = file.title or name.replace("-", " ").capitalize()
    through = {target: ways[target] for target in file.target if target in ways}
    return Journey(
        name, title, tuple(file.target), steps, file.reads, file.within, dict(file.variables), clean_up, through
    )


def _request(file: RequestFile) -> Request:
    method = next(m for m in METHODS if getattr(file, m) is not None)
    expect = file.expect
    answer = ExpectedAnswer(
        tuple(expect.status or ()),
        {h.lower(): _conditions(v) for h, v in expect.headers.items()},
        {p: _conditions(v) for p, v in expect.json_.items()},
        expect.within,
    )
    path: str = getattr(file, method)
    return Request(method.upper(), path, file.title or "", dict(file.headers), file.body, answer, dict(file.capture))


def _conditions(value: ConditionFile | Json) -> tuple[Assertion, ...]:
    if not isinstance(value, ConditionFile):
        return (Assertion("is", value),)
    rules: tuple[Comparison, ...] = ("matches", "at_least", "at_most", "exists")
    return tuple(Assertion(rule, found) for rule in rules if (found := getattr(value, rule)) is not None)
