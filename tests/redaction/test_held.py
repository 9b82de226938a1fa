"""The redactor is fed with what this process holds itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from bot.catalogue import load_catalogue
from bot.redaction import held
from bot.redaction.redactor import Redactor
from bot.settings import Settings

KUBECONFIG = {
    "users": [
        {"name": "bot", "user": {"token": "of-the-cluster-7"}},
        {"name": "old", "user": {"username": "bot", "password": "of-the-user-8"}},
        {"name": "cloud", "user": {"auth-provider": {"config": {"access-token": "of-the-cloud-9"}}}},
        {"name": "file", "user": {"tokenFile": "<here>"}},
        {"name": "odd", "user": None}, None,
    ]
}  # fmt: skip
FILE = {"roles": {"commander": {"people": ["ana"]}, "approver": {"people": ["ana"]}}, "people": {"ana": "Ana"}}


def test_it_holds_tokens_passwords_headers_and_what_a_kubeconfig_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("of-a-file-10\n")
    config = tmp_path / "config"
    config.write_text(yaml.safe_dump(KUBECONFIG).replace("<here>", str(tmp_path / "token")))
    monkeypatch.setenv("EXTRA", "of-a-variable-1")
    settings = Settings(
        database_url="postgresql://bot:of%2Da%40database-2@db/shop", redact="EXTRA", kubeconfig=f"{config}:/not/there",
        webhook_secret=SecretStr("of-a-webhook-3"), ci_token=SecretStr("of-a-pipeline-4"),
    )  # fmt: skip
    monkeypatch.setenv("SHOP_TOKEN", "of-a-target-5")
    monkeypatch.setenv("SHOP_KEY", "of-a-header-6")
    services = {"shop": {"targets": {"api": {
        "http": "https://api.example", "token": "SHOP_TOKEN", "headers": {"X-Api-Key": "SHOP_KEY"}}}}}  # fmt: skip
    catalogue = load_catalogue(yaml.safe_dump({"services": services, **FILE}), "x")
    known = Redactor([*held.by_settings(settings), *held.by_catalogue(catalogue)])
    for value in ("of-a-variable-1", "of-a@database-2", "of-a-webhook-3", "of-a-pipeline-4", "of-a-target-5",
                  "of-a-header-6", "of-the-cluster-7", "of-the-user-8", "of-the-cloud-9", "of-a-file-10"):  # fmt: skip
        assert known.text(f"it said {value} to us") == "it said [redacted:secret] to us"


def test_a_password_that_is_a_plain_word_does_not_blot_out_that_word() -> None:
    settings = Settings(database_url="postgresql://rollback:rollback@db/rollback", kubeconfig="/not/there")
    assert "rollback" not in held.by_settings(settings)


@pytest.mark.parametrize("text", ["", "not: [yaml", "users: 3", "users: {a: 1}", "[]"])
def test_a_kubeconfig_that_cannot_be_read_holds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").write_text(text)
    settings = Settings(kubeconfig=str(tmp_path / "config"))
    assert held.by_settings(settings) == []
