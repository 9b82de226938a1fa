"""What there is to roll back, and who may decide: `rollback.yaml`, read into frozen values.

services:
  shop:
    title: Shop
    channels: {incident: ["#incidents"], stakeholders: ["#status"], cdn: ["#edge"]}
    targets:
      api: {http: "https://api.internal", timeout: 5s}
      eu-1: {kubernetes: eu-1, namespace: shop, wave: 1, workers: [deployment/shop-worker], settings: [shop-settings]}
      db: {postgres: "db.internal:5432/shop", login: SHOP_DB_LOGIN, admin: SHOP_DB_ADMIN, migrations: /srv/shop}
      prom: {prometheus: "http://prometheus.internal:9090", series: {errors: {query: "sum(rate(errors_total[1m]))"}}}
      cache: {redis: "cache.internal:6379/0", password: SHOP_CACHE_PASSWORD, flush: ["shop:{release}:"]}
    depends_on: [billing]
    floor: "2.3.0"
    stable_after: 6h
    limits: {rows_lost: 500}
roles:
  approver: {people: [cho], groups: [S012AB], on_call: {groups: [S034CD]}}
people: {cho: Cho Lee}

Invariants:
- every name that is used is defined; every mistake is reported at once, with its place and a guess;
- nothing touches a target that is not named here; no secret stands here, those come from the environment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    JsonValue,
    Tag,
    TypeAdapter,
    WithJsonSchema,
)

from bot.catalogued.backups import BackupsTarget
from bot.catalogued.frontend import EdgeTarget, SiteTarget, check_frontend
from bot.catalogued.http import HttpTarget
from bot.catalogued.journeys import JourneyFile, check_journeys, journeys_of
from bot.catalogued.kubernetes import KubernetesTarget
from bot.catalogued.partners import PartnerFile, check_partners, partners_of
from bot.catalogued.postgres import PostgresTarget
from bot.catalogued.postmortem import PostmortemFile, arrangement_of, check_postmortem
from bot.catalogued.prometheus import PrometheusTarget
from bot.catalogued.redis import RedisTarget
from bot.catalogued.shapes import UrlPath, check_http_target, either
from bot.contract import Json, canonical
from bot.located import Path, Report
from bot.located.shapes import Shape
from bot.located.strict import NEITHER, Duration, Key, Slug, Strict, Text, Word, read_as
from bot.located.yamltree import read
from bot.policy import APPROVER, COMMANDER
from bot.ports import Blob
from bot.ports.history import Arrangement
from bot.ports.journeys import Journey
from bot.ports.kubernetes import digest
from bot.ports.partners import Partner

STABLE_AFTER = 24 * 3600.0
"""Seconds of serving without being marked bad that count as stable, where a service says nothing else."""

NO_CATALOGUE = "there is no catalogue here; ROLLBACK_CATALOGUE says where it is, `rollback-bot init` writes one"


@dataclass(frozen=True, slots=True)
class Release:
    """One released version of a service, as registered. `images`: workload -> image by digest; `frontend`:
    build by digest; `schema`: revision of the database schema; `migrations`: image or tree they live in;
    `compatible`: the oldest revision whose releases work on this one's schema as well, where it says so;
    `settings`: its record (`bot.workloads.record`), noted when it first served; `last`: the same as it served last,
    where others have changed it since; `jobs`: kinds of jobs that it reads, None where it does not say."""

    version: str
    commit: str = ""
    images: Mapping[str, str] = field(default_factory=dict)
    frontend: str | None = None
    schema: str | None = None
    migrations: str | None = None
    settings: Blob | None = None
    last: Blob | None = None
    compatible: str | None = None
    jobs: tuple[str, ...] | None = None

    @property
    def digests(self) -> frozenset[str]:
        """ "sha256:<64 hex>" of its images."""
        return frozenset(map(digest, self.images.values())) - {""}


KINDS = {
    "http": "HttpTarget",
    "kubernetes": "KubernetesTarget",
    "postgres": "PostgresTarget",
    "backups": "BackupsTarget",
    "prometheus": "PrometheusTarget",
    "redis": "RedisTarget",
    "site": "SiteTarget",
    "edge": "EdgeTarget",
}
"""Kinds of targets: the key that says the kind, and its class. A new kind is one more class, named here and below."""
BESIDE = ("journeys", "partners")
"""What a service may have besides targets, and plans may ask for in the same way."""
FRONTEND = "frontend"
"""A site, an edge, or both, in what a plan asks for."""
_ONE_KIND = f"must say what it is: {either(KINDS)}"


def _kind(target: object) -> str | None:
    """Which kind of target a mapping is to be."""
    return KINDS.get(_kind_word(target))


def _kind_word(target: object) -> str:
    """The key that says its kind; "" where it has none, or several."""
    has = target.__contains__ if isinstance(target, Mapping) else partial(hasattr, target)
    found = [key for key in KINDS if has(key)]
    return found[0] if len(found) == 1 else ""


Target = Annotated[
    Annotated[HttpTarget, Tag("HttpTarget")]
    | Annotated[KubernetesTarget, Tag("KubernetesTarget")]
    | Annotated[PostgresTarget, Tag("PostgresTarget")]
    | Annotated[BackupsTarget, Tag("BackupsTarget")]
    | Annotated[PrometheusTarget, Tag("PrometheusTarget")]
    | Annotated[RedisTarget, Tag("RedisTarget")]
    | Annotated[SiteTarget, Tag("SiteTarget")]
    | Annotated[EdgeTarget, Tag("EdgeTarget")],
    Discriminator(_kind, custom_error_type=NEITHER, custom_error_message=_ONE_KIND),
]
"""One thing that is read and changed; the key of its kind says which."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Where a service's people read."""

    incident: tuple[str, ...] = ()
    stakeholders: tuple[str, ...] = ()
    cdn: tuple[str, ...] = ()
    support: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StatusHook:
    """What keeps the page on which customers read how it stands. target: HTTP target; path: that is posted to."""

    target: str
    path: str


