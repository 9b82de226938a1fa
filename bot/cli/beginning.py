"""`init`: a first catalogue to go on from, written from what is here: a kubeconfig's context, and who is logged in.

Invariants: nothing that is there is overwritten; no cluster is asked; what is written passes `plan lint` as it is.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bot.cli.output import Code, End, note, os_user, say
from bot.cli.root import root

CATALOGUE = """\
# What there is to roll back, and who may decide. `rollback-bot plan lint` finds mistakes, `rollback-bot doctor` looks
# whether it is true. Everything that may stand here: docs/operators.md, or `rollback-bot plan schema --catalogue`.

people:   # id: name. With Slack, leave this out: people are those of the workspace.
  {me}: {name}
  {other}: {other_name}   # CHANGE: a colleague. Nobody approves a rollback that they asked for.
  # {third}: {third_name}   # one person counts once: whoever holds a further role is somebody else

roles:
  commander: {{people: [{me}]}}   # may ask for a rollback, and leads it
  approver: {{people: [{other}]}}   # decides; with Slack also groups: [approvers]
  # dba: {{people: [{third}]}}   # further roles, as gates of plans name them

services:
  {service}:
    # plan: standard   # bot/plans/standard.yaml; ROLLBACK_PLANS names a folder of your own
    # channels: {{incident: ["#incidents"], stakeholders: ["#status"]}}
    # floor: "2.3.0"   # never go back below this version
    # stable_after: 6h   # a release that served so long counts as stable; one day otherwise
    targets:
      api:   # the standard plan asks /healthz there, after the rollback
        http: {api}
        # health: /healthz   # on each further way in, one a cluster: all of them are asked
        # errors: 0.01   # share of failing requests up to which it is well
{cluster}"""

CLUSTER = """\
      {target}:
        kubernetes: {context}
        namespace: {namespace}
        # workers: [deployment/{service}-worker]   # what is paused meanwhile; cronjob/... as well
        # settings: [{service}-settings]   # ConfigMaps that are put back with the release
        # applications: [argocd/{service}]   # Argo CD: namespace/name
        # flux: [kustomization/flux-system/{service}]   # what is suspended meanwhile; helmrelease/... as well
        # selector: app.kubernetes.io/part-of={service}   # only where others share the namespace
        # wave: 2   # clusters of wave 2 follow those of wave 1
