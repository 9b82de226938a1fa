"""The record from a terminal: `audit verify`, `audit RUN verify`, `audit RUN export`.

Through the bot, or with `--database` past it: an auditor need not trust the program whose record it is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bot.cli.client import path
from bot.cli.host import on_the_host
from bot.cli.link import ONLY, bot, run_path
from bot.cli.output import Code, End, note, os_user, plain, run_async, say
from bot.cli.root import Remote, root
from bot.run.declared import MIN_REASON

if TYPE_CHECKING:
    from bot.policy import Actor
    from bot.wiring import Offline

_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@root.command("audit", cls=Remote)
@click.argument("words", nargs=-1, metavar="[RUN] verify|export|accept-loss|sign")
@click.option("--format", "form", type=click.Choice(["markdown", "html", "jsonl", "archive"]), default="markdown",
              show_default=True, help="Of an export: a table or a page for people, the rows for programs; with "
              "--database and -o an archive of all that an auditor asks for.")  # fmt: skip
@click.option("--output", "-o", type=_FILE, help="A file to write to.")
@click.option("--reason", help="Of accept-loss and sign: why, for whoever reads it later.")
@click.option("--all", "whole", is_flag=True, help="Of an export as jsonl or archive with --database: every run, "
              "and every checkpoint.")  # fmt: skip
@click.option("--database", is_flag=True, help="Read ROLLBACK_DATABASE_URL itself, on its host, beside any bot.")
def audit(
    words: tuple[str, ...], form: str, output: Path | None, reason: str | None, whole: bool, database: bool
) -> None:
    """Verify the record, of everything or of one run, or export one run's. Exit code 4: the record is bad.

    accept-loss, on the bot's host and with every bot stopped: go on from a database that an older backup was restored
    to, as your OS user. It is recorded, and enters the chain.

    sign, likewise: vouch for entries that no known key has signed, because they were written before signing was on, or
    the key is lost. What is vouched for is acted upon: look at it first.
    """
    if words in (("accept-loss",), ("sign",)):
        _stopped(words[0], reason)
        return
    run, what = _meant(words)
    if what == "verify":
        _verify(run, database)
    elif form == "archive":
        if not database or output is None or whole == (run is not None):
            raise click.UsageError("An archive is `audit RUN export --format archive --database -o FILE`, or --all.")
        _packed(run, output)
    elif whole:
        if not database or form != "jsonl" or run is not None:
            raise click.UsageError("--all is of `audit export --format jsonl --database`, and names no run.")
        run_async(_everything(output))
    elif database:
        _write(run_async(_past_the_bot(run or "", form)), output)
    else:
        _write(bot().text(f"{run_path(run or ONLY, 'audit')}?format={form}"), output)


def _meant(words: tuple[str, ...]) -> tuple[str | None, str]:
    what = [w for w in words if w in ("verify", "export")]
    runs = [w for w in words if w not in ("verify", "export")]
    if len(what) != 1 or len(runs) > 1:
        raise click.UsageError("This takes `audit [RUN] verify`, `audit RUN export` or `audit accept-loss`.")
    return (runs[0] if runs else None), what[0]


def _stopped(what: str, reason: str | None) -> None:
    if reason is None or len(reason.strip()) < MIN_REASON:
        raise click.UsageError(f"{what} needs a --reason that others can understand later.")
    from bot import wiring
    from bot.settings import read_settings

    if no := wiring.redactor_of(read_settings()).objection(reason):
        raise End(Code.USAGE, no)
    found, told = run_async(_alone(_accepted if what == "accept-loss" else _signed, reason.strip()))
    say(found, f"{told} Start the bot.")


_Told = tuple[dict[str, Any], str]


async def _alone(do: Callable[[Offline, Actor, str], Awaitable[_Told]], reason: str) -> _Told:
    """On the bot's host, while no bot works on the database."""
    from bot.cli.alone import alone_meanwhile
    from bot.policy import Actor

    async with on_the_host() as base, alone_meanwhile(base.settings.database_url, "audit", base.settings.lease):
        user = os_user()
        try:
            return await do(base, Actor(f"os:{user}", user, (), "host"), reason)
        except ValueError as e:
            raise End(Code.REFUSED, str(e)) from None


