"""What a release is, as it is kept: read object by object, it says what all of it would."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.contract import Json, canonical
from bot.ports.kubernetes import Place
from bot.workloads.record import RECENT, ReleaseRecord, lasting

NAMES = st.sampled_from(["api", "api-canary", "api.v2", "a", "b"])
FIELDS = st.sampled_from(["image/app", "env/app/A/B", "data/x", "whole", 'pod/"{}', "pod/\u00e9"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEPT = st.dictionaries(
    st.builds("/".join, st.tuples(st.sampled_from(["eu-1", "us-1"]), st.just("deployment"), NAMES, FIELDS)), VALUES
)


@given(KEPT)
def test_read_from_its_text_it_is_what_it_was(kept: dict[str, object]) -> None:
    whole, read = ReleaseRecord.of(kept), ReleaseRecord.read(canonical(kept).encode())  # type: ignore[arg-type]
    assert {place: dict(fields) for place, fields in read.places.items()} == whole.places
    assert [*read.workloads] == [*ReleaseRecord.of(dict(sorted(kept.items()))).workloads]  # type: ignore[arg-type]
    assert not read.at(Place("eu-1", "deployment", "none"))


def test_more_objects_than_are_held_parsed_are_all_there() -> None:
    kept = {f"eu-1/deployment/api-{n}/image/app": n for n in range(RECENT * 2)}
    read = ReleaseRecord.read(canonical(kept).encode())
    assert sorted(fields["image/app"] for _, fields in read.workloads) == [*range(RECENT * 2)]  # type: ignore[type-var]


@pytest.mark.parametrize(
    "text", ["[]", "null", "", '{"eu-1/deployment/api/image/app":"x"', '{"a/b":1}', '{"a/b/c/d":1}']
)
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ReleaseRecord.read(text.encode())


def test_json_as_others_write_it_is_read_too() -> None:
    kept = {"eu-1/configmap/s/data/k": "v", "eu-1/deployment/api/image/app": "x", "eu-1/configmap/s/data/l": "w"}
    for text in (json.dumps(kept, indent=1), json.dumps(kept, separators=(",", ":"))):
        assert ReleaseRecord.read(text.encode()).at(Place("eu-1", "configmap", "s")) == {"data/k": "v", "data/l": "w"}


def test_two_records_are_compared_as_they_are_kept_without_what_moves_by_itself() -> None:
    at = "eu-1/deployment/api/"
    kept: dict[str, Json] = {f"{at}image/app": "a@sha256:1", f"{at}whole": {"spec": {"replicas": 2}}}
    scaled, changed = {**kept, f"{at}whole": {"spec": {"replicas": 3}}}, {**kept, f"{at}env/app/A": "1"}
    one, other, another = (lasting(canonical(x).encode()) for x in (kept, scaled, changed))
    assert one == other != another
    for cut in (b"[]", b'{"a/b/c/d":1'):
        with pytest.raises(ValueError, match=r"it is no object|is cut|Expecting"):
            lasting(cut)
