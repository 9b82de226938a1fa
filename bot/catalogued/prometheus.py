"""A `prometheus:` target of `rollback.yaml`: what watches the service, who tells people, and numbers that say how
it is.

    prom:
      prometheus: "http://prometheus.internal:9090"
      alertmanager: "http://alertmanager.internal:9093"
      labels: {service: shop}
      series:
        errors: {query: "100 * sum(rate(errors_total[1m])) / sum(rate(requests_total[1m]))", unit: "%", limit: 1}

Invariants: no secret stands here; a query is text for Prometheus, and one that it refuses is found when it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from bot.catalogued.shapes import Header, Variable, base_url, several
from bot.located.strict import Duration, Key, Text, Word

_KNOWN_KEYS = ConfigDict(extra="forbid")


def _query(text: str) -> str:
    if not text.strip():
        raise ValueError("must be a query of Prometheus, like sum(rate(requests_total[1m]))")
    return " ".join(text.split()) if "#" not in text else text.strip()


Query = Annotated[str, Field(max_length=2000), AfterValidator(_query)]


@dataclass(frozen=True, slots=True)
class Series:
    """A number over time that says whether the service is well, by queries of its monitor."""

    __pydantic_config__ = _KNOWN_KEYS

    query: Annotated[Query, Field(description="Gives the number at a moment, over about a minute: rate(x[1m]).")]
    unit: Annotated[str, Field(max_length=20, description="Put behind the number: %, ms, orders/min.")] = ""
    good: Annotated[
        Literal["low", "high", "near"], Field(description="Well is: the lower, the higher, or near to what it was.")
    ] = "low"
    limit: Annotated[float | None, Field(description="Beyond it is never well, whatever it was before.")] = None
    tolerance: Annotated[float, Field(gt=1, le=100, description="How many times what it was is still steady.")] = 1.5
    noise: Annotated[float, Field(ge=0, description="A difference that does not matter, in its unit.")] = 0.0
    samples: Annotated[
        Query | Literal[""], Field(description="How many things it rests upon: sum(increase(requests_total[2m])).")
    ] = ""
    minimum: Annotated[float, Field(gt=0, description="Fewer of them say nothing.")] = 20.0


@dataclass(frozen=True, slots=True)
class PrometheusTarget:
    """A Prometheus (or what answers like one) that watches the service, and the Alertmanager that tells people."""

    __pydantic_config__ = _KNOWN_KEYS

    prometheus: Annotated[str, AfterValidator(base_url), Field(description="Its address.")]
    alertmanager: Annotated[
        str | None,
        AfterValidator(lambda url: url and base_url(url)),
        Field(description="Address of the Alertmanager that it tells; on another host it is asked without headers."),
    ] = None
    timeout: Annotated[Duration, Field(gt=0, description="How long one answer may take.")] = 5.0
    token: Annotated[Variable | None, Field(description="Variable with a bearer token.")] = None
    headers: Annotated[Mapping[Header, Variable], Field(description="Header -> variable with its whole value.")] = (
        field(default_factory=dict)
    )
    cluster: Annotated[str | None, Field(description="The cluster (a target of the service) that it watches.")] = None
    labels: Annotated[
        Mapping[Word, Text], Field(description="What the service's targets and alerts carry, if it watches others too.")
    ] = field(default_factory=dict)
    groups: Annotated[
        tuple[Text, ...], BeforeValidator(several), Field(description="Rule groups of the service; none: all.")
    ] = ()
    jobs: Annotated[
        Mapping[Text, int], Field(description="Job -> how many targets of it must be scraped at least.")
    ] = field(default_factory=dict)
    always: Annotated[
        tuple[Text, ...], BeforeValidator(several), Field(description="Alerts that fire while all is well: Watchdog.")
    ] = ()
    series: Annotated[Mapping[Key, Series], Field(description="Numbers that say whether the service is well.")] = field(
        default_factory=dict
    )

    @property
    def variables(self) -> frozenset[str]:
        """Those that hold its secrets."""
        return frozenset((*self.headers.values(), *([self.token] if self.token else ())))
