from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.emit.redaction import MAX_DEPTH, REDACTED, Redactor, cut
from runvis_core.emit.secret_forms import BEARER, FORMS, HINTS, is_secret_name

CANARY = "Zq7Rw9Xk2Lm4Np6T"

WHOLE = 100_000


def redact(value: Any, **options: Any) -> Any:
    return Redactor(**options).redact(value, max_characters=WHOLE)


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "db_password",
        "DB_PASSWORD",
        "dbPassword",
        "PGPASSWORD",
        "api-key",
        "X-Api-Key",
        "apiKey",
        "client_secret",
        "AWS_SECRET_ACCESS_KEY",
        "private_key",
        "Authorization",
        "Set-Cookie",
        "auth_token",
        "refreshToken",
        "--token",
        "fernet_key",
        "connection_string",
        "credentials",
        "passphrase",
        "SENTRY_DSN",
        "session_id",
    ],
)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "native_key",
        "primary_key",
        "partition_key",
        "author",
        "owner",
        "max_tokens",
        "token_count",
        "token_url",
        "key",
        "tokenizer",
        "passenger",
        "bypass",
        "secret_name",
        "password_file",
        "monkey",
        "cookie_policy",
        "map_index",
        "",
        "session",
        "signature",
        "compass",
        "keyboard",
        "authority",
        "secretary",
    ],
)
def test_what_only_sounds_like_a_secret_is_none(name: str) -> None:
    assert not is_secret_name(name)


SECRET_TEXTS = [
    f"password={CANARY}",
    f"retry with --api-key {CANARY} please",
    f"export DB_PASSWORD='{CANARY}'",
    f'{{"note": "token: {CANARY}"}}',
    f"Authorization: Bearer {CANARY}",
    f"authorization: basic {CANARY}==",
    f"postgresql://etl:{CANARY}@db.internal:5432/orders",
    f"https://{CANARY}@sentry.example.com/1",
    f"ghp_{CANARY}{CANARY}",
    f"github_pat_{CANARY}{CANARY}",
    f"glpat-{CANARY}",
    f"xoxb-{CANARY}",
    "AKIA" + CANARY.upper(),
    "ASIA" + CANARY.upper(),
    f"AIza{CANARY}{CANARY}",
    f"ya29.{CANARY}{CANARY}",
    f"eyJ{CANARY}.eyJ{CANARY}.{CANARY}",
    f"sk-proj-{CANARY}",
    f"sk_live_{CANARY}",
    f"rk_test_{CANARY}",
    f"whsec_{CANARY}",
    f"npm_{CANARY}{CANARY}",
    f"rvt_{CANARY}{CANARY}0000",
    f"pypi-{CANARY}{CANARY}",
    f"hf_{CANARY}{CANARY}",
    "dop_v1_" + CANARY * 3,
    "dapi" + "0123456789abcdef" * 2,
    f"hvs.{CANARY}{CANARY}",
    f"SG.{CANARY}.{CANARY}",
    "shpat_" + "0123456789abcdef" * 2,
    f"AGE-SECRET-KEY-1{CANARY}{CANARY}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{CANARY}",
    f"password='two words, {CANARY}'",
    f'password="it\\"s {CANARY}"',
    f"token=b'{CANARY}'",
    f"secret -> {CANARY}",
    f"('password', '{CANARY}')",
    f"headers=[('Authorization', 'Custom {CANARY}')]",
    f"Authorization: Custom id={CANARY}, more",
    f"Cookie: a=1; session={CANARY}",
    f"<db><password>{CANARY}</password></db>",
    f"curl -u etl:{CANARY} https://x.example",
    f"login etl password {CANARY}",
    f"PWD={{a;{CANARY}}}",
    f"password=SecretStr('{CANARY}')",
    f"amqp://etl:a/{CANARY}@mq/v",
    f"\npassword: two {CANARY}\n",
    "sent " + json.dumps(json.dumps({"token": CANARY})),
    "sent " + json.dumps(json.dumps(json.dumps({"token": CANARY}))),
]


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_a_secret_is_known_by_its_form(text: str) -> None:
    redacted = redact({"text": f"before {text}"})["text"]
    assert CANARY not in redacted
    assert CANARY.upper() not in redacted
    assert "0123456789abcdef" not in redacted
    assert REDACTED in redacted
    assert redacted.startswith("before ")


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_the_quick_look_overlooks_no_form(text: str) -> None:
    # What the quick look clears is not looked at again.
    assert not Redactor().clears({"a": ["plain", {"text": f"before {text} after"}]}, max_characters=WHOLE)


