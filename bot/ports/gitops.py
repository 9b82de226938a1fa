"""What follows Git by itself, an Argo CD application or Flux's objects: how it is switched off, where it reads from,
who else writes it, what differs from Git; and what a workload says of who applies it: Flux, Helm.

Pure, over a `Thing`. Nothing here is asked of those programs themselves: it is all in the objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bot.ports import Json
from bot.ports.kubernetes import FLUX, WORKLOADS, Cluster, Kind, Place, Thing

AUTOMATED = "spec.syncPolicy.automated"
SUSPEND = "spec.suspend"
INSTANCE = "label/argocd.argoproj.io/instance"
TRACKING = "annotation/argocd.argoproj.io/tracking-id"
UPDATER = "annotation/argocd-image-updater.argoproj.io/"
KARGO = "annotation/kargo.akuity.io/authorized-stage"


def switch(kind: Kind) -> str:
    """The field that says whether it follows Git by itself."""
    return SUSPEND if kind in FLUX else AUTOMATED


def paused(kind: Kind) -> Json:
    """What that field holds while it does not."""
    return True if kind in FLUX else None


def follows(thing: Thing) -> bool:
    """Whether it follows Git by itself. An application with `{}` does; with `{"enabled": false}`, or nothing, not."""
    value = thing.fields.get(switch(thing.place.kind))
    if thing.place.kind in FLUX:
        return value is not True
    return isinstance(value, dict) and value.get("enabled") is not False


def name(place: Place) -> str:
    """As people call it: `eu-1 shop`, `eu-1 kustomization shop`."""
    return " ".join((place.cluster, *([place.kind] if place.kind in FLUX else []), place.name))


def sources(app: Thing) -> list[dict[str, Json]]:
    """Its sources, the only one or several, as the API has them; what hydrates it in the place of one."""
    one, several, dry = (app.fields.get(f"spec.{name}") for name in ("source", "sources", "sourceHydrator.drySource"))
    found = several if isinstance(several, list) else [one if isinstance(one, dict) else dry]
    return [each for each in found if isinstance(each, dict)]


def wanted(app: Thing, revert: str, *, known: bool = True) -> str:
    """What people do where this application really reads: revert, where that is Git, or name an older chart. known: in
    the commits that Argo CD knows of, where it knows them."""
    words, todo = [], _revert(app, revert) if known else revert
    for each in sources(app):
        where, at = each.get("repoURL"), each.get("targetRevision") or "HEAD"
        if each.get("chart"):
            chart = f"set the chart {each['chart']} back in the application ({at} now)"
            words.append(f"{where} is no Git to revert: {chart}")
        elif each.get("path"):
            words.append(f"in {where} ({each['path']}, {at}): {todo}")
        else:  # values for the others
            words.append(f"its values in {where} ({at}): {todo}")
    return "; ".join(words) or revert


def _revert(app: Thing, revert: str) -> str:
    """The commits of that repository, where Argo CD knows them: a release may be built from another one."""
    now, history = str(app.facts.get("revision") or ""), app.facts.get("history")
    known = [str(r) for r in history if r] if isinstance(history, list) else []
    before = next((r for r in reversed(known) if r != now), "")
    if not now or not before or now not in known:
        return revert
    return f"git revert --no-edit {before[:12]}..{now[:12]}"


def others(app: Thing) -> Iterator[str]:
    """Who writes it beside people, and what that does to a pause; one line each."""
    if app.place.kind in FLUX:
        if parent := _text(app, "label/kustomize.toolkit.fluxcd.io/name"):
            yield f"is applied by the Kustomization {parent}, which resumes it where Git states spec.suspend"
        return
    owner = str(app.facts.get("owner") or "")
    if owner.startswith("applicationset"):
        yield (
            f"is made by the {owner}, which puts auto-sync on again at once, unless its ignoreApplicationDifferences "
            "name /spec/syncPolicy: change it there"
        )
    if parent := _parent(app):
        yield f"is managed by the application {parent} itself, which may switch auto-sync on again"
    if any(name.startswith(UPDATER) for name in app.fields):
        yield (
            f"gets its image from argocd-image-updater{_images(app)}, which brings the newest one back and may write "
            "over the pause: pause it first (ignoreTags)"
        )
    if app.fields.get("spec.sourceHydrator") is not None:
        yield "is hydrated from a dry branch: hydration goes on while auto-sync is off, this path is not covered"
    if KARGO in app.fields:
        yield f"is promoted to by Kargo ({app.fields[KARGO]}), which syncs it by itself: this path is not covered"


def appliers(workload: Thing, cluster: Cluster) -> Iterator[str]:
    """Who applies a workload and is not paused, as the catalogue does not name it, and what people do about it; one
    line each."""
    kustomize, helm = (
        tuple(_text(workload, f"label/{group}.toolkit.fluxcd.io/{part}") for part in ("name", "namespace"))
        for group in ("kustomize", "helm")
    )
    if kustomize[0] and kustomize[0] not in (cluster.deployers("kustomization") or ()):
        yield (
            f"the Flux Kustomization {kustomize[1]}/{kustomize[0]}, which puts back what Git says within its interval: "
            f"flux suspend kustomization {kustomize[0]} -n {kustomize[1]}, and resume it only once Git has the release"
            "; or name it in the catalogue (flux)"
        )
    if helm[0] and helm[0] in (cluster.deployers("helmrelease") or ()):
        return
    if helm[0]:
        yield (
            f"the Flux HelmRelease {helm[1]}/{helm[0]}, which upgrades again when its chart or values change, and at a "
            f"resume after helm was used by hand: flux suspend helmrelease {helm[0]} -n {helm[1]}; or name it in the "
            "catalogue (flux)"
        )
    elif release := _text(workload, "annotation/meta.helm.sh/release-name"):
        yield (
            f"the Helm release {release}, whose own history does not know of this: its next upgrade goes on from what "
            "it deployed last, and `helm history` goes on naming the removed release as deployed"
        )


def _text(thing: Thing, name: str) -> str:
    return str(thing.fields.get(name) or "")


def _parent(app: Thing) -> str:
    """The application that this one is tracked by: by label, or by an annotation that is about this very object."""
    if named := app.fields.get(INSTANCE):
        return str(named)
    name, _, about = str(app.fields.get(TRACKING) or "").partition(":")
    return name if about.startswith("argoproj.io/Application:") and about.endswith(f"/{app.place.name}") else ""


def _images(app: Thing) -> str:
    found = [str(i) for s in sources(app) if isinstance(k := s.get("kustomize"), dict) for i in _list(k.get("images"))]
    return f" ({', '.join(found)} stands in the application)" if found else ""


def drifted(app: Thing, cluster: Cluster) -> list[str]:
    """What of the release itself differs from Git: workloads, and ConfigMaps of the service. Where Argo CD does not say
    what differs, all of it may."""
    if app.facts.get("sync") == "Synced":
        return []
    rows = _list(app.facts.get("drifted"))
    ours = {f"configmap/{name}" for name in cluster.settings}
    found = [str(row) for row in rows if str(row) in ours or str(row).partition("/")[0] in WORKLOADS]
    return found or ([] if rows else ["something"])


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list) else ()
