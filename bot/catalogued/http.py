"""An `http:` target of `rollback.yaml`: something of the service that is reached over HTTP.

    api: {http: "https://api.internal", timeout: 5s, token: SHOP_TOKEN, health: /healthz, cluster: eu-1}

Invariants: its secrets are named here and stand in the environment; every path is put behind its address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from bot.catalogued.shapes import Header, Variable, base_url
from bot.located.strict import Duration

_KNOWN_KEYS = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """Something that is reached over HTTP. Its secrets are named here and stand in the environment."""

    __pydantic_config__ = _KNOWN_KEYS

    http: Annotated[str, AfterValidator(base_url), Field(description="Address that every path is put behind.")]
    timeout: Annotated[Duration, Field(gt=0, description="How long one answer may take.")] = 5.0
    token: Annotated[Variable | None, Field(description="Variable with a bearer token.")] = None
    headers: Annotated[Mapping[Header, Variable], Field(description="Header -> variable with its whole value.")] = (
        field(default_factory=dict)
    )
    health: Annotated[
        str | None, Field(pattern="^/", description="Path of its health page: it is asked whether the release serves.")
    ] = None
    entry: Annotated[
        str | None, Field(pattern="^/", description="Path of the page that visitors open: it must answer with HTML.")
    ] = None
    errors: Annotated[
        float, Field(ge=0, lt=1, description="Share of failing requests, 0 to 1, up to which it is well.")
    ] = 0.01
    cluster: Annotated[
        str | None, Field(description="The cluster (a target of the service) that this is the way into.")
    ] = None

    @property
    def variables(self) -> frozenset[str]:
        """Those that hold its secrets."""
        return frozenset((*self.headers.values(), *([self.token] if self.token else ())))