@given(st.from_regex(FORMS) | st.from_regex(BEARER))
def test_the_quick_look_finds_whatever_the_forms_do(text: str) -> None:
    assert HINTS.search(text.lower()) is not None


@given(st.sampled_from(SECRET_TEXTS), st.text(max_size=30), st.text(max_size=30))
def test_the_quick_look_overlooks_no_form_in_any_surroundings(secret: str, before: str, after: str) -> None:
    redactor = Redactor()
    value = {"text": f"{before} {secret} {after}"}
    if redactor.clears(value, max_characters=WHOLE):
        assert redactor.redact(value, max_characters=WHOLE) == value
        assert HINTS.search(secret.lower()) is None
        assert "@" not in secret


@pytest.mark.parametrize(
    "value",
    [
        {"password": CANARY},
        {"password": 12345678},
        {"outer": [{"Api-Key": CANARY}]},
        {"credentials": {"user": CANARY, "more": [CANARY]}},
        {"env": [{"name": "DB_PASSWORD", "value": CANARY}]},
        {"env": [{"key": "token", "value": CANARY}]},
        {"headers": [["Authorization", CANARY], ["Accept", "text/html"]]},
        {"argv": ["run", "--token", CANARY, "--fast"]},
        {"text": json.dumps({"db": {"password": CANARY}})},
        {"text": json.dumps([{"name": "secret", "value": CANARY}])},
        {"text": json.dumps(json.dumps({"password": CANARY}))},
        {"params": [{"name": "token", "value": "12345678", "default": CANARY}]},
        {"params": [{"option": "--password", "value": CANARY}]},
        {f"https://etl:{CANARY}@x.example": 1},
    ],
)
def test_a_value_is_redacted_wherever_its_name_stands(value: dict[str, Any]) -> None:
    redactor = Redactor()
    assert not redactor.clears(value, max_characters=WHOLE)
    redacted = json.dumps(redactor.redact(value, max_characters=WHOLE))
    assert CANARY not in redacted
    assert "12345678" not in redacted
    assert REDACTED in redacted


def test_what_lies_beside_a_secret_stays() -> None:
    value = {"password": CANARY, "host": "db", "port": 5432, "argv": ["run", "--token", CANARY, "--fast"], "empty": ""}
    assert redact(value) == {**value, "password": REDACTED, "argv": ["run", "--token", REDACTED, "--fast"]}
    assert redact({"text": f"postgresql://etl:{CANARY}@db/x"}) == {"text": f"postgresql://etl:{REDACTED}@db/x"}
    assert redact({"password": None, "has_password": True, "token": ""}) == {
        "password": None,
        "has_password": True,
        "token": "",
    }


def test_a_sentence_with_a_secret_word_in_it_names_nothing() -> None:
    for value in (
        ["the password was changed", "by whom it was told"],
        {"name": "a token was missing", "value": "shown"},
        {"url": "http://registry:4873/@scope/package"},
        {"text": "columns ['password', 'username', 'email']"},
        {"text": "the password is long enough"},
    ):
        assert redact(value) == value


def test_two_keys_that_become_one_are_both_kept() -> None:
    redacted = redact({f"https://etl:{CANARY}@x.example": 1, f"https://etl:{CANARY}2@x.example": 2})
    assert sorted(redacted.values()) == [1, 2]
    assert CANARY not in json.dumps(redacted)


def test_a_name_of_ones_own_is_redacted_in_texts_too() -> None:
    for text in ("badge-number: 12345678", "BadgeNumber=12345678", 'sent {"badge_number": "12345678"}'):
        redacted = redact({"text": text}, secret_names=["badge_number"])
        assert "12345678" not in redacted["text"]
        assert not Redactor(["badge_number"]).clears({"text": text}, max_characters=WHOLE)


PLAIN_NAMES = st.sampled_from(["host", "operator", "pool", "queue", "path", "rows", "native_key", "owner", "tags", "x"])
PLAIN_TEXTS = st.text(string.ascii_letters + string.digits + " ./", max_size=30) | st.sampled_from(
    ["2026-11-24T07:00:00Z", "s3://bucket/key", "team@example.com", "0123456789abcdef" * 4, "git@github.com:a/b.git"]
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | PLAIN_TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN_NAMES, inner, max_size=4),
    max_leaves=15,
)


@given(st.dictionaries(PLAIN_NAMES, PLAIN, max_size=5))
def test_what_is_no_secret_stays_as_it_is(value: dict[str, Any]) -> None:
    texts = json.dumps(value).lower()
    if not any(
        word in texts for word in ("pass", "pwd", "token", "secret", "auth", "jwt", "cred", "dsn", "cookie", "bearer")
    ):
        assert redact(value) == value


