"""Which goes back first, the backend or the frontend: by what the builds say that they call of the backend.

Usually the backend does. Where the frontend that is removed calls what the target's own frontend does not, nothing says
that the target's backend answers it: then pages go back first, so that nobody opens one whose calls fail. Tabs that
stay open keep calling either way, and that is said.
"""

import asyncio
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from bot.contract import Check, Fatal, Outgoing, Output, Params, ReadCtx, Status, Verdict
from bot.frontends import KnownBuilds, known, named
from bot.ports import Unreachable

Order = Literal["backend-first", "frontend-first"]
EXPECTED = "each call of the builds that go is one that the target's build makes too"
SHOWN = 3


class FrontendAdviseParams(Params):
    """The builds."""

    build: str | None = Field(description="The build, as the release names it: prefix@sha256:<digest of its manifest>.")
    outgoing: list[Outgoing] = Field([], description="The releases that have to go, with their builds.")
    purpose: str = Field("rollback", description="Which way the run goes: rollback, or forward.")


class FrontendAdviseOutput(Output):
    """What later steps read."""

    order: Order = Field(description="backend-first, or frontend-first where the target's backend may lack a call.")
    lacking: list[str] = Field(description="What only builds that go call.")


class FrontendAdvise(Check[FrontendAdviseParams]):
    """Says whether the frontend has to go back before the backend."""

    name = "frontend.advise"
    needs = frozenset({"sites"})
    Params = FrontendAdviseParams
    Output = FrontendAdviseOutput

    async def run(self, ctx: ReadCtx, p: FrontendAdviseParams) -> Verdict:
        sites = [site.name for site in ctx.ports.sites.sites]
        if not sites:
            return _verdict(Status.PASS, "no site is catalogued: there is no frontend")
        if p.purpose == "forward":
            return _verdict(Status.PASS, "forward the backend goes first, as when the release was deployed")
        try:
            build = named(p.build)
            looks = await asyncio.gather(*(known(ctx.ports.sites, site, build, p.outgoing) for site in sites))
        except (Fatal, Unreachable) as error:
            return _verdict(Status.UNKNOWN, f"{error}; the backend goes first, as it usually does")
        lacking = sorted({call for look in looks for call in _lacking(look)})
        if lacking:
            more = f" and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
            calls = ", ".join(lacking[:SHOWN]) + more
            words = (
                f"the frontend that goes calls {calls}, which {build.short} does not: the frontend goes back first. "
            )
            return _verdict(
                Status.WARN, words + "Tabs that stay open go on calling it until they are reloaded", lacking
            )
        unread = [why for look in looks for why in look.unread]
        if unread:
            return _verdict(Status.UNKNOWN, f"{unread[0]}; the backend goes first, as it usually does")
        if silent := _silent(looks):
            words = f"{silent} does not say what it calls of the backend (`frontend manifest --calls`)"
            return _verdict(Status.UNKNOWN, f"{words}; the backend goes first, as it usually does")
        return _verdict(Status.PASS, f"{build.short} makes every call of the builds that go: the backend goes first")


def _lacking(k: KnownBuilds) -> set[str]:
    """What only builds that go call. Of a target that names no call at all nothing can be said."""
    mine = {*k.builds.target.calls}
    return {call for m in k.builds.gone for call in m.calls if call not in mine} if mine else set()


def _silent(looks: Sequence[KnownBuilds]) -> str:
    """A build that names no call, "" where each does."""
    for k in looks:
        for build, manifest in zip(k.every, (k.builds.target, *k.builds.gone), strict=True):
            if k.builds.gone and not manifest.calls:
                return build.short
    return ""


def _verdict(status: Status, words: str, lacking: Sequence[str] = ()) -> Verdict:
    order: Order = "frontend-first" if lacking else "backend-first"
    seen = FrontendAdviseOutput(order=order, lacking=[*lacking][:50])
    return Verdict(status, words, EXPECTED, seen.model_dump())
