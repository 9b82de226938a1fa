"""Which registered release serves: looked up in the clusters, when one is registered and about once a minute.

What is found is told to the ledger. The record of a release (its workloads, whole, and the service's settings) is kept
the first time it is seen serving, so that a later rollback knows what that release changed, and again when others have
changed something since, so that what they did stays. Looking is reading; nothing in a cluster is written.

Invariants:
- a release serves when the workloads that it names hold its digests, rolled out completely, in every cluster; while
  none does (a rollout is under way) nothing is told, so the last one is the one that serves until another does;
- a cluster that cannot be read leaves the whole answer open: nothing is told, whatever the others run;
- nothing is recorded while a run of the service is open: it might be half restored;
- what others changed is recorded once it has stood for a while: a release's settings may come before its images;
- of a value that looks like a secret a digest is recorded, made with the bot's key, or nothing;
- telling the same again is harmless, so every node may look.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from bot.catalogue import Release
from bot.contract import Retryable, canonical
from bot.ports import Blob, Blobs, ImageRegistry, Json, Secrets, Unreachable
from bot.ports.kubernetes import WORKLOADS, Denied, Kubernetes, Place, Thing, digest
from bot.releases.ledger import Registered
from bot.releases.register import ReleaseRegister
from bot.steady.memory import give_back
from bot.steady.outage import Outage
from bot.store.log import away
from bot.workloads.images import pinned, resolved
from bot.workloads.record import lasting, take

_LOG = logging.getLogger(__name__)
EVERY = 60.0
"""Seconds between two looks."""
BRISK = 5.0
"""The same while nothing serves completely and what runs is changing; longer and longer, up to `EVERY`, while it is
not: thousands of workloads that nobody has registered cost a tenth of a core otherwise."""
SETTLED = 300.0
"""Seconds that a change by others has to stand before it is recorded as what the release serves with."""
PATIENCE = 1.5
"""Seconds that a person who asks for a rollback waits for the clusters; then the ledger's word counts."""
RECENT = 10
"""Releases, last registered, that a tag or another digest is compared with."""
BY = "seen in the clusters"
"""Who told the ledger."""
SNAPSHOT = "application/json"
_WORDS = ("cannot be seen", "can be seen again")

Seen = Mapping[str, Sequence[Thing]]
"""Cluster -> its workloads. All clusters of the service, or it is no basis for a decision."""


# -- what it means to serve ------------------------------------------------------------------------------------------


def serving(releases: Iterable[Release], seen: Seen, current: str | None = None) -> Release | None:
    """The release that runs complete in every cluster; None where none does. Pure.

    releases: registered first to last; of several with the same images it is the current one, else the newest.
    """
    found = [r for r in releases if _serves(r, seen)]
    return next((r for r in found if r.version == current), found[-1] if found else None)


def _serves(release: Release, seen: Seen) -> bool:
    things = [*chain.from_iterable(seen.values())]
    wanted = {digest(image) for image in release.images.values()}
    held = set(chain.from_iterable(map(digests, things)))
    busy = any(t.rollout is not None and t.rollout.wanted > 0 for t in _holders(release, things))
    return bool(wanted) and wanted <= held and busy and all(_complete(release, those) for those in seen.values())


def _complete(release: Release, things: Sequence[Thing]) -> bool:
    """Whether one cluster runs it: whatever it names holds its image, and all that hold one are rolled out."""
    named = [t for t in things if t.place.name in release.images]
    right = all(digest(release.images[t.place.name]) in digests(t) for t in named)
    holders = _holders(release, things)
    return right and bool(holders) and all(t.rollout is None or t.rollout.serves for t in holders)


def _holders(release: Release, things: Sequence[Thing]) -> list[Thing]:
    wanted = {digest(image) for image in release.images.values()}
    return [t for t in things if digests(t) & wanted]


def arriving(releases: Iterable[Release], seen: Seen, current: str | None) -> Release | None:
    """The newest release behind the current one of which anything runs anywhere; None where there is none. Pure.

    It is what has to go, though it never served: a bad release is often found out half way.
    """
    known = [*releases]
    at = next((i for i, r in enumerate(known) if r.version == current), len(known))
    common = {digest(i) for r in known[: at + 1] for i in r.images.values()}
    held = set(chain.from_iterable(digests(t) for things in seen.values() for t in things)) - common
    return next((r for r in reversed(known[at + 1 :]) if held & {digest(i) for i in r.images.values()}), None)


