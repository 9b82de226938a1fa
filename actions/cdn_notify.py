"""F1: tell the edge team, before anything is purged, what will be: paths, edges, and the commands that do it by hand.

A post has no before: an undo leaves it. It is written down under a name of its own, so telling again posts nothing
twice; it stands as a record of what was prepared also where nobody has to act.
"""

from collections.abc import Collection, Mapping, Sequence

from pydantic import Field

from bot.contract import Action, Change, Ctx, Effect, Fatal, Outgoing, Params, ReadCtx, Receipt, Value
from bot.frontends import known, named, shown
from bot.ports import Unreachable
from bot.ports.notices import Topic

MOST = 2400
"""Characters of commands in a post."""


class CdnNotifyParams(Params):
    """Whom to tell of what."""

    channels: list[str] = Field(description="Channels of the edge team.")
    build: str | None = Field(description="The build that will be published: prefix@sha256:<digest of its manifest>.")
    outgoing: list[Outgoing] = Field([], description="The releases that have to go, with their builds.")


class CdnNotify(Action[CdnNotifyParams]):
    """Posts once in each channel of the edge team what will be purged, and how it is done by hand."""

    name = "cdn.notify"
    needs = frozenset({"notices", "sites", "edges"})
    Params = CdnNotifyParams

    async def plan(self, ctx: ReadCtx, p: CdnNotifyParams) -> Change:
        channels = sorted({*p.channels})
        if not channels:
            return Change("no channel of an edge team is catalogued")
        if not ctx.ports.edges.edges:
            return Change("no edge is catalogued: there is nothing to purge")
        return Change(f"tell {', '.join(channels)}", effects=tuple(Effect(f"post in {c}") for c in channels))

    async def observe(self, ctx: ReadCtx, p: CdnNotifyParams, targets: Collection[str]) -> Mapping[str, Value]:
        return dict.fromkeys(targets)

    async def apply(self, ctx: Ctx, p: CdnNotifyParams, change: Change) -> Receipt:
        told = [c for c in sorted({*p.channels}) if any(e.what == f"post in {c}" for e in change.effects)]
        if told:
            text = await _words(ctx, p)
            for channel in told:
                await ctx.ports.notices.post(channel, f"cdn.{channel}", text)
        return Receipt(f"told {', '.join(told)}" if told else change.summary)


async def _words(ctx: Ctx, p: CdnNotifyParams) -> str:
    topic = ctx.ports.notices.topic
    paths, unsure = await _paths(ctx, p)
    lines = [_first(topic), f"Will be purged: {shown(paths, 12)}.{unsure}"]
    for edge in ctx.ports.edges.edges:
        what = f"CloudFront {edge.distribution}" if edge.distribution else edge.url
        commands = ctx.ports.edges.commands(edge.name, paths)
        if not commands:
            lines.append(f"{edge.name} ({what}): the bot cannot purge it. Please see to these paths.")
            continue
        lines.append(f"{edge.name} ({what}): the bot does it. By hand:")
        lines += [f"`{_cut(command)}`" for command in commands]
    return "\n".join(lines)


def _first(t: Topic) -> str:
    way = "forward again" if t.forward else "back"
    where = f" Follow it in {t.channel}." if t.channel else ""
    return f"{t.service}: its frontend goes {way}, {t.removed} → {t.target}. Nothing to do for you now.{where}"


async def _paths(ctx: Ctx, p: CdnNotifyParams) -> tuple[Sequence[str], str]:
    """What will be forgotten; and what to say where that is a guess."""
    try:
        site = ctx.ports.sites.sites[0]
        return (await known(ctx.ports.sites, site.name, named(p.build), p.outgoing)).paths, ""
    except (IndexError, Fatal, Unreachable):
        return ("/", "/index.html"), " Which other files change is not known yet."


def _cut(command: str) -> str:
    return command if len(command) <= MOST else f"{command[:MOST]}…` (cut; the record has it whole) `"
