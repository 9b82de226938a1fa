"""`ports.kubernetes` over real clusters: objects of the catalogue's targets, read and written field by field."""

from bot.adapters.kubernetes.clusters import Clusters, ClusterTarget

__all__ = ["ClusterTarget", "Clusters"]
