"""Secrets leave prose, refuse edits, and touch nothing else; in linear time."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import fields, replace
from typing import get_args
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.contract import Change, Edit, Effect, Fact, Receipt, Status, Value, Verdict
from bot.policy import Actor
from bot.ports import Blob
from bot.redaction.patterns import spans
from bot.redaction.redactor import KEPT, PROSE, Redactor, SecretInChange
from bot.run import events as ev
from tests.redaction.secret_forms import innocents, secrets

KNOWN = "correct-horse-battery-staple"
ANA = Actor("U1", "ana")
redactor = Redactor([KNOWN, 'p@ss "word"/1', "hunter2", "abc", ""])

HEX = "0123456789abcdef" * 4
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{HEX}\n-----END RSA PRIVATE KEY-----"
SECRETS = {
    "xoxb-1234567890-abcdefghij": "slack-token",
    "xapp-1-A0123-456-" + HEX: "slack-token",
    "https://hooks.slack.com/services/T0/B0/abcdef": "slack-webhook",
    "AKIAIOSFODNN7EXAMPLE": "aws-key",
    "ghp_" + "a1" * 18: "github-token",
    "github_pat_" + "a1" * 18: "github-token",
    "glpat-abcdefghij0123456789": "gitlab-token",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl": "jwt",
    "sk_live_" + "a1" * 12: "token",
    "AIza" + "a" * 35: "token",
    PEM: "private-key",
    KNOWN: "secret",
    quote('p@ss "word"/1', safe=""): "secret",
    json.dumps('p@ss "word"/1')[1:-1]: "secret",
    base64.b64encode(KNOWN.encode()).decode(): "secret",
}
"""What looks like a secret by itself -> its kind."""

FRAMES = {
    "password={}": "password",
    "PGPASSWORD='{}' psql": "password",
    "password: {}": "password",
    '{{"db_password": "{}"}}': "password",
    "mysql --password {} shop": "password",
    "GET /v1?user=1&token={}&page=2": "token",
    "API_KEY={}": "api-key",
    "aws_secret_access_key = {}": "access-key",
    "routing_key={}": "routing-key",
    "curl -H 'Authorization: Bearer {}' https://api": "authorization",
    "Authorization: Token token={}": "authorization",
    "postgresql://bot:{}@db.internal/shop": "userinfo",
    "curl -u bot:{} https://api": "password",
    "kubectl create secret generic x --from-literal=k={}": "literal",
    "ALTER USER bot IDENTIFIED BY '{}'": "password",
}
"""Where a value is a secret because of what stands around it -> its kind."""

ORDINARY = [
    f"sha256:{HEX}",
    f"registry.example:5000/shop/api@sha256:{HEX}",
    "registry.example/shop/api:2.4.0-rc2",
    "0b5f3a4e-6f0e-4f0a-9d55-0123456789ab",
    "9fceb02d0ae598e95dc970b74767f19372d61af8",
    "kubectl -n shop set image deployment/shop-api api=registry.example/shop@sha256:" + HEX,
    "kubectl -n shop scale deployment/shop-worker --replicas=0",
    "redis-cli --scan --pattern 'shop:token:*'",
    "docker run -u 1000:1000 shop",
    "git clone git@github.com:acme/shop.git and ssh://git@git.example/shop",
    "https://example.com:8443/health?at=2026-11-23T14:02:00Z",
    "Secret shop-db, version 7 -> 6; token bucket of 20; the key checkout.kill_switch",
    "secretKeyRef shop-db/password, imagePullSecrets regcred, max_tokens=4096",
    "global-traffic-manager-eu-1 npm_config_user_agent risk-assessment",
    "PGPASSWORD=$DB_PASSWORD psql -c 'select 1'",
    "1 of 6 pods ready after 5 min; last event: ImagePullBackOff (registry answered 403)",
    "the bearer of this message; basic authentication; été – 中文 🙂",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_leaves_prose_by_its_looks(secret: str) -> None:
    clean = redactor.text(f"login with {secret} failed")
    assert clean == f"login with [redacted:{SECRETS[secret]}] failed"
    assert redactor.alters({"spec": [1, None, f"x {secret}"]}) == SECRETS[secret]


@pytest.mark.parametrize("frame", FRAMES)
@given(secret=st.text("abcdefghXYZ0123456789_-.~!$%^*+", min_size=4, max_size=40).filter(lambda s: s[0].isalnum()))
@settings(max_examples=30)
def test_a_secret_leaves_prose_by_its_frame(frame: str, secret: str) -> None:
    secret = f"S3{secret}cretValue9"
    clean = redactor.text(frame.format(secret))
    assert secret not in clean and f"[redacted:{FRAMES[frame]}]" in clean
    assert redactor.alters(frame.format(secret)) is not None


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text: str) -> None:
    assert redactor.text(text) == text
    assert redactor.alters({"spec": text}) is None


def test_of_many_made_up_forms_nearly_none_gets_through() -> None:
    forms = secrets()
    through = [text for text, secret in forms if secret in redactor.text(text)]
    assert len(forms) >= 200 and len(through) <= len(forms) * 0.02, through
    unseen = [text for text, _ in forms if redactor.alters({"spec": [text]}) is None]
    assert len(unseen) <= len(forms) * 0.02, unseen


def test_of_what_only_looks_like_a_secret_nearly_all_stays() -> None:
    texts = innocents()
    altered = [(text, clean) for text in texts if (clean := redactor.text(text)) != text]
    assert len(texts) >= 200 and len(altered) <= len(texts) * 0.02, altered


@pytest.mark.parametrize("before", ["", "a", "ab", "user:"])
@pytest.mark.parametrize("after", ["", "x", "xy"])
def test_a_known_value_is_found_inside_base64_wherever_it_stands(before: str, after: str) -> None:
    code = base64.b64encode(f"{before}{KNOWN}{after}".encode()).decode()
    clean = redactor.text(f"data: {code}")
    assert "[redacted:secret]" in clean and len(clean) < len("data: [redacted:secret]") + 12


def test_what_people_type_is_refused_with_a_hint_but_never_for_a_mere_word() -> None:
    no = redactor.objection("checkout fails", f"the log says {KNOWN}")
    assert "looks like a secret (secret)" in no and "Say it without the value" in no and KNOWN not in no
    for text in ("password: reset fails since the deploy", "login fails, token=broken", "checkout fails"):
        assert redactor.objection(text) == ""


@given(st.text())
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = redactor.text(text)
    assert redactor.text(once) == once


@given(
    st.lists(st.sampled_from([*SECRETS, *(f.format("hunter2-and-3") for f in FRAMES), *ORDINARY]), max_size=5),
    st.sampled_from([" ", "\n", ", ", '"', "; "]),
)
def test_secrets_in_company_go_as_well(parts: list[str], between: str) -> None:
    once = redactor.text(between.join(parts))
    assert redactor.text(once) == once
    for secret in SECRETS:
        assert secret not in once
    assert "hunter2-and-3" not in once


def test_short_known_values_are_redacted_as_words_and_shorter_ones_not_at_all() -> None:
    assert redactor.text("user hunter2, hunter21 and abc") == "user [redacted:secret], hunter21 and abc"


def test_text_that_cannot_be_stored_is_replaced() -> None:
    assert redactor.text("bad \udcff byte") == "bad ? byte"


def test_names_tell_secrets_that_do_not_look_like_one() -> None:
    plain = "sesame-street"
    assert redactor.alters({"env": [{"name": "DB_PASSWORD", "value": plain}]}) == "password"
    assert redactor.alters({"dbPassword": plain}) == "password"
    assert redactor.alters(plain, "API_TOKEN") == "token"
    for reference in ("arn:aws:secretsmanager:x", "ssm:/shop/db", "shop-db@7", "7", f"sha256:{HEX}", "", "${VAR}"):
        assert redactor.alters({"dbPassword": reference}) is None
    for value in ({"secretKeyRef": {"name": "shop-db", "key": "password"}}, {"token": None}, {"secret": "shop-db"},
                  Blob(f"sha256:{HEX}", 1, "text/plain"), 3, True, None):  # fmt: skip
        assert redactor.alters(value) is None


# -- events ------------------------------------------------------------------------------------------------------------

CHANGE = Change(
    "to 2.4.0", (Edit("shop/image", "a", "b"),), (Effect("flush shop:*"),), (Fact("rows lost", 3, "", 500.0),)
)


def planted(secret: str) -> list[ev.Event]:
    """Events with the secret wherever people, vendors and handlers may write."""
    facts = (*CHANGE.facts, Fact(secret, {"a": [secret]}, secret))
    change = replace(CHANGE, summary=secret, warnings=(secret,), facts=facts)
    seen = change.fingerprint("x")
    receipt = Receipt(secret, {secret: [secret]}, ((secret, secret),), {"a": secret})
    observed: dict[str, Value] = {"shop/image": secret, "shop/env": {"LINE": [secret]}}
    return [
        ev.Stopped(ANA, secret),
        ev.Aborted(ANA, secret),
        ev.Proposed("p", "skip", ANA, secret),
        ev.Closed("closed", ANA, secret),
        ev.Declined("d", ANA, secret),
        ev.BrokeGlass("d", {}, ANA, secret),
        ev.Taken("d", secret),
        ev.PeopleChanged({"d": secret}),
        ev.Planned("s", 1, change, seen, {"t": secret}),
        ev.Drifted("s", 1, change, seen, (secret,)),
        ev.ApplyStarted("s", 1, change, seen),
        ev.Recorded("s", 1, secret),
        ev.Noted("s", 1, "n", {"k": secret}),
        ev.Waiting("s", 1, secret, 1.0),
        ev.Applied("s", 1, receipt),
        ev.Undone("s", 1, receipt, observed),
        ev.Checked("s", 1, Verdict(Status.FAIL, secret, secret, {"x": secret})),
        ev.Failed("s", 1, "fatal", secret, secret, None, observed, {"us-1": secret}),
        ev.Cancelled("s", 1, secret),
        ev.Lost("s", 1, secret),
        ev.NotNeeded("s", secret),
        ev.Skipped("s", ANA, secret),
        ev.Accepted("s", ANA, secret),
        ev.UndoAsked("s", ANA, secret),
        ev.HandedOver("s", "U2", 1.0, ANA, secret),
        ev.AdoptAsked("s", ANA, secret),
        ev.Adopted("s", 1, observed, secret),
    ]


@given(st.sampled_from([*SECRETS, *(f.format("hunter2-and-3") for f in FRAMES)]))
def test_planted_secrets_never_survive_in_an_event(secret: str) -> None:
    kernel = "hunter2-and-3" if "hunter2-and-3" in secret else secret
    for event in planted(secret):
        kind, body = ev.encode(redactor.event(event))
        assert json.dumps(kernel, ensure_ascii=False)[1:-1] not in body, (kind, body)
        assert "[redacted:" in body
        assert isinstance(redactor.event(event), type(event))


def test_clean_events_are_left_alone() -> None:
    for event in planted("1 of 6 pods ready"):
        assert redactor.event(event) is event


def test_what_was_seen_under_a_secret_name_is_not_kept() -> None:
    seen = redactor.event(ev.Adopted("s", 1, {"shop/env": {"DB_PASSWORD": "sesame-street"}}, ""))
    assert seen.observed == {"shop/env": {"DB_PASSWORD": "[redacted:password]"}}


def test_a_change_keeps_its_fingerprint() -> None:
    for event in planted(KNOWN):
        if isinstance(event, ev.Planned | ev.Drifted | ev.ApplyStarted):
            clean = redactor.event(event)
            assert clean.change != event.change
            assert clean.change.fingerprint("x") == event.fingerprint == clean.fingerprint


@pytest.mark.parametrize(
    ("change", "target"),
    [
        (Change("", (Edit("shop/env", KNOWN, "b"),)), "shop/env"),
        (Change("", (Edit("shop/env", "a", {"x": ["b", KNOWN]}),)), "shop/env"),
        (Change("", (Edit("shop-api/env/DB_PASSWORD", "shop-db@7", "sesame-street"),)), "shop-api/env/DB_PASSWORD"),
        (Change("", (Edit(f"shop/{KNOWN}", "a", "b"),)), "shop/[redacted:secret]"),
        (Change("", effects=(Effect(f"post {KNOWN}"),)), "post [redacted:secret]"),
        (Change("", facts=(Fact(KNOWN, 3, ceiling=5.0),)), "[redacted:secret]"),
    ],
)
def test_a_secret_in_what_would_be_written_is_refused(change: Change, target: str) -> None:
    for event in (
        ev.Planned("s", 1, change, "f"), ev.ApplyStarted("s", 1, change, "f"), ev.Drifted("s", 1, change, "f", ())
    ):  # fmt: skip
        with pytest.raises(SecretInChange) as e:
            redactor.event(event)
        assert e.value.target == target and e.value.kind
        assert KNOWN not in str(e.value) and "sesame" not in str(e.value)


def test_what_an_event_says_is_redacted_unless_it_is_known_as_something_else() -> None:
    known = {f.name for kind in get_args(ev.Event) for f in fields(kind)}
    assert known >= KEPT, "names that no event has any more"
    for kind in get_args(ev.Event):
        assert {*PROSE[kind]} == {f.name for f in fields(kind)} - KEPT
    words = ("reason", "why", "note", "error", "hint", "observed", "command", "summary", "text", "evidence")
    assert not KEPT & {*words}


# -- time --------------------------------------------------------------------------------------------------------------

NASTY = [
    "eyJ",
    "eyJaaaaaaaa.",
    "a.",
    "://",
    "://a:",
    "://a@",
    "password",
    "password=",
    'token="',
    "--a-",
    "--",
    "xoxb-",
    "xox",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ",
    "AAAA ",
    "authorization: ",
    "authorization: basic ",
    "bearer ",
    "bearer a",
    "gl",
    "glpat-",
    "ghp_",
    "-u a:",
    "--user ",
    "--from-literal=a",
    "key: '",
    "'",
    '"',
    "=",
    " ",
    "A",
    "a",
    "\n",
    "SG." + "a" * 22 + ".",
    "secret" * 3,
    "key_",
    "_key=",
    "identified by ",
    "rbt_",
    "sk-",
    "sk-eyJ",
    "FLWSECK_TEST-eyJ",
    "password >",
    "password('",
    "password is ",
    "password for a",
    "token='token=\"",
    "secret=/a/",
    "name=password value=",
    "mysql -p",
    "redis-cli ",
    "echo ",
    "a:1234:b:c:",
    "cookie: a=",
    "M.",
    "aA1-",
    "<",
    "${A",
    "[redacted:",
]


@pytest.mark.parametrize("piece", NASTY)
def test_no_text_takes_more_than_linear_time(piece: str) -> None:
    def spent(size: int) -> float:
        text = (piece * (size // len(piece) + 1))[:size]
        start = time.process_time()  # of our own: what else runs on this machine is no fault of theirs
        spans(text)
        return time.process_time() - start

    small = max(min(spent(5_000) for _ in range(2)), 0.0005)
    assert spent(40_000) < small * 8 * 4  # linear is 8 times, quadratic 64
