"""The releases of the shop: what each runs, with which configuration, and what CI tells the bot about it.

Invariants: a release's images are the same bytes wherever its registry listens, so its digests name it for ever.
"""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bot.playground.cluster import Registry
from bot.playground.cluster.node.interpreter import COLD, Interpreter
from bot.playground.cluster.objects import Json

SERVICE = "shop"
PROGRAMS: Mapping[str, str] = {"shop-api": "api", "shop-worker": "worker", "shop-settle": "settle"}
"""Image, as releases name it -> program of this package."""

_SETTINGS = {
    "checkout.retries": "2",
    "checkout.timeout_ms": "2000",
    "payments.url": "sandbox://payments/v1",
    "settle.batch": "500",
}
_ENV = {"PAYMENTS_FORMAT": "decimal"}


@dataclass(frozen=True)
class Version:
    """One release. settings: its keys of the ConfigMap; env: its variables in the API's pod template; schema: of its
    database."""

    name: str
    settings: Mapping[str, str] = field(default_factory=lambda: _SETTINGS)
    env: Mapping[str, str] = field(default_factory=lambda: _ENV)
    schema: str = "0041"

    @property
    def commit(self) -> str:
        """What it was built from: 40 hex digits."""
        return hashlib.sha1(f"{SERVICE} {self.name}".encode(), usedforsecurity=False).hexdigest()


VERSIONS: Mapping[str, Version] = {
    v.name: v
    for v in (
        Version("2.3.9", {**_SETTINGS, "checkout.retries": "1"}),
        Version("2.4.0"),
        Version(
            "2.4.1",
            {
                "checkout.retries": "0",
                "checkout.timeout_ms": "100",
                "payments.url": "sandbox://payments/v2",
                "settle.batch": "5000",
            },
            {"PAYMENTS_FORMAT": "minor"},
            "0042",
        ),
    )
}
"""What the shop has, oldest first; the last one is bad."""


def interpreter(second: bool) -> Interpreter:
    """What runs the shop's programs, with what they import. second: they speak to PostgreSQL too."""
    package = "bot.playground.shop"
    modules = [f"{package}.{name}" for name in ("behaviour", "settings", "stores", "tenants", "web")]
    modules += ["psycopg"] if second else []
    return Interpreter(modules, [sysconfig.get_path("platlib")] if second else [])


def push(registry: Registry, version: str, *, strict: bool = False) -> Mapping[str, str]:
    """Build and push a release's images; image -> its reference by digest. The registry must be listening. strict: it
    does not start on a schema that it was not written for."""
    home = str(Path(__file__).resolve().parents[3])
    env = {"SHOP_RELEASE": version, "SHOP_PACKAGES": sysconfig.get_path("platlib")}
    env |= {"SCHEMA": "strict"} if strict else {}
    found = {}
    for image, program in PROGRAMS.items():
        argv = [*COLD, f"bot.playground.shop.{program}"]
        name = f"{registry.host}/{SERVICE}/{program}"
        found[image] = registry.add(name, version, argv, env, home)
    return found


def body(version: str, images: Mapping[str, str], migrations: str = "", compatible: str = "") -> Json:
    """The body of POST /v1/releases. migrations: the folder of its tree, where the shop has a database to migrate;
    compatible: the oldest revision whose releases work on its schema too, as its developers say."""
    known = VERSIONS[version]
    found = {
        "service": SERVICE,
        "version": version,
        "commit": known.commit,
        "images": dict(images),
        "schema": known.schema,
    }
    more = {"migrations": migrations, "compatible": compatible}
    return found | {name: value for name, value in more.items() if value}
