"""What reaches the targets of the catalogue, by service, and whether it leads where a run was approved for."""
