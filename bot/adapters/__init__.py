"""Ports made real: one file a vendor, each with `ping()`."""
