"""V6: every file that an entry page names is there, at the edge, with the right type; files with a digest in their name
may be kept for ever, pages, configuration and service workers may not.

Seen from the edge as a visitor without a cookie: the page is read as it is served, not as it should be.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

from pydantic import Field

from bot.contract import Check, Fatal, Output, Params, ReadCtx, Status, Verdict
from bot.frontends import keys_of, known, loaded_by, named
from bot.ports import Unreachable, told
from bot.ports.builds import File, Manifest, paths_of
from bot.ports.edges import Edge, EdgeAnswer

EXPECTED = "every file that the pages name, with its type; hashed names kept long, pages asked for again"
LONG = 86400
"""Seconds for which a file that never changes must at least be kept."""
MOST_FILES = 400


class CdnCachingParams(Params):
    """What is served."""

    build: str | None = Field(description="The build that is served: prefix@sha256:<digest of its manifest>.")
    stale: int = Field(60, ge=0, description="Seconds for which a page may be kept without asking again.")


class CdnCachingOutput(Output):
    """What was seen."""

    pages: int = Field(description="Entry pages that were read, over all addresses.")
    files: int = Field(description="Answers for files that they name.")
    faults: dict[str, str] = Field(description="Edge, address and path -> what is wrong; empty where nothing is.")
    silent: dict[str, str] = Field(description="Edge, address and path -> why nothing is known of it.")


class CdnCaching(Check[CdnCachingParams]):
    """Passes when every edge serves every file that its pages name, cached as it should be."""

    name = "cdn.caching"
    needs = frozenset({"sites", "edges"})
    Params = CdnCachingParams
    Output = CdnCachingOutput

    async def run(self, ctx: ReadCtx, p: CdnCachingParams) -> Verdict:
        edges, sites = ctx.ports.edges.edges, ctx.ports.sites.sites
        if not edges or not sites:
            status = Status.UNKNOWN if edges or sites else Status.PASS
            lacking = " and ".join(w for w, there in (("edge", edges), ("site", sites)) if not there)
            return _verdict(status, f"no {lacking} is catalogued", 0, 0, {}, {})
        try:
            k = await known(ctx.ports.sites, sites[0].name, named(p.build), ())
        except (Fatal, Unreachable) as error:
            return _verdict(Status.UNKNOWN, str(error), 0, 0, {}, {})
        manifest = k.builds.target
        looks = await asyncio.gather(*(_look(ctx, edge, manifest) for edge in edges))
        faults: dict[str, str] = {}
        silent: dict[str, str] = {}
        for edge, (pages, files) in zip(edges, looks, strict=True):
            for s in (*pages, *files):
                what = f"{edge.name} {s.address} {s.path}"
                if s.fault:
                    silent[what] = s.fault
                elif why := "; ".join(_faults(s, _file(manifest, s.path), p.stale)):
                    faults[what] = why
        pages_seen, files_seen = (sum(len(look[i]) for look in looks) for i in (0, 1))
        status = Status.FAIL if faults else Status.UNKNOWN if silent or not pages_seen else Status.PASS
        fine = f"{pages_seen} pages and {files_seen} answers for files that they name"
        return _verdict(status, _words(faults | silent) or fine, pages_seen, files_seen, faults, silent)


async def _look(ctx: ReadCtx, edge: Edge, manifest: Manifest) -> tuple[Sequence[EdgeAnswer], Sequence[EdgeAnswer]]:
    """What names other files, and what is named there, as every address serves it."""
    base = urlsplit(edge.url).path.rstrip("/")
    fronts = await ctx.ports.edges.served(edge.name, [*paths_of(manifest.fronts)])
    named_there: dict[str, None] = {}
    for s in fronts:
        if "html" in s.headers.get("content-type", ""):
            for path in loaded_by(s.body, f"{edge.url.rstrip('/')}{s.path}"):
                if path.startswith(f"{base}/"):
                    named_there[path.removeprefix(base)] = None
    paths = [path for path in named_there if path not in {*paths_of(manifest.fronts)}][:MOST_FILES]
    return fronts, await ctx.ports.edges.served(edge.name, paths) if paths else ()


def _file(manifest: Manifest, path: str) -> File | None:
    return next((manifest.files.get(key) for _, key in keys_of([path])), None)


def _faults(s: EdgeAnswer, file: File | None, stale: int) -> Iterator[str]:
    """What is wrong with one answer."""
    if s.status != 200:
        yield f"answers {s.status}"
        return
    if file is None:
        yield "is named by a page, and no file of the build"
        return
    if file.sha256 not in s.digests:
        yield "other content than the build has"
    said, wanted = (t.partition(";")[0].strip().lower() for t in (s.headers.get("content-type", ""), file.headers.type))
    if said != wanted and {said, wanted} != {"text/javascript", "application/javascript"}:
        yield f"type {said or 'none'}, not {wanted}"
    cache = _cache(s.headers)
    if file.immutable:
        if "no-store" in cache or "no-cache" in cache or _age(cache) < LONG:
            yield f"never changes, and is kept only by {s.headers.get('cache-control') or 'no Cache-Control'}"
    elif not ({"no-cache", "no-store"} & {*cache}) and (_age(cache) > stale or "max-age" not in cache):
        yield f"changes under its name, and is kept by {s.headers.get('cache-control') or 'no Cache-Control'}"


def _cache(headers: Mapping[str, str]) -> dict[str, str]:
    parts = (part.strip().lower().partition("=") for part in headers.get("cache-control", "").split(","))
    return {name: value.strip('"') for name, _, value in parts if name}


def _age(cache: Mapping[str, str]) -> int:
    """Seconds for which it may be kept without asking."""
    said = cache.get("max-age", "")
    return int(said) if re.fullmatch(r"[0-9]{1,10}", said) else 0


def _words(faults: Mapping[str, str]) -> str:
    first = dict([*faults.items()][:5])
    return told(first) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")


def _verdict(
    status: Status, words: str, pages: int, files: int, faults: dict[str, str], silent: dict[str, str]
) -> Verdict:
    seen = CdnCachingOutput(
        pages=pages, files=files, faults=dict([*faults.items()][:50]), silent=dict([*silent.items()][:50])
    )
    return Verdict(status, words, EXPECTED, seen.model_dump())
