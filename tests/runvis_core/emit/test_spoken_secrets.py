from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runvis_core.emit.named_secrets import REDACTED, redact_named
from runvis_core.emit.redaction import Redactor
from runvis_core.emit.secret_forms import BEARER, FORMS, HINTS, is_secret_name, words_of
from runvis_core.emit.spoken_secrets import redact_spoken

WHOLE = 1_000_000

TOLD = {
    "the password is hunter22": "the password is #",
    "The password is swordfish.": "The password is #.",
    "the password is letmein for user etl": "the password is # for user etl",
    "his password is rosebud and his user is kane": "his password is # and his user is kane",
    "the password is now hunter22, please change it": "the password is now #, please change it",
    "password was hunter22!": "password was #",
    "the password is @dm1n/22": "the password is #",
    "the passcode is 493021": "the passcode is #",
    "the new password has been set to Winter2026!": "the new password has been set to #",
    "password changed to hunter22": "password changed to #",
    "change the password to hunter22": "change the password to #",
    "the password's hunter22": "the password's #",
    "the password is 'two words here'": "the password is '#'",
    "the password is `hunter22`": "the password is `#`",
    "the password is \u201chunter22\u201d": "the password is \u201c#\u201d",
    "the password is **hunter22**": "the password is #",
    "<p>the password is hunter22</p>": "<p>the password is #</p>",
    "the password is <b>hunter22</b>": "the password is <b>#</b>",
    'sent {\\"m\\": \\"the password is hunter22\\"}': 'sent {\\"m\\": \\"the password is #\\"}',
    "the passphrase is correct horse battery staple": "the passphrase is #",
    "Password for user etl: hunter22": "Password for user etl: #",
    "password for 'etl'@'localhost' is hunter22": "password for 'etl'@'localhost' is #",
    "the password of the orders database is hunter22": "the password of the orders database is #",
    "db_password is hunter22": "db_password is #",
    "PGPASSWORD is now hunter22": "PGPASSWORD is now #",
    "with password hunter22 for user etl": "with password # for user etl",
    "logged in as etl with password swordfish": "logged in as etl with password #",
    "connecting using the password s3cr3t-pw to db": "connecting using the password # to db",
    "password hunter22 was rejected": "password # was rejected",
    "user/password etl/hunter22 at db": "user/password # at db",
    "the token was abc123": "the token was #",
    "the token was abc123def456\u2026 and more": "the token was #\u2026 and more",
    "the token abc123def456 has expired": "the token # has expired",
    "the token for the shop is 7Fjfp0ZBr1KtDRbnfVdmIw": "the token for the shop is #",
    "client secret is 7Fjfp0ZBr1KtDRbnfVdmIw": "client secret is #",
    "secret is wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "secret is #",
    "API key is 8f7e6d5c4b3a2910": "API key is #",
    "api key: 8f7e6d5c4b3a2910": "api key: #",
    "the secret key is XyZabCdEfGhIjKlMnOpQ": "the secret key is #",
    "credentials are etl/hunter22": "credentials are #",
}
"""Sentences that tell a secret, and what is left of them."""

SAID = (
    "the password is wrong",
    "the password is long enough",
    "The password is required.",
    "the passphrase is correct",
    "the password is the same",
    "the password is in /run/secrets/db",
    "the password is /run/secrets/db",
    "the password is $DB_PASSWORD",
    "the password is {{ var.value.password }}",
    "the password is ********",
    "the password is 12345 bytes long",
    "the password is base64-encoded",
    "the password was changed on 2026-11-24",
    "the password was rejected three times already",
    "the password's length is checked",
    'password authentication failed for user "etl"',
    "password scram-sha-256 authentication",
    "password hashed with sha256",
    "(using password: YES)",
    "with password authentication",
    "password must be at least 8 characters",
    "password reset requested for user 12345",
    "enter the password for orders",
    "the password to orders is lost",
    "no password supplied",
    "Unexpected token < in JSON at position 0",
    "Unexpected token 'u12' in JSON",
    "the token is expired",
    "the token is valid until 2026-11-24T07:00:00Z",
    "the token was refused by the server",
    "the token bucket is empty",
    "the token to use is the second",
    "token count was 12345",
    "the max number of tokens is 4096",
    'secret "db-creds-v2" not found',
    "MountVolume.SetUp failed: secret orders-db-2 not found",
    "the secret is stored in vault/data/orders",
    "access key id is needed",
    "the primary key is order_id2",
    "credentials are missing",
)
"""Sentences that only speak of secrets."""


