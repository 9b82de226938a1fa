"""Journeys of the catalogue: what is wrong with one is told when the file is read, at its place."""

from __future__ import annotations

import pytest

from bot.catalogue import load_catalogue
from bot.located import Faults
from bot.ports.journeys import Assertion, ExpectedAnswer, Journey, Request

HEAD = """\
roles: {commander: {people: [U1]}, approver: {people: [U2]}}
services:
  shop:
    targets: {api: {http: "http://a"}, eu: {kubernetes: eu, namespace: shop}}
    journeys:
      pay:
"""


def said(text: str) -> list[str]:
    with pytest.raises(Faults) as caught:
        load_catalogue(HEAD + text, "r")
    return [str(f).removeprefix("r:").replace("services.shop.journeys.", "") for f in caught.value.faults]


def test_a_journey_is_frozen_values() -> None:
    text = """\
        title: Paying
        target: api
        within: 8s
        variables: {password: SHOP_PASSWORD}
        steps:
          - post: /pay
            headers: {X-Pass: "${password}"}
            body: {reference: "${mark}"}
            expect: {status: [200, 201], within: 800ms, headers: {Location: {exists: true}}, json: {/state: paid}}
            capture: {id: /id}
        clean_up: [{delete: "/pay/${id}", expect: {status: 204}}]
"""
    journey = load_catalogue(HEAD + text, "r").services["shop"].journeys["pay"]
    expect = ExpectedAnswer(
        (200, 201), {"location": (Assertion("exists", True),)}, {"/state": (Assertion("is", "paid"),)}, 0.8
    )
    pay = Request("POST", "/pay", "", {"X-Pass": "${password}"}, {"reference": "${mark}"}, expect, {"id": "/id"})
    gone = Request("DELETE", "/pay/${id}", expect=ExpectedAnswer((204,)))
    variables = {"password": "SHOP_PASSWORD"}
    assert journey == Journey("pay", "Paying", ("api",), (pay,), False, 8.0, variables, (gone,))


def test_a_journey_belongs_to_what_the_catalogue_means() -> None:
    one = load_catalogue(f"{HEAD}        {{target: api, reads: true, steps: [{{get: /a}}]}}", "r")
    other = load_catalogue(f"{HEAD}        {{target: api, reads: true, steps: [{{get: /b}}]}}", "r")
    assert one.digest != other.digest


def test_every_mistake_is_said_at_once_with_its_place() -> None:
    assert said("""\
        target: [ap, eu]
        variables: {mark: X, pass: "no name"}
        steps:
          - {get: /a, post: /b}
          - {expect: {status: 200}}
          - {get: /a, body: {a: 1}, expect: {json: {a/b: 1, /c: {matches: "[a"}}}}
          - {get: "/x/${ordr}", headers: {Authorization: "Bearer ${token}"}, capture: {order: "/id"}}
          - {post: "//evil", expct: {status: 200}, expect: {status: 99}}
        clean_up:
          - {delete: "/x/${order}", headers: {Authorization: "${order}"}}
""") == [
        "7:18: pay.target[0]: there is no HTTP target 'ap'; did you mean 'api'?",
        "7:22: pay.target[1]: eu is no HTTP target",
        "8:21: pay.variables.mark: 'mark' is given by the bot: another text for each walk",
        "8:36: pay.variables.pass: 'no name': it holds a blank",
        "10:13: pay.steps[0]: get and post: a request has one method",
        "11:13: pay.steps[1]: no method; one of get, post, put, patch, delete, with its path",
        "12:29: pay.steps[2].body: a get sends no body",
        "12:53: pay.steps[2].expect.json.a/b: 'a/b': a JSON pointer begins with /, like /order/id",
        "12:75: pay.steps[2].expect.json./c.matches: no regular expression: unterminated character set",
        "13:19: pay.steps[3].get: nothing gives ${ordr} before this step",
        "13:58: pay.steps[3].headers.Authorization: nothing gives ${token} before this step",
        "14:20: pay.steps[4].post: a path starts with one /, and is put behind the target's address",
        "14:30: pay.steps[4].expct: unknown key 'expct'; did you mean 'expect'?",
        "14:69: pay.steps[4].expect.status: must be at least 100, not 99",
        "16:62: pay.clean_up[0].headers.Authorization: ${order} was captured: unknown after a crash; take a variable",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "{target: api, steps: [{post: /a}]}",
            "7:9: pay: it changes something and has no clean_up; say how what it made is removed, by ${mark} at best",
        ),
        (
            "{target: api, reads: true, steps: [{put: /a}]}",
            "7:44: pay.steps[0]: a journey that only reads has nothing but get; leave out `reads`, or this",
        ),
        ("{target: api, steps: []}", "7:30: pay.steps: must not be empty"),
        ("{steps: [{get: /}]}", "7:9: pay: 'target' is missing"),
        ("{target: apy, steps: [{get: /}]}", "7:18: pay.target: there is no HTTP target 'apy'; did you mean 'api'?"),
        (
            "{target: api, steps: [{get: /, expect: {json: {/a: [1]}}}]}",
            "7:60: pay.steps[0].expect.json./a: must be one value, or matches, at_least, at_most, exists",
        ),
    ],
)
def test_one_mistake_is_one_line(text: str, line: str) -> None:
    assert said(f"        {text}\n") == [line]