@given(st.dictionaries(PLAIN_NAMES, PLAIN, max_size=5))
def test_what_the_quick_look_clears_the_close_look_leaves(value: dict[str, Any]) -> None:
    redactor = Redactor()
    if redactor.clears(value, max_characters=WHOLE):
        assert redactor.redact(value, max_characters=WHOLE) == value


def test_registered_values_are_redacted_wherever_they_appear() -> None:
    redactor = Redactor()
    redactor.mask(["hunter2", "hunter2-long", "p@ss/word", "abcd", ""])
    value = {"a": "it was hunter2-long", "b": ["hunter2"], "url": "x?k=p%40ss%2Fword", "short": "abcd"}
    assert not redactor.clears({"a": "hunter2"}, max_characters=WHOLE)
    assert redactor.redact(value, max_characters=WHOLE) == {
        "a": f"it was {REDACTED}",
        "b": [REDACTED],
        "url": f"x?k={REDACTED}",
        "short": "abcd",
    }


def test_a_name_of_ones_own_is_redacted_however_it_is_spelled() -> None:
    redactor = Redactor(["badge_number"])
    assert not redactor.clears({"BadgeNumber": "12345"}, max_characters=WHOLE)
    assert redactor.redact({"BadgeNumber": "12345", "badge": "x"}, max_characters=WHOLE) == {
        "BadgeNumber": REDACTED,
        "badge": "x",
    }


def test_what_identifies_a_run_is_never_changed() -> None:
    redactor = Redactor()
    redactor.mask(["orders"])
    fields = {"native_key": "orders", "definition": "orders", "run_id": "orders", "owner": "orders"}
    assert redactor.redact_fields(fields, max_characters=WHOLE) == {**fields, "owner": REDACTED}


def test_a_long_text_is_cut_and_says_so() -> None:
    text = "a" * 500 + "b" * 500
    assert cut(text, 1000) == text
    assert cut(text, 100) == "a" * 25 + "[cut: 900 of 1,000 characters]" + "b" * 75
    assert redact({"items": list(range(20_000))})["items"][-1] == "[cut: 10,000 of 20,000 items]"


def test_depth_is_bounded_and_says_so() -> None:
    value: Any = "bottom"
    for _ in range(200):
        value = {"x": [value]}
    assert not Redactor().clears(value, max_characters=WHOLE)
    redacted, depth = redact(value), 1
    while not isinstance(redacted, str):
        redacted = redacted["x"] if isinstance(redacted, dict) else redacted[0]
        depth += 1
    assert redacted == f"[cut: deeper than {MAX_DEPTH}]"
    assert depth == MAX_DEPTH


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "text",
    [
        "key" * 40_000,
        "a" * 100_000 + " the key is at user@host",
        "a.b-" * 30_000 + " key",
        "key:" * 30_000,
        "key=" + "a:" * 50_000,
        "key" + " " * 100_000,
        "key" + "\n=" * 50_000,
        "key ://" + "user:" * 20_000 + "@",
        "key @ " + "x+" * 50_000 + "://",
        "bearer " * 20_000,
        "-----begin " * 10_000,
        "<a" * 50_000 + " key </",
        "<key>" * 30_000 + "</",
        "('key','" * 20_000,
        "['key', '" + "\\x" * 50_000,
        'key="' * 30_000,
        "password='" + "\\'" * 100_000,
        "password=" + "\\" * 100_000,
        "password=a(" * 30_000,
        "password={" * 30_000,
        "password:\n" * 30_000,
        "-u a " * 30_000,
        "login a password " * 10_000,
        "://a:" * 20_000 + " key @",
        "password for " * 20_000,
        "password is a b c d " * 10_000,
        "password is " + "a-" * 100_000,
        ("token is " + "aB0/" * 99 + "- ") * 500,
        ("the password is " + "ab " * 12) * 5_000,
    ],
    ids=lambda text: repr(text[:12]),
)
def test_no_text_takes_longer_than_its_length_is_worth(text: str) -> None:
    # A pattern that tries again and again would take minutes here: the limit above ends it.
    assert isinstance(Redactor().redact(text, max_characters=1_000_000), str)


def test_a_named_secret_behind_another_name_is_found() -> None:
    redacted = Redactor().redact("level: password=hunter22 host: db token => abcdefgh", max_characters=1_000)
    assert redacted == "level: password=[redacted] host: db token => [redacted]"
