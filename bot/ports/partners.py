"""Those whom a service cannot do without and who are not ours: payment gateways, identity providers. As the catalogue
names them; asked through `ports.http`, since they are HTTP targets like any other. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class Probe:
    """A request that shows whether the partner serves us. status: any of these is well, empty: every 2xx; within:
    seconds that the answer may take, None: as long as the target's own limit."""

    target: str
    path: str
    status: tuple[int, ...] = ()
    within: float | None = None

    @property
    def words(self) -> str:
        """ "2xx within 2 s"."""
        status = " or ".join(map(str, self.status)) or "2xx"
        return f"{status} within {self.within:g} s" if self.within is not None else status


@dataclass(frozen=True, slots=True)
class StatusPage:
    """What the partner says of itself. form: `statuspage`, the summary that statuspage.io and its like answer, or
    `plain`; components: only these count, by name, empty: the page as a whole; at: JSON pointer of a plain page's word,
    "" its whole text; good: regular expression for a plain page that says all is well."""

    target: str
    path: str
    form: Literal["statuspage", "plain"] = "statuspage"
    components: tuple[str, ...] = ()
    at: str = ""
    good: str = ""


@dataclass(frozen=True, slots=True)
class Partner:
    """One of them. page None: it has none."""

    name: str
    title: str
    probe: Probe
    page: StatusPage | None = None


class Partners(Protocol):
    """The partners of one service."""

    @property
    def catalogued(self) -> Mapping[str, Partner]:
        """By name."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class CataloguedPartners:
    """`Partners`: there is nothing to reach that `ports.http` does not."""

    catalogued: Mapping[str, Partner]
