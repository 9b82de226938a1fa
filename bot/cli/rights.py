"""What the bot must be allowed for this catalogue, ready to be given to it: `rights kubernetes | aws`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from bot.cli.output import Code, End, say
from bot.cli.root import root

if TYPE_CHECKING:
    from bot.catalogue import Catalogue
    from bot.settings import Settings


@root.group("rights")
def rights() -> None:
    """The least rights that the bot needs for the catalogue's targets. Nobody is asked, nothing is changed."""


@rights.command("kubernetes")
@click.argument("context", required=False)
def kubernetes(context: str | None) -> None:
    """Roles of the bot's account in a cluster, for `kubectl --context CONTEXT apply -f -`.

    CONTEXT is one of the catalogue; needed where clusters differ.
    """
    from bot.targets.granted import in_clusters

    _, catalogue = _read()
    found = in_clusters(catalogue)
    say({"manifests": found}, _one(found, context, "context of the catalogue", "clusters differ").rstrip("\n"))


@rights.command("aws")
@click.argument("identity", required=False, metavar="[ROLE]")
def aws(identity: str | None) -> None:
    """IAM policy of the bot, or of a role that it takes (by its ARN).

    Of buckets and distributions that the catalogue names, and of ROLLBACK_BLOBS_URL.
    """
    from bot.targets.granted import in_aws

    settings, catalogue = _read()
    found = in_aws(catalogue, settings.blobs_url)
    text = _one(found, identity, "identity in AWS that the catalogue uses", "several have rights")
    say({"policies": {who: json.loads(policy) for who, policy in found.items()}}, text.rstrip("\n"))


def _one(found: Mapping[str, str], name: str | None, what: str, why: str) -> str:
    """The only text, or that of this name. End."""
    if not found:
        raise End(Code.USAGE, f"The catalogue names no {what.partition(' ')[0]}, so the bot needs no rights there.")
    known = ", ".join(repr(each) for each in found)
    if name is not None:
        if name not in found:
            raise End(Code.USAGE, f"{name!r} is no {what}; there are {known}.")
        return found[name]
    if len({*found.values()}) > 1:
        raise End(Code.USAGE, f"The {why}; name one of {known}.")
    return next(iter(found.values()))


def _read() -> tuple[Settings, Catalogue]:
    from bot import wiring
    from bot.plan.named import Plans
    from bot.settings import read_settings

    settings = read_settings()
    return settings, wiring.read_catalogue(settings.catalogue, Plans(settings.plans))
