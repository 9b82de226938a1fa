"""The commands, put together; what every one of them takes; how each may end.

Command modules are imported here and must stay light: click and the standard library at their top, no more.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Sequence
from typing import Any

import click

from bot.cli.output import MEANINGS, Code, CommonOptions, End, note
from bot.run.commands import TABLE
from bot.run.declared import Heading

URL = "http://127.0.0.1:8090"
"""Where the bot is looked for; as in bot.settings."""


def _under(heading: Heading) -> str:
    return " ".join(c.do for c in TABLE.values() if c.heading is heading)


SECTIONS = (
    ("Open and follow", f"rollback preview status show debts history {_under(Heading.FOLLOW)} whoami"),
    *((h.value, _under(h)) for h in (Heading.FREEZE, Heading.DECIDE, Heading.STEER, Heading.STEPS)),
    ("Record, releases, plans", "audit report release frontend plan"),
    ("On the bot's host", "init serve db token tokens key evidence doctor rights slack demo playground drill"),
    ("Help", "help"),
)


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value and param.name:
        setattr(ctx.find_root().ensure_object(CommonOptions), param.name, value)


def _everywhere() -> list[click.Option]:
    shared: dict[str, Any] = {"expose_value": False, "callback": _keep}
    return [
        click.Option(["--json"], is_flag=True, help="Print JSON.", **shared),
        click.Option(["--debug"], is_flag=True, help="Show where an error comes from.", **shared),
    ]


def _to_the_bot() -> list[click.Option]:
    shared: dict[str, Any] = {"expose_value": False, "callback": _keep}
    return [
        click.Option(
            ["--url"], envvar="ROLLBACK_URL", default=URL, show_default=True, show_envvar=True,
            help="Where the bot is. Your token is read from ROLLBACK_TOKEN.", **shared,
        ),
        click.Option(
            ["--direct"], metavar="REASON",
            help="For a dead bot only, on its host: work on the database itself, as your OS user. Recorded.", **shared,
        ),
    ]  # fmt: skip


class TerminalCommand(click.Command):
    """A command that takes --json and --debug."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _everywhere()


class Remote(TerminalCommand):
    """A command that speaks to the running bot."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _to_the_bot()


class Group(click.Group):
    """A group that guesses what a mistyped command meant, and turns every end into an exit code."""

    command_class = TerminalCommand
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _everywhere()

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a guess."""
        word = args[0]
        if self.get_command(ctx, word) is None and not word.startswith("-"):
            near = difflib.get_close_matches(word, self.list_commands(ctx), n=1, cutoff=0.5)
            guess = f"did you mean {near[0]!r}?" if near else f"`{ctx.find_root().info_name} help` lists them."
            ctx.fail(f"There is no command {word!r}; {guess}")
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added: as people need them."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Under headings, in the order in which people need them."""
        left = dict(self.commands)
        for heading, names in SECTIONS if ctx.parent is None else ():
            with formatter.section(heading):
                formatter.write_dl([(n, left.pop(n).get_short_help_str(62)) for n in names.split() if n in left])
        if left:
            with formatter.section("Commands"):
                formatter.write_dl([(n, c.get_short_help_str(62)) for n, c in left.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; whatever goes wrong ends in plain words."""
        if ctx.parent is not None:
            return super().invoke(ctx)
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            if ctx.find_root().ensure_object(CommonOptions).debug:
                traceback.print_exc()
            raise
        except KeyboardInterrupt:
            note("\nInterrupted. Nothing more was asked of the bot; what it was asked before goes on.")
            raise click.exceptions.Exit(int(Code.INTERRUPTED)) from None
        except BrokenPipeError:
            raise
        except Exception as e:
            if ctx.find_root().ensure_object(CommonOptions).debug:
                traceback.print_exc()
            raise known(e) from e


def known(e: Exception) -> click.ClickException:
    """An error of the modules below as an end in plain words."""
    kind = type(e).__name__
    code = _ENDS.get(kind)
    if code is not None:
        return End(code, str(e))
    return End(Code.FAULT, f"This is a fault of rollback-bot ({kind}: {e}). --debug shows where.")


_ENDS = {
    "AlreadyRunning": Code.REFUSED, "BadAddress": Code.USAGE, "BlobsUnavailable": Code.UNREACHABLE,
    "Faults": Code.USAGE, "NotShared": Code.USAGE, "RecordCut": Code.BAD_RECORD, "RegistryError": Code.USAGE,
    "SchemaMismatch": Code.UNREACHABLE, "SettingsError": Code.USAGE, "StoreUnavailable": Code.UNREACHABLE,
    "Unclear": Code.USAGE, "UnknownRevision": Code.USAGE,
}  # fmt: skip
"""By name, because importing them takes longer than most commands run."""


def _epilog() -> str:
    lines = [f"  {int(code):>3}  {meaning}" for code, meaning in MEANINGS.items()]
    return "\b\nExit codes:\n" + "\n".join(lines)


_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=Group, epilog=_epilog(), context_settings=_SETTINGS)
@click.version_option(package_name="rollback-bot", prog_name="rollback-bot")
def root() -> None:
    """Rolls a bad release back: what people approved is exactly what happens, once, recorded, and can be undone.

    \b
    rollback-bot rollback shop to 2.4.0 because checkout fails
    rollback-bot show --live            follow it
    rollback-bot approve                look at the open decision, then say yes or no

    RUN is a run's id, or a service with one open run; leave it out where only one run is open.
    """


@root.command("help")
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@click.pass_context
def help_(ctx: click.Context, words: Sequence[str]) -> None:
    """What a command does and takes."""
    command: click.Command = root
    at = ctx.find_root()
    for word in words:
        if not isinstance(command, click.Group):
            raise click.UsageError(f"{at.command_path} has no commands of its own.", ctx)
        _, found, _ = command.resolve_command(at, [word])
        if found is None:
            raise click.UsageError(f"There is no command {word!r}.", ctx)
        command, at = found, click.Context(found, parent=at, info_name=word)
    click.echo(command.get_help(at))
