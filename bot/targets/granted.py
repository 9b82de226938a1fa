"""The rights that the bot needs for a catalogue, ready to be given to it: in each cluster, and in AWS.

Invariant: nothing is asked of anybody; what stands in the catalogue is all that is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bot.adapters.aws import granting as aws
from bot.adapters.aws.buckets import Folder
from bot.adapters.kubernetes import granting as kubernetes
from bot.catalogue import Catalogue
from bot.catalogued.backups import BackupsTarget
from bot.catalogued.frontend import EdgeTarget, SiteTarget
from bot.catalogued.kubernetes import KubernetesTarget
from bot.ports.kubernetes import Cluster
from bot.targets.factory import access_of, cluster_of, site_of


def in_clusters(catalogue: Catalogue) -> Mapping[str, str]:
    """Context of the kubeconfig -> manifests for `kubectl apply`."""
    found: dict[str, list[Cluster]] = {}
    for service in catalogue.services.values():
        for name, target in service.targets.items():
            if isinstance(target, KubernetesTarget):
                found.setdefault(target.kubernetes, []).append(cluster_of(name, target))
    return {context: kubernetes.manifests(clusters) for context, clusters in found.items()}


def in_aws(catalogue: Catalogue, blobs_url: str) -> Mapping[str, str]:
    """Identity -> its IAM policy, in JSON. blobs_url: where the bot's own files are kept (`ROLLBACK_BLOBS_URL`)."""
    return aws.policies(_grants(catalogue, blobs_url))


def _grants(catalogue: Catalogue, blobs_url: str) -> Iterator[aws.Grant]:
    if blobs_url.startswith("s3://"):
        yield from aws.of_files(Folder.of(blobs_url))
    for service in catalogue.services.values():
        switched = {t.switch for t in service.targets.values() if isinstance(t, SiteTarget)}
        for name, target in service.targets.items():
            match target:
                case SiteTarget():
                    yield from aws.taking([access_of(target)])
                    yield from aws.of_site(site_of(target))
                case EdgeTarget() if target.cloudfront:
                    yield from aws.taking([access_of(target)])
                    yield from aws.of_distribution(target.cloudfront, access_of(target), pointed=name in switched)
                case BackupsTarget() if target.backups.startswith("s3://"):
                    yield from aws.taking([access_of(target)])
                    yield from aws.of_backups(Folder.of(target.backups), access_of(target))
                case _:
                    pass
