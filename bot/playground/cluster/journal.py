"""What was asked of the API server, request by request, so that a test can count.

Invariants: a request is noted when it arrives and its answer when it is known; discovery and controllers are not noted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass
class Request:
    """One request. user: as its kubeconfig is called; resource: `deployments` or `deployments/scale`; status: 0 while
    it is under way; owners: it says only who owns which fields, and changes none."""

    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    dry_run: bool
    status: int = 0
    owners: bool = False

    def __str__(self) -> str:
        where = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.user} {self.verb} {self.resource} {where}{' (dry run)' if self.dry_run else ''} {self.status}"


class Journal:
    """The requests, oldest first."""

    def __init__(self) -> None:
        self._requests: list[Request] = []

    def note(self, request: Request) -> Request:
        """One more."""
        self._requests.append(request)
        return request

    def clear(self) -> None:
        """Count from here."""
        self._requests.clear()

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def select(self, *, user: str = "", verb: str = "", resource: str = "", name: str = "") -> list[Request]:
        """Those of this user, verb, resource and name; "" is any."""
        return [
            r
            for r in self._requests
            if user in ("", r.user) and verb in ("", r.verb) and resource in ("", r.resource) and name in ("", r.name)
        ]

    def count(self, *, user: str = "", verb: str = "", resource: str = "", name: str = "") -> int:
        """How many of these."""
        return len(self.select(user=user, verb=verb, resource=resource, name=name))

    def writes(self, user: str = "") -> list[Request]:
        """What may have changed something: no reads, no dry runs, no access reviews, nothing about mere ownership."""
        return [
            r
            for r in self.select(user=user)
            if r.verb in WRITES and not r.dry_run and not r.owners and not r.resource.endswith("reviews")
        ]
