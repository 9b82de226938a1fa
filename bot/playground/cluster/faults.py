"""What goes wrong next, on demand: `cluster.faults.add(Fault(...))`.

Invariants: faults hit in the order in which they were added; one that has hit `next` times is gone; without faults
nothing here changes what the cluster does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, get_args

Kind = Literal[
    "error",  # the answer is `status`, nothing is done
    "delay",  # done after so many seconds
    "refuse",  # the connection is dropped, nothing is done
    "lose_answer",  # done, the connection is dropped instead of an answer
    "hang",  # nothing is done and nothing is answered, for so many seconds (0: until the client gives up)
    "close_watch",  # a running watch ends, or the next one right after it began
    "never_ready",  # pods whose name matches `name` start, and never become ready
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    verb, resource, user, name: patterns of what it hits (`deployments`, `deployments/scale`; user as its kubeconfig is
    called); next: how many of them, None until cleared; seconds: of a delay or hang; status and retry_after (seconds):
    of an error.
    """

    kind: Kind
    verb: str = "*"
    resource: str = "*"
    user: str = "*"
    name: str = "*"
    next: int | None = 1
    seconds: float = 0.0
    status: int = 500
    retry_after: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"there is no fault {self.kind!r}; there are {', '.join(get_args(Kind))}")


@dataclass
class _Armed:
    fault: Fault
    left: int | None


class Faults:
    """The faults that are to come."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []

    def add(self, fault: Fault) -> None:
        """Let this happen next, after those that were added before."""
        self._armed.append(_Armed(fault, fault.next))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._armed.clear()

    def pending(self) -> list[Fault]:
        """What is still to come."""
        return [armed.fault for armed in self._armed]

    def take(self, kinds: Sequence[Kind], *, verb: str, resource: str, user: str, name: str) -> Fault | None:
        """The first fault of these kinds that hits this; it has one hit less afterwards."""
        for armed in self._armed:
            fault = armed.fault
            patterns = ((verb, fault.verb), (resource, fault.resource), (user, fault.user), (name, fault.name))
            if fault.kind in kinds and all(fnmatchcase(value, pattern) for value, pattern in patterns):
                if armed.left is not None:
                    armed.left -= 1
                self._armed = [a for a in self._armed if a.left != 0]
                return fault
        return None

    def never_ready(self, pod: str) -> bool:
        """Whether this pod is kept from becoming ready."""
        return any(a.fault.kind == "never_ready" and fnmatchcase(pod, a.fault.name) for a in self._armed)
