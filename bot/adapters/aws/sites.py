"""`ports.sites` in S3 and what speaks it: a build compared with what is published, and brought there.

Invariants:
- each changing request is recorded first, as the `aws` command that does it; one record may stand for a batch of new
  files, never for two objects that are replaced;
- what is replaced can be brought back: unless a known build has it, it is kept first, under its digest;
- a small object is written over the very version that was looked at, so two publishers cannot undo each other's work;
- an object is not asked for what is known of its version already (`known_objects`): a look at a site costs a request
  for each thousand objects, and one for each that is new.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shlex
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot.adapters.aws.account import Access, Account, Unsupported, WriteConflict
from bot.adapters.aws.buckets import COPY_LIMIT, Folder, ListedObject, Objects, sent
from bot.adapters.aws.known_objects import At, KnownObjects
from bot.adapters.gathering import gathered
from bot.contract import Edit
from bot.ports import Record, Unreachable, Where, unbound
from bot.ports.backups import Memory
from bot.ports.builds import FOR_EVER, MANIFEST, MANIFEST_LIMIT, REMOVER, Build, File, Headers, Manifest, digest_of
from bot.ports.sites import Missing, Moved, Site, StoredObject, StoreRefused

KEPT = "rollback-kept"
"""Folder beside the builds that holds, by digest, what was replaced and is in no known build."""
SMALL = 1024 * 1024
"""Bytes up to which an object is read and written instead of copied: only a write can be held to a version."""
BATCH = 200
"""New files that one record stands for; and objects that are asked for side by side."""
THOUSAND = 1000
"""Objects that are compared before others have their turn."""
FEW = 10
"""Objects of a build that are asked for one by one before all are listed."""
UNHURRIED = 50
"""Objects that are looked at side by side where nobody waits."""
NAMED = 20
"""Of these, how many it names."""
NOBODYS = "0" * 32
"""No object's ETag."""


@dataclass(frozen=True, slots=True)
class StoredSite:
    """A site of the catalogue. at: where it is published; builds: where builds lie; acl: canned one for what is
    written, "" for the bucket's own rule; switch: see `bot.ports.sites.Site`."""

    at: Folder
    builds: Folder
    access: Access = field(default_factory=Access)
    acl: str = ""
    switch: str = ""

    @property
    def where(self) -> Where:
        """Which place it is, whatever credentials it is reached with."""
        at = f"{self.at}{f' at {self.access.endpoint}' if self.access.endpoint else ''}"
        identity = "\n".join((self.access.place, str(self.at), str(self.builds)))
        return Where(at, hashlib.sha256(identity.encode()).hexdigest()[:32], "sites")


@dataclass
class _Shelf:
    """A build's folder, as far as one attempt has looked into it. asked: for how many objects it was asked; there:
    all of them."""

    asked: int = 0
    there: Mapping[str, ListedObject] | None = None
    listing: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class _Store:
    """What all copies of an adapter share."""

    accounts: dict[Access, Account] = field(default_factory=dict)
    manifests: dict[tuple[str, str], Manifest] = field(default_factory=dict)
    known: KnownObjects = field(default_factory=KnownObjects)
    looked: dict[tuple[str, str, str], tuple[StoredObject, str]] = field(default_factory=dict)
    """What was seen last, with its ETag."""