@dataclass(frozen=True, slots=True)
class Service:
    """One service. plan: name of its standard plan; targets: by the names that plans use; depends_on: services to
    warn about; floor: the oldest version that may be restored; stable_after: seconds of serving without being marked
    bad after which a release counts as stable; journeys: what customers do, by name; partners: who serves it from
    outside, by name; postmortem: how those of the service are held; status_page: what keeps customers' page."""

    name: str
    title: str
    plan: str = "standard"
    channels: Channels = field(default_factory=Channels)
    targets: Mapping[str, Target] = field(default_factory=dict)
    depends_on: tuple[str, ...] = ()
    floor: str | None = None
    stable_after: float = STABLE_AFTER
    limits: Mapping[str, Json] = field(default_factory=dict)
    journeys: Mapping[str, Journey] = field(default_factory=dict)
    partners: Mapping[str, Partner] = field(default_factory=dict)
    postmortem: Arrangement = field(default_factory=Arrangement)
    status_page: StatusHook | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of its targets, each once, and what else it has: what `${service.has.<kind>}` asks."""
        known = {kind for target in self.targets.values() if (kind := _kind_word(target))}
        known |= {FRONTEND} if known & {"site", "edge"} else set()
        return tuple(sorted(known | {what for what in BESIDE if getattr(self, what)}))


@dataclass(frozen=True, slots=True)
class Crew:
    """People by id, and user groups of the workspace by theirs."""

    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Role:
    """Who may decide in this role. on_call: who of them is asked first; break_glass: may open any gate alone."""

    name: str
    people: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    on_call: Crew = field(default_factory=Crew)
    break_glass: bool = False


@dataclass(frozen=True)
class Catalogue:
    """Everything by name. people: id -> name, for working without Slack."""

    services: Mapping[str, Service]
    roles: Mapping[str, Role]
    people: Mapping[str, str] = field(default_factory=dict)

    @property
    def glass(self) -> frozenset[str]:
        """The roles that may break the glass; empty where none is named, and each may."""
        return frozenset(r.name for r in self.roles.values() if r.break_glass)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form, "sha256:<hex>"."""
        return "sha256:" + hashlib.sha256(self.text).hexdigest()

    @property
    def text(self) -> bytes:
        """All of it as canonical JSON."""
        # Made without a schema, which would take 40 ms.
        return canonical(_PLAIN.dump_python(self, mode="json")).encode()


