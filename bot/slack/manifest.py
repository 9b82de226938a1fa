"""The app manifest, for either mode, and what it asks Slack for. `manifest.yaml` is the one text; lines that are for
one mode only end in `#socket` or `#http`.
"""

from __future__ import annotations

from importlib import resources
from urllib.parse import urlsplit

import yaml

EVENTS_PATH = "/slack/events"
"""Where the bot hears Slack in HTTP mode: events, clicks and commands alike."""


def manifest(http: str | None = None) -> str:
    """The manifest as YAML. http: the bot's address as Slack reaches it, None for Socket Mode. ValueError where that
    is no https address without a path."""
    drop, keep = ("#socket", "#http") if http is not None else ("#http", "#socket")
    lines = (line for line in _text().splitlines() if not line.endswith(drop))
    text = "\n".join(line.removesuffix(keep).rstrip() for line in lines) + "\n"
    return text if http is None else text.replace("${url}", _request_url(http))


def scopes() -> frozenset[str]:
    """The scopes that the bot token needs."""
    return frozenset(yaml.safe_load(manifest())["oauth_config"]["scopes"]["bot"])


def _request_url(base: str) -> str:
    parts = urlsplit(base)
    if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"{base!r} is not the bot's address as Slack reaches it, such as https://bot.example.com")
    return base.rstrip("/") + EVENTS_PATH


def _text() -> str:
    return resources.files("bot.slack").joinpath("manifest.yaml").read_text(encoding="utf-8")
