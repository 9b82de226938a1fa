"""Who and where: the members, groups and channels of the workspace."""
