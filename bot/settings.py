"""Everything that can be set from outside, by environment variables `ROLLBACK_<NAME>`; secrets come no other way.

docs/settings.md is generated from this. Wrong values are told all at once, each with its variable's name. An empty
variable counts as left out: compose files, units and charts pass them on like that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.located import nearest

PREFIX = "ROLLBACK_"
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT)(_|$)|_PORT_[0-9]+_(TCP|UDP)")


class SettingsError(ValueError):
    """Settings that do not fit; one line for each."""


class Settings(BaseSettings):
    """What the bot and its command line are told by their surroundings."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    profile: Literal["local", "production"] = Field(
        "local", description="`production` refuses embedded databases and files kept on the bot's own disk."
    )
    database_url: str = Field(
        "sqlite:///rollback.db",
        description="Where the log is kept: `sqlite:///file.db` or `postgresql://user@host/name`.",
    )
    blobs_url: str = Field(
        "file:rollback-files",
        description="Where large values and by-hand files are kept: `file:<folder>`, with several nodes one that all "
        "of them mount, or `s3://bucket/prefix` (credentials, region and address as boto3 finds them).",
    )
    catalogue: Path = Field(Path("rollback.yaml"), description="The catalogue: services, targets, roles, people.")
    plans: Path | None = Field(None, description="A folder of plans; one named like a built-in plan replaces it.")
    kubeconfig: str = Field(
        "",
        description="Kubeconfig that holds the contexts of the catalogue's clusters; left out: `KUBECONFIG`, "
        "`~/.kube/config`, or the service account of the pod that the bot runs in.",
    )
    ca_file: Path | None = Field(
        None,
        description="Certificates (PEM) of a company's own authority, trusted beside the usual ones: HTTP targets, "
        "registries, pager, Slack.",
    )
    host: str = Field("127.0.0.1", description="Address the bot listens on.")
    port: int = Field(8090, ge=0, le=65535, description="Port the bot listens on; 0 takes a free one.")
    url: str = Field("http://127.0.0.1:8090", description="Where the command line finds the running bot.")
    token: SecretStr | None = Field(None, description="Your personal token, for the command line.")
    webhook_secret: SecretStr | None = Field(
        None, description="Signs what CI sends to `/v1/releases`; without it the webhook is refused."
    )
    ci_token: SecretStr | None = Field(
        None, description="What pipelines ask `/v1/freezes` with before they deploy; personal tokens work as well."
    )
    digest_key: SecretStr | None = Field(
        None,
        min_length=16,
        description="Of values that look like secrets only a digest made with this is kept, to tell whether they "
        "changed: any 16 random characters or more, the same on every node. Without it a rollback cannot tell, and "
        "says so.",
    )
    signing_key: SecretStr | None = Field(
        None,
        description="What this node signs its entries of the record with, `rbk_…`, made by `rollback-bot key`; without "
        "it whoever can write to the database can approve (docs/audit.md).",
    )
    signed_by: str = Field(
        "",
        description="Public keys, `rbp_…`, separated by commas, whose entries are believed beside this node's own: of "
        "other nodes, and of keys that were replaced.",
    )
    slack: Literal["off", "socket", "http"] = Field(
        "off", description="How the bot hears Slack: `socket` (it calls Slack) or `http` (Slack calls it, signed)."
    )
    slack_url: str = Field("https://slack.com/api/", description="Slack's Web API, or that of a local Slack.")
    slack_bot_token: SecretStr | None = Field(None, description="The app's bot token, `xoxb-…`.")
    slack_app_token: SecretStr | None = Field(None, description="The app-level token, `xapp-…`, for `socket`.")
    slack_signing_secret: SecretStr | None = Field(None, description="What Slack signs its calls with, for `http`.")
    slack_team: str = Field("", description="The workspace's id, `T…`; left out: the one that the bot token is of.")
    page_key: SecretStr | None = Field(
        None, description="The pager's routing key; without it nobody is paged, only mentioned in the channel."
    )
    page_url: str = Field(
        "https://events.pagerduty.com/v2/enqueue", description="A pager that takes PagerDuty's Events v2."
    )
    otlp_url: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="A collector of OpenTelemetry traces (OTLP over HTTP, like `http://collector:4318`), which gets "
        "each run that ends; wants `rollback-bot[traces]`.",
    )
    tick: float = Field(1.0, gt=0, le=60, description="Seconds between two looks at what is due.")
    lease: float = Field(
        30.0, ge=1, le=600, description="Seconds after which a node that is silent counts as dead (PostgreSQL)."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="How much is logged.")
    log_format: Literal["text", "json"] = Field("text", description="How a line of the log is written.")
    redact: str = Field(
        "", description="Names of further environment variables whose values are secrets, separated by commas."
    )

    @model_validator(mode="after")
    def _production_keeps_nothing_by_itself(self) -> Self:
        if self.profile == "production" and self.database_url.startswith("sqlite"):
            raise ValueError("profile production needs PostgreSQL in ROLLBACK_DATABASE_URL, not SQLite")
        return self

    @model_validator(mode="after")
    def _keys_are_keys(self) -> Self:
        for name, kind, keys in (("SIGNING_KEY", "rbk_", [self.own_key]), ("SIGNED_BY", "rbp_", self.other_keys)):
            if bad := [k for k in keys if k and not re.fullmatch(f"{kind}[A-Za-z0-9_-]{{43}}", k)]:
                given = "" if name == "SIGNING_KEY" or bad[0].startswith("rbk_") else f"{bad[0][:60]!r} "
                what = (
                    "is a private key; name public ones (rbp_…)"
                    if bad[0].startswith("rbk_") and kind == "rbp_"
                    else (f"is no key that begins with {kind}; `rollback-bot key` makes a pair")
                )
                raise ValueError(f"{PREFIX}{name}: {given}{what}")
        return self

    @property
    def own_key(self) -> str:
        """The private key, empty where there is none."""
        return self.signing_key.get_secret_value().strip() if self.signing_key is not None else ""

    @property
    def other_keys(self) -> tuple[str, ...]:
        """Public keys that are believed beside the own one."""
        return tuple(k.strip() for k in self.signed_by.split(",") if k.strip())

    @model_validator(mode="after")
    def _slack_has_what_it_needs(self) -> Self:
        needed = {"socket": ("slack_bot_token", "slack_app_token"), "http": ("slack_bot_token", "slack_signing_secret")}
        for name in needed.get(self.slack, ()):
            if getattr(self, name) is None:
                raise ValueError(f"ROLLBACK_SLACK={self.slack} needs ROLLBACK_{name.upper()}")
        return self


