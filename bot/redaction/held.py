"""The secret values that this process holds itself: what it is told by its surroundings, and what lets it in elsewhere.

The redactor knows them by value, in whatever form they show up. Only reads; what cannot be read holds nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from pydantic import SecretStr

from bot.catalogue import Catalogue
from bot.catalogued.backups import BackupsTarget
from bot.catalogued.frontend import EdgeTarget, SiteTarget
from bot.catalogued.http import HttpTarget
from bot.catalogued.postgres import PostgresTarget
from bot.catalogued.prometheus import PrometheusTarget
from bot.catalogued.redis import RedisTarget
from bot.redaction.redactor import WORD
from bot.settings import Settings

_TOKEN_OF_THE_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_KEPT = ("token", "password", "client-key-data", "access-token", "id-token", "refresh-token", "client-secret")
"""What a user of a kubeconfig, or its auth provider, keeps in clear."""


def by_settings(settings: Settings) -> list[str]:
    """Those of the settings and what they name: tokens, the database's password, kubeconfigs, further variables."""
    given = (getattr(settings, name) for name in type(settings).model_fields)
    own = [s.get_secret_value() for s in given if isinstance(s, SecretStr)]
    named = [os.environ.get(n.strip(), "") for n in settings.redact.split(",") if n.strip()]
    found = [_password(settings.database_url), os.environ.get("PGPASSWORD", ""), *_by_kubeconfig(settings.kubeconfig)]
    return [s for s in (*own, *named, *(f for f in found if not _is_word(f))) if s]


def by_catalogue(catalogue: Catalogue) -> list[str]:
    """Those that the catalogue's targets and journeys name."""
    targets = [t for s in catalogue.services.values() for t in s.targets.values()]
    kinds = HttpTarget | PrometheusTarget | RedisTarget | SiteTarget | EdgeTarget | BackupsTarget
    whole = [t for t in targets if isinstance(t, kinds)]
    names = frozenset[str]().union(*(t.variables for t in whole))
    journeys = (j.variables.values() for s in catalogue.services.values() for j in s.journeys.values())
    names = names.union(*journeys)
    logins = frozenset[str]().union(*(t.variables for t in targets if isinstance(t, PostgresTarget)))
    passwords = [os.environ.get(name, "").partition(":")[2] for name in logins]
    found = [os.environ.get(name, "") for name in names] + [p for p in passwords if not _is_word(p)]
    return [value for value in found if value]


def _is_word(value: str) -> bool:
    """Whether hiding it everywhere would hide ordinary words: `postgresql://rollback:rollback@…`. Where it stands as a
    password it is known by what stands around it."""
    return len(value) < WORD and value.isalpha()


def _password(url: str) -> str:
    try:
        return unquote(urlsplit(url).password or "")
    except ValueError:
        return ""


def _by_kubeconfig(given: str) -> Iterator[str]:
    yield _text(_TOKEN_OF_THE_POD)
    for path in (given or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")).split(os.pathsep):
        try:
            users = yaml.safe_load(_text(Path(path)))["users"]
        except (yaml.YAMLError, KeyError, TypeError):
            continue
        for user in users if isinstance(users, list) else ():
            yield from _of_user(user.get("user") if isinstance(user, dict) else None)


def _of_user(user: Any) -> Iterator[str]:
    if not isinstance(user, dict):
        return
    provider = user.get("auth-provider")
    config = provider.get("config") if isinstance(provider, dict) else None
    for known in (user, config if isinstance(config, dict) else {}):
        yield from (value for name in _KEPT if isinstance(value := known.get(name), str))
    if isinstance(file := user.get("tokenFile"), str):
        yield _text(Path(file))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""
