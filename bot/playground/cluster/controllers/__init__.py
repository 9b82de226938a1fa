"""What makes a cluster more than a store: each controller brings one kind of object about, a module each."""
