"""Fixtures: an S3 server a worker, an empty bucket a test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from bot.playground.objects import private_objects
from tests.storefront import CREDENTIALS, Bucket, bucket_on

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def objects_url() -> Iterator[str]:
    """The address of an S3 server (moto)."""
    with private_objects() as url:
        yield url


@pytest.fixture
def bucket(objects_url: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, and the credentials for it in the environment."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return bucket_on(objects_url, f"shop-{next(_numbers)}")
