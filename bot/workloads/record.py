"""The record of a release: its workloads in every cluster with their whole pod templates, and the service's settings.

It is taken while the release serves, kept as one JSON object (an edit's target -> its value), and read back when the
release has to return or to go. Pure.

Invariants:
- a workload's images are always kept, so that one without a variable is told from one that was not there;
- of what looks like a secret only a digest is kept, made with the bot's key, or without one nothing: it can be
  compared, and is never written back;
- a record from before whole templates were kept still loads: it knows images, variables and settings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256

from bot.ports import Json, Secrets
from bot.ports.kubernetes import IMAGE, WORKLOADS, Kind, Place, Thing

Fields = Mapping[str, Json]
"""Field of an object -> its value."""
Kept = Mapping[str, Json]
"""A record as it is kept: an edit's target -> its value."""

DATA = "data/"
TEMPLATE = ("env/", "order/", "container/", "pod/", "pod-label/", "pod-annotation/")
"""How the fields of a pod template begin, its images left out."""
WHOLE = "whole"
"""The field that stands for all of an object: absent, or as it could be made anew."""
RECENT = 64
"""Objects of a record that are kept parsed."""
_VALUE = json.JSONDecoder()
_HIDDEN, _EARLIER = "hidden", "sha256"
"""The one key of what stands for a value that looks like a secret; and the one that earlier records have."""
_MAY_HIDE = (DATA, "env/", "container/", "pod/", "pod-label/", "pod-annotation/")


def take(workloads: Iterable[Thing], settings: Iterable[Thing], secrets: Secrets) -> dict[str, Json]:
    """The record of these."""
    kinds = ((settings, (DATA,)), (workloads, (IMAGE, *TEMPLATE)))
    found: dict[str, Json] = {}
    for things, wanted in kinds:
        for thing in things:
            fields = Concealed(thing.fields, secrets)
            found |= {thing.place.target(name): fields[name] for name in fields if name.startswith(wanted)}
    for thing in workloads:
        if thing.whole is not None and not secrets.looks(thing.whole):  # it is put back whole, or not by the bot
            found[thing.place.target(WHOLE)] = thing.whole
    return found


class Concealed(Mapping[str, Json]):
    """Fields, with what stands for each value that looks like a secret in its place. That is found out of a field when
    it is asked for: it takes most of a look at thousands of workloads, of which few are compared field by field."""

    __slots__ = ("_fields", "_known", "_secrets")

    def __init__(self, fields: Fields, secrets: Secrets) -> None:
        self._fields, self._secrets = fields, secrets
        self._known: dict[str, Json] = {}

    def __getitem__(self, name: str) -> Json:
        if name not in self._known:
            self._known[name] = conceal(name, self._fields[name], self._secrets)
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return repr(dict(self))


def conceal(name: str, value: Json, secrets: Secrets) -> Json:
    """The value of a field, or what stands for one that looks like a secret."""
    hides = name == WHOLE or name.startswith(_MAY_HIDE)
    if not hides or value is None or is_secret(value) or not secrets.looks(value, name.rpartition("/")[2]):
        return value
    return {_HIDDEN: secrets.digest(value)}


def without_secrets(thing: Thing, secrets: Secrets) -> Thing:
    """The object with what stands for each value that looks like a secret in its place."""
    return replace(thing, fields=Concealed(thing.fields, secrets))


@dataclass(frozen=True)
class ReleaseRecord:
    """A record by object. Empty: nothing is known. secrets: what tells which values look like one by now, and did not
    when it was kept."""

    places: Mapping[Place, Fields] = field(default_factory=dict)
    secrets: Secrets | None = None

    @classmethod
    def of(cls, kept: Kept) -> ReleaseRecord:
        """As it was kept. ValueError for what is no record."""
        objects: dict[str, dict[str, Json]] = {}
        for target, value in kept.items():
            cluster, kind, name, rest = target.split("/", 3)
            objects.setdefault(f"{cluster}/{kind}/{name}", {})[rest] = value
        return cls({Place.of(name): fields for name, fields in objects.items()})

    @classmethod
    def read(cls, data: bytes) -> ReleaseRecord:
        """From its JSON. ValueError."""
        text = data.decode()
        with suppress(ValueError):
            return cls(_Kept(text))
        kept = json.loads(text)  # not as `canonical` writes it
        if not isinstance(kept, dict):
            raise ValueError("it holds no settings")
        return cls.of(kept)

    def concealed(self, secrets: Secrets) -> ReleaseRecord:
        """Without what looks like a secret by now, and did not when it was kept."""
        return replace(self, secrets=secrets)

    def at(self, place: Place) -> Fields:
        """What it knows of an object; empty where it knows nothing."""
        fields = self.places.get(place, {})
        return Concealed(fields, self.secrets) if fields and self.secrets is not None else fields

    @property
    def workloads(self) -> Iterator[tuple[Place, Fields]]:
        """Those it knows."""
        return ((place, self.at(place)) for place in self.places if place.kind in WORKLOADS)

    def knows(self, cluster: str, kinds: Sequence[Kind] = WORKLOADS) -> bool:
        """Whether it knows anything of these kinds there."""
        return any(place.cluster == cluster and place.kind in kinds for place in self.places)


