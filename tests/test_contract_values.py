"""The value that is preview, approval, undo data and audit line at once: what it binds, covers, and takes back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.contract import Change, Edit, Effect, Fact, Json, Status, Value, canonical, merged
from bot.ports import Blob
from bot.run import events as ev

values: st.SearchStrategy[Json] = st.sampled_from([None, True, False, 0, 1, 1.5, "", "a", "b", [1], {"k": "v"}])
targets = st.sampled_from(["a", "b", "c", "d"])
edits = st.builds(Edit, targets, values, values, st.booleans())
effects = st.builds(Effect, st.sampled_from(["post", "flush"]), st.sampled_from(["repeat", "drop"]))
measured: st.SearchStrategy[Json] = st.sampled_from([0, 2, 3, 4, 5, 6, 9, "?"])
limits = st.sampled_from([None, 3, 5.0])
facts = st.builds(Fact, st.sampled_from(["rows", "keys"]), measured, st.just("rows"), limits)
changes = st.builds(
    Change,
    st.sampled_from(["x", "y"]),
    st.lists(edits, max_size=4, unique_by=lambda e: e.target).map(tuple),
    st.lists(effects, max_size=2, unique=True).map(tuple),
    st.lists(facts, max_size=2, unique_by=lambda f: f.name).map(tuple),
    st.just(()),
    st.booleans(),
)


def change(*edits: Edit, **spec: object) -> Change:
    return Change("x", edits, **spec)  # type: ignore[arg-type]


# -- what an approval binds --------------------------------------------------------------------------------------------


@given(changes)
def test_a_fingerprint_does_not_depend_on_order_or_prose(one: Change) -> None:
    other = Change("else", one.edits[::-1], one.effects[::-1], one.facts[::-1], ("careful",), one.reversible)
    assert one.fingerprint("h") == other.fingerprint("h") != one.fingerprint("other")
    assert len(one.fingerprint("h")) == 32


@given(changes)
def test_a_fingerprint_survives_the_log(one: Change) -> None:
    stored = ev.decode(*ev.encode(ev.Planned("s", 1, one, one.fingerprint("h"))))
    assert isinstance(stored, ev.Planned) and stored.change.fingerprint("h") == stored.fingerprint


@pytest.mark.parametrize(
    "other",
    [
        change(Edit("a", 1, 3)),
        change(Edit("a", 0, 2)),
        change(Edit("a", True, 2)),
        change(Edit("b", 1, 2)),
        change(Edit("a", 1, 2, bound=False)),
        change(Edit("a", 1, 2), Edit("b", 1, 2)),
        change(Edit("a", 1, 2), effects=(Effect("post"),)),
        change(Edit("a", 1, 2), facts=(Fact("rows", 1, "rows", 5),)),
        change(Edit("a", 1, 2), reversible=False),
    ],
)
def test_everything_that_people_approve_is_in_the_fingerprint(other: Change) -> None:
    assert other.fingerprint("h") != change(Edit("a", 1, 2)).fingerprint("h")


def test_what_is_only_measured_or_not_bound_is_not_in_the_fingerprint() -> None:
    loose = change(Edit("a", 6, 0, bound=False), facts=(Fact("rows", 3, "rows", 5), Fact("jobs", 1)))
    moved = change(Edit("a", 9, 0, bound=False), facts=(Fact("rows", 4, "rows", 5), Fact("jobs", 7)))
    assert loose.fingerprint("h") == moved.fingerprint("h")


# -- what an approval covers -------------------------------------------------------------------------------------------


@given(changes)
def test_a_change_never_goes_beyond_itself(one: Change) -> None:
    assert one.beyond(one) == ()


@given(changes, st.sets(st.integers(0, 3)))
def test_less_of_the_same_is_covered(one: Change, gone: set[int]) -> None:
    less = replace(one, edits=tuple(e for k, e in enumerate(one.edits) if k not in gone), effects=one.effects[1:])
    assert less.beyond(one) == ()


@given(changes, changes)
def test_what_is_covered_writes_nothing_that_was_not_approved(one: Change, two: Change) -> None:
    if not two.beyond(one):
        assert {(e.target, canonical(e.after)) for e in two.edits} <= {
            (e.target, canonical(e.after)) for e in one.edits
        }
        assert set(two.effects) <= set(one.effects) and (two.reversible or not one.reversible)


@given(changes, changes)
def test_what_covers_each_other_has_one_fingerprint(one: Change, two: Change) -> None:
    bare = [replace(x, facts=(), edits=tuple(replace(e, bound=True) for e in x.edits)) for x in (one, two)]
    if not bare[0].beyond(bare[1]) and not bare[1].beyond(bare[0]):
        assert bare[0].fingerprint("h") == bare[1].fingerprint("h")


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (change(Edit("a", 1, 2), Edit("b", None, "x")), "b: now also absent -> x"),
        (change(Edit("a", 1, 3)), "a: would become 3, approved was 2"),
        (change(Edit("a", 0, 2)), "a: is 0 now, was 1 when approved"),
        (change(Edit("a", True, 2)), "a: is true now, was 1 when approved"),
        (change(Edit("a", 1, 2), effects=(Effect("post"),)), "now also: post"),
        (change(Edit("a", 1, 2), facts=(Fact("rows", 1, "rows", 9),)), "rows: a limit of 9 that was not shown"),
        (change(Edit("a", 1, 2), reversible=False), "can no longer be undone"),
    ],
)
def test_what_goes_beyond_is_named(now: Change, says: str) -> None:
    assert now.beyond(change(Edit("a", 1, 2))) == (says,)


@pytest.mark.parametrize(
    ("shown", "now", "covered"),
    [
        (3, 5, True),
        (3, 6, False),
        (8, 6, True),
        (8, 8, True),
        (8, 9, False),
        (3, "unknown", False),
        ("unknown", "unknown", True),
        ("unknown", 6, False),
        (True, 6, False),
        (3, None, False),
    ],
)
def test_a_limit_holds_and_who_saw_more_agreed_to_that(shown: Json, now: Json, covered: bool) -> None:
    edit = Edit("a", 1, 2)
    approved = change(edit, facts=(Fact("rows", shown, "rows", 5),))
    assert (change(edit, facts=(Fact("rows", now, "rows", 5),)).beyond(approved) == ()) is covered


def test_a_limited_fact_that_is_not_known_any_more_is_no_pass_unless_nothing_is_left_to_do() -> None:
    approved = change(Edit("a", 1, 2), facts=(Fact("rows", 3, "rows", 5),))
    assert change(Edit("a", 1, 2)).beyond(approved) == ("rows: not known now, the limit shown was 5",)
    assert change().beyond(approved) == ()


def test_what_was_saved_but_not_bound_may_move() -> None:
    assert change(Edit("a", 9, 0, bound=False)).beyond(change(Edit("a", 6, 0, bound=False))) == ()


def test_a_large_value_is_shown_by_its_digest() -> None:
    blob = Blob("sha256:" + "a" * 64, 5000, "text/plain")
    (says,) = change(Edit("a", None, blob)).beyond(change())
    assert says == f"a: now also absent -> {blob.digest[:19]}… (5000 bytes)"


# -- forecasts, undo ---------------------------------------------------------------------------------------------------


def test_a_forecast_starts_where_the_earlier_changes_end() -> None:
    earlier = [change(Edit("a", 1, 2)), change(Edit("a", 2, 3), Edit("b", 0, 1))]
    later = change(Edit("a", 1, 4), Edit("b", 0, 1), Edit("c", 5, 6), Edit("d", 0, 0, bound=False))
    assert later.on_top_of(earlier).edits == (Edit("a", 3, 4), Edit("c", 5, 6), Edit("d", 0, 0, bound=False))
    assert later.on_top_of([]).edits == later.edits


@given(changes)
def test_undoing_an_undo_is_the_change_again(one: Change) -> None:
    again = one.inverted().inverted()
    assert again.edits == one.edits and again.targets == one.targets
    assert again.effects == tuple(e for e in one.effects if e.on_undo == "repeat")


def test_what_was_put_back_is_said_to_be_as_before() -> None:
    to = Change("api in prod to 2.3.9", (Edit("a", 1, 2),))
    back = to.inverted()
    assert back.summary == "Undo: api in prod to 2.3.9"
    said = back.once_back(f"{back.summary}, 3 of 3 pods ready")
    assert said == 'as before "api in prod to 2.3.9", 3 of 3 pods ready'
    assert back.once_back("auto-sync on again") == "auto-sync on again", "a handler's own words stay"
    assert to.once_back(to.summary) == to.summary


@given(changes)
def test_an_undo_from_where_the_change_left_off_puts_everything_back(one: Change) -> None:
    seen = {e.target: e.after for e in one.edits}
    back, elsewhere = one.undo_from(seen)
    world: dict[str, Value] = dict(seen)
    for e in back.edits:
        assert world[e.target] == e.before
        world[e.target] = e.after
    assert not elsewhere and world == {e.target: e.before for e in one.edits}


@given(changes, st.dictionaries(targets, values), st.sets(targets))
def test_an_undo_touches_only_what_still_stands_as_we_left_it(
    one: Change, seen: dict[str, Json], leave: set[str]
) -> None:
    back, elsewhere = one.undo_from(seen, leave)
    ours = {e.target: e for e in one.edits}
    assert all(seen.get(e.target) == ours[e.target].after and e.target not in leave for e in back.edits)
    assert not (elsewhere.keys() & leave) and not (elsewhere.keys() & back.targets)
    assert all(seen.get(t) not in (ours[t].before, ours[t].after) for t in elsewhere)


def test_what_others_move_all_the_time_is_back_once_it_has_left_where_it_was() -> None:
    back = Edit("worker/replicas", 0, 6, bound=False)
    assert [back.arrived(now) for now in (0, 4, 6)] == [False, True, True]
    assert not replace(back, bound=True).arrived(4)


@given(st.lists(st.lists(edits, max_size=3, unique_by=lambda e: e.target), max_size=4))
def test_undo_data_hold_the_first_before_and_the_last_after(passes: list[list[Edit]]) -> None:
    made: tuple[Edit, ...] = ()
    for p in passes:
        made = merged(made, p)
    flat = [e for p in passes for e in p]
    assert len(made) == len({e.target for e in flat})
    for e in made:
        ours = [x for x in flat if x.target == e.target]
        assert (e.before, e.after) == (ours[0].before, ours[-1].after)


# -- small things ------------------------------------------------------------------------------------------------------


def test_unknown_is_never_good() -> None:
    assert {s for s in Status if s.good} == {Status.PASS, Status.WARN}


def test_json_is_written_in_one_way_only() -> None:
    assert canonical({"b": 1, "a": ["ü", None]}) == '{"a":["ü",null],"b":1}'
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical(float("nan"))
    with pytest.raises(TypeError, match="set has no place in JSON"):
        canonical({1, 2})
