"""Operators: whoever owns a workload and keeps it as their own object says, whatever others write into it.

Which objects are kept, and by whom, is told by the test: `Owners.keep("shop", "quote", "knative-controller")` holds the
Deployment as it is at that moment. Everything else about an operator is left out.

Invariants: it writes through admission under its own manager, so a freeze stops it and `managedFields` names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bot.playground.cluster import ownership, resources
from bot.playground.cluster.core import Core
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import Json, is_going
from bot.playground.cluster.store import Key
from bot.playground.copied import copied


@dataclass
class Owners:
    """The controller of all operators. undone: how often each object was put back."""

    core: Core
    undone: dict[Key, int] = field(default_factory=dict)
    _kept: dict[Key, tuple[str, Json]] = field(default_factory=dict)

    def keep(self, namespace: str, name: str, manager: str) -> None:
        """From now on this Deployment's template stays as it is."""
        spec = self.core.get(resources.DEPLOYMENTS, namespace, name)["spec"]
        self._kept[namespace, name] = (manager, copied(spec["template"]))

    def release(self, namespace: str, name: str) -> None:
        """Others may change it again."""
        self._kept.pop((namespace, name), None)

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Put the template back where somebody has changed it."""
        manager, template = self._kept.get((namespace, name), ("", None))
        now = self.core.find(resources.DEPLOYMENTS, namespace, name)
        if template is None or now is None or is_going(now) or now["spec"]["template"] == template:
            return None
        token = ownership.MANAGER.set(manager)
        try:
            who = User.service_account("operators", manager)
            self.core.spec_change(who, resources.DEPLOYMENTS, now, template=copied(template))
        finally:
            ownership.MANAGER.reset(token)
        self.undone[namespace, name] = self.undone.get((namespace, name), 0) + 1
        return None
