"""The words for errors between a server and its clients: `type` of a problem+json reply. Needs no store."""

from __future__ import annotations

from typing import Final

from runvis_core.errors import (
    AmbiguousError,
    CursorError,
    LedgerError,
    LogRuleError,
    NotFoundError,
    PastError,
    RunVisError,
    SettingsError,
    UnreachableError,
    WideQuestionError,
)

PREFIX: Final = "urn:runvis:problem:"
INVALID: Final = "invalid-request"

STATUSES: Final[dict[type[RunVisError], tuple[str, int]]] = {
    AmbiguousError: ("ambiguous", 404),
    NotFoundError: ("not-found", 404),
    CursorError: ("cursor", 400),
    PastError: ("past", 400),
    WideQuestionError: ("too-wide", 400),
    UnreachableError: ("store-unreachable", 503),
    LedgerError: ("ledger", 409),
    LogRuleError: ("log-rule", 409),
    SettingsError: ("settings", 400),
}
"""By error: the last word of its problem's type, and the HTTP status; what is more special stands first."""

ERRORS: Final[dict[str, type[RunVisError]]] = {PREFIX + name: error for error, (name, _) in STATUSES.items()}
"""By a problem's type: the error that a client raises."""
