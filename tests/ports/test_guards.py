"""A guard's rules: read from any record, written the same way, and refused where they are none."""

from __future__ import annotations

import pytest

from bot.ports.guards import LIMIT, GuardRules

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    "rules",
    [
        {"service": "shop", "digests": []},
        {"service": "shop", "digests": [DIGEST], "groups": ["sre"], "message": "frozen", "selector": "app=shop"},
        {"service": "shop", "banned": [DIGEST], "version": "2.4.1", "users": ["ana"]},
    ],
)
def test_rules_are_written_as_they_were_read(rules: dict[str, object]) -> None:
    assert GuardRules.of(rules).json == rules


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (None, "hold a service"),
        ({"digests": []}, "hold a service"),
        ({"service": "shop", "who": 1}, "hold a service"),
        ({"service": "shop", "banned": []}, "stands alone"),
        ({"service": "shop", "banned": [DIGEST], "digests": []}, "stands alone"),
        ({"service": "shop", "digests": DIGEST}, "must be a list"),
        ({"service": "shop", "banned": [DIGEST] * (LIMIT + 1)}, "1000 digests at most, not 1001"),
        ({"rules": {"service": "shop"}, "altered": ["spec"]}, "hold a service"),
    ],
)
def test_what_is_no_rules_is_told(rules: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        GuardRules.of(rules)
    assert GuardRules.read(rules) is None
