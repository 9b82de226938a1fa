"""Releases of a service: the register, which one serves, which may be deployed, which one can be gone back to."""
