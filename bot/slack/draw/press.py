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


AT_ONCE: Mapping[str, str] = {
    "approve": "a decision, with the card that was looked at",
    "decline": "a decision: not now",
    "stop": "",
    "resume": "",
    "retry": "a halted step",
    "agree": "a proposal",
    "take": "command, after it was offered",
    "preview": "every change of the run, only for who asks",
    "steps": "every step and where it stands, only for who asks",
    "commands": "the commands that a decision stands for, only for who asks",
}
"""What is done at the click: do -> what its subject is (empty: the run)."""
IN_MODAL: Mapping[str, str] = {
    "ask-open": "none: it opens the form for a rollback",
    "ask-approve": "a decision that wants its phrase typed, with the card that was looked at",
    "ask-break-glass": "a decision, with the card that was looked at",
    "ask-skip": "a step",
    "ask-skip-of": "a decision with several steps, one of which is to be chosen",
    "ask-accept": "a step",
    "ask-undo": "a step",
    "ask-adopt": "a step",
    "ask-restore": "a debt, by its step",
    "ask-hand-over": "a debt, by its step",
    "ask-abort": "",
    "ask-retarget": "",
    "ask-replan": "",
    "ask-admit": "",
    "ask-offer": "",
    "ask-without": "a part of the catalogue that is away",
    "ask-back": "a part that was left out",
    "ask-review": "a broken glass, by its decision",
    "ask-close": "",
    "ask-forward": "",
}
"""What first opens a modal: do -> what its subject is (empty: the run). Their labels end with an ellipsis."""
MORE = "more"
"""The action of every menu; what was picked stands in the entry's value."""


class NotOurs(ValueError):
    """A payload that none of our messages can have sent."""


@dataclass(frozen=True, slots=True)
class Press:
    """What was pressed. do: what is asked for (`approve`, `stop`, `ask-skip`, ...); run: the run's id, empty for
    what concerns none; subject: a step, a decision or a proposal; card: what was looked at (`Run.card`)."""

    do: str
    run: str = ""
    subject: str = ""
    card: str = ""

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
