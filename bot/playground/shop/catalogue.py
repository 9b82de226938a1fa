"""The shop's part of rollback.yaml, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from bot.playground.shop.beside import Beside
from bot.playground.shop.manifests import NAMESPACE, PORT, SETTINGS
from bot.playground.shop.releases import SERVICE
from bot.playground.shop.rights import BREAK_GLASS

NAMED = ("db", "cache", "backups", "cardwise", "cardwise-status", "monitor")
"""Targets of the second half that the catalogue names."""
ROLES: Mapping[str, Sequence[str]] = {"commander": ["ana", "dee"], "approver": ["ben", "cho"]}
CHANNELS: Mapping[str, Sequence[str]] = {"incident": ["#inc-4211"], "stakeholders": ["#status"]}


def text(
    doors: Mapping[str, str],
    roles: Mapping[str, Sequence[str]] = ROLES,
    people: Mapping[str, str] | None = None,
    channels: Mapping[str, Sequence[str]] = CHANNELS,
    beside: Beside | None = None,
) -> str:
    """rollback.yaml. doors: cluster -> host and port of the API there, the first one is target `api` as well; beside:
    the second half."""
    known = {p: p.capitalize() for who in roles.values() for p in who} if people is None else dict(people)
    targets: dict[str, object] = {"api": {"http": f"http://{next(iter(doors.values()))}"}}
    for wave, (name, door) in enumerate(doors.items(), 1):
        targets[f"api-{name}"] = {"http": f"http://{door}", "health": "/healthz", "cluster": name}
        told: dict[str, object] = {
            "kubernetes": name,
            "namespace": NAMESPACE,
            "wave": wave,
            "workers": ["deployment/shop-worker", "cronjob/shop-settle"],
            "settings": [SETTINGS],
            "applications": [f"argocd/{SERVICE}"],
            "selector": f"app.kubernetes.io/part-of={SERVICE}",
            "break_glass": BREAK_GLASS,
        }
        targets[name] = told | ({"probe": f"deployment/shop-api:{PORT}"} if beside is not None else {})
    service: dict[str, object] = {
        "title": "Shop",
        "channels": {name: [*listed] for name, listed in channels.items()},
        "targets": targets,
        "floor": "2.3.0",
    }
    if beside is not None:
        targets |= {name: told for name, told in beside.targets().items() if name in NAMED}
        service |= {"journeys": beside.journeys(), "partners": beside.partners()}
    file: dict[str, object] = {"services": {SERVICE: service}}
    file["roles"] = {name: {"people": [*who]} for name, who in roles.items()}
    if known:
        file["people"] = known
    return yaml.safe_dump(file, sort_keys=False, allow_unicode=True)
