"""The rules of the ledger, whatever happens to releases in whatever order."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from bot.catalogue import STABLE_AFTER, Release
from bot.releases.ledger import Entry, Ledger, Registered, ReleaseState, marked, rank, registered, serving, timed

NOW, DAY = 1_763_900_000.0, 86400.0


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from("abc")), min_size=1), st.data())
def test_exactly_one_serves_in_whatever_order_it_was_told(starts: list[tuple[int, str]], data: st.DataObject) -> None:
    def told(order: list[tuple[int, str]]) -> Ledger:
        ledger: Ledger = {v: Registered("shop", Release(v), 0.0) for v in "abc"}
        for at, v in order:
            ledger = serving(ledger, v, float(at), "ci")
        return timed(ledger)

    ledger, mixed = told(starts), told(data.draw(st.permutations(starts)))
    assert {v: r.served for v, r in ledger.items()} == {v: r.served for v, r in mixed.items()}
    assert sum(r.serves for r in ledger.values()) == 1
    first = min(at for at, _ in starts)
    assert sum(r.served_for(30.0) for r in ledger.values()) == 30.0 - first


STATES = st.sampled_from(get_args(ReleaseState))


@given(
    st.lists(st.tuples(STATES, st.booleans(), st.floats(0, 9 * DAY)), max_size=7),
    st.none() | st.integers(0, 8),
    st.none() | st.integers(0, 8),
)
def test_never_the_removed_a_bad_one_or_one_below_the_floor(
    found: list[tuple[ReleaseState, bool, float]], removed: int | None, floor: int | None
) -> None:
    ledger: Ledger = {}
    for n, (state, serves, ago) in enumerate(found):
        ledger = registered(ledger, "shop", Release(f"1.{n}"), Entry(NOW - 10 * DAY, "registered", "ci"))
        ledger = serving(ledger, f"1.{n}", NOW - ago, "ci") if serves else ledger
        ledger = ledger if state == "candidate" else marked(ledger, f"1.{n}", Entry(NOW, state, "ana", "because"))
    ledger = timed(ledger)
    gone, least = (None if n is None else f"1.{n}" for n in (removed, floor))
    ranked = rank(ledger, gone, least, NOW, STABLE_AFTER)
    assert sorted(c.release.version for c in ranked) == sorted(ledger)
    over = [bool(c.passed_over) for c in ranked]
    assert over == sorted(over), "those that can be gone back to come first"
    good = [ledger[c.release.version] for c in ranked if not c.passed_over]
    for r in good:
        assert r.version != gone and r.state in ("candidate", "stable")
        assert floor is None or int(r.version[2:]) >= floor
    served = [bool(r.served) for r in good]
    assert served == sorted(served, reverse=True), "one that never served comes after those that did"
    assert not any(served) or all(r.served or r.state == "stable" for r in good), "and only if somebody vouches for it"
    assert [bool(c.warning) for c in ranked] == [
        not c.passed_over and not ledger[c.release.version].served for c in ranked
    ]
