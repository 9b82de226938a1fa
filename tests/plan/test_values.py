"""What YAML text means, and when one type fits another."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, JsonValue, TypeAdapter

from bot.located import Faults, Report, nearest
from bot.located.shapes import Shape
from bot.located.yamltree import read


def test_only_true_and_false_are_booleans_and_dates_stay_text() -> None:
    document = read("[yes, on, true, False, null, ~, 2024-01-01, 12:30, 1_000, 0x1f, .inf, 5, -5, 1.5, 1e3, '5']", "f")
    words: JsonValue = ["yes", "on", True, False, None, None, "2024-01-01", "12:30", "1_000", "0x1f", ".inf"]
    assert isinstance(words, list)
    assert document.data == [*words, 5, -5, 1.5, 1000.0, "5"]


def test_keys_are_text_and_every_value_knows_its_place() -> None:
    document = read("\ufeffon: {1: a, null: 'ü'}\r\nlist:\r\n  - é: [x, y]\r\n", "f")
    assert document.data == {"on": {"1": "a", "null": "ü"}, "list": [{"é": ["x", "y"]}]}
    place = document.place(("list", 0, "é", 1))
    assert (place.line, place.column) == (3, 12)
    assert document.place(("list", 0, "é"), key=True).column == 5
    assert document.place(("list", 0, "no", "such")).line == 3


def test_an_alias_is_the_value_it_names() -> None:
    assert read("{a: &x [1, {b: 2}], c: *x}", "f").data == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


def test_a_mistake_reached_by_two_aliases_is_one_fault() -> None:
    report = Report(read("{a: &x {b: 1}, c: *x}", "f"))
    report.add(("a", "b"), "is wrong")
    report.add(("c", "b"), "is wrong")
    assert [str(f) for f in report.faults.faults] == ["f:1:12: a.b: is wrong"]
    assert report.has(("a",)) and not report.has(("a", "b", "c"))


def test_what_is_wrong_before_a_syntax_error_is_said_as_well() -> None:
    with pytest.raises(Faults) as caught:
        read("a: 1\na: 2\nb: ]\n", "f")
    assert [f.line for f in caught.value.faults] == [2, 3]


def test_a_guess_is_another_word() -> None:
    assert nearest("gaet", ["gate", "uses"]) == "gate"
    assert nearest("gate", ["gate"]) is None
    assert nearest(5, ["5"]) is None


class Small(BaseModel):
    a: int


class Large(Small):
    b: str = ""


class Node(BaseModel):
    children: list[Node] = []


@pytest.mark.parametrize(
    ("have", "want", "fits"),
    [
        (str, str, True),
        (int, float, True),
        (float, int, False),
        (bool, int, False),
        (str, str | None, True),
        (str | None, str, False),
        (int | None, float | None, True),
        (Literal["a"], str, True),
        (str, Literal["a"], False),
        (Literal["a"], Literal["a", "b"], True),
        (Literal["a", "c"], Literal["a", "b"], False),
        (Literal[1, "a"], int | str, True),
        (list[int], list[float], True),
        (list[str], list[int], False),
        (list[Any], list[int], False),
        (list[int], tuple[int, ...], True),
        (dict[str, str], dict[str, str], True),
        (dict[str, str], dict[str, int], False),
        (dict[str, int], Small, False),
        (Small, dict[str, int], True),
        (Large, dict[str, int], False),
        (Small, Small, True),
        (Small, Large, True),
        (str, JsonValue, True),
        (JsonValue, str, False),
        (Node, Node, True),
        (Node, Small, False),
    ],
)
def test_every_value_of_one_type_fits_the_other(have: Any, want: Any, fits: bool) -> None:
    source = Shape.of(TypeAdapter(have).json_schema(mode="serialization"))
    assert source.fits(Shape.of(TypeAdapter(want).json_schema())) is fits


def test_a_shape_is_said_in_words() -> None:
    assert Shape.of(TypeAdapter(int | None).json_schema()).words == "a whole number or nothing"
    assert Shape.of(TypeAdapter(Literal["a", True]).json_schema()).words == "'a' or true"
    assert Shape.of(TypeAdapter(list[Small]).json_schema()).at(0).keys == {"a"}  # type: ignore[union-attr]
    assert Shape.of(Small.model_json_schema()).at("b") is None
