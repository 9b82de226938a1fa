"""What a button, a menu entry or a modal carries: ids and what was looked at, never a decision. Pure.

The run stands in the block's id, because a menu's values may hold only 150 characters; a modal carries all of it in
its private metadata. Whatever does not read back is no press of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SEPARATOR = "|"
ACTION = "do"
"""Every action_id of ours is `do:<what>`, so that one listener hears them all."""


ASKS = "ask-"
"""Before the word of a command: a form is opened first."""
LOOKS: Mapping[str, str] = {
    "preview": "every change of the run, only for who asks",
    "steps": "every step and where it stands, only for who asks",
    "commands": "the commands that a decision stands for, only for who asks",
}
"""What is only looked at."""
OF_A_DECISION = "skip-of"
"""Skips a step of a decision that has several; which, a form asks."""
MORE = "more"
"""The action of every menu; what was picked stands in the entry's value."""


class NotOurs(ValueError):
    """A payload that none of our messages can have sent."""


class NotLegible(NotOurs):
    """What somebody has typed cannot be taken as it is; says why."""


@dataclass(frozen=True, slots=True)
class Press:
    """What was pressed. do: what is asked for (`approve`, `stop`, `ask-skip`, ...); run: the run's id, empty for
    what concerns none; subject: a step, a decision or a proposal; card: what was looked at (`Run.card`)."""

    do: str
    run: str = ""
    subject: str = ""
    card: str = ""

    @property
    def asks(self) -> bool:
        """Whether it opens a form: its label ends with an ellipsis then."""
        return self.do.startswith(ASKS)

    @property
    def command(self) -> str:
        """The word of the command that it is for."""
        return self.do.removeprefix(ASKS)

    @property
    def action(self) -> str:
        """The action_id: unique in a message as long as nothing is offered twice for one subject."""
        return f"{ACTION}:{self.do}:{self.subject}" if self.subject else f"{ACTION}:{self.do}"

    @property
    def value(self) -> str:
        """What a button or a menu entry carries; at most 150 characters."""
        return SEPARATOR.join((self.do, self.subject, self.card))

    @property
    def whole(self) -> str:
        """All of it, for a modal's private metadata."""
        return SEPARATOR.join((self.do, self.subject, self.card, self.run))


def block_id(slot: str, run: str) -> str:
    """The id of a block with buttons."""
    return f"{slot}{SEPARATOR}{run}"


def pressed(value: str, block: str) -> Press:
    """The press that a button's value and its block's id stand for. NotOurs."""
    do, subject, card = _parts(value, 3)
    _, run = _parts(block, 2)
    return Press(do, run, subject, card)


def carried(metadata: str) -> Press:
    """The press that a modal's private metadata stand for. NotOurs."""
    do, subject, card, run = _parts(metadata, 4)
    return Press(do, run, subject, card)


def _parts(text: str, n: int) -> list[str]:
    parts = text.split(SEPARATOR)
    if len(parts) != n or not parts[0]:
        raise NotOurs(f"{text[:60]!r} is none of our buttons")
    return parts
