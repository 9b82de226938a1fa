"""F4: the runtime configuration that browsers get fits the backend that serves now, key by key.

What the edge serves is compared with what the backend says it works with; only what both name can differ, and of that
the published value is public anyway. Values that look like secrets are told by their name alone.
"""

import json
from collections.abc import Iterator, Mapping

from pydantic import Field

from bot.contract import Check, Fatal, Json, Output, Params, ReadCtx, Status, Verdict
from bot.frontends import known, named
from bot.ports import Unreachable
from bot.ports.builds import Manifest
from bot.ports.edges import Edge

EXPECTED = "what is published as configuration is what the backend reports"


class SettingsAlignedParams(Params):
    """What is published."""

    build: str | None = Field(description="The build that is published: prefix@sha256:<digest of its manifest>.")


class SettingsAlignedOutput(Output):
    """What differs."""

    compared: int = Field(description="Keys that both name.")
    differing: dict[str, str] = Field(description="Edge and key -> both values.")
    unknown: dict[str, str] = Field(description="Edge -> why it could not be compared.")


class SettingsAligned(Check[SettingsAlignedParams]):
    """Passes when the published configuration agrees with what the backend reports."""

    name = "settings.aligned"
    needs = frozenset({"sites", "edges", "http", "secrets"})
    Params = SettingsAlignedParams
    Output = SettingsAlignedOutput

    async def run(self, ctx: ReadCtx, p: SettingsAlignedParams) -> Verdict:
        edges = [e for e in ctx.ports.edges.edges if e.backend and e.reports]
        if not edges:
            return _verdict(Status.PASS, "no edge names a page of the backend to compare with", 0, {}, {})
        if not ctx.ports.sites.sites:
            return _verdict(Status.UNKNOWN, "no site is catalogued: what is published is not known", 0, {}, {})
        try:
            k = await known(ctx.ports.sites, ctx.ports.sites.sites[0].name, named(p.build), ())
        except (Fatal, Unreachable) as error:
            return _verdict(Status.UNKNOWN, str(error), 0, {}, {})
        if not k.builds.target.config:
            return _verdict(Status.PASS, "the build has no runtime configuration", 0, {}, {})
        compared, differing, unknown = 0, dict[str, str](), dict[str, str]()
        for edge in edges:
            looked = await _look(ctx, edge, k.builds.target)
            if isinstance(looked, str):
                unknown[edge.name] = looked
                continue
            published, reported = looked
            both = sorted(published.keys() & reported.keys())
            compared += len(both)
            if not both:
                unknown[edge.name] = "the published configuration and the backend's page have no key in common"
            for key in both:
                if published[key] != reported[key]:
                    shown = "differs" if _secret(ctx, key, reported[key]) else _both(published[key], reported[key])
                    differing[f"{edge.name} {key}"] = shown
        status = Status.FAIL if differing else Status.UNKNOWN if unknown else Status.PASS
        lines = [f"{what}: {why}" for what, why in (differing | unknown).items()]
        return _verdict(status, "; ".join(lines) or f"{compared} keys agree", compared, differing, unknown)


def _secret(ctx: ReadCtx, key: str, value: Json) -> bool:
    return ctx.ports.secrets.looks(value, key)


async def _look(ctx: ReadCtx, edge: Edge, manifest: Manifest) -> tuple[dict[str, Json], dict[str, Json]] | str:
    """What is published and what is reported, flat; or why nothing is known."""
    served = await ctx.ports.edges.served(edge.name, [f"/{manifest.config}"])
    fine = [s for s in served if not s.fault and s.status == 200]
    if len(fine) != len(served) or not fine:
        bad = next((s for s in served if s.fault or s.status != 200), None)
        return f"/{manifest.config}: {bad.fault or f'answers {bad.status}'}" if bad is not None else "nobody was asked"
    if len({s.body for s in fine}) > 1:
        return f"/{manifest.config} is not the same at every address yet"
    try:
        published = json.loads(fine[0].body)
    except ValueError:
        return f"/{manifest.config} is no JSON"
    try:
        reply = await ctx.ports.http.get(edge.backend, edge.reports)
    except (Unreachable, LookupError) as error:
        return str(error)
    if reply.status != 200 or not isinstance(reply.json, dict):
        return f"{edge.backend}{edge.reports}: answered {reply.status} and no document"
    if not isinstance(published, dict):
        return f"/{manifest.config} is no document"
    return dict(_flat(published)), dict(_flat(reply.json))


def _flat(document: Mapping[str, Json], above: str = "") -> Iterator[tuple[str, Json]]:
    """Its leaves by their paths: "flags.coupons"."""
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _both(published: Json, reported: Json) -> str:
    return f"published {json.dumps(published)[:200]}, the backend has {json.dumps(reported)[:200]}"


def _verdict(status: Status, words: str, compared: int, differing: dict[str, str], unknown: dict[str, str]) -> Verdict:
    seen = SettingsAlignedOutput(compared=compared, differing=differing, unknown=unknown)
    return Verdict(status, words, EXPECTED, seen.model_dump())
