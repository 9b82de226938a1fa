"""What the handlers of a frontend share: the builds that a step is about, what has to be asked for anew, which files a
page names, and the service worker that removes one.

Invariant: a build that has to go and cannot be read any more is passed over and named, since it only says what is
stale; the build that is to be there is read or the step ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from bot.contract import Fatal, Outgoing
from bot.ports.builds import MANIFEST, NEVER, REMOVER, Build, Builds, Headers, Manifest, paths_of, type_of
from bot.ports.sites import Missing, Sites, StoredObject, StoreRefused

MOST_PATHS = 1000
"""Paths in one invalidation; above, everything is forgotten at once."""
EVERYTHING = "/*"

REMOVER_HEADERS = Headers(type_of("sw.js"), NEVER)
REMOVER_HELD = StoredObject(len(REMOVER), hashlib.sha256(REMOVER).hexdigest(), REMOVER_HEADERS)


@dataclass(frozen=True, slots=True)
class KnownBuilds:
    """The build that is to be there, and those that go. unread: of these, what cannot be read any more -> why."""

    build: Build
    builds: Builds
    others: tuple[Build, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def every(self) -> tuple[Build, ...]:
        """Whatever content may be taken from."""
        return (self.build, *self.others)

    @property
    def paths(self) -> tuple[str, ...]:
        """What caches have to forget; everything where that is too much for one request."""
        found = tuple(dict.fromkeys(paths_of([*self.builds.stale, *self.builds.orphans])))
        return found if len(found) <= MOST_PATHS else (EVERYTHING,)


def named(build: str | None) -> Build:
    """The build that a release names. Fatal where it names none."""
    if not build:
        raise Fatal(
            "the target release names no frontend build",
            f"register it with --frontend <prefix>@<digest of its {MANIFEST}>, or skip this step with a reason",
        )
    try:
        return Build.of(build)
    except ValueError as error:
        raise Fatal(str(error), "register the release again under another version, with its build") from error


async def known(sites: Sites, site: str, build: Build, outgoing: Sequence[Outgoing]) -> KnownBuilds:
    """The builds that a step at this site is about. Fatal where the one that is to be there is not; Unreachable."""
    try:
        target = await sites.manifest(site, build)
    except (Missing, ValueError) as error:
        raise Fatal(f"{site}: {error}", f"put {build.prefix} back where it was, or choose another release") from error
    except StoreRefused as error:
        raise Fatal(f"{site}: {error}", "give the bot the rights of docs/frontend.md, then try again") from error
    gone: list[tuple[Build, Manifest]] = []
    unread: list[str] = []
    for release in outgoing:
        if not release.frontend or release.frontend == str(build):
            continue
        try:
            other = Build.of(release.frontend)
            gone.append((other, await sites.manifest(site, other)))
        except (Missing, ValueError, StoreRefused) as error:
            unread.append(f"{release.version}: {error}")
    return KnownBuilds(build, Builds(target, tuple(m for _, m in gone)), tuple(b for b, _ in gone), tuple(unread))


def shown(paths: Sequence[str], most: int = 6) -> str:
    """Paths for people, with what tells the whole list from another."""
    if len(paths) <= most:
        return ", ".join(paths)
    digest = hashlib.sha256("\n".join(paths).encode()).hexdigest()[:8]
    return f"{', '.join(paths[:most])} and {len(paths) - most} more (list {digest})"


class _Page(HTMLParser):
    """Collects what a page has a browser load by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.base = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "base" and not self.base:
            self.base = given.get("href", "")
        if tag in ("script", "img", "source", "video", "audio", "iframe", "embed") and given.get("src"):
            self.found.append(given["src"])
        if tag == "link" and given.get("href") and _loads(given.get("rel", "")):
            self.found.append(given["href"])


def _loads(rel: str) -> bool:
    kinds = {"stylesheet", "modulepreload", "preload", "icon", "manifest", "apple-touch-icon"}
    return bool(kinds & {*rel.lower().split()})


def loaded_by(page: bytes, url: str) -> Iterator[str]:
    """The paths, not quoted, on its own host that a page has a browser load. url: where the page lies."""
    parser = _Page()
    parser.feed(page.decode("utf-8", "replace"))
    parser.close()
    base, host = urljoin(url, parser.base), urlsplit(url).netloc
    for at in dict.fromkeys(parser.found):
        parts = urlsplit(urljoin(base, at))
        if parts.scheme in ("http", "https") and parts.netloc == host:
            yield unquote(parts.path)


def keys_of(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Path -> key of the file that it stands for."""
    for path in paths:
        key = path.lstrip("/")
        yield path, f"{key}index.html" if not key or key.endswith("/") else key
