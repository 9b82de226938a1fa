"""Where every workload and setting of a release should stand, and what of it does not yet. Pure.

Three values decide about each field of a pod template and each key of a ConfigMap: what the target served with, what
the outgoing releases came with, and what stands there now. What the outgoing ones changed and still stands goes back;
what others have set since is left alone and named, with who and when. Where nothing is known of what an outgoing
release came with, a field is taken for its own if whoever put its image there has set the field as well.

Invariants:
- images are compared by digest: the same image under another name is no difference;
- an image that is neither the target's nor an outgoing one, where the target ran, is strange: it is part of the change;
- nothing that looks like a secret is ever part of a change: where it differs it is left and named, the rest goes on.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bot.contract import Edit, Json
from bot.ports.kubernetes import IMAGE, WORKLOADS, Place, Thing, Writer, digest
from bot.workloads.images import repository
from bot.workloads.left import Left, of_secret, who
from bot.workloads.record import DATA, TEMPLATE, WHOLE, Fields, ReleaseRecord, alike, is_secret, whole_templates

_RESTARTED = "pod-annotation/kubectl.kubernetes.io/restartedAt"
"""Of no release: somebody restarted the pods."""


class Several(ValueError):
    """A container runs what is several images in the target, and no name says which it is to be."""


@dataclass(frozen=True)
class Difference:
    """One object against its end. strange: edits of images that are neither the target's nor an outgoing one; ours:
    whether it runs anything of the target or of an outgoing release; orphans: containers with an outgoing image that
    the target has none for."""

    thing: Thing
    edits: tuple[Edit, ...] = ()
    strange: tuple[Edit, ...] = ()
    left: tuple[Left, ...] = ()
    ours: bool = False
    orphans: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        """Which object."""
        return self.thing.place


@dataclass(frozen=True)
class Ends:
    """The end that a release states for a service. images: the target's by workload; removed: (workload, image) of
    every outgoing release; to: what the target looked like; was: what the outgoing ones came with, as far as known;
    unknown: whether that is not known of one of them; resolved: image -> digest of the release's image that it is,
    where its own does not say (`bot.workloads.images`)."""

    images: Mapping[str, str]
    removed: Sequence[tuple[str, str]]
    to: ReleaseRecord = field(default_factory=ReleaseRecord)
    was: Sequence[ReleaseRecord] = ()
    unknown: bool = False
    resolved: Mapping[str, str] = field(default_factory=dict)

    # -- images ------------------------------------------------------------------------------------------------------

    def digest(self, image: Json) -> str:
        """What an image is: its digest (the release's, where it goes by several), "" where that is not known."""
        return self.resolved.get(str(image)) or digest(str(image))

    @cached_property
    def good(self) -> Mapping[str, Sequence[str]]:
        """Digest -> images of the target; several where one is kept in several repositories."""
        found: dict[str, list[str]] = {}
        for image in self.images.values():
            found.setdefault(self.digest(image), []).append(image)
        return found

    def named(self, image: Json) -> str | None:
        """The target's image that this one is, whatever it is called; None where it is none of the target's."""
        known = self.good.get(self.digest(image), ())
        same = (each for each in known if repository(each) == repository(str(image)))
        return next(same, known[0] if known else None)

    @cached_property
    def instead(self) -> Mapping[str, Mapping[str, str]]:
        """Digest of an outgoing image -> the target's images by workload; only where they differ."""
        found: dict[str, dict[str, str]] = {}
        for name, image in self.removed:
            if name in self.images and self.digest(self.images[name]) != self.digest(image):
                found.setdefault(self.digest(image), {})[name] = self.images[name]
        return {gone: news for gone, news in found.items() if gone}

    @cached_property
    def orphans(self) -> frozenset[str]:
        """Digests of outgoing images that the target has none for."""
        return frozenset(self.digest(i) for _, i in self.removed) - self.good.keys() - self.instead.keys() - {""}

    def wanted(self, thing: Thing, name: str) -> str | None:
        """The target's image for a container, None where the release says nothing of it. Several."""
        now = self.digest(thing.fields[name])
        if now in self.instead:
            return self._chosen(thing, name, self.instead[now])
        recorded = self.named(self.to.at(thing.place).get(name))
        if recorded is not None or now in self.good:
            return self.named(thing.fields[name]) or recorded
        return self._by_name(thing, name) if not now or not self.to.knows(thing.place.cluster) else None

    def _by_name(self, thing: Thing, name: str) -> str | None:
        """Where no record knows the workload: it is called as the release calls it, and runs that repository."""
        image = self.images.get(thing.place.name) or self.images.get(name.removeprefix(IMAGE))
        same = image is not None and repository(str(thing.fields[name])) == repository(image)
        return image if same else None

    def _chosen(self, thing: Thing, name: str, news: Mapping[str, str]) -> str:
        """By names where what was one image has become several."""
        recorded = self.named(self.to.at(thing.place).get(name))
        container = name.removeprefix(IMAGE)
        called = {image for workload, image in news.items() if workload in (container, thing.place.name)}
        found = called if len(set(news.values())) > 1 else {*news.values()}
        if len(found) != 1 and recorded is not None and recorded in news.values():
            return recorded
        if len(found) != 1:
            raise Several(f"{thing.place} ({container}) runs what is several images in the target: {names(news)}")
        return found.pop()

    def holds(self, thing: Thing) -> bool:
        """Whether any of its containers runs the target."""
        return any(self.digest(image) in self.good for image in _images(thing.fields).values())

    def removes(self, thing: Thing) -> bool:
        """Whether any of its containers runs what has to go."""
        bad = self.instead.keys() | self.orphans
        return any(self.digest(image) in bad for image in _images(thing.fields).values())

    def may_remove(self, thing: Thing) -> bool:
        """The same, as long as it is not known what its tags are."""
        called = {repository(image) for _, image in self.removed}
        tags = (str(i) for i in _images(thing.fields).values() if not self.digest(i))
        return self.removes(thing) or any(repository(tag) in called for tag in tags)

    @property
    def every_image(self) -> list[str]:
        """Those of the target and of the outgoing releases."""
        return [*dict.fromkeys((*self.images.values(), *(image for _, image in self.removed)))]

    # -- a workload --------------------------------------------------------------------------------------------------

    def workload(self, thing: Thing, writers: Collection[str]) -> Difference:
        """How one stands. writers: who put outgoing images into its cluster. Several."""
        to, was = self.to.at(thing.place), [known for r in self.was if (known := r.at(thing.place))]
        moves, rest = _moves(thing, to, was)
        edits, strange, orphans, others, ours = [], [], [], [], False
        for name, image in _images(thing.fields).items():
            wanted = self.wanted(thing, name)
            ours = ours or wanted is not None
            now, container = self.digest(image), name.removeprefix(IMAGE)
            if container in moves:
                continue
            if now in self.orphans:
                orphans.append(container)
            elif wanted is None and name in to:
                others.append(name)
            if wanted is not None and now != self.digest(wanted):
                edits.append(Edit(thing.place.target(name), image, wanted))
                if now not in self.instead:
                    strange.append(edits[-1])
        if not (ours and to):
            return Difference(thing, (*_unpaused(thing, edits), *edits), tuple(strange), (), ours, tuple(orphans))
        strangers = {by.manager for e in strange if (by := _by(thing, e.target)) is not None}
        aside = {*moves, *(e.target.rpartition("/")[2] for e in rest)}
        names = [*_comparable(thing, to, was, aside), *others]
        settings, left = self._fields(thing, names, to, was, {*writers, *strangers}, strangers)
        every = [*edits, *_comings(thing, moves), *settings, *_ordered(thing, to, settings)]
        return Difference(
            thing,
            (*_unpaused(thing, [*every, *self._waiting(thing)]), *every),
            tuple(strange),
            (*left, *rest),
            ours,
            tuple(orphans),
        )

    def _waiting(self, thing: Thing) -> Sequence[Edit]:
        """What makes a paused rollout part of this, though its template is right: its pods are not."""
        stuck = self.holds(thing) and thing.rollout is not None and not thing.rollout.complete
        return [Edit(thing.place.target("paused"), True, None)] if stuck else []

    # -- settings ----------------------------------------------------------------------------------------------------

    def settings(self, thing: Thing, writers: Collection[str]) -> Difference:
        """How a ConfigMap stands."""
        to, was = self.to.at(thing.place), [known for r in self.was if (known := r.at(thing.place))]
        if not to:
            return Difference(thing)
        edits, left = self._fields(thing, _comparable(thing, to, was, ()), to, was, writers, ())
        if edits and thing.facts.get("immutable"):
            why = "the ConfigMap is immutable: it can only be replaced, by another one or under another name"
            return Difference(thing, (), (), tuple([*left, *(Left(e.target, why) for e in edits)]), True)
        return Difference(thing, tuple(edits), (), tuple(left), True)

    def _fields(
        self, thing: Thing, names: Iterable[str], to: Fields, was: Sequence[Fields], writers: Collection[str],
        strangers: Collection[str],
    ) -> tuple[list[Edit], list[Left]]:  # fmt: skip
        """Field by field. strangers: who put strange images into this object."""
        edits: list[Edit] = []
        left: list[Left] = []
        for name in names:
            now, then, befores = thing.fields.get(name), to.get(name), [w.get(name) for w in was]
            if is_secret(now) or is_secret(then):
                left += of_secret(thing, name, now, then, befores)
                continue
            if alike(now, then, name) or (name.startswith(IMAGE) and self.digest(now) == self.digest(then) != ""):
                continue
            at = [b for b in befores if alike(now, b, name)]
            changed = bool(at) and any(not alike(b, then, name) for b in befores)
            unknown = self.unknown or not was
            if not changed and not (_set_by(thing, name, writers if unknown else strangers)):
                left.append(Left(thing.place.target(name), who(thing, name)))
            else:
                edits.append(Edit(thing.place.target(name), now, then))
        return edits, left


def writers(ends: Ends, things: Iterable[Thing]) -> Mapping[str, frozenset[str]]:
    """Cluster -> who put images there that are an outgoing release's."""
    found: dict[str, set[str]] = {}
    for thing in things:
        for name, image in _images(thing.fields).items():
            if ends.digest(image) in ends.instead and (by := thing.by.get(name)) is not None:
                found.setdefault(thing.place.cluster, set()).add(by.manager)
    return {cluster: frozenset(managers) for cluster, managers in found.items()}


def gone(ends: Ends, things: Iterable[Thing], clusters: Collection[str]) -> Iterator[tuple[Place, Fields]]:
    """Workloads that the target had in these clusters and that are not there."""
    there = {thing.place for thing in things}
    for place in ends.to.places:
        if place.kind in WORKLOADS and place.cluster in clusters and place not in there:
            fields = ends.to.at(place)
            if any(ends.digest(image) in ends.good for image in _images(fields).values()):
                yield place, fields


def made(ends: Ends, fields: Fields) -> Json:
    """A workload of the record as it is made anew, with the target's own names for its images; None where the record
    does not have it whole."""
    whole = fields.get(WHOLE)
    if not isinstance(whole, dict) or is_secret(whole):
        return None
    again: dict[str, Json] = copy.deepcopy(whole)
    for pod in _pods(again):
        for among in ("initContainers", "containers"):
            for container in pod.get(among) or ():
                container["image"] = ends.named(container.get("image")) or container.get("image")
    return again


def _pods(value: Any) -> Iterator[Any]:
    """The pod specs of an object."""
    template = value.get("spec", {}).get("template") if isinstance(value, dict) else None
    job = value.get("spec", {}).get("jobTemplate") if isinstance(value, dict) else None
    if isinstance(template, dict):
        yield template.get("spec", {})
    if isinstance(job, dict):
        yield from _pods(job)


# -- how ---------------------------------------------------------------------------------------------------------------


def _images(fields: Fields) -> dict[str, Json]:
    return {name: fields[name] for name in fields if name.startswith(IMAGE)}


def _by(thing: Thing, target: str) -> Writer | None:
    return thing.by.get(target.removeprefix(thing.place.target("")))


def _set_by(thing: Thing, name: str, managers: Collection[str]) -> bool:
    """Whether one of these set the field last; or, where it is not there, anything of the object."""
    if not managers:
        return False
    if name in thing.fields:
        by = thing.by.get(name)
        return by is not None and by.manager in managers
    return any(by.manager in managers for by in thing.by.values())


def _comparable(thing: Thing, to: Fields, was: Sequence[Fields], aside: Collection[str]) -> list[str]:
    """The fields that are compared one by one, in order. aside: containers that are not."""
    begins: tuple[str, ...] = (DATA,) if thing.place.kind == "configmap" else TEMPLATE
    if begins is TEMPLATE and not whole_templates(to):
        begins = ("env/",)  # a record from before whole templates were kept
    names = {name for fields in (to, thing.fields, *was) for name in fields if name.startswith(begins)}
    return sorted(name for name in names if name != _RESTARTED and not _of(name, aside))


def _of(name: str, aside: Collection[str]) -> bool:
    """Whether a field is all of a container, the order of its variables, or part of one that is set aside."""
    head, _, rest = name.partition("/")
    container, _, part = rest.partition("/")
    return head in ("env", "order", "container") and (not part or container in aside)


def _moves(thing: Thing, to: Fields, was: Sequence[Fields]) -> tuple[dict[str, Json], list[Left]]:
    """Containers that an outgoing release brought or took: name -> what it is to be (None: it goes); and those that
    others did."""
    moves: dict[str, Json] = {}
    left: list[Left] = []
    if not whole_templates(to) or not was or not all(map(whole_templates, was)):
        return moves, left
    names = {name.removeprefix(IMAGE) for fields in (to, thing.fields) for name in _images(fields)}
    for name in sorted(n for n in names if (f"{IMAGE}{n}" in thing.fields) != (f"{IMAGE}{n}" in to)):
        whole = f"container/{name}"
        now, then = thing.fields.get(whole), to.get(whole)
        if is_secret(now) or is_secret(then):
            left += of_secret(thing, whole, now, then, [w.get(whole) for w in was])
            continue
        theirs = any((f"{IMAGE}{name}" in w) != (f"{IMAGE}{name}" in to) and alike(now, w.get(whole)) for w in was)
        if theirs and now != then:
            moves[name] = then
        else:
            left.append(Left(thing.place.target(whole), who(thing, whole)))
    return moves, left


def _comings(thing: Thing, moves: Mapping[str, Json]) -> Iterator[Edit]:
    for name, then in moves.items():
        now = thing.fields.get(f"container/{name}")
        if now != then:
            yield Edit(thing.place.target(f"container/{name}"), now, then)


def _ordered(thing: Thing, to: Fields, settings: Sequence[Edit]) -> Iterator[Edit]:
    """The order that variables are to have, where they would not come to follow one another as they did: moved ones,
    and new ones that do not belong at the end."""
    for name in to:
        there = name.startswith("order/") and f"{IMAGE}{name.removeprefix('order/')}" in thing.fields
        wanted = to[name] if there else None
        if not isinstance(wanted, list):
            continue
        result = order(thing, name, settings, (to,))
        theirs = [v for v in result if v in wanted]
        if theirs != [v for v in wanted if v in theirs]:
            result = _sorted(result, wanted)
        now = thing.fields.get(name)
        before = now if isinstance(now, list) else []
        appended = [*(v for v in before if v in result), *sorted(str(v) for v in result if v not in before)]
        if result != appended:
            yield Edit(thing.place.target(name), now, result)


def _sorted(names: Sequence[Json], wanted: Sequence[Json]) -> list[Json]:
    """The names with those that are wanted in that order, each of the others behind the one it stood behind."""
    found: list[Json] = [v for v in wanted if v in names]
    for i, name in enumerate(names):
        if name not in found:
            found.insert(found.index(names[i - 1]) + 1 if i else 0, name)
    return found


def order(thing: Thing, name: str, edits: Iterable[Edit], known: Iterable[Fields]) -> list[Json]:
    """The order of a container's variables after these edits: each new one stands where `known` templates had it."""
    begin = thing.place.target(f"env/{name.removeprefix('order/')}/")
    changed = {e.target.removeprefix(begin): e.after for e in edits if e.target.startswith(begin)}
    now = thing.fields.get(name)
    names: list[Json] = [v for v in (now if isinstance(now, list) else []) if changed.get(str(v), "") is not None]
    fresh = [v for v, after in changed.items() if after is not None and v not in names]
    orders = [o for fields in known if isinstance(o := fields.get(name), list)]
    model = next((o for o in orders if all(v in o for v in fresh)), [])
    for variable in sorted(fresh, key=lambda v: model.index(v) if v in model else len(model)):
        before = model[: model.index(variable)] if variable in model else names
        at = next((names.index(v) + 1 for v in reversed(before) if v in names), 0)
        names.insert(at, variable)
    return names


def _unpaused(thing: Thing, edits: Sequence[Edit]) -> Iterator[Edit]:
    """A paused rollout would take the new template and never roll."""
    if edits and thing.fields.get("paused"):
        yield Edit(thing.place.target("paused"), True, None)


def names(words: Iterable[str]) -> str:
    """ "eu-1, us-1"."""
    return ", ".join(sorted(words))
