"""The bot, as far as it is reached over HTTP. `bot.wiring.Bot` is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from bot.catalogue import Catalogue
from bot.engine.reconciler import Engine
from bot.opening.rollbacks import Rollbacks
from bot.people import Directory
from bot.redaction.redactor import Redactor
from bot.releases.register import ReleaseRegister
from bot.settings import Settings
from bot.store.blobs import FileBlobs
from bot.store.log import Store
from bot.store.tokens import Bearer
from bot.telling.eta import Estimates


class Recognises(Protocol):
    """Knows tokens."""

    async def whose(self, token: str) -> Bearer | None:
        """Whom a token stands for; None where it is good for nobody."""
        ...


class Serves(Protocol):
    """What the handlers ask of it."""

    @property
    def settings(self) -> Settings: ...
    @property
    def catalogue(self) -> Catalogue: ...
    @property
    def files(self) -> FileBlobs: ...
    @property
    def store(self) -> Store: ...
    @property
    def people(self) -> Directory: ...
    @property
    def tokens(self) -> Recognises: ...
    @property
    def releases(self) -> ReleaseRegister: ...
    @property
    def redactor(self) -> Redactor: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def rollbacks(self) -> Rollbacks: ...
    @property
    def estimates(self) -> Estimates: ...
    @property
    def clock(self) -> Callable[[], float]: ...
    async def ready(self) -> Mapping[str, str]:
        """Name -> what is wrong with it, empty where all is well."""
        ...
