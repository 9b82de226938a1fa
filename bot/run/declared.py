"""How a command is declared: its word, its fields, who may ask for it, and how it is said. Pure, and light.

`commands.py` is the table itself; whatever speaks of commands (Slack's verbs, forms and buttons, the terminal, both
helps, the docs) reads a `Declared` from it.

Invariants:
- a field is declared by the value alone: its name says what it is (`FIELDS`), a default that it may be left out;
- only the standard library is imported: the command line reads this at every start.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import TypeVar

MIN_REASON = 4
"""Characters below which a reason is none."""


class Who(enum.Enum):
    """Who may ask for something, in words; `authority` looks."""

    ANYBODY = "everybody who is known"
    ASKED = "those whom the decision asks"
    ASKED_OR_COMMANDERS = "those whom the decision asks, and commanders"
    GLASS = "those who may break the glass"
    COMMANDER = "who commands the run"
    COMMANDERS = "commanders"
    CREW = "commanders, approvers, and those whom one of the plan's decisions asks"
    PROPOSER = "who commands the run, or whom the step's decision asks; those whom it asks agree"
    PROPOSING_COMMANDER = "who commands the run; an approver agrees"
    RESTORER = "who commands the run; once it is over commanders, and whose debt it is"


class Heading(enum.Enum):
    """Where a terminal's help lists a command of a run."""

    FOLLOW = "Open and follow"
    FREEZE = "Freeze"
    DECIDE = "Decide"
    STEER = "Steer"
    STEPS = "Steps"


@dataclass(frozen=True, slots=True)
class Wording:
    """How a field is written and asked for. word: its place in a usage; asked: its label in a form; help: what the
    terminal says of it where it is an option."""

    word: str
    asked: str
    help: str = ""


FIELDS: Mapping[str, Wording] = {
    "decision": Wording("DECISION", "Which decision"),
    "step": Wording("STEP", "Which step"),
    "proposal": Wording("PROPOSAL", "Which one"),
    "release": Wording("VERSION", "Which release"),
    "plan": Wording("PLAN", "Which plan"),
    "part": Wording("PART", "Which part"),
    "to": Wording("PERSON", "Whom", "Whose it becomes."),
    "until": Wording("TIME", "Until", "2h, 18:00 or 2026-11-23T18:00, in your zone."),
    "at": Wording("TIME", "When it begins", "18:00, 3d or 2026-12-01T10:00, in your zone."),
    "reason": Wording("WORDS", "Why, so that others understand it later"),
    "note": Wording("WORDS", "Why, so that others understand it later"),
    "impact": Wording("WORDS", "What customers notice", "What customers notice; stakeholders read it."),
    "workaround": Wording("WORDS", "What works all the same", "What works all the same, or what to do instead."),
    "phrase": Wording("TEXT", "The phrase"),
    "card": Wording("HEX", "Which card was looked at"),
}
"""Every field that a command may have."""
SUBJECTS = ("decision", "step", "proposal", "release", "plan", "part")
"""Fields that say what of the run a command is about; it has one of them at most."""
TEXTS = ("reason", "note")
"""Fields in which people say something in their own words."""
PLAIN = ("impact", "workaround")
"""Fields that stakeholders read, as they are said."""
PLAIN_MOST = 300
"""Characters of such a field: a post has to be read at a glance."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of one command. needed: nothing is done before it is said."""

    name: str
    needed: bool


@dataclass(frozen=True, slots=True)
class Declared:
    """One command as it is declared.

    do: its word; help: what a terminal says of it; chat: what Slack says of it, empty where it is not typed there;
    title, about: of the form that asks for what is missing, empty where nothing is ever asked; at_once: its button
    acts at the click; also: other words that mean it in Slack.
    """

    do: str
    help: str
    who: Who
    heading: Heading | None = None
    chat: str = ""
    title: str = ""
    about: str = ""
    at_once: bool = False
    fields: tuple[Field, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def of_run(self) -> bool:
        """Whether it is one of `Command`: asked of a run that there is, and answered by it."""
        return self.do in VALUES

    @property
    def subject(self) -> str:
        """Name of the field that says what it is about; empty for the run as a whole."""
        return next((f.name for f in self.fields if f.name in SUBJECTS), "")

    @property
    def text(self) -> Field | None:
        """The field for people's own words."""
        return next((f for f in self.fields if f.name in TEXTS), None)

    @property
    def placed(self) -> tuple[str, ...]:
        """Fields that are known by their place behind the command; the others are options, or come behind `because`."""
        return tuple(f.name for f in self.fields if f.name == (self.subject or "to"))

    @property
    def options(self) -> tuple[str, ...]:
        """Fields that are given by name."""
        named = ("to", "until", "at", *PLAIN)
        return tuple(f.name for f in self.fields if f.name in named and f.name not in self.placed)

    @property
    def form(self) -> tuple[Field, ...]:
        """What a form may have to ask. A phrase is asked for wherever its decision wants one; a card is never typed."""
        asked = (f for f in self.fields if f.name != "card") if self.title else ()
        return tuple(Field("phrase", True) if f.name == "phrase" else f for f in asked)


TABLE: dict[str, Declared] = {}
"""Word -> command, in the order in which helps list them."""
VALUES: dict[str, type] = {}
"""Word -> the value that a command of a run is."""

C = TypeVar("C")


def declared(
    who: Who, heading: Heading, chat: str = "", title: str = "", about: str = "", *, at_once: bool = False,
    also: tuple[str, ...] = (),
) -> Callable[[type[C]], type[C]]:  # fmt: skip
    """Puts a value into the table; the rest of its declaration is read from the value itself."""

    def put(value: type[C]) -> type[C]:
        own = {f.name: f for f in fields(value)}  # type: ignore[arg-type]
        do = str(own.pop("do").default)
        help = re.sub(r" \(seconds[^)]*\)", "", inspect.cleandoc(value.__doc__ or ""))
        found = tuple(Field(name, f.default is MISSING) for name, f in own.items())
        TABLE[do] = Declared(do, help, who, heading, chat, title, about, at_once, found, also)
        VALUES[do] = value
        return value

    return put


def look(do: str, help: str, chat: str, *also: str) -> None:
    """Changes nothing."""
    TABLE[do] = Declared(do, help, Who.ANYBODY, chat=chat, also=also)


def opens(
    do: str, help: str, who: Who, heading: Heading, needed: Sequence[str], chat: str, title: str = "", about: str = ""
) -> None:
    """Opens a run, beside one that there is or after it."""
    TABLE[do] = Declared(do, help, who, heading, chat, title, about, fields=tuple(Field(n, True) for n in needed))