def _scalar(value: Json) -> Json:
    if isinstance(value, bool | int | float | str):
        return value
    raise ValueError("must be one number, text, true or false")


Limit = Annotated[JsonValue, BeforeValidator(_scalar), WithJsonSchema({"type": ["boolean", "number", "string"]})]


class ChannelsFile(Strict):
    """Channels, by name or id."""

    incident: list[Word] = Field([], description="Where the rollback is run and announced.")
    stakeholders: list[Word] = Field([], description="Where those read who only want to know how it stands.")
    cdn: list[Word] = Field([], description="Where the edge team reads.")
    support: list[Word] = Field([], description="Where those read who talk to customers.")


class StatusHookFile(Strict):
    """A webhook that keeps customers' status page."""

    target: Slug = Field(description="HTTP target of the webhook.")
    path: UrlPath = Field("/", description="Path that is posted to.")


class ServiceFile(Strict):
    """One service."""

    title: Text | None = Field(None, description="What people call it; made from its name otherwise.")
    plan: Slug = Field("standard", description="The plan that a rollback follows if none is named.")
    channels: ChannelsFile = ChannelsFile()
    targets: dict[Slug, Target] = Field({}, description="What the bot may read and change.")
    depends_on: list[Slug] = Field([], description="Services whose people are warned.")
    floor: Word | None = Field(None, description="The oldest version that may be restored.")
    stable_after: Duration = Field(STABLE_AFTER, description="How long a release serves until it counts as stable.")
    limits: dict[Key, Limit] = Field({}, description="Values for plans: ${service.limits.x}.")
    journeys: dict[Slug, JourneyFile] = Field({}, description="What customers do, walked by a synthetic one.")
    partners: dict[Slug, PartnerFile] = Field({}, description="Who serves it from outside, and how that is asked.")
    postmortem: PostmortemFile = Field(PostmortemFile(), description="When and how its postmortems are held.")
    status_page: StatusHookFile | None = Field(None, description="A webhook that keeps customers' status page.")


class CrewFile(Strict):
    """People and user groups."""

    people: list[Word] = Field([], description="Ids of people.")
    groups: list[Word] = Field([], description="Ids of user groups of the workspace.")


class RoleFile(CrewFile):
    """Who may decide in this role."""

    on_call: CrewFile = Field(CrewFile(), description="Who is asked first.")
    break_glass: bool = Field(False, description="May open any gate alone, with a reason; all may if none says so.")


class CatalogueFile(Strict):
    """rollback.yaml"""

    services: dict[Slug, ServiceFile] = Field(min_length=1)
    roles: dict[Slug, RoleFile] = Field(description="commander and approver must be there.")
    people: dict[Word, Text] = Field({}, description="Id -> name; for working without Slack.")


_FILE = TypeAdapter(CatalogueFile)
_PLAIN: TypeAdapter[Any] = TypeAdapter(Any)


_SHAPE = Shape.later(_FILE.json_schema)


def load_catalogue(text: str | bytes, source: str, plans: Collection[str] | None = None) -> Catalogue:
    """Read a catalogue; `source` is the name of the file. Raises Faults with everything that is wrong.

    plans: the names of those there are; None: not checked."""
    document = read(text, source)
    report = Report(document)
    file = read_as(_FILE, document.data, (), report, _SHAPE)
    if file is not None:
        _check_services(file, report, plans)
        _check_roles(file, report)
    if file is None or not report.clean:
        raise report.faults
    return Catalogue(
        {name: _service(name, s) for name, s in file.services.items()},
        {name: _role(name, r) for name, r in file.roles.items()},
        dict(file.people),
    )