class S3Sites:
    """Implements `bot.ports.sites.Sites`; `bind` makes the copy that an attempt may write through. memory: where what
    was seen is kept for other processes; None: nowhere."""

    def __init__(
        self,
        targets: Mapping[str, StoredSite],
        record: Record = unbound,
        *,
        ca_file: Path | None = None,
        memory: Memory | None = None,
        _store: _Store | None = None,
    ) -> None:
        self._targets, self._record, self._ca_file, self._memory = dict(targets), record, ca_file, memory
        self._store = _store or _Store()
        self._shelves: dict[Folder, _Shelf] = {}

    def bind(self, record: Record, memory: Memory | None = None) -> S3Sites:
        """The same sites and connections, writing only after `record`."""
        memory = memory or self._memory
        return S3Sites(self._targets, record, ca_file=self._ca_file, memory=memory, _store=self._store)

    @property
    def sites(self) -> Sequence[Site]:
        """See the port."""
        return [Site(name, str(t.at), str(t.builds), t.switch) for name, t in self._targets.items()]

    def where(self) -> Mapping[str, Where]:
        """Target -> which place it is."""
        return {name: target.where for name, target in self._targets.items()}

    async def ping(self) -> Mapping[str, str]:
        """Target -> what is wrong with it; empty where it lets us list. Reads only."""
        faults = await asyncio.gather(*(self._fault(t) for t in self._targets.values()))
        return dict(zip(self._targets, faults, strict=True))

    async def close(self) -> None:
        """End every connection, those of the copies too. Harmless again."""
        accounts = [*self._store.accounts.values()]
        self._store.accounts.clear()
        for account in accounts:
            await account.close()

    def account(self, site: str) -> Account:
        """How a site's store is asked. LookupError."""
        return self._account(self._there(site)[0])

    # -- reading ---------------------------------------------------------------------------------------------------

    async def manifest(self, site: str, build: Build) -> Manifest:
        """See the port."""
        t, objects = self._there(site)
        where = (t.access.place, str(build))
        if (known := self._store.manifests.get(where)) is not None:
            return known
        folder = t.builds.below(build.prefix)
        found = await objects.read(folder, MANIFEST, MANIFEST_LIMIT)
        if found is None:
            raise Missing(f"{folder} has no {MANIFEST}")
        if digest_of(found[0]) != build.digest:
            raise ValueError(f"{folder}/{MANIFEST} is another one than was registered ({build.digest[:19]}…)")
        manifest = await asyncio.to_thread(Manifest.load, found[0])
        self._store.manifests[where] = manifest
        self._store.known.by_md5 |= {(f.md5, f.size): f.sha256 for f in manifest.files.values() if f.md5}
        return manifest

    async def incomplete(self, site: str, build: Build, manifest: Manifest) -> Mapping[str, str]:
        """See the port."""
        t, objects = self._there(site)
        folder = t.builds.below(build.prefix)
        there = await objects.listed(folder)
        found = await _faults(objects, folder, there, [*manifest.files.values()])
        if t.switch:  # then browsers get the build's own headers
            left = [f for key, f in manifest.files.items() if key not in found]
            now = await self._looked(t, folder, [f.key for f in left], there)
            for f, held in zip(left, now, strict=True):
                if held is not None and held.headers != f.headers:
                    found[f.key] = f"is served with {held.headers}, not {f.headers}"
        return found

    async def differing(self, site: str, manifest: Manifest) -> Mapping[str, StoredObject | None]:
        """See the port."""
        t, objects = self._there(site)
        there = await objects.listed(t.at)
        absent = dict.fromkeys(key for key in manifest.files if key not in there)
        files = [f for key, f in manifest.files.items() if key in there]
        now = await self._looked(t, t.at, [f.key for f in files], there)
        return absent | {f.key: held for f, held in zip(files, now, strict=True) if held is None or not held.is_(f)}

    async def look(self, site: str, keys: Collection[str]) -> Mapping[str, StoredObject | None]:
        """See the port."""
        t, _ = self._there(site)
        names = list(keys)
        return dict(zip(names, await gathered(self._held(t, key) for key in names), strict=True))

    async def read(self, site: str, key: str) -> bytes | None:
        """See the port."""
        t, objects = self._there(site)
        found = await objects.read(t.at, key, SMALL)
        return found[0] if found is not None else None

    async def look_over(self, site: str, builds: Collection[Build]) -> int:
        """See the port. Where a site is switched, its builds' own folders are what browsers get."""
        t, _ = self._there(site)
        named: dict[Folder, dict[str, None]] = {}
        for build in builds:
            with contextlib.suppress(Missing, ValueError):  # one that is gone has nothing to say
                manifest = await self.manifest(site, build)
                folder = t.builds.below(build.prefix) if t.switch else t.at
                named.setdefault(folder, {}).update(dict.fromkeys(manifest.files))
        return sum([await self._looked_over(t, folder, keys) for folder, keys in named.items()])

    async def _looked_over(self, t: StoredSite, folder: Folder, keys: Collection[str]) -> int:
        """At one folder; how many objects were not known."""
        there = await Objects(self._account(t)).listed(folder)
        new = await self._new(t, folder, [key for key in keys if key in there], there)
        for first in range(0, len(new), UNHURRIED):
            began = time.monotonic()
            await gathered(self._seen(t, key, there[key], folder) for key in new[first : first + UNHURRIED])
            await asyncio.sleep(time.monotonic() - began)  # half of the time is left to others
        await self._keep_known(t, folder, new, there)
        return len(new)

    async def _looked(
        self, t: StoredSite, folder: Folder, keys: Sequence[str], there: Mapping[str, ListedObject]
    ) -> list[StoredObject | None]:
        """What is held under these keys, all of them listed."""
        new = await self._new(t, folder, keys, there)
        asked: dict[str, StoredObject | None] = {}
        for first in range(0, len(new), BATCH):
            some = new[first : first + BATCH]
            held = await gathered(self._held(t, key, there[key], folder) for key in some)
            asked |= zip(some, held, strict=True)
        await self._keep_known(t, folder, new, there)
        found: list[StoredObject | None] = []
        for n, key in enumerate(keys):
            found.append(asked[key] if key in asked else await self._held(t, key, there[key], folder))
            if n % THOUSAND == 0:
                await asyncio.sleep(0)  # others have their turn
        return found

    async def _new(
        self, t: StoredSite, folder: Folder, keys: Sequence[str], there: Mapping[str, ListedObject]
    ) -> list[str]:
        """Of these, what has to be asked for, as other processes have kept nothing of it either."""
        at, known = _at(t, folder), self._store.known
        new = known.unknown(at, keys, there)
        if not new or self._memory is None:
            return new
        await known.recall(at, self._memory)
        return known.unknown(at, keys, there)

    async def _keep_known(
        self, t: StoredSite, folder: Folder, new: Sequence[str], there: Mapping[str, ListedObject]
    ) -> None:
        at, known = _at(t, folder), self._store.known
        if self._memory is not None and len(known.unknown(at, new, there)) < len(new):
            await known.keep(at, self._memory, there)

    async def _held(
        self, t: StoredSite, key: str, listed: ListedObject | None = None, folder: Folder | None = None
    ) -> StoredObject | None:
        """What the site, or another folder, holds there."""
        found = await self._seen(t, key, listed, folder)
        return found[0] if found is not None else None

    async def _seen(
        self, t: StoredSite, key: str, listed: ListedObject | None = None, folder: Folder | None = None
    ) -> tuple[StoredObject, str] | None:
        """What is held there, and its ETag; bytes are read only where nothing else tells what they are."""
        folder = folder or t.at
        objects, at, known = Objects(self._account(t)), _at(t, folder), self._store.known
        if listed is not None and (held := known.held(at, key, listed)) is not None:
            self._store.looked[(*at, key)] = held, listed.etag
            return held, listed.etag
        head = await objects.head(folder, key)
        if head is None:
            return None
        plain = head.etag if "-" not in head.etag else ""
        sha = known.by_md5.get((plain, head.size), "")
        if not sha:
            read = await objects.digest(folder, key)
            if read is None:
                return None
            head, sha = read
        held = StoredObject(head.size, sha, head.headers)
        if listed is not None and listed.etag == head.etag:
            known.learn(at, key, listed, held)
        self._store.looked[(*at, key)] = held, head.etag
        return held, head.etag

    # -- writing ---------------------------------------------------------------------------------------------------

    async def add(self, site: str, build: Build, files: Sequence[File], told: Moved) -> None:
        """See the port."""
        t, objects = self._there(site)
        source = t.builds.below(build.prefix)
        there = await objects.listed(source)
        if lacking := await _faults(objects, source, there, files):
            key, why = next(iter(lacking.items()))
            rest = f" (and {len(lacking) - 1} more)" if len(lacking) > 1 else ""
            raise Missing(f"{source}/{key}: {why}{rest}")

        async def copy(f: File) -> None:
            if f.size > COPY_LIMIT:
                raise StoreRefused(f"{f.key} has {f.size} bytes; one copy takes {COPY_LIMIT}")
            etag = there[f.key].etag
            try:
                await objects.copy(source, f.key, etag, t.at, f.key, sent(f.headers, t.acl))
            except WriteConflict as error:
                raise Missing(f"{source}/{f.key} was changed while it was copied") from error

        for first in range(0, len(files), BATCH):
            batch = files[first : first + BATCH]
            await self._record(_batch(source, t, batch))
            await gathered(map(copy, batch))
            await told(first + len(batch))

    async def replace(
        self, site: str, key: str, now: StoredObject | None, then: StoredObject, builds: Collection[Build]
    ) -> None:
        """See the port."""
        t, objects = self._there(site)
        await self._keep(t, site, key, now, builds)
        if then.size <= SMALL:
            source, name, data = await self._content(t, site, key, then, builds)
            await self._write(t, key, now, data, then.headers, _copying(source, name))
            return
        source, name = await self._source(t, site, key, then, builds)
        head = await objects.head(source, name)
        known = head is not None and self._store.known.by_md5.get((head.etag, head.size)) == then.sha256
        if head is None or not (known or ((await objects.digest(source, name)) or (head, ""))[1] == then.sha256):
            raise Missing(f"{source}/{name} does not hold what it should ({then.sha256[:12]}…)")
        await self._record(_typed(t, _copying(source, name), t.at, key, then.headers))
        await objects.copy(source, name, head.etag, t.at, key, sent(then.headers, t.acl))

    async def write(self, site: str, key: str, now: StoredObject | None, data: bytes, headers: Headers) -> None:
        """See the port."""
        t, _ = self._there(site)
        await self._keep(t, site, key, now, ())
        command = ["s3api", "put-object", "--body", key.rpartition("/")[2]]
        await self._write(t, key, now, data, headers, command)

    async def remove(self, site: str, key: str, now: StoredObject) -> None:
        """See the port."""
        t, objects = self._there(site)
        there = await self._held(t, key)
        if there is None:
            return
        if there != now:
            raise StoreRefused(f"{t.at}/{key} holds something else by now: it is left")
        await self._record(_aws(t, ["s3api", "delete-object", "--bucket", t.at.bucket, "--key", t.at.key(key)]))
        await objects.delete(t.at, key)

    async def _write(
        self, t: StoredSite, key: str, now: StoredObject | None, data: bytes, headers: Headers, command: Sequence[str]
    ) -> None:
        """Over what was looked at, and nothing else. Unreachable where somebody else was quicker: look again."""
        account = self._account(t)
        objects, seen = Objects(account), self._store.looked.get((t.access.place, str(t.at), key))
        if not account.conditional or seen is None or seen[0] != now:  # else the store holds it to what was looked at
            seen = await self._seen(t, key)
            if (seen[0] if seen is not None else None) != now:
                raise Unreachable(f"{t.at}/{key} was changed by somebody else just now")
        await self._record(_typed(t, command, t.at, key, headers))
        given = sent(headers, t.acl)
        try:
            if seen is not None and account.conditional is None and await self._tried(t, key, data, given):
                return
            await objects.put(t.at, key, data, given, seen[1] if seen is not None else None)
        except WriteConflict as error:
            raise Unreachable(f"{t.at}/{key} was changed by somebody else just now") from error
        except Unsupported:  # a store that knows no conditions
            account.conditional = False
            await objects.put_any(t.at, key, data, given)

    async def _tried(self, t: StoredSite, key: str, data: bytes, given: Mapping[str, str]) -> bool:
        """Find out whether the store holds a write to a version: one that nobody has. True where it does not, and so
        has written."""
        account = self._account(t)
        async with account.trying:
            if account.conditional is not None:
                return False
            try:
                await Objects(account).put(t.at, key, data, given, NOBODYS)
            except WriteConflict:
                account.conditional = True
                return False
            account.conditional = False
            return True

    async def _keep(
        self, t: StoredSite, site: str, key: str, now: StoredObject | None, builds: Collection[Build]
    ) -> None:
        """So that it can be brought back; nothing where a known build has it."""
        if now is None or await self._in(t, site, key, now, builds):
            return
        objects, kept = Objects(self._account(t)), t.builds.below(KEPT)
        if await objects.head(kept, now.sha256) is not None:
            return
        head = await objects.head(t.at, key)
        if head is None:
            return
        source = ["s3api", "copy-object", "--copy-source", f"{t.at.bucket}/{t.at.key(key)}"]
        await self._record(_typed(t, source, kept, now.sha256, Headers("")))
        private = {name: value for name, value in sent(now.headers).items() if name == "ContentType"}
        await objects.copy(t.at, key, head.etag, kept, now.sha256, private)

    async def _content(
        self, t: StoredSite, site: str, key: str, then: StoredObject, builds: Collection[Build]
    ) -> tuple[Folder, str, bytes]:
        """A small file's bytes, and where they lie: in a build that says so, or as it was kept. Missing."""
        said = [b for b in builds if await self._says(site, b, key, then)]
        places = [*((t.builds.below(b.prefix), key) for b in said), (t.builds.below(KEPT), then.sha256)]
        for folder, name in places:
            found = await Objects(self._account(t)).small(folder, name, SMALL)
            if found is not None and hashlib.sha256(found[0]).hexdigest() == then.sha256:
                return folder, name, found[0]
        where = f"{places[0][0]}/{places[0][1]} does not hold what it should" if said else (
            f"neither a known build nor {t.builds.below(KEPT)} has what {key} held")  # fmt: skip
        raise Missing(f"{where} ({then.sha256[:12]}…)")

    async def _says(self, site: str, build: Build, key: str, held: StoredObject) -> bool:
        """Whether a build's manifest has this content under this key."""
        try:
            f = (await self.manifest(site, build)).files.get(key)
        except (Missing, ValueError):
            return False
        return f is not None and (f.sha256, f.size) == (held.sha256, held.size)

    async def _source(
        self, t: StoredSite, site: str, key: str, then: StoredObject, builds: Collection[Build]
    ) -> tuple[Folder, str]:
        """Where that content lies: folder and name. Missing."""
        if (build := await self._in(t, site, key, then, builds)) is not None:
            return t.builds.below(build.prefix), key
        kept = t.builds.below(KEPT)
        if await Objects(self._account(t)).head(kept, then.sha256) is None:
            raise Missing(f"neither a known build nor {kept} has what {key} held ({then.sha256[:12]}…)")
        return kept, then.sha256

    async def _in(
        self, t: StoredSite, site: str, key: str, held: StoredObject, builds: Collection[Build]
    ) -> Build | None:
        """A build that has this content under this key."""
        for build in builds:
            if await self._says(site, build, key, held) and await self._lies(t, build, key) == held.size:
                return build
        return None

    async def _lies(self, t: StoredSite, build: Build, key: str) -> int | None:
        """The size of a build's object, None where it is not there. After a few of them all are listed, once for this
        attempt: nobody writes to a build."""
        objects, folder = Objects(self._account(t)), t.builds.below(build.prefix)
        shelf = self._shelves.setdefault(folder, _Shelf())
        if shelf.asked < FEW:
            shelf.asked += 1
            head = await objects.head(folder, key)
            return head.size if head is not None else None
        async with shelf.listing:
            if shelf.there is None:
                shelf.there = await objects.listed(folder)
        listed = shelf.there.get(key)
        return listed.size if listed is not None else None

    # -- by hand ---------------------------------------------------------------------------------------------------

    def by_hand(self, edits: Sequence[Edit]) -> Sequence[str]:
        """What a person types to make these edits of objects so: files that pages name first."""
        first, found = dict[str, None](), list[str]()
        for e in edits:
            site, _, key = e.target.partition("/")
            t, _ = self._there(site)
            if not isinstance(e.after, str) or not e.after.startswith("sha256:"):
                remove = _aws(t, ["s3api", "delete-object", "--bucket", t.at.bucket, "--key", t.at.key(key)])
                found.append(remove if e.after is None else f"# set {e.target} to {e.after}")
                continue
            then = StoredObject.read(e.after)
            if then.sha256 == hashlib.sha256(REMOVER).hexdigest():
                script = shlex.quote(REMOVER.decode())
                put = _typed(t, ["s3api", "put-object", "--body", "sw.js"], t.at, key, then.headers)
                found.append(f"printf %s {script} > sw.js && {put}")
                continue
            known = next((b for b, m in self._known(t) if (f := m.files.get(key)) and f.sha256 == then.sha256), None)
            source, name = (t.builds.below(known.prefix), key) if known else (t.builds.below(KEPT), then.sha256)
            if known:
                first[_whole(t, source, dict(self._known(t))[known])] = None
            found.append(_typed(t, _copying(source, name), t.at, key, then.headers))
        return [*first, *found]

    def _known(self, t: StoredSite) -> list[tuple[Build, Manifest]]:
        """Builds that were read, newest first."""
        there = [(Build.of(b), m) for (place, b), m in self._store.manifests.items() if place == t.access.place]
        return there[::-1]

    # -- how -------------------------------------------------------------------------------------------------------

    async def _fault(self, t: StoredSite) -> str:
        account = self._account(t)
        try:
            for folder in dict.fromkeys((t.at, t.builds)):
                await account.call(
                    "s3", f"list {folder}", "list_objects_v2", Bucket=folder.bucket, Prefix=folder.prefix, MaxKeys=1
                )
        except Exception as error:
            return str(error)
        return ""

    def _account(self, t: StoredSite) -> Account:
        if t.access not in self._store.accounts:
            self._store.accounts[t.access] = Account(t.access, self._ca_file)
        return self._store.accounts[t.access]

    def _there(self, site: str) -> tuple[StoredSite, Objects]:
        if site not in self._targets:
            known = ", ".join(sorted(self._targets)) or "none"
            raise LookupError(f"the catalogue has no site {site!r}; there are {known}")
        t = self._targets[site]
        return t, Objects(self._account(t))


