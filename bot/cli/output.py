"""How the command line ends and what it prints: exit codes, plain text or JSON, nothing that moves a terminal."""

from __future__ import annotations

import enum
import json
import os
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

import click

T = TypeVar("T")


class Code(enum.IntEnum):
    """Exit codes."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    UNREACHABLE = 3
    BAD_RECORD = 4
    NOT_VERIFIED = 5
    UNWELL = 6
    FAULT = 70
    INTERRUPTED = 130


MEANINGS: Mapping[Code, str] = {
    Code.DONE: "done",
    Code.REFUSED: "refused: a no, with its reason on stderr",
    Code.USAGE: "bad usage or input",
    Code.UNREACHABLE: "the bot, or its database, cannot be reached",
    Code.BAD_RECORD: "the record is bad: audit verify found something",
    Code.NOT_VERIFIED: "show --live: the run ended other than verified",
    Code.UNWELL: "doctor: something is at fault",
    Code.FAULT: "a fault of the program; --debug shows where",
    Code.INTERRUPTED: "interrupted by Ctrl-C",
}


@dataclass
class CommonOptions:
    """What was asked of every command alike. direct: the reason for going to the database of a dead bot."""

    json: bool = False
    debug: bool = False
    url: str = ""
    direct: str = ""
    told: set[str] = field(default_factory=set)


def asked() -> CommonOptions:
    """Of the command that is running."""
    return click.get_current_context().find_root().ensure_object(CommonOptions)


class End(click.ClickException):
    """An end other than done: exit code, what to say on stderr, and its JSON on stdout where that is wanted."""

    def __init__(self, code: Code, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(plain(message))
        self.code = code
        self.json = click.get_current_context(silent=True) is not None and asked().json
        self.data = {"why": code.name.lower().replace("_", "-"), "text": message, **(data or {})}

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """What the process ends with."""
        return int(self.code)

    def show(self, file: IO[str] | None = None) -> None:
        """The reason; in JSON on stdout as well."""
        if self.json:
            click.echo(json.dumps({"error": self.data}, ensure_ascii=False))
        click.echo(self.message, file=file or sys.stderr)


def plain(text: str) -> str:
    """The text without what would steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def say(data: Any, text: str) -> None:
    """Prints the answer: `text` for people, `data` where JSON is wanted."""
    click.echo(json.dumps(data, ensure_ascii=False) if asked().json else plain(text))


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Its result; asyncio is imported only where it is needed."""
    import asyncio

    return asyncio.run(work)


def os_user() -> str:
    """Who is logged in, by name; by number where the system knows no name (a container's user)."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def note(text: str) -> None:
    """Prints something beside the answer, on stderr."""
    click.echo(plain(text), err=True)