def _check_services(file: CatalogueFile, report: Report, plans: Collection[str] | None) -> None:
    for name, service in file.services.items():
        path: Path = ("services", name)
        if plans is not None and service.plan not in plans:
            at = (*path, "plan") if "plan" in service.model_fields_set else path
            report.add(at, f"no plan is named {service.plan!r}", word=service.plan, known=plans)
        for i, other in enumerate(service.depends_on):
            at = (*path, "depends_on", i)
            if other == name:
                report.add(at, "a service does not depend on itself")
            elif other not in file.services:
                report.add(at, f"no service is named {other!r}", word=other, known=file.services)
        bases = [n for n, target in service.targets.items() if isinstance(target, PostgresTarget)]
        for target_name, target in service.targets.items():
            if isinstance(target, RedisTarget) and target.database is not None and target.database not in bases:
                where = (*path, "targets", target_name, "database")
                what = f"{name} has no PostgreSQL target {target.database!r}"
                report.add(where, what, word=target.database, known=bases)
        over_http = {n: isinstance(target, HttpTarget) for n, target in service.targets.items()}
        check_frontend(service.targets, (*path, "targets"), over_http, report)
        check_journeys(service.journeys, (*path, "journeys"), over_http, report)
        check_partners(service.partners, (*path, "partners"), over_http, report)
        check_postmortem(service.postmortem, (*path, "postmortem"), over_http, report)
        if service.status_page is not None:
            check_http_target(service.status_page.target, (*path, "status_page", "target"), over_http, report)
        clusters = [n for n, target in service.targets.items() if isinstance(target, KubernetesTarget)]
        databases = [n for n, target in service.targets.items() if isinstance(target, PostgresTarget)]
        for target_name, target in service.targets.items():
            if isinstance(target, BackupsTarget) and target.of is not None and target.of not in databases:
                where = (*path, "targets", target_name, "of")
                report.add(where, f"{name} has no database {target.of!r}", word=target.of, known=databases)
            of = target.cluster if isinstance(target, HttpTarget | PrometheusTarget) else None
            if of is not None and of not in clusters:
                where = (*path, "targets", target_name, "cluster")
                report.add(where, f"{name} has no cluster {of!r}", word=of, known=clusters)


def _check_roles(file: CatalogueFile, report: Report) -> None:
    unread = report.has(("roles",))
    for needed in (COMMANDER, APPROVER):
        if needed not in file.roles and not unread:
            report.add(("roles",), f"there must be a role {needed!r}", word=needed, known=file.roles)
    people = report.document.root.children.get("people")
    known = people.children if people else {}  # those whose name is wrong as well; none: they are the workspace's
    for name, role in file.roles.items():
        path: Path = ("roles", name)
        if not role.people and not role.groups and not report.has(path):
            report.add(path, f"nobody holds role {name!r}; name people or groups")
        for at, crew in ((path, role), ((*path, "on_call"), role.on_call)):
            for i, person in enumerate(crew.people):
                if known and person not in known:
                    what = f"no person has the id {person!r}"
                    report.add((*at, "people", i), what, word=person, known=map(str, known))


def _service(name: str, file: ServiceFile) -> Service:
    channels = file.channels
    ways = {n: t.cluster for n, t in file.targets.items() if isinstance(t, HttpTarget) and t.cluster is not None}
    return Service(
        name=name,
        title=file.title or name.replace("-", " ").capitalize(),
        plan=file.plan,
        channels=Channels(
            tuple(channels.incident), tuple(channels.stakeholders), tuple(channels.cdn), tuple(channels.support)
        ),
        targets=dict(file.targets),
        depends_on=tuple(file.depends_on),
        floor=file.floor,
        stable_after=file.stable_after,
        limits=dict(file.limits),
        journeys=journeys_of(file.journeys, ways),
        partners=partners_of(file.partners),
        postmortem=arrangement_of(file.postmortem),
        status_page=StatusHook(file.status_page.target, file.status_page.path) if file.status_page else None,
    )


def _role(name: str, file: RoleFile) -> Role:
    on_call = Crew(tuple(file.on_call.people), tuple(file.on_call.groups))
    return Role(name, tuple(file.people), tuple(file.groups), on_call, file.break_glass)
