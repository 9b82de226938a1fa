"""What was kept of incidents, on the bot's host: `evidence list | show | prune`; for whoever may read the folder."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from bot.cli.output import Code, End, say
from bot.cli.root import root

if TYPE_CHECKING:
    from bot.store.evidence import KeptEvidence


@root.group("evidence")
def evidence() -> None:
    """Logs and events that were kept: people's data, for few eyes. Works on the bot's host only."""


@evidence.command("list")
def list_() -> None:
    """Each file by its digest, which the record names, and until when it is kept."""
    found = _kept().kept()
    lines = [f"{digest}  until {day}  {size:,} bytes" for day, digest, size in found] or ["No evidence is kept."]
    plain = [{"digest": digest, "until": day.isoformat(), "size": size} for day, digest, size in found]
    say({"evidence": plain}, "\n".join(lines))


@evidence.command("show")
@click.argument("digest", metavar="SHA256:...")
def show(digest: str) -> None:
    """The text of one file, as `evidence list` and the record name it."""
    try:
        text = _kept().read(digest)
    except ValueError as error:
        raise End(Code.BAD_RECORD, f"{error}. Restore it from a backup.") from error
    if text is None:
        raise End(Code.REFUSED, f"{digest} is not kept, or not any more; `rollback-bot evidence list` says what is.")
    say({"digest": digest, "text": text}, text.rstrip("\n"))


@evidence.command("prune")
def prune() -> None:
    """Delete what was to be kept until a day that is past. The bot does it by itself, too."""
    gone = _kept().prune(datetime.now(UTC))
    say({"pruned": gone}, f"The evidence of {gone} day(s) is deleted.")


def _kept() -> KeptEvidence:
    from bot.settings import read_settings
    from bot.store.evidence import KeptEvidence
    from bot.wiring import files_of

    return KeptEvidence(files_of(read_settings()), str)
