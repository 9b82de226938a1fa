"""Keys on the bot's host: made, set, missing, lost; and a person who vouches for what was there before."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr

from bot.cli.output import Code
from bot.settings import Settings, SettingsError, read_settings
from bot.store.signing import Keys, new_key
from bot.wiring import redactor_of
from tests.fixtures.whole_bot import House, Running

OWN, PUBLIC = new_key()
OTHER, OTHERS_PUBLIC = new_key()


def signatures(house: House) -> dict[str, str]:
    """What the doctor says of them."""
    found = json.loads(house.say("", "doctor", "--json").stdout)["findings"]
    return next({k: str(v) for k, v in f.items()} for f in found if f["name"] == "signatures")


def test_a_pair_of_keys_is_made_and_fits(house: House) -> None:
    made = house.json("", "key")
    assert Keys(made["signing_key"]).own == made["public"]
    plain = house.say("", "key")
    env = dict(line.split("=", 1) for line in plain.stdout.splitlines())  # as it goes into an environment file
    assert list(env) == ["ROLLBACK_SIGNING_KEY", "ROLLBACK_DIGEST_KEY"] and len(env["ROLLBACK_DIGEST_KEY"]) >= 16
    assert Keys(env["ROLLBACK_SIGNING_KEY"]).own in plain.stderr and env["ROLLBACK_SIGNING_KEY"] not in plain.stderr
    Settings(signing_key=SecretStr(env["ROLLBACK_SIGNING_KEY"]), digest_key=SecretStr(env["ROLLBACK_DIGEST_KEY"]))


def test_signing_is_switched_on_by_a_person_and_no_bot_without_the_key_starts_afterwards(house: House) -> None:
    bot = Running(house)
    try:
        begun = house.json("ana", "rollback", "shop", "to", "2.4.0", "because", "it", "fails")["run"]
    finally:
        bot.stop()
    assert signatures(house)["state"] == "look" and "can approve" in signatures(house)["text"]
    assert house.say("", "audit", "sign", "--reason", "signing begins").exit_code == Code.REFUSED  # with what?

    house.signing = OWN
    found = signatures(house)
    assert found["state"] == "fault" and begun in found["text"]
    bot = Running(house)
    try:
        no = house.say("ana", "stop", begun)
        assert no.exit_code != 0 and "is not believed" in no.stderr
    finally:
        bot.stop()
    assert house.say("", "audit", "sign").exit_code == Code.USAGE
    signed = house.json("", "audit", "sign", "--reason", "signing begins today")
    assert begun in signed["runs"] and signed["key"] == PUBLIC
    assert house.say("", "audit", "sign", "--reason", "again and again").exit_code == Code.REFUSED
    assert signatures(house)["state"] == "ok"
    bot = Running(house)
    try:
        assert house.say("ana", "stop", begun).exit_code == 0
    finally:
        bot.stop()

    for signing, by, told in (("", "", "has no key"), (OTHER, "", "does not know"), ("", PUBLIC, "none of its own")):
        house.signing, house.signed_by = signing, by
        for words in (("serve",), ("status", "--direct", "the bot is dead")):
            no = house.say("", *words)
            assert no.exit_code == Code.BAD_RECORD and told in no.stderr, no.output
        assert signatures(house)["state"] == "fault"
    house.signing, house.signed_by = OTHER, PUBLIC
    assert signatures(house)["state"] == "ok"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SIGNING_KEY", PUBLIC, "is no key that begins with rbk_"),
        ("SIGNING_KEY", "hunter2", "is no key that begins with rbk_"),
        ("SIGNED_BY", f"{PUBLIC}, {OTHER}", "is a private key; name public ones"),
        ("SIGNED_BY", "nonsense", "'nonsense' is no key that begins with rbp_"),
    ],
    ids=["public", "a password", "private", "nonsense"],
)
def test_what_is_no_key_is_refused_without_being_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(f"ROLLBACK_{name}", value)
    with pytest.raises(SettingsError, match=f"ROLLBACK_{name}") as e:
        read_settings()
    assert told in str(e.value) and OTHER not in str(e.value) and "hunter2" not in str(e.value)


def test_the_private_key_leaves_no_text() -> None:
    settings = Settings(signing_key=SecretStr(OWN), signed_by=f" {PUBLIC} ,{OTHERS_PUBLIC}")
    assert settings.other_keys == (PUBLIC, OTHERS_PUBLIC) and OWN not in repr(settings)
    assert OWN not in redactor_of(settings).text(f"the key is {OWN}")