@pytest.mark.parametrize("text", TOLD)
def test_a_secret_that_a_sentence_tells_is_hidden_and_nothing_beside_it(text: str) -> None:
    redactor = Redactor()
    assert not redactor.clears({"note": text}, max_characters=WHOLE)
    assert redactor.redact({"note": text}, max_characters=WHOLE) == {"note": TOLD[text].replace("#", REDACTED)}


@pytest.mark.parametrize("text", SAID)
def test_a_sentence_that_only_speaks_of_secrets_stays(text: str) -> None:
    assert Redactor().redact_text(f"failed: {text}") == f"failed: {text}"


def test_a_name_of_ones_own_is_told_in_sentences_too() -> None:
    redactor = Redactor(["badge_number"])
    assert redactor.redact_text("Badge number is now 12345678, and the badge number is wrong") == (
        f"Badge number is now {REDACTED}, and the badge number is wrong"
    )


NOUNS = st.sampled_from(
    ["password", "Passphrase", "PWD", "db_password", "token", "client secret", "API key", "signing-key", "Credentials"]
)
BEHIND = st.sampled_from([" is", " was now", " has been set to", " for user etl:", " of it is", "'s", " to", "", ":"])
VALUES = st.sampled_from(
    ["hunter22", "'two words'", "wJalrXUtnFEMI", '"a1b2c3d4e5"', "wrong", "/run/x", "{x}"]
) | st.text(max_size=20)


@given(st.text(max_size=10), NOUNS, BEHIND, VALUES, st.text(max_size=10))
def test_what_is_hidden_once_stays_as_it_is(before: str, noun: str, behind: str, value: str, after: str) -> None:
    once = redact_spoken(f"{before} {noun}{behind} {value} {after}")
    assert redact_spoken(once) == once


_WORDS = sorted(
    words_of(
        "password passwd passphrase pwd pass pgpassword secret token jwt bearer apikey accesskey sessionid dsn",
        "credentials authorization cookie authtoken auth key session id connection conn string client assertion",
        "basic http value info env no 1 2 x the is was for user",
    )
)
_NAMES = st.lists(
    st.tuples(st.sampled_from(_WORDS), st.sampled_from(["_", "-", ".", ""])), min_size=1, max_size=4
).flatmap(
    lambda parts: st.sampled_from([str, str.upper, str.title]).map(
        lambda spell: "".join(itertools.chain.from_iterable((spell(word), joint) for word, joint in parts))
    )
)
_TEXTS = st.lists(
    NOUNS.flatmap(
        lambda noun: st.tuples(st.just(noun), BEHIND, VALUES).map(lambda said: f"{said[0]}{said[1]} {said[2]}")
    )
    | _NAMES.flatmap(
        lambda name: st.sampled_from(["=", ": ", "=>", " -> "]).map(lambda sign: f"{name}{sign}a1b2c3d4e5")
    )
    | st.text(max_size=10),
    min_size=1,
    max_size=3,
).map(" ".join)


@given(_TEXTS)
def test_the_quick_look_finds_whatever_the_rules_for_texts_do(text: str) -> None:
    changed = redact_spoken(redact_named(BEARER.sub("", FORMS.sub("", text)), is_secret_name))
    assert changed == text or HINTS.search(text.lower()) is not None
