"""Looking at runs, and opening them: `rollback`, `status`, `show`, `debts`, `history`, `preview`, `forward`,
`replan`, `whoami`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from bot.cli.client import path
from bot.cli.link import ONLY, answer, bot, run_path, split
from bot.cli.live import follow
from bot.cli.output import Code, End, say
from bot.cli.root import Remote, root
from bot.run.commands import TABLE
from bot.words import EXAMPLE, Sentence, Unclear, moment, sentence

_EXAMPLE = f"rollback-bot rollback {EXAMPLE}"


@root.command("rollback", cls=Remote)
@click.argument("words", nargs=-1, metavar="SERVICE [to VERSION] [plan NAME] [because WORDS...]")
@click.option("--to", metavar="VERSION", help="The release to go back to; the best one by the ledger otherwise.")
@click.option("--reason", metavar="TEXT", help="What is wrong: the same as because WORDS.")
@click.option("--plan", metavar="NAME", help="Another plan than the service's own, e.g. a smaller one.")
@click.option("--channel", default="", metavar="NAME", help="The incident's channel.")
@click.option("--despite", is_flag=True, help="Although some decision can be passed only by breaking the glass.")
@click.option("--live", is_flag=True, help="Follow it to its end.")
def rollback(
    words: tuple[str, ...], to: str | None, reason: str | None, plan: str | None, live: bool, **rest: str | bool
) -> None:
    """Open a rollback. Nothing is changed before its commander starts it."""
    meant = _meant(words, to, reason, plan)
    if not meant.reason:
        raise click.UsageError(f"Why? Say it for everybody to read: {_EXAMPLE}")
    found = bot().post(path("rollbacks"), {**asdict(meant), **rest})
    say(found, answer(found))
    if live and found["run"]:
        _follow(found["run"])


@root.command("status", cls=Remote, help=TABLE["status"].help)
@click.argument("run", required=False)
def _status(run: str | None) -> None:
    if run is not None:
        return _show(run)
    client = bot()
    found = client.get(path("runs"), open="true", limit=100)
    owed = client.get(path("debts"))
    lines = [f"{r['title']}   [{r['run']}]\n  {r['status']}" for r in found["runs"]]
    lines = lines or ["No run is open. `history` lists the ended ones."]
    lines += ["", "Still owed", owed["text"]] if owed["owed"] else []
    say(found | {"owed": owed["owed"]}, "\n".join(lines))


@root.command("debts", cls=Remote, help=TABLE["debts"].help)
@click.argument("service", required=False)
def _debts(service: str | None) -> None:
    found = bot().get(path("debts"), service=service)
    say(found, answer(found))


@root.command("show", cls=Remote)
@click.argument("run", default=ONLY)
@click.option("--live", is_flag=True, help="Follow it to its end; goes on when the bot restarts.")
def show(run: str, live: bool) -> None:
    """One run: where it stands, what is to be decided, what to do next."""
    if live:
        _follow(run)
    else:
        _show(run)


@root.command("history", cls=Remote, help=TABLE["history"].help)
@click.argument("service", required=False)
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many runs.")
def _history(service: str | None, limit: int) -> None:
    found = bot().get(path("runs"), service=service, limit=limit)
    lines = [f"{_when(r['created'])}  {r['run']:<24} {r['title']}: {r['status']}" for r in found["runs"]]
    say(found, "\n".join(lines) or "There is no run yet.")


@root.command("preview", cls=Remote, help=TABLE["preview"].help)
@click.argument("words", nargs=-1, metavar="SERVICE [to VERSION] [plan NAME]")
@click.option("--to", metavar="VERSION", help="The release to go back to; the best one by the ledger otherwise.")
@click.option("--plan", metavar="NAME", help="Another plan than the service's own.")
def _preview(words: tuple[str, ...], to: str | None, plan: str | None) -> None:
    found = bot().post(path("previews"), asdict(_meant(words, to, "preview", plan)))
    say(found, answer(found))


@root.command("forward", cls=Remote, help=TABLE["forward"].help)
@click.argument("words", nargs=-1, metavar="RUN because WORDS...")
@click.option("--reason", default="", metavar="TEXT", help="The same as because WORDS.")
def _forward(words: tuple[str, ...], reason: str) -> None:
    _, given, because = split(words, ["RUN"])
    if not (reason or because):
        raise click.UsageError("forward needs a reason: because <why>, or --reason.")
    found = bot().post(run_path(given[0], "forward"), {"reason": reason or because})
    say(found, answer(found))


@root.command("postmortem", cls=Remote, help=TABLE["postmortem"].help)
@click.argument("run")
@click.option(
    "--at", required=True, metavar="TIME", help="When it begins: 18:00, 3d or 2026-12-01T10:00, in your zone."
)
def _postmortem(run: str, at: str) -> None:
    try:
        begins = moment(at, datetime.now().astimezone())
    except Unclear as error:
        raise click.UsageError(str(error)) from None
    found = bot().post(run_path(run, "postmortem"), {"at": begins})
    say(found, answer(found))


@root.command("replan", cls=Remote, help=TABLE["replan"].help)
@click.argument("words", nargs=-1, metavar="[RUN] PLAN because WORDS...")
@click.option("--reason", default="", metavar="TEXT", help="The same as because WORDS.")
def _replan(words: tuple[str, ...], reason: str) -> None:
    run, (plan,), because = split(words, ["PLAN"])
    if not (reason or because):
        raise click.UsageError("replan needs a reason: because <why>, or --reason.")
    found = bot().post(run_path(run, "replan"), {"plan": plan, "reason": reason or because})
    say(found, answer(found))


@root.command("whoami", cls=Remote)
def whoami() -> None:
    """Whom your token stands for, and what roles you hold now."""
    found = bot().get(path("me"))
    roles = ", ".join(found["roles"]) or "no role"
    say(found, f"{found['name']} (@{found['id']}): {roles}")


def _meant(words: tuple[str, ...], to: str | None, reason: str | None, plan: str | None) -> Sentence:
    found = sentence(words, _EXAMPLE)
    for what, typed, given in (("To", found.to, to), ("By plan", found.plan, plan)):
        if typed and given and typed != given:
            raise click.UsageError(f"{what} {typed} or {given}?")
    return Sentence(found.service, to or found.to, reason or found.reason, plan or found.plan)


def _show(run: str) -> None:
    found = bot().get(run_path(run))
    say(found, answer(found))


def _follow(run: str) -> None:
    outcome = follow(bot(), run)
    if outcome != "verified":
        raise End(Code.NOT_VERIFIED, f"It ended: {outcome}.", {"outcome": outcome})


def _when(at: Any) -> str:
    return datetime.fromtimestamp(float(at)).astimezone().strftime("%Y-%m-%d %H:%M")
