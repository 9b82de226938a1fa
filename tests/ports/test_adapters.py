"""What every adapter does that reaches targets: one suite, which each of them passes that `Adapters` lists.

With nothing behind its targets it says what is wrong of each by name and raises nothing; it says which places they are
without asking; it writes nothing before an attempt has bound it; it names no target that the catalogue does not; and it
is closed twice as well as once.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from bot.catalogue import load_catalogue
from bot.ports import ReadOnly, Unreachable
from bot.ports.kubernetes import Place
from bot.ports.sites import Missing
from bot.settings import Settings
from bot.targets.adapters import Adapters
from bot.targets.factory import adapters_of

CATALOGUE = """\
services:
  shop:
    targets:
      api: {{http: "http://127.0.0.1:9"}}
      eu-1: {{kubernetes: eu, namespace: shop}}
      db: {{postgres: "127.0.0.1:9/shop", login: DB_LOGIN}}
      cache: {{redis: "127.0.0.1:9/0", flush: ["session:"]}}
      numbers: {{prometheus: "http://127.0.0.1:9"}}
      www: {{site: "s3://shop/www", endpoint: "http://127.0.0.1:9", region: eu-1, key: S3_KEY, secret: S3_SECRET}}
      edge: {{edge: "http://127.0.0.1:9"}}
      dumps: {{backups: "{folder}", of: db}}
  none: {{}}
roles: {{commander: {{people: [ana]}}, approver: {{people: [cho]}}}}
people: {{ana: Ana, cho: Cho}}
"""
TARGETS = {
    "http": "api", "kubernetes": "eu-1", "databases": "db", "caches": "cache", "metrics": "numbers", "sites": "www",
    "edges": "edge", "backups": "dumps",
}  # fmt: skip
"""Adapter -> the target above that it reaches."""
BEHIND_OTHERS = {"journeys", "partners"}
"""What asks through the targets of others, and has none of its own."""
EACH = pytest.mark.parametrize("name", TARGETS)


@pytest.fixture
async def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mapping[str, Adapters]]:
    """Adapters to a service whose targets are all away, and to one that has none."""
    for name in ("DB_LOGIN", "S3_KEY", "S3_SECRET"):
        monkeypatch.setenv(name, "bot:s3cr3t")
    listed = load_catalogue(CATALOGUE.format(folder=tmp_path / "gone"), "rollback.yaml")
    found = adapters_of(Settings(kubeconfig=str(tmp_path / "nowhere")), listed)
    yield found
    for adapters in found.values():
        await adapters.close()


def test_every_adapter_is_put_to_this_suite() -> None:
    assert {f.name for f in fields(Adapters)} == TARGETS.keys() | BEHIND_OTHERS


@EACH
async def test_a_target_that_is_away_is_told_by_name(both: Mapping[str, Adapters], name: str) -> None:
    adapter: Any = getattr(both["shop"], name)
    told = await adapter.ping()
    assert told.keys() == {TARGETS[name]} and told[TARGETS[name]], told
    assert "s3cr3t" not in str(told)
    assert await getattr(both["none"], name).ping() == {}


@EACH
async def test_which_place_a_target_is_can_be_said_without_its_answer(both: Mapping[str, Adapters], name: str) -> None:
    adapter: Any = getattr(both["shop"], name)
    found = adapter.where()
    places = await found if inspect.isawaitable(found) else found
    assert places.keys() <= {TARGETS[name]}
    assert TARGETS[name] in both["shop"].named and "s3cr3t" not in str(both["shop"].named)


@EACH
async def test_closing_twice_is_harmless(both: Mapping[str, Adapters], name: str) -> None:
    for adapters in both.values():
        adapter: Any = getattr(adapters, name)
        await adapter.close()
        await adapter.close()


WRITES = {
    "http": lambda a, t: a.put(t, "/maintenance", {}),
    "kubernetes": lambda a, t: a.guard(t, "freeze", {"service": "shop", "digests": []}),
}
"""What changes something."""


@pytest.mark.parametrize("name", WRITES)
async def test_nothing_is_written_before_an_attempt_has_bound_it(both: Mapping[str, Adapters], name: str) -> None:
    with pytest.raises((ReadOnly, Unreachable)) as told:
        await WRITES[name](getattr(both["shop"], name), TARGETS[name])
    assert isinstance(told.value, ReadOnly) or "kubeconfig" in str(told.value)


READS = {
    "http": lambda a: a.get("other", "/"),
    "kubernetes": lambda a: a.get(Place("other", "deployment", "api")),
    "backups": lambda a: a.list("other"),
    "sites": lambda a: a.manifest("other", "1"),
}
"""What asks a target that the catalogue does not name."""


@pytest.mark.parametrize("name", READS)
async def test_a_target_that_is_not_catalogued_is_a_lookup_error(both: Mapping[str, Adapters], name: str) -> None:
    for adapters in both.values():
        with pytest.raises(LookupError) as told:
            await READS[name](getattr(adapters, name))
        assert not isinstance(told.value, Missing)
