"""P1 for the frontend: the build of the target release is there whole, by its manifest, each file by size and content.

What cannot be asked is unknown, not missing.
"""

import asyncio

from pydantic import Field

from bot.contract import Check, Output, Params, ReadCtx, Status, Verdict
from bot.ports import Unreachable, told
from bot.ports.builds import Build
from bot.ports.sites import Missing, StoreRefused

EXPECTED = "the build's manifest by its digest, and every file of it by size and content"


class FrontendPresentParams(Params):
    """What the target release's frontend is."""

    build: str | None = Field(description="The build, as the release names it: prefix@sha256:<digest of its manifest>.")


class FrontendPresentOutput(Output):
    """What is not there, and what is not known; empty where nothing is."""

    files: int = Field(description="Files that the manifest names.")
    size: int = Field(description="Their bytes in all.")
    missing: dict[str, str] = Field(description="Site, or site and file -> what is wrong.")
    unknown: dict[str, str] = Field(description="Site -> why it could not be asked.")


class FrontendPresent(Check[FrontendPresentParams]):
    """Passes when the target release's build is there whole, wherever a site takes its files from."""

    name = "frontend.present"
    needs = frozenset({"sites"})
    Params = FrontendPresentParams
    Output = FrontendPresentOutput

    async def run(self, ctx: ReadCtx, p: FrontendPresentParams) -> Verdict:
        sites = [site.name for site in ctx.ports.sites.sites]
        if not sites:
            return _verdict(Status.PASS, "no site is catalogued: there is no frontend", 0, 0, {}, {})
        try:
            build = Build.of(p.build or "")
        except ValueError as error:
            why = str(error) if p.build else "the release names no build"
            return _verdict(Status.FAIL, why, 0, 0, dict.fromkeys(sites, why), {})
        looks = await asyncio.gather(*(_look(ctx, site, build) for site in sites))
        missing = {what: why for look in looks for what, why in look[2].items()}
        unknown = {what: why for look in looks for what, why in look[3].items()}
        files, size = max(look[0] for look in looks), max(look[1] for look in looks)
        status = Status.FAIL if missing else Status.UNKNOWN if unknown else Status.PASS
        shown = dict([*missing.items()][:5]) | unknown
        more = f"; and {len(missing) - 5} more" if len(missing) > 5 else ""
        fine = f"{build.short}: {files} files, {size / 1e6:.1f} MB"
        return _verdict(status, told(shown) + more if shown else fine, files, size, missing, unknown)


async def _look(ctx: ReadCtx, site: str, build: Build) -> tuple[int, int, dict[str, str], dict[str, str]]:
    """Files and bytes that there should be, what is wrong, and what is not known."""
    try:
        manifest = await ctx.ports.sites.manifest(site, build)
        faults = await ctx.ports.sites.incomplete(site, build, manifest)
    except (Missing, ValueError) as error:
        return 0, 0, {site: str(error)}, {}
    except (StoreRefused, Unreachable) as error:
        return 0, 0, {}, {site: str(error)}
    wrong = {f"{site}/{key}": why for key, why in faults.items()}
    return len(manifest.files), manifest.size, wrong, {}


def _verdict(
    status: Status, words: str, files: int, size: int, missing: dict[str, str], unknown: dict[str, str]
) -> Verdict:
    seen = FrontendPresentOutput(files=files, size=size, missing=dict([*missing.items()][:50]), unknown=unknown)
    return Verdict(status, words, EXPECTED, seen.model_dump())