class _Kept(Mapping[Place, Fields]):
    """The objects of a record as text, each parsed when it is asked for: all of them at once would be ten times as
    large, and millions of values that the garbage collector goes through again and again."""

    def __init__(self, text: str) -> None:
        found = [*_objects(text)]
        self._text, self._spans = text, dict(found)
        if len(self._spans) < len(found):
            raise ValueError("its keys are not sorted")
        self._fields = lru_cache(maxsize=RECENT)(self._parsed)

    def __getitem__(self, place: Place) -> Fields:
        return self._fields(place)

    def __iter__(self) -> Iterator[Place]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def _parsed(self, place: Place) -> Fields:
        start, end = self._spans[place]
        kept: Kept = json.loads(f"{{{self._text[start:end]}}}")
        return {target.split("/", 3)[3]: value for target, value in kept.items()}


def lasting(data: bytes) -> str:
    """A digest of a record as it is kept, without what moves by itself: replicas, which only whole objects hold. Two
    are compared by this: parsed they would be ten times as large. ValueError for what is no canonical JSON."""
    text, found = data.decode(), sha256()
    for target, begin, end in _items(text):
        if not target.endswith(f"/{WHOLE}"):
            found.update(text[begin:end].encode() + b",")
    return found.hexdigest()


def _objects(text: str) -> Iterator[tuple[Place, tuple[int, int]]]:
    """Where the targets of each object stand in canonical JSON, whose sorted keys keep them together. ValueError."""
    begin = end = 1
    about = ""
    for target, at, after in _items(text):
        cluster, kind, name, _ = target.split("/", 3)
        if about != (here := f"{cluster}/{kind}/{name}"):
            if about:
                yield Place.of(about), (begin, end)
            begin, about = at, here
        end = after
    if about:
        yield Place.of(about), (begin, end)


def _items(text: str) -> Iterator[tuple[str, int, int]]:
    """Each key of canonical JSON, and where it and its value begin and end. ValueError."""
    at = 1
    if not text.startswith("{"):
        raise ValueError("it is no object")
    try:
        while text[at] != "}":
            target, after = _VALUE.raw_decode(text, at)
            _, end = _VALUE.raw_decode(text, after + 1)
            yield target, at, end
            at = end + (text[end] == ",")
    except IndexError as error:
        raise ValueError("the record is cut") from error


def whole_templates(fields: Fields) -> bool:
    """Whether what is known of a workload is its whole template, not only images and variables."""
    return any(name.startswith("container/") for name in fields)


def is_secret(value: Json) -> bool:
    """Whether this stands for a value that looks like a secret."""
    return isinstance(value, dict) and len(value) == 1 and (_HIDDEN in value or _EARLIER in value)


def differ(one: Json, other: Json) -> bool | None:
    """Whether two values, of which one at least looks like a secret, are different ones; None where nothing tells: no
    key, or another one."""
    keys = {_key_of(one), _key_of(other)}
    if is_secret(one) and is_secret(other):
        return one != other if len(keys) == 1 and "" not in keys else None
    return True


def _key_of(value: Json) -> str:
    """Which key a digest was made with."""
    digest = value.get(_HIDDEN) if isinstance(value, dict) else None
    return digest.partition(":")[0] if isinstance(digest, str) else ""


def alike(one: Json, other: Json, name: str = "") -> bool:
    """Whether two values of a field say the same: absent, empty and what an API server puts in by itself are equal, but
    for a variable or a key of a ConfigMap, where an empty text is one."""
    if is_secret(one) or is_secret(other):
        return differ(one, other) is False
    if one == other or name.startswith(("env/", DATA)):
        return one == other
    key = name.rpartition("/")[2]
    return _plain(key, one) == _plain(key, other)


_DEFAULTS: Mapping[str, Sequence[Json]] = {
    "apiVersion": ("v1",),
    "defaultMode": (420,),
    "dnsPolicy": ("ClusterFirst",),
    "failureThreshold": (3,),
    "imagePullPolicy": ("IfNotPresent",),
    "periodSeconds": (10,),
    "protocol": ("TCP",),
    "schedulerName": ("default-scheduler",),
    "scheme": ("HTTP",),
    "successThreshold": (1,),
    "terminationGracePeriodSeconds": (30,),
    "terminationMessagePath": ("/dev/termination-log",),
    "terminationMessagePolicy": ("File",),
    "timeoutSeconds": (1,),
}


def _plain(key: str, value: Json) -> Json:
    """The value without what says nothing; None if nothing is left."""
    if isinstance(value, dict):
        return {k: plain for k, inner in value.items() if (plain := _plain(k, inner)) is not None} or None
    if isinstance(value, list):
        return [_plain("", each) for each in value] or None
    return None if value == "" or (not isinstance(value, bool) and value in _DEFAULTS.get(key, ())) else value
