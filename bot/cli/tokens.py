"""Personal tokens, on the bot's host: `tokens list | revoke | prune`. These open the database themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from bot.cli.host import on_the_host
from bot.cli.output import Code, End, run_async, say
from bot.cli.root import root

if TYPE_CHECKING:
    from bot.store.rows import Token


@root.group("tokens")
def tokens() -> None:
    """Personal tokens: which there are, and their end. Works on the bot's host only."""


@tokens.command("list")
@click.option("--all", "every", is_flag=True, help="Those that are over as well.")
def list_(every: bool) -> None:
    """Whom each stands for, who issued it, and until when it is good; never the token itself."""
    found, now = run_async(_all())
    shown = [t for t in found if every or t.good(now)]
    lines = [_line(t, now) for t in shown] or ["No token is good for anything now."]
    say({"tokens": [_plain(t, now) for t in shown]}, "\n".join(lines))


@tokens.command("revoke")
@click.argument("whose", nargs=-1, required=True, metavar="NAME|ID...")
def revoke(whose: Sequence[str]) -> None:
    """End every token of a person, or one by its id (12 characters, as `tokens list` has it). Recorded."""
    ended = run_async(_revoked([w.removeprefix("@") for w in whose]))
    if not ended:
        raise End(Code.REFUSED, f"No good token is of {', '.join(whose)}; `rollback-bot tokens list` lists them.")
    say({"revoked": ended}, f"{ended} token(s) of {', '.join(whose)} are no longer good.")


@tokens.command("prune")
def prune() -> None:
    """Forget those that were over 30 days ago; the record keeps that they were. The bot does it by itself, too."""
    gone = run_async(_pruned())
    say({"pruned": gone}, f"{gone} token(s) forgotten.")


async def _all() -> tuple[list[Token], float]:
    async with on_the_host() as bot:
        return await bot.store.tokens(), bot.clock()


async def _revoked(whose: Sequence[str]) -> int:
    async with on_the_host() as bot:
        people = {p.name: p.id for p in await bot.people.everyone()}
        return sum([await bot.store.revoke_tokens(people.get(w, w), bot.clock()) for w in whose])


async def _pruned() -> int:
    async with on_the_host() as bot:
        return await bot.tokens.prune()


def _plain(t: Token, now: float) -> dict[str, Any]:
    return {
        "id": t.name, "person": t.person, "issued_by": t.issued_by, "issued": t.issued_at, "expires": t.expires,
        "revoked": t.revoked, "good": t.good(now),
    }  # fmt: skip


def _line(t: Token, now: float) -> str:
    from bot.telling.times import duration

    left = f"good for {duration(t.expires - now)}" if t.good(now) else "revoked" if t.revoked else "expired"
    return f"{t.name}  {t.person}  {left}; issued {duration(now - t.issued_at)} ago by {t.issued_by}"
