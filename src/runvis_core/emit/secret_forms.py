"""What secrets look like: names that they go by, and forms that betray them whatever their name."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def words_of(*lines: str) -> frozenset[str]:
    """Return the words of some lines."""
    return frozenset(word for line in lines for word in line.split())


_SECRET_WORDS: Final = words_of(
    "password passwd passphrase passcode pwd pass pgpassword secret secrets token jwt bearer",
    "apikey secretkey accesskey privatekey authtoken accesstoken sessionid",
    "credential credentials authorization cookie cookies dsn",
)
_KEY_OWNERS: Final = words_of(
    "api access private secret account encryption signing fernet master shared storage service subscription auth ssh",
    "session client",
)
_SECRET_PAIRS: Final = frozenset((owner, "key") for owner in _KEY_OWNERS) | {
    ("session", "id"),
    ("connection", "string"),
    ("conn", "string"),
    ("client", "assertion"),
    ("basic", "auth"),
    ("http", "auth"),
}
_HARMLESS_ENDINGS: Final = words_of(
    "count counts limit limits size length len budget usage ttl at expiry expires expiration",
    "url uri endpoint path file files dir name names type kind id arn bucket version versions scope scopes",
    "used index timeout seconds policy required enabled backend provider manager rotation hash",
)
"""A `token_url` or a `secret_name` is no secret: the last word says what the value is."""


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Whether a value of this name is secret: `db_password`, `X-Api-Key`, `clientSecret`, `--token`."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return False
    pairs = set(itertools.pairwise(words))
    if pairs & _SECRET_PAIRS:
        return words[-1] not in _HARMLESS_ENDINGS or tuple(words[-2:]) in _SECRET_PAIRS
    return not _SECRET_WORDS.isdisjoint(words) and words[-1] not in _HARMLESS_ENDINGS


def compile_names(names: Iterable[str]) -> frozenset[str]:
    """Return names in the form in which they are compared."""
    return frozenset(_bare(name) for name in names)


def find_names_in_texts(names: Iterable[str]) -> re.Pattern[str] | None:
    """Return what finds names in a text, however they are spelled; None for no names."""
    spellings = [r"[\W_]?".join(map(re.escape, _bare(name))) for name in names if _bare(name)]
    return re.compile("|".join(spellings), re.IGNORECASE) if spellings else None


@lru_cache(maxsize=4096)
def _bare(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def is_one_of(name: str, names: frozenset[str]) -> bool:
    """Whether a name is one of those that `compile_names` returned, however it is spelled."""
    return _bare(name) in names


HINTS: Final = re.compile(
    r"""
      i(?<=\basi)a[0-9a-z]{16}
    | d(?: sn | (?<=id)(?: (?<=session.id) | (?<=sessionid) ) )
    | c(?: red | (?<=sec)ret | (?<=whsec)_ | lient.?ass )
    | u(?: (?<=au)th(?!or(?!i[sz])) | (?<=-u)(?=\s | ser[\s=]) )
    | f(?<=\bhf)_
    | p(?: ass(?!ed|es|eng|ing|io|iv|ag|po) | wd | (?<=\bdap)i[0-9a-f]{8} | ypi- | (?<=glp)at- | (?<=_p)at_ | (?<=np)m_
         | (?<=shp)(?:at|ss|ca|pa)_ )
    | g(?: h[pousr]_ | (?<=sg)(?<![a-z]sg)\. | (?<=string)(?: (?<=n.string) | (?<=nstring) ) )
    | ya29\.
    | b(?: earer | asic\s | (?<=-b)egin )
    | v(?: 1_ | (?<=\brv)t_ | (?<=hv)[sbr]\. )
    | k(?: ey | (?<=tok)en | (?<=cook)ie | (?<=\bsk)[-_] | (?<=\brk)_ | (?<=ak)ia )
    | x(?: ox[a-z]- | app- ) | j(?: wt | (?<=eyj) ) | z(?<=aiz)a
    """,
    re.VERBOSE,
)
"""Finds at least one place in every lower-case text that holds a secret by the rules below; most texts have none.

It runs over everything that is recorded, the expressions below only over what it hits. So each alternative begins with
a single letter, preferably a rare one, and no two with the same: the search skips what begins none of them. Those
that begin with a frequent letter come first, since they are tried in their order.
"""

FORMS: Final = re.compile(
    r"""
      gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,} | glpat-[\w-]{16,}              # GitHub, GitLab
    | xox[abeoprs]-[\w-]{10,} | xapp-[\w-]{10,} | (?<![A-Za-z\u212a])SG\.[\w-]{16,}\.[\w-]{16,}  # Slack, SendGrid
    | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b | AIza[\w-]{30,} | ya29\.[\w-]{20,}               # AWS, Google
    | eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?                                            # JSON web tokens
    | \bsk-[\w-]{16,} | \b[sr]k_(?:live|test)_\w{10,} | whsec_[\w+/=]{16,}            # OpenAI, Anthropic, Stripe
    | \bnpm_\w{30,} | pypi-[\w-]{30,} | \bhf_\w{30,} | dop_v1_\w{40,} | \bdapi[0-9a-f]{30,}
    | \brvt_[A-Za-z0-9]{30,} | \bhv[sbr]\.[\w-]{20,} | shp(?:at|ss|ca|pa)_[0-9a-fA-F]{20,} | AGE-SECRET-KEY-1\w{20,}
    | -----BEGIN[A-Z ]*\ PRIVATE\ KEY-----[\s\S]*?(?:-----END[A-Z ]*\ PRIVATE\ KEY-----|\Z)
    """,
    re.VERBOSE,
)
"""Forms of well-known secrets."""

URL_CREDENTIALS: Final = re.compile(
    r"""(?<=[A-Za-z0-9+.-])://(?P<user>[^\s/?\#@:"'<>]*)(?P<password>:(?!\d{1,5}/)[^\s?\#"'<>]{0,1000})?@"""
)
"""User and password in an address. It begins behind the scheme: a search for those would try every letter of a text."""

BEARER: Final = re.compile(r"(?i)\b(?P<scheme>bearer|basic)\s+(?P<value>[\w.~+/=-]{8,})")
"""What goes into an `Authorization` header."""
