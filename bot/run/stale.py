"""Who decides that a click is stale: whoever looked at another card than the one that stands, or at what a step would
do before it was planned otherwise. Pure.

Twice, as nothing else would do: by the card that a click carries, before anything is said to the person, and by the
fingerprints that a vote binds, as the event is appended (somebody may have been faster).
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.policy import Refusal, Why
from bot.run.state import Run

WORDS = "what it would do has changed since you looked: look again, then decide"
STALE = Refusal(Why.STALE, f"W{WORDS[1:]}. Nothing was changed.")
"""What a person is told who clicked on it."""


def stale_click(run: Run, decision: str, card: str) -> bool:
    """Whether a click on this card was meant for what the decision showed before; never where nothing is asked now."""
    return run.asked[decision].opened is not None and card != run.card(decision)


def stale_vote(run: Run, decision: str, fingerprints: Mapping[str, str]) -> bool:
    """Whether a vote binds (step -> fingerprint) anything but what the decision would let pass now."""
    return dict(fingerprints) != run.fingerprints(decision)