async def _accepted(base: Offline, by: Actor, reason: str) -> _Told:
    from bot import wiring
    from bot.node.outside import Outside

    await wiring.keyed(base.store)
    head = await Outside(base.files, base.store, base.releases, base.clock).accept(by, reason)
    found = {"n": head.n, "run": head.run, "chain": head.chain}
    return found, f"Recorded as {head.run}, checkpoint {head.n}."


async def _signed(base: Offline, by: Actor, reason: str) -> _Told:
    from bot.audit import verify
    from bot.node.outside import Outside
    from bot.store.vouching import vouch

    outside = Outside(base.files, base.store, base.releases, base.clock)
    await outside.begin()
    found = await verify(base.store)
    if bad := [f for f in found.faults if f.what != "signature"]:
        raise End(Code.BAD_RECORD, f"The record does not fit together, so nothing was signed. {bad[0].text}")
    said = await vouch(base.store, by, reason, base.clock())
    await outside.keep()
    told = f"Signed with {said.key}: {said.count} runs ({', '.join(said.runs[:10])}{', …' if said.count > 10 else ''})."
    return {"key": said.key, "runs": list(said.runs), "count": said.count}, told


def _verify(run: str | None, database: bool) -> None:
    if database:
        found: Any = run_async(_past_the_bot(run, "verify"))
    else:
        found = bot().get(path("audit") if run is None else run_path(run, "audit"))
    if found["ok"]:
        say(found, found["text"])
        return
    lines = [found["text"], *(f"  {f['text']}" for f in found["faults"][1:])]
    left = "Stop the bot, keep this database as it is, and compare it with a backup and with the posts in the thread."
    raise End(Code.BAD_RECORD, "\n".join([*lines, left]), found)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(plain(text), nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        note(f"Written to {output}.")


def _packed(run: str | None, output: Path) -> None:
    """Beside the file first: a half archive is none."""
    beside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        found, missing = run_async(_archived(run, beside))
        beside.replace(output)
    except LookupError as e:
        raise End(Code.USAGE, f"{e}. `history` lists them; with --database it takes its whole id.") from None
    finally:
        beside.unlink(missing_ok=True)
    away = [f"{m['digest'][:19]}, {m['is']}: {m['why']}" for m in missing]
    say(found, "\n".join([f"{output}: {found['text']}", *([f"Not in it, {len(away)}:", *away] if away else [])]))


async def _archived(run: str | None, to: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from bot import wiring
    from bot.audit import ArchiveSources, archive
    from bot.store.evidence import KeptEvidence

    async with on_the_host() as base:
        evidence = KeptEvidence(base.files, base.redactor.text)
        people = await base.people.everyone()
        kept = ArchiveSources(
            base.store, base.files, evidence, people, lambda text: base.redactor.text(text) == text, wiring.VERSION,
            base.clock(),
        )  # fmt: skip
        with os.fdopen(os.open(to, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
            packed = await archive(file, kept, run)
    text = f"{packed.rows} entries of {packed.runs} runs, {len(packed.files)} files. It holds people's data: few eyes."
    return {"text": text, "rows": packed.rows, "runs": packed.runs, "missing": packed.missing}, packed.missing


async def _everything(output: Path | None) -> None:
    """Line by line: it may be large."""
    from bot.audit import exported
    from bot.settings import read_settings
    from bot.store.log import Store
    from bot.wiring import check_schema

    store = await Store.open(read_settings().database_url)
    try:
        await check_schema(store)
        with output.open("w", encoding="utf-8") if output is not None else contextlib.nullcontext() as file:
            async for line in exported(store):
                click.echo(line if file is not None else plain(line), file=file)
    finally:
        await store.close()
    if output is not None:
        note(f"Written to {output}.")


async def _past_the_bot(run: str | None, form: str) -> Any:
    from bot.audit import export_jsonl, export_markdown, html, pictures_of
    from bot.settings import read_settings
    from bot.store.log import Store
    from bot.web.record import verified
    from bot.wiring import check_schema, files_of, keys_of

    settings = read_settings()
    store = await Store.open(settings.database_url, keys=keys_of(settings))
    try:
        await check_schema(store)
        if form == "verify":
            return await verified(store, files_of(settings), run)
        rows = await store.events(run or "")
        if not rows:
            raise End(Code.USAGE, "Export which run? `history` lists them; with --database it takes its whole id.")
        if form == "jsonl":
            return await export_jsonl(store, rows[0].run)
        if form == "html":
            return html(rows, await pictures_of(rows, files_of(settings)))
        return export_markdown(rows)
    finally:
        await store.close()
