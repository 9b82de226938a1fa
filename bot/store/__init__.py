"""The database: the log of events and its index, signatures, leases, tokens; and blobs beside it."""