def _runs(seen: Seen) -> int:
    """A number that is another one once anything else runs, or a rollout has gone on."""
    things = chain.from_iterable(seen.values())
    return hash(frozenset((t.place, *t.images.values(), t.rollout) for t in things))


def digests(thing: Thing) -> frozenset[str]:
    """Of all its containers, those that are pinned."""
    return frozenset(filter(None, map(digest, thing.images.values())))


def configuration(
    release: Release,
    seen: Seen,
    settings: Sequence[Thing],
    secrets: Secrets,
) -> dict[str, Json]:
    """What the release is (`bot.workloads.record`): the workloads that hold an image of it, and the ConfigMaps of the
    catalogue. Pure."""
    return take([t for things in seen.values() for t in _holders(release, things)], settings, secrets)


# -- looking ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found. seen: False where a cluster could not be read; version: what serves, if anything does;
    arriving: what is being rolled out in its place, complete nowhere or not everywhere; runs: another number once
    anything else runs, or a rollout has gone on, while nothing serves completely."""

    seen: bool
    version: str | None = None
    arriving: str | None = None
    runs: int = 0

    @property
    def settled(self) -> bool:
        """Whether there is nothing to wait for."""
        return not self.seen or self.version is not None


def pause(looks: Mapping[str, Look], before: Mapping[str, Look], last: float, every: float) -> float:
    """Seconds until the next look. before, last: the look before, and how long it was ago. Pure."""
    waits = [service for service, look in looks.items() if not look.settled]
    if not waits:
        return every
    return min(BRISK if any(before.get(s) != looks[s] for s in waits) else 2 * last, every)


class Serving:
    """Looks at the clusters of every service. clusters: service -> its clusters; clock: seconds since the epoch;
    every: seconds between two looks; secrets: of which no values are recorded."""

    def __init__(
        self,
        clusters: Mapping[str, Kubernetes],
        releases: ReleaseRegister,
        blobs: Blobs,
        registry: ImageRegistry,
        clock: Callable[[], float],
        *,
        secrets: Secrets,
        every: float = EVERY,
    ) -> None:
        self._releases, self._blobs, self._clock, self._every = releases, blobs, clock, every
        self._secrets, self._registry = secrets, registry
        self._moved: dict[str, tuple[Blob, float]] = {}
        self._recorded: dict[str, tuple[Release, frozenset[tuple[Place, str]]]] = {}
        self._asked = asyncio.Event()
        self._said: dict[str, str] = {}
        self._outages: dict[str, Outage] = {}
        self._clusters: Mapping[str, Kubernetes] = {}
        self.over(clusters)

    def over(self, clusters: Mapping[str, Kubernetes]) -> None:
        """From here on look at these. service -> its clusters."""
        self._clusters = {service: kube for service, kube in clusters.items() if kube.clusters}
        known = self._outages
        new = {
            name: Outage(f"What serves of {name}", _LOG, words=_WORDS) for name in self._clusters.keys() - known.keys()
        }
        self._outages = {**known, **new}
        self._asked.set()

    async def run(self) -> None:
        """Look, for ever. What goes wrong is logged, and tried again at the next look."""
        before: Mapping[str, Look] = {}
        wait = self._every
        while True:
            asked = self._asked.is_set()
            self._asked.clear()
            looks = {service: await self._try(service) for service in self._clusters}
            await asyncio.to_thread(give_back)
            wait = pause(looks, {} if asked else before, wait, self._every)
            before = looks
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._asked.wait()

    def soon(self) -> None:
        """Look now: a release was registered."""
        self._asked.set()

    async def look(self, service: str) -> Look:
        """Look once, and tell the ledger. LookupError for a service without clusters; what the database raises."""
        kube = self._clusters[service]
        answers = await _read(kube)
        seen: Seen = {name: things for name, things in answers.items() if not isinstance(things, Exception)}
        known = {r.version: r for r in reversed(await self._releases.all(service))}
        releases = [r.release for r in known.values()]
        seen = await self._told(kube, seen, releases[-RECENT:])
        current = next((r.version for r in known.values() if r.serves), None)
        coming = arriving(releases, seen, current)
        next_one = coming.version if coming is not None else None
        if wrong := [error for error in answers.values() if isinstance(error, Exception)]:
            self._outages[service].down(str(wrong[0]))
            return Look(seen=False, arriving=next_one)
        self._outages[service].up()
        found = serving(releases, seen, current)
        if found is None:
            self._say(service, "no registered release runs complete in every cluster")
            return Look(seen=True, arriving=next_one, runs=_runs(seen))
        if found.version != current:
            await self._releases.served(service, found.version, self._clock(), BY)
        self._say(service, f"{found.version} serves")
        await self._keep(service, known[found.version], seen)
        return Look(seen=True, version=found.version, arriving=next_one if found.version == current else None)

    async def to_remove(self, service: str) -> str | None:
        """The version that a rollback asked for now has to remove, as far as the clusters tell within `PATIENCE`."""
        if service not in self._clusters:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                look = await self.look(service)
        except TimeoutError:
            return None
        return look.arriving or look.version

    async def _keep(self, service: str, served: Registered, seen: Seen) -> None:
        """Record it: the first time that it is known to be its own, and when something has changed since for good."""
        if await self._releases.store.find_open(service):
            self._moved.pop(service, None)
            return
        kube = self._clusters[service]
        places = [Place(c.name, "configmap", name) for c in kube.clusters for name in c.settings]
        try:
            found = await asyncio.gather(*map(kube.get, places))
        except (Unreachable, Denied, Retryable) as error:
            self._say(service, f"the configuration of {served.version} cannot be read: {error}")
            return
        release, maps = served.release, [thing for thing in found if thing is not None]
        stands = (release, frozenset((t.place, t.version) for t in chain(maps, *seen.values())))
        if self._recorded.get(service) == stands:  # nobody has written anything: the record is what it was
            return
        text = await asyncio.to_thread(self._taken, release, seen, maps)
        blob = await self._blobs.put(text, SNAPSHOT)
        if release.settings is not None and blob != (release.last or release.settings):
            known = await self._blobs.get(release.last or release.settings)
            if await asyncio.to_thread(lambda: lasting(known) == lasting(text)):
                self._recorded[service] = stands
                return
        elif release.settings is not None:
            self._recorded[service] = stands
        if self._settled(service, release, blob):
            await self._releases.settled(service, served.version, blob)

    def _taken(self, release: Release, seen: Seen, maps: Sequence[Thing]) -> bytes:
        """The record of a release as text: of thousands of workloads, so in a thread of its own."""
        return canonical(configuration(release, seen, maps, self._secrets)).encode()

    def _settled(self, service: str, release: Release, record: Blob) -> bool:
        """Whether this record is to be kept: as the first, or as another one that has stood for long enough."""
        if release.settings is None:
            return True
        if record == (release.last or release.settings):
            self._moved.pop(service, None)
            return False
        was, since = self._moved.get(service, (None, 0.0))
        if was != record:
            self._moved[service] = (record, self._clock())
            return False
        return abs(self._clock() - since) >= SETTLED

    async def _told(self, kube: Kubernetes, seen: Seen, releases: Sequence[Release]) -> Seen:
        """The workloads with the digests that their images are: tags, and an index or platform of a release's."""
        images = {image for release in releases for image in release.images.values()}
        what = await resolved(kube, self._registry, chain.from_iterable(seen.values()), images)
        return {name: [pinned(thing, what) for thing in things] for name, things in seen.items()} if what else seen

    async def _try(self, service: str) -> Look:
        try:
            return await self.look(service)
        except Exception as e:
            if not away(e):  # which the store tells
                self._outages[service].down(f"{type(e).__name__}: {e}", exc_info=True)
            return Look(seen=False)

    def _say(self, service: str, what: str) -> None:
        if self._said.get(service) != what:
            self._said[service] = what
            _LOG.info("%s: %s", service, what)


async def _read(kube: Kubernetes) -> dict[str, list[Thing] | Exception]:
    """Cluster -> its workloads, or why they cannot be read."""

    async def of(cluster: str) -> list[Thing] | Exception:
        try:
            lists = await asyncio.gather(*(kube.list(cluster, kind) for kind in WORKLOADS))
        except (Unreachable, Denied, Retryable) as error:
            return error
        return [*chain.from_iterable(lists)]

    names = [c.name for c in kube.clusters]
    return dict(zip(names, await asyncio.gather(*map(of, names)), strict=True))
