"""F3: which share of the edges serves the build that is to be there: each entry point, configuration and service
worker, asked of every address as a visitor without a cookie would, and compared byte for byte.

No answer is unknown, never right. What an edge serves in its place is named by the release it belongs to.
"""

import asyncio
from collections.abc import Sequence

from pydantic import Field

from bot.contract import Check, Fatal, Outgoing, Output, Params, ReadCtx, Status, Verdict
from bot.frontends import REMOVER_HELD, KnownBuilds, known, named
from bot.ports import Unreachable
from bot.ports.builds import paths_of
from bot.ports.edges import EdgeAnswer

EXPECTED = "every address of every edge serves the build's pages"
NAMED = 5
"""How many wrong answers are told one by one."""


class EdgeConvergedParams(Params):
    """What is to be served."""

    build: str | None = Field(description="The build that is to be served: prefix@sha256:<digest of its manifest>.")
    outgoing: list[Outgoing] = Field([], description="The releases that have to go, with their builds.")


class EdgeConvergedOutput(Output):
    """How far it is."""

    probes: int = Field(description="Questions asked: addresses times paths.")
    right: int = Field(description="Of these, answers with the right content.")
    share: float = Field(description="The share of right answers, 0 to 1.")
    wrong: dict[str, str] = Field(description="Edge, address and path -> what it serves, or why that is unknown.")


class EdgeConverged(Check[EdgeConvergedParams]):
    """Passes when every address of every edge serves the right build."""

    name = "edge.converged"
    needs = frozenset({"sites", "edges"})
    Params = EdgeConvergedParams
    Output = EdgeConvergedOutput

    async def run(self, ctx: ReadCtx, p: EdgeConvergedParams) -> Verdict:
        edges, sites = [e.name for e in ctx.ports.edges.edges], ctx.ports.sites.sites
        if not edges:
            if not sites:
                return _verdict(Status.PASS, "no edge and no site is catalogued", 0, {}, {})
            return _verdict(Status.UNKNOWN, "no edge is catalogued: what browsers get is not known", 0, {}, {})
        if not sites:
            return _verdict(Status.UNKNOWN, "no site is catalogued: what should be served is not known", 0, {}, {})
        try:
            k = await known(ctx.ports.sites, sites[0].name, named(p.build), p.outgoing)
        except (Fatal, Unreachable) as error:
            return _verdict(Status.UNKNOWN, str(error), 0, {}, {})
        wanted = _wanted(k)
        answers = await asyncio.gather(*(ctx.ports.edges.served(edge, [*wanted]) for edge in edges))
        wrong: dict[str, str] = {}
        silent: dict[str, str] = {}
        for edge, served in zip(edges, answers, strict=True):
            for s in served:
                what = f"{edge} {s.address} {s.path}"
                if s.fault:
                    silent[what] = s.fault
                elif fault := _fault(s, wanted[s.path], k, p.outgoing):
                    wrong[what] = fault
        probes = sum(map(len, answers))
        status = Status.FAIL if wrong else Status.UNKNOWN if silent or not probes else Status.PASS
        return _verdict(status, "", probes, wrong, silent)


def _wanted(k: KnownBuilds) -> dict[str, str]:
    """Path -> SHA-256 of what is to be served there."""
    files = k.builds.target.files
    found = {path: files[key].sha256 for key in k.builds.target.fronts for path in paths_of([key])}
    return found | {path: REMOVER_HELD.sha256 for path in paths_of(k.builds.orphans)}


def _fault(s: EdgeAnswer, sha256: str, k: KnownBuilds, outgoing: Sequence[Outgoing]) -> str:
    """What it serves instead; empty where it is right."""
    if s.status != 200:
        return f"answers {s.status}"
    if sha256 in s.digests:
        return ""
    gone = {
        f.sha256: release.version
        for release in outgoing
        for build, m in zip(k.others, k.builds.gone, strict=True)
        if release.frontend == str(build)
        for f in m.files.values()
    }
    old = next((gone[d] for d in s.digests if d in gone), None)
    age = f", {s.headers['age']} s old" if s.headers.get("age") else ""
    return f"still serves {old}{age}" if old else f"serves something else{age}"


def _verdict(status: Status, words: str, probes: int, wrong: dict[str, str], silent: dict[str, str]) -> Verdict:
    right = probes - len(wrong) - len(silent)
    told = [f"{what}: {why}" for what, why in [*wrong.items(), *silent.items()]]
    more = f"; and {len(told) - NAMED} more" if len(told) > NAMED else ""
    said = words or "; ".join([f"{right} of {probes} right", *told[:NAMED]]) + more
    kept = dict([*(wrong | silent).items()][:50])
    share = right / probes if probes else 0.0
    seen = EdgeConvergedOutput(probes=probes, right=right, share=share, wrong=kept)
    return Verdict(status, said, EXPECTED, seen.model_dump())
