"""Every refusal and objection in other words, so that a test sees whether anything but people reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bot.policy import Refusal
from bot.run.rules import Objection

WORDS = "other words altogether"


@contextmanager
def reworded() -> Iterator[None]:
    """Whatever is refused is refused in these words."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in (Refusal, Objection):
            patch.setattr(kind, "__init__", _saying(kind.__init__, kind))
        yield


def _saying(init: Any, kind: type) -> Any:
    def said(self: Any, *args: Any, **more: Any) -> None:
        place = 1 if kind is Refusal else 0
        kept = [WORDS if i == place else a for i, a in enumerate(args)]
        init(self, *kept, **(more | ({"text": WORDS} if "text" in more else {})))

    return said
