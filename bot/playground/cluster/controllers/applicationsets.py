"""ApplicationSet -> its Applications stay as it says: whoever edits one's spec finds it put back at once.

Only for Applications that exist and that it controls; generators and templating are left out: `spec.template.spec` is
what every one of them is to hold, field by field, other fields of theirs being anybody's.

Invariants: nothing is put back where `spec.syncPolicy.applicationsSync` is create-only or create-delete, nor below the
paths that `spec.ignoreApplicationDifferences` names.

Source: argo-cd applicationset/controllers (createOrUpdate).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bot.playground.cluster import ownership, resources
from bot.playground.cluster.core import Core
from bot.playground.cluster.gate.access import User
from bot.playground.cluster.objects import Json, controller_of, dig, is_going, name_of, namespace_of
from bot.playground.cluster.store import Change, Key
from bot.playground.copied import copied

MANAGER = "argocd-applicationset-controller"
WHO = User.service_account("argocd", MANAGER)


@dataclass
class ApplicationSets:
    """The controller."""

    core: Core

    def concerns(self, change: Change) -> Iterable[Key]:
        """The set of an Application that changed."""
        owner = controller_of(change.new) if change.store == resources.APPLICATIONS.store else None
        return [(namespace_of(change.new), owner["name"])] if owner and owner["kind"] == "ApplicationSet" else []

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Put every Application's spec back."""
        made = self.core.find(resources.APPLICATION_SETS, namespace, name)
        if made is None or is_going(made):
            return None
        if dig(made, "spec", "syncPolicy", "applicationsSync") in ("create-only", "create-delete"):
            return None
        for app in self.core.owned(resources.APPLICATIONS, made):
            wanted = self._wanted(made, app)
            if wanted != app["spec"]:
                token = ownership.MANAGER.set(MANAGER)
                try:
                    self.core.spec_change(WHO, resources.APPLICATIONS, app, **wanted)
                finally:
                    ownership.MANAGER.reset(token)
        return None

    def _wanted(self, made: Json, app: Json) -> Json:
        spec: Json = app["spec"] | copied(dig(made, "spec", "template", "spec") or {})
        for each in dig(made, "spec", "ignoreApplicationDifferences") or ():
            if each.get("name") in (None, name_of(app)):
                for pointer in each.get("jsonPointers") or ():
                    _keep(spec, app["spec"], pointer.removeprefix("/spec/").split("/"))
        return spec


def _keep(spec: Json, live: Json, path: list[str]) -> None:
    """Leave what is at this path as it is."""
    *above, last = path
    for key in above:
        spec, live = spec.setdefault(key, {}), live.get(key) or {}
    if last in live:
        spec[last] = copied(live[last])
    else:
        spec.pop(last, None)
