"""What many runs tell together: `report`."""

from __future__ import annotations

from pathlib import Path

import click

from bot.cli.client import path
from bot.cli.link import answer, bot
from bot.cli.output import say
from bot.cli.root import Remote, root


@root.command("report", cls=Remote)
@click.argument("service", required=False)
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=200, show_default=True, help="How many runs, the newest."
)
@click.option(
    "--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write it as a page to this file."
)
def report(service: str | None, limit: int, page: Path | None) -> None:
    """How long rollbacks took until the first card, the first decision, the service was back and verified; what people
    were waited for; which steps stopped."""
    if page is None:
        found = bot().get(path("report"), service=service, limit=limit)
        say(found, answer(found))
        return
    query = f"?format=html&limit={limit}" + (f"&service={service}" if service else "")
    page.write_text(bot().text(path("report") + query), encoding="utf-8")
    say({"written": str(page)}, f"Wrote {page}.")
