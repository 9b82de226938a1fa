"""How a service stands for CI, from the record as it is now, in the same time however long that record has become.

Pipelines ask often and many at once. So nothing is looked at where the database stands as it stood at the last look;
runs that have ended and left nothing are not looked at, the ledger is read again only when it is another one, and
whoever asks while somebody looks shares the next look.

Invariant: an answer knows everything that was committed before it was asked for, whichever process wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.releases.freeze_answer import Banned, Freeze, bans
from bot.releases.register import ReleaseRegister
from bot.run.state import Run
from bot.steady.together import Together
from bot.store.log import Store


@dataclass
class Frozen:
    """The services of one database. Its memory grows with their number alone."""

    store: Store
    releases: ReleaseRegister
    _bans: dict[str, tuple[tuple[int, ...], tuple[Banned, ...]]] = field(default_factory=dict)
    _known: dict[str, tuple[str | None, Freeze]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._looks = Together(self._look)

    async def of(self, service: str) -> Freeze:
        """Whether it takes new releases now, and which not: the same object for as long as nothing has changed."""
        known = self._known.get(service)
        if known is not None and known[0] is not None and known[0] == await self.store.db.moment():
            return known[1]
        return await self._looks.of(service)

    async def bans(self, service: str) -> tuple[Banned, ...]:
        """The releases that may not be deployed now, by the ledger."""
        mark = await self.store.releases_mark(service)
        known = self._bans.get(service)
        if known is None or known[0] != mark:
            found = bans({r.version: r for r in await self.releases.all(service)})
            known = self._bans[service] = (mark, found)  # what was written after the mark has another one
        return known[1]

    async def runs(self, service: str) -> list[Run]:
        """The runs that bear on it, newest first: those that are open or have left something, and the last thaw where
        what it has lifted may not be settled yet."""
        heads = await self.store.unended(service)
        if any(h.closed is not None for h in heads):
            heads = [*heads, *await self.store.last(service, "thaw")]
            heads = sorted(dict.fromkeys(heads), key=lambda h: (h.created, h.run), reverse=True)
        return [await self.store.load(h.run) for h in heads]

    async def _look(self, service: str) -> Freeze:
        moment = await self.store.db.moment()  # before all else: what is written after it has another one
        runs = await self.runs(service)  # then these: a run that ends meanwhile is in the ledger, or still open here
        found = Freeze.of(service, runs, await self.bans(service))
        known = self._known.get(service)
        if known is not None and known[1] == found:
            found = known[1]
        self._known[service] = moment, found
        return found