async def _faults(
    objects: Objects, folder: Folder, there: Mapping[str, ListedObject], files: Sequence[File]
) -> dict[str, str]:
    """Key -> why it is not what it should be. Bytes are read only where the listing does not tell."""
    found, unsure = {}, []
    for f in files:
        seen = there.get(f.key)
        if seen is None:
            found[f.key] = "missing"
        elif seen.size != f.size:
            found[f.key] = f"{seen.size} bytes, not {f.size}"
        elif not f.md5 or seen.md5 != f.md5:
            unsure.append(f)

    async def differs(f: File) -> bool:
        read = await objects.digest(folder, f.key)
        return read is None or read[1] != f.sha256

    differing = await gathered(map(differs, unsure))
    return found | {f.key: "other content than its manifest says" for f, d in zip(unsure, differing, strict=True) if d}


def _at(t: StoredSite, folder: Folder) -> At:
    return t.access.place, str(folder)


def _typed(t: StoredSite, command: Sequence[str], to: Folder, key: str, headers: Headers) -> str:
    options = [
        ("--content-type", headers.type),
        ("--cache-control", headers.cache),
        ("--content-encoding", headers.encoding),
    ]
    said = [part for name, value in options if value for part in (name, value)]
    own = ["--acl", t.acl] if t.acl else []
    return _aws(t, [*command, "--bucket", to.bucket, "--key", to.key(key), *said, *own])


