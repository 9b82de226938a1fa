"""V1: the service says that it is healthy, and that the release which is meant to serve does, at every way into it.

Asked are all HTTP targets of the catalogue that have a health page, so that no region is taken for well because another
one is; and each that has an entry page, which is what visitors open. Only a page that answers can pass: no answer, or
one that says nothing about health, is unknown. A share of failing requests above the target's limit is a failure,
whatever the status; so is an entry page that is missing, empty, or no page.
"""

import asyncio
from collections.abc import Mapping

from pydantic import Field

from bot.contract import Check, HttpTarget, Json, Output, Params, ReadCtx, Status, Verdict, release_named
from bot.ports import Page, Reply, Unreachable


class HealthServingParams(Params):
    """Where to look, and for what."""

    target: HttpTarget = Field(description="HTTP target that is asked, besides all that have a health page.")
    path: str = Field("/healthz", pattern="^/", description="Path of its health page, where the catalogue names none.")
    release: str | None = Field(None, description="Version that must be the one serving; left out: any.")


class HealthServingOutput(Output):
    """What the health page said that is worst."""

    status: int = Field(description="HTTP status of the health page.")
    release: str | None = Field(description="Version that serves, where the page names one.")
    errors: float | None = Field(description="Share of failing requests, 0 to 1, where the page gives one.")


class HealthServing(Check[HealthServingParams]):
    """Passes when every health page answers 200, names the expected release and counts few errors, and every entry page
    is there."""

    name = "health.serving"
    needs = frozenset({"http", "kubernetes"})
    Params = HealthServingParams
    Output = HealthServingOutput

    async def run(self, ctx: ReadCtx, p: HealthServingParams) -> Verdict:
        expected = f"200 from release {p.release}" if p.release else "200"
        pages = _pages(ctx, p)
        if not pages:
            words = f"{p.target} is the way into a cluster that takes no part, and there is no other health page"
            return Verdict(Status.UNKNOWN, words, expected)
        served, entered = await asyncio.gather(_served(ctx, p, pages), _entered(ctx))
        status, words, data = served
        front, told = entered
        if told:
            expected += ", and HTML where visitors enter"
        said = [told, words] if _ORDER.index(front) > _ORDER.index(status) else [words, told]
        return Verdict(max(status, front, key=_ORDER.index), "; ".join(filter(None, said)), expected, data)


async def _served(
    ctx: ReadCtx, p: HealthServingParams, pages: Mapping[str, Page]
) -> tuple[Status, str, Mapping[str, Json]]:
    """What the health pages say: the worst of them, what is not well in words, and the data of the worst."""
    seen = await asyncio.gather(*(_look(ctx, name, page) for name, page in pages.items()))
    answers = dict(zip(pages, seen, strict=True))
    judged = {name: _judge(answer, p.release, pages[name]) for name, answer in answers.items()}
    worst = max(judged, key=lambda name: _ORDER.index(judged[name]))
    bad = [name for name in judged if judged[name] is not Status.PASS]
    words = "; ".join(f"{f'{name}: ' if len(pages) > 1 else ''}{_words(answers[name])}" for name in bad or [worst])
    also = f" ({len(pages)} of {len(pages)} targets)" if not bad and len(pages) > 1 else ""
    answer = answers[worst]
    return judged[worst], f"{words}{also}", answer.model_dump() if isinstance(answer, HealthServingOutput) else {}


async def _entered(ctx: ReadCtx) -> tuple[Status, str]:
    """How the entry pages are: the worst, and what is not well in words; "" where there are none."""
    pages = _entries(ctx)
    seen = await asyncio.gather(*(_enter(ctx, name, page) for name, page in pages.items()))
    bad = [words for status, words in seen if status is not Status.PASS]
    good = f"{len(pages)} entry page{'s' if len(pages) > 1 else ''} there" if pages else ""
    return max((status for status, _ in seen), key=_ORDER.index, default=Status.PASS), "; ".join(bad) or good


_ORDER = (Status.PASS, Status.WARN, Status.UNKNOWN, Status.FAIL)


def _pages(ctx: ReadCtx, p: HealthServingParams) -> Mapping[str, Page]:
    """Those of clusters that take part, and of no cluster; the named target first."""
    clusters = {c.name for c in ctx.ports.kubernetes.clusters}
    every = ctx.ports.http.pages
    pages = {name: page for name, page in every.items() if not page.cluster or page.cluster in clusters}
    return pages if p.target in every else {p.target: Page(p.path), **pages}


def _entries(ctx: ReadCtx) -> Mapping[str, Page]:
    """The pages that visitors open, of clusters that take part and of none."""
    clusters = {c.name for c in ctx.ports.kubernetes.clusters}
    every = ctx.ports.http.entries
    return {name: page for name, page in every.items() if not page.cluster or page.cluster in clusters}


async def _enter(ctx: ReadCtx, target: str, page: Page) -> tuple[Status, str]:
    """How the page is that visitors open, and in words."""
    where = f"{target}{page.path}"
    try:
        reply = await ctx.ports.http.get(target, page.path)
    except Unreachable as error:
        return Status.UNKNOWN, str(error)
    type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    if reply.status in (404, 410) or reply.status >= 500:
        return Status.FAIL, f"{where}: visitors get {reply.status}"
    if reply.status != 200:
        return Status.UNKNOWN, f"{where}: answers {reply.status}, which says nothing of the page"
    if type not in ("text/html", "application/xhtml+xml"):
        return Status.FAIL, f"{where}: visitors get {type or 'something without a type'}, no page"
    if not reply.text.strip():
        return Status.FAIL, f"{where}: visitors get an empty page"
    return Status.PASS, f"{where}: 200"


async def _look(ctx: ReadCtx, target: str, page: Page) -> HealthServingOutput | str:
    """What the page says; or why it says nothing."""
    try:
        return _read(await ctx.ports.http.get(target, page.path))
    except Unreachable as error:
        return str(error)


def _words(seen: HealthServingOutput | str) -> str:
    if isinstance(seen, str):
        return seen
    words = [str(seen.status), f"from release {seen.release}" if seen.release else "names no release"]
    return ", ".join([*words, *([f"{seen.errors:.1%} errors"] if seen.errors is not None else [])])


def _read(reply: Reply) -> HealthServingOutput:
    page = reply.json if isinstance(reply.json, dict) else {}
    errors = page.get("errors")
    return HealthServingOutput(
        status=reply.status,
        release=release_named(page.get("release")),
        errors=errors if isinstance(errors, int | float) and not isinstance(errors, bool) else None,
    )


def _judge(seen: HealthServingOutput | str, expected: str | None, page: Page) -> Status:
    if isinstance(seen, str):
        return Status.UNKNOWN
    if seen.status >= 500:
        return Status.FAIL
    if seen.status != 200 or (expected and seen.release is None):
        return Status.UNKNOWN  # some other page: this says nothing about health
    if expected and seen.release != expected:
        return Status.FAIL
    return Status.FAIL if seen.errors is not None and seen.errors > page.errors else Status.PASS
