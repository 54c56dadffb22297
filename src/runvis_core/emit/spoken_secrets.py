"""Secrets that a sentence gives away: "the password is …", "with password … for user etl", "API key for the shop: …".

A sentence says other things of a password, too ("the password is wrong"), so what follows is judged. Of a password
everything is hidden but what a sentence usually says of one; of tokens, keys and secrets only what looks made up.

Everything here takes time in proportion to the text: what is looked at behind each noun is bounded.
"""

from __future__ import annotations

import re
from typing import Final

from runvis_core.emit.named_secrets import MIN_CHARACTERS, REDACTED
from runvis_core.emit.secret_forms import words_of

_NOUN: Final = re.compile(
    r"""
      (?P<password>pass(?:word|wd|phrase|code)s?|pwds?)
    | (?P<token>(?:api|access|secret|private|account|auth|encryption|signing|master|shared)[ _-]keys?|tokens?|secrets?)
    | (?P<credentials>credentials?)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NOUN_PARTS: Final = ("passw", "passp", "passc", "pwd", "token", "secret", "credential", " key", "_key", "-key")
"""To look for these takes next to no time; one is in every noun above, in lower case."""
_VERB: Final = r"(?:is|was|are|were|be|being|becomes?|became|equals|(?:has|had|have)[ ]been|will[ ]be)"
_CHANGE: Final = r"(?:set|reset|changed|rotated|updated|given|entered|provided|sent|configured|defined|known)"
_NOW: Final = r"(?:now|still|currently|actually|just|only|again|always)"
_OWNER: Final = r"(?:for|of|to|on|at|in|from|used[ ]by)(?:[ ][^\s:=]{1,60}){1,4}?"
"""Whose it is: "for user etl", "of the shop"."""
_SIGN: Final = r"(?:=>|->|[:=])"
_BEHIND: Final = re.compile(
    rf"""
    ["'`*_]{{0,2}}
    (?:
        (?P<firmly>
            (?:[ ]{_OWNER})?
            (?: [ ]{_VERB}(?:[ ]{_NOW})?(?:[ ]{_CHANGE}[ ](?:to|as))?[ ]?[:=]?
              | [ ]{_CHANGE}[ ](?:to|as)[ ]?:? )
          | [ ]{_OWNER}[ ]?{_SIGN}
        )
      # What stands so behind a name in one word is looked at elsewhere.
      | (?<=[ ]key)(?P<sign>[ ]?{_SIGN})
      | (?P<loosely>[ ](?:to|as)|['\u2019]s)
      |
    )
    [ ]{{1,3}}(?:<[a-z]{{1,8}}>)?
    (?:
        (?P<open>\\*["'`\u201c\u2018])
        (?P<quoted>[^\s"'`\u201d\u2019\\](?:[^"'`\u201d\u2019\\\n]|['\u2019](?=\w)){{0,200}})
        (?=\\*["'`\u201d\u2019])
      | (?P<bare>(?:[^\s"'`<\\]|["'`<\\](?=\w)){{1,400}}+)
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_WITH: Final = re.compile(r"\b(?:with|using|via)(?: (?:the|a|my|this|new|old))?(?: [\w-]{1,20})? $", re.IGNORECASE)
"""What in front of "password" makes the next word the password: "logged in with password …"."""
_WITH_CHARACTERS: Final = 40

_AFTER: Final = re.compile(r"(?=\s*+(?:$|\n|\()|[ ](?:for|and|but|or|on|at)\b)", re.IGNORECASE)
"""What stands behind a word that ends a statement."""
_CLOSING: Final = ".,;:)]}\u2026"
_PHRASE: Final = re.compile(r"[a-z]{2,20}(?P<more>(?:[ -][a-z]{2,20}){3,11}+)(?=\s*+(?:[.,;:!)\"]|$|\n))")
_SMALL_WORDS: Final = words_of(
    "a an the in on at of to for from by with and or not no than that this as it if be is was are too so when"
)

_PLACEHOLDER: Final = re.compile(
    r"""
      \$[A-Z_][A-Z0-9_]*+ | \$?\{.* | %\(?\w*\)?s? | <.* | \[.* | \(.* | :[a-z_]+ | [*.x\u2022\u2026_#?-]+
    | (?:~|\.{1,2})?/[a-z0-9_./-]* | [a-z0-9+]+://.* | arn:.* | [a-z_.]{4,}\(.*
    """,
    re.VERBOSE,
)
"""What stands for a value, or leads to it."""
_DATE: Final = re.compile(r"(?:19|20)\d\d-?[01]\d-?[0-3]\d(?!\d).*")
_METHOD: Final = re.compile(
    r"(?:scram-)?sha-?\d+(?:[-_]\w{1,8})?|md5(?:crypt)?|argon2\w{0,2}|pbkdf2(?:[-_:]\S*)?|oauth\d?(?:[-_][a-z]+)?|base\d\d"
    r"|utf-?\d+|aes-?\d+[-\w]*|[rhep]s\d{3}|ed25519|rsa\d*|x\.?509|ldap\d*|v\d{1,3}(?:\.\d+){0,3}|http\d?|ipv\d"
)
"""Ways to hash, encode, sign or speak; versions."""
_WORD: Final = re.compile(r"[^\W\d_]+(?:[-'\u2019/][^\W\d_]+)*")
_PIECE: Final = r"(?:(?:[A-Z]{1,6}(?![a-z])|[A-Z]?[a-z]{2,})+\d{0,4}|[A-Za-z]\d{0,4}|\d{1,6})"
_IDENTIFIER: Final = re.compile(rf"{_PIECE}(?:[-_./:#@]{_PIECE})*+")
"""`orders-db-2`, `SecretsManager`: the name of something, as people give names."""
_MIN_MADE_UP_CHARACTERS: Final = 8
_KEY: Final = re.compile(r"(?=.*[A-Za-z])(?=.*(?:\d|[a-z][A-Z]|[A-Z]{2}[a-z]))[\w+/=~.:@!#$%^&*-]+")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_]\w*=[^=].*")
_DIGIT_OR_SIGN: Final = re.compile(r"[0-9!@#$%^&*+=~]")
_ENDINGS: Final = (
    *("ed", "ing", "able", "ible", "ive", "tion", "sion", "ment", "ent", "ant", "ous", "less", "ful", "ary", "ory"),
    *("ness", "ity", "ly", "ical", "ual", "ance", "ence"),
)
"""A word with such an ending says how something is, or what is done with it."""
_SAID_OF_SECRETS: Final = words_of(
    # How they are, what happens to them, and what belongs to them.
    """
    wrong right correct incorrect valid invalid empty blank unset unknown known missing short longer shorter large
    small smaller larger weak weaker strong stronger secret public plain plaintext clear opaque random unique equal
    stale fresh older newer ready broken stolen taken given chosen shown hidden written forgotten overwritten rewritten
    never always often still already again there where which whose these those other another someone something
    nothing anything everything everyone anyone under above below between about after before during until since
    within without against across into unless whether because while either neither kept sent lost found built bound
    optional default defaults false true null undefined string strings bytes integer number numbers object array
    header headers field fields column columns param parameter parameters argument arguments option options variable
    variables value values input output format length strength expiry issue issues error errors problem problems
    failure failures mismatch check checks store stores vault vaults manager backend backends provider providers plugin
    server servers client clients service services user users account accounts login logins access reset resets change
    changes prompt prompts policy policies hash hashes digest file files path paths name names bucket grant grants flow
    flows rotation refresh request requests response endpoint scope scopes owner owners type types usage budget limit
    limits count counts size sizes text texts auth based style could would should might shall cannot doesn't isn't
    wasn't hasn't didn't won't can't couldn't won't needs wants works worked fails failed falls comes matches differs
    exists appears contains begins starts stops lives helps lets makes means plus minus three seven eight twenty
    alone apart ahead behind online offline local remote private shared external internal separate different similar
    identical alphanumeric numeric ascii unicode english latin uppercase lowercase simple complex
    """
)


def redact_spoken(text: str, own_names: re.Pattern[str] | None = None) -> str:
    """Return a text without the secrets that its sentences tell; those of `own_names` are told like a password."""
    lowered = text.lower()
    if any(part in lowered for part in _NOUN_PARTS):
        text = _redact_behind(_NOUN, text)
    return _redact_behind(own_names, text) if own_names is not None else text


def _redact_behind(nouns: re.Pattern[str], text: str) -> str:
    pieces: list[str] = []
    done = 0
    for noun in nouns.finditer(text):
        if noun.start() < done or (said := _BEHIND.match(text, noun.end())) is None:
            continue
        end = _end_of_secret(text, noun, said)
        if end is None:
            continue
        start = said.start("quoted") if said["open"] else said.start("bare")
        pieces += (text[done:start], REDACTED)
        done = end
    return "".join([*pieces, text[done:]]) if pieces else text


def _end_of_secret(text: str, noun: re.Match[str], said: re.Match[str]) -> int | None:
    """Return where the secret ends that a noun tells; None where it tells none."""
    if said["open"]:
        start, end, is_last = said.start("quoted"), said.end("quoted"), True
    else:
        start = said.start("bare")
        end = start + len(said["bare"].rstrip(_CLOSING))
        is_last = end < said.end("bare") or _AFTER.match(text, end) is not None
    value = text[start:end]
    if len(value) < MIN_CHARACTERS or _is_stand_in(value):
        return None
    is_firm = (said["firmly"] or said["sign"]) is not None
    if noun.lastgroup == "token":
        is_secret = _looks_made_up(value, is_firm=is_firm)
    elif noun.lastgroup == "credentials":
        is_secret = is_firm and _has_digit_or_sign(value)
    elif is_firm and (phrase := _PHRASE.match(text, start)) and _is_no_sentence(phrase):
        return phrase.end()
    elif is_firm or (said["loosely"] is None and _is_with(text, noun)):
        is_secret = not _is_said(value, is_last=is_last)
    else:
        is_secret = noun.lastgroup == "password" and _has_digit_or_sign(value)
    return end if is_secret else None


def _is_with(text: str, noun: re.Match[str]) -> bool:
    start = noun.start()
    return _WITH.search(text[max(0, start - _WITH_CHARACTERS) : start]) is not None


def _is_stand_in(value: str) -> bool:
    """Whether a value stands for another, leads to it, or says of which kind it is."""
    return any(form.fullmatch(value) for form in (_PLACEHOLDER, _DATE)) or _METHOD.fullmatch(value.lower()) is not None


def _is_said(value: str, *, is_last: bool) -> bool:
    """Whether this is what a sentence says of a password, not what the password is."""
    if value.isdigit():
        return not is_last
    last = value.lower().rpartition("-")[2]
    if _is_word(last):
        return True
    return not is_last and _WORD.fullmatch(value) is not None


def _is_word(word: str) -> bool:
    return word in _SAID_OF_SECRETS or (word.isalpha() and word.endswith(_ENDINGS))


def _is_no_sentence(phrase: re.Match[str]) -> bool:
    more = phrase["more"].replace("-", " ").split()
    return not any(word in _SMALL_WORDS or _is_word(word) for word in more)


def _has_digit_or_sign(value: str) -> bool:
    return any(character.isalpha() for character in value) and _DIGIT_OR_SIGN.search(value) is not None


def _looks_made_up(value: str, *, is_firm: bool) -> bool:
    """Whether it is unlike the names that people give to things."""
    if not _KEY.fullmatch(value) or _ASSIGNMENT.fullmatch(value):
        return False
    if _IDENTIFIER.fullmatch(value) is None:
        return len(value) >= _MIN_MADE_UP_CHARACTERS
    # "The token is abc123": an orders-db-2 it may well be made for.
    return is_firm and value.isalnum() and not value.isdigit() and any(map(str.isdigit, value))