"""
RELEASE = """\
{{
  "service": "{service}",
  "version": "2.4.0",
  "images": {{
    "{service}-api": "registry.example/{service}-api@sha256:{digest}"
  }}
}}
"""
"""A release as CI registers it."""


@dataclass(frozen=True, slots=True)
class Context:
    """A context of a kubeconfig."""

    name: str
    namespace: str
    current: bool


@root.command("init")
@click.option("--context", "wanted", metavar="NAME", help="Context of the kubeconfig; the current one otherwise.")
@click.option("--namespace", metavar="NAME", help="Where the service runs; that of the context otherwise.")
@click.option("--service", metavar="NAME", help="What you call it; like the namespace otherwise, or shop.")
@click.option("--api", metavar="URL", default="http://127.0.0.1:8080", show_default=True, help="Where it answers.")
def init(wanted: str | None, namespace: str | None, service: str | None, api: str) -> None:
    """Write a first catalogue, with comments, and a sample release; nothing that is there is overwritten."""
    from bot.settings import read_settings

    settings = read_settings()
    file = settings.catalogue
    contexts = _contexts(settings.kubeconfig)
    context = _chosen(contexts, wanted)
    inside = namespace or (context.namespace if context else "default")
    name = service or _slug(inside if inside != "default" else "shop")
    text = _catalogue(name, api, context, inside)
    _good(text, file)
    sample = file.parent / "release.json"
    _write(file, text)
    written = [str(file)] + ([str(sample)] if _kept(sample, RELEASE.format(service=name, digest="0" * 64)) else [])
    where = f"context {context.name}, namespace {inside}" if context else "no kubeconfig found: no cluster in it yet"
    others = [c.name for c in contexts if c is not context]
    if others:
        where += f"; other contexts are not in it: {', '.join(others)}"
    data = {"written": written, "service": name, "context": context.name if context else None, "namespace": inside}
    say(data, "\n".join([f"Wrote {' and '.join(written)}: service {name}, {where}.", *_next(file)]))


def _next(file: Path) -> list[str]:
    me = _slug(os_user())
    return [
        "Next:",
        f"  1. put your own people and addresses into {file}; lines marked CHANGE are made up",
        "  2. rollback-bot plan lint      every mistake, with its place",
        "  3. rollback-bot db upgrade     makes the database",
        "  4. rollback-bot doctor         what is missing yet, and what to do about it",
        "  5. rollback-bot serve          and, in another shell, rollback-bot token " + me,
    ]


def _catalogue(service: str, api: str, context: Context | None, namespace: str) -> str:
    there = context or Context("prod-eu-1", namespace, True)
    target = _slug(there.name)
    words = {"service": service, "target": target if target != "api" else "cluster", "namespace": _quoted(namespace)}
    cluster = CLUSTER.format(context=_quoted(there.name), **words)
    if context is None:
        cluster = "".join(f"      # {line[6:]}\n" for line in cluster.splitlines())
    me = _slug(os_user())
    other = "ben" if me == "cho" else "cho"
    third = "eve" if me == "dee" else "dee"
    people = {
        "me": me,
        "other": other,
        "other_name": other.capitalize(),
        "third": third,
        "third_name": third.capitalize(),
    }
    return CATALOGUE.format(**people, name=_quoted(me.capitalize()), service=service, api=_quoted(api), cluster=cluster)


def _good(text: str, file: Path) -> None:
    """Faults, if what the options say makes no good catalogue."""
    from bot.catalogue import load_catalogue

    load_catalogue(text, str(file))


def _write(file: Path, text: str) -> None:
    """A new file; an existing one is left as it is. End."""
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        what = f"{file} is there already, and stays as it is. ROLLBACK_CATALOGUE names another."
        raise End(Code.REFUSED, what) from None
    except OSError as e:
        raise End(Code.USAGE, f"{file} cannot be written: {e.strerror or e}. ROLLBACK_CATALOGUE says where.") from None


def _kept(file: Path, text: str) -> bool:
    """Whether it was written; what was there before stays."""
    try:
        _write(file, text)
    except End:
        return False
    return True


# -- what is here ------------------------------------------------------------------------------------------------------


def _contexts(given: str) -> list[Context]:
    """Those of the first kubeconfig there is: ROLLBACK_KUBECONFIG, KUBECONFIG, ~/.kube/config."""
    named = [given] if given else os.environ.get("KUBECONFIG", "").split(os.pathsep)
    files = [Path(n).expanduser() for n in named if n] or [Path("~/.kube/config").expanduser()]
    for file in files:
        if file.is_file():
            return _read(file)
    return []


def _read(file: Path) -> list[Context]:
    import yaml

    try:
        found: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        now = found.get("current-context")
        listed = [(c["name"], c.get("context") or {}) for c in found.get("contexts") or []]
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError) as e:
        note(f"{file} is no kubeconfig that I can read ({type(e).__name__}); going on without a cluster.")
        return []
    return [Context(str(name), _namespace(body), name == now) for name, body in listed]


def _namespace(body: Mapping[str, Any]) -> str:
    return str(body.get("namespace") or "default")


def _chosen(contexts: list[Context], wanted: str | None) -> Context | None:
    if wanted is None:
        return next((c for c in contexts if c.current), None)
    found = next((c for c in contexts if c.name == wanted), None)
    if found is None:
        names = ", ".join(c.name for c in contexts) or "none"
        raise End(Code.USAGE, f"The kubeconfig has no context {wanted!r}; there are: {names}. Nothing was written.")
    return found


def _slug(word: str) -> str:
    """The word as names are written in the catalogue."""
    slug = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[:64].strip("-")
    return slug if slug[:1].isalpha() else f"c-{slug}".rstrip("-")


def _quoted(word: str) -> str:
    return json.dumps(word, ensure_ascii=False)
