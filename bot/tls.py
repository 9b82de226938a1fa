"""What the bot trusts: the usual roots, and a company's own from one file (`ROLLBACK_CA_FILE`).

Handed to each client by whoever makes it. Variables like SSL_CERT_FILE are read by some libraries at import, by some at
each call and by some never; and they take the place of the usual roots, which Slack needs.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path

from bot.settings import SettingsError


def trust(ca_file: Path | None) -> ssl.SSLContext:
    """For clients: certificates are checked, names too. SettingsError where the file holds none.

    The same context for as long as the file stays what it is: reading the usual roots takes 30 ms."""
    return _trust(ca_file, _stamp(ca_file))


def _stamp(ca_file: Path | None) -> tuple[int, int] | None:
    """Another one once somebody has written the file; None where there is nothing to read."""
    try:
        seen = ca_file.stat() if ca_file is not None else None
    except OSError:
        seen = None
    return (seen.st_mtime_ns, seen.st_size) if seen is not None else None


@lru_cache(maxsize=2)
def _trust(ca_file: Path | None, _: tuple[int, int] | None) -> ssl.SSLContext:
    found = ssl.create_default_context()
    if ca_file is not None:
        try:
            found.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as e:
            why = getattr(e, "strerror", None) or e
            raise SettingsError(f"ROLLBACK_CA_FILE: {ca_file} holds no certificates in PEM: {why}") from None
    return found