def _copying(source: Folder, name: str) -> list[str]:
    """An object copied, with headers of its own instead of the source's."""
    at = f"{source.bucket}/{source.key(name)}"
    return ["s3api", "copy-object", "--copy-source", at, "--metadata-directive", "REPLACE"]


def _whole(t: StoredSite, source: Folder, manifest: Manifest) -> str:
    """One command for every file of a build that names no others; those kept for ever, as most are."""
    excluded = [part for key in (MANIFEST, *manifest.fronts) for part in ("--exclude", key)]
    command = ["s3", "cp", "--recursive", f"{source}/", f"{t.at}/", *excluded, "--cache-control", FOR_EVER]
    return _aws(t, command)


def _batch(source: Folder, t: StoredSite, files: Sequence[File]) -> str:
    """One command for new files; the rest is named by a digest of the list."""
    names = [f.key for f in files]
    includes = [part for name in names[:NAMED] for part in ("--include", name)]
    command = ["s3", "cp", "--recursive", f"{source}/", f"{t.at}/", "--exclude", "*", *includes]
    rest = f"  # and {len(names) - NAMED} more" if len(names) > NAMED else ""
    listed = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
    return f"{_aws(t, command)}{rest}  # {len(names)} new files, each with the headers of its manifest; list {listed}"


def _aws(t: StoredSite, command: Iterable[str]) -> str:
    return shlex.join(["aws", *t.access.options, *command])
