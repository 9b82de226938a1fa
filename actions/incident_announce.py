"""B1: tell the other incident channels of a service what is happening, why, and where to follow it.

The channel of the run itself has the root card, which says more. A post has no before: an undo leaves it. It is
written down under a name of its own, so telling again posts nothing twice.
"""

from collections.abc import Collection, Mapping

from pydantic import Field

from bot.contract import Action, Change, Ctx, Effect, Params, ReadCtx, Receipt, Value
from bot.ports.notices import Topic


class IncidentAnnounceParams(Params):
    """Whom to tell."""

    channels: list[str] = Field(description="Channels; the run's own is left out.")


class IncidentAnnounce(Action[IncidentAnnounceParams]):
    """Posts once in each further incident channel that a rollback has begun."""

    name = "incident.announce"
    needs = frozenset({"notices"})
    Params = IncidentAnnounceParams

    async def plan(self, ctx: ReadCtx, p: IncidentAnnounceParams) -> Change:
        others = _others(ctx, p)
        if not others:
            return Change("no further channel to tell: the run's own has its card")
        effects = tuple(Effect(f"post in {channel}") for channel in others)
        return Change(f"tell {', '.join(others)}", effects=effects)

    async def observe(self, ctx: ReadCtx, p: IncidentAnnounceParams, targets: Collection[str]) -> Mapping[str, Value]:
        return dict.fromkeys(targets)

    async def apply(self, ctx: Ctx, p: IncidentAnnounceParams, change: Change) -> Receipt:
        told = [c for c in _others(ctx, p) if any(e.what == f"post in {c}" for e in change.effects)]
        for channel in told:
            await ctx.ports.notices.post(channel, f"announce.{channel}", _words(ctx.ports.notices.topic))
        return Receipt(f"told {', '.join(told)}" if told else change.summary)


def _others(ctx: ReadCtx, p: IncidentAnnounceParams) -> list[str]:
    own = ctx.ports.notices.topic.channel
    return sorted({channel for channel in p.channels if channel != own})


def _words(t: Topic) -> str:
    what = "is being rolled forward again to the newer version" if t.forward else "is being rolled back"
    where = f" Follow it in {t.channel}." if t.channel else ""
    lines = [f"{t.service} {what}: {t.removed} → {t.target}.{where}"]
    if t.reason:
        lines.append(f"Reason: {t.reason}")
    return "\n".join([*lines, f"Commander: {t.commander} · run {t.run}"])