def read_settings() -> Settings:
    """The settings as the environment has them. SettingsError names every variable that does not fit."""
    try:
        return Settings()
    except ValidationError as e:
        lines = [_line(".".join(map(str, x["loc"])), x["msg"], x["input"]) for x in e.errors(include_url=False)]
        raise SettingsError("\n".join(lines)) from None


def strange(environment: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like one of ours and is none: nothing that it says is heeded.

    Left out is what Kubernetes sets for a Service (`ROLLBACK_BOT_PORT=tcp://…`), and what ROLLBACK_REDACT names.
    """
    known = [name.upper() for name in Settings.model_fields]
    given = {n: n.upper().removeprefix(PREFIX) for n in environment if n.upper().startswith(PREFIX)}
    named = {n.strip() for n in environment.get(f"{PREFIX}REDACT", "").split(",")}
    linked = {n for n in given if _SERVICE_LINK.search(n) or environment[n].startswith("tcp://")}
    odd = sorted(n for n, word in given.items() if word not in known and n not in named | linked)
    return [
        f"{n} is no setting" + (f"; did you mean {PREFIX}{g}?" if (g := nearest(given[n], known)) else "") for n in odd
    ]


def _line(field: str, message: str, given: object) -> str:
    if str(given).startswith("tcp://"):
        message += "; Kubernetes set it, for a Service named `rollback`: `enableServiceLinks: false` in the pod"
    return f"{PREFIX}{field.upper()}: {message}" if field else message.removeprefix("Value error, ")
