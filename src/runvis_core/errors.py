"""Every error that RunVis raises on purpose, under one root.

```
RunVisError
├── SettingsError            a setting is missing or wrong
├── EventError               an event can't be taken
│   └── BodyMismatchError    a body is not what its event says
├── StoreError               a store can't do what was asked
│   ├── StoreAddressError    no store or transport answers to an address
│   ├── UnreachableError     the store or server can't be reached, or stayed busy
│   ├── SchemaVersionError   the store's schema is not the one that this version works on
│   └── LogRuleError         the database refused what would bend the record
├── NotFoundError            there is no such run, definition, …
│   └── AmbiguousError       there are several of that name
├── PastError                the past that was asked about can't be told of
├── CursorError              a cursor was not made by this list
├── WideQuestionError        an answer would need more than a server reads at once
├── LedgerError              the ledger can't be extended, signed or proved
│   ├── NoteError            a signed note, checkpoint or key is not well formed, or its signature does not hold
│   └── ProofError           a proof does not hold
├── DeliveryError            events could not be handed over now; they are kept and tried again
└── RefusedError             events were refused for good; the sender keeps them apart
```
"""

from __future__ import annotations

from collections.abc import Iterable


class RunVisError(Exception):
    """The root of RunVis's errors."""


class SettingsError(RunVisError):
    """A setting is missing or wrong; the message names it and says what to set."""


class EventError(RunVisError):
    """An event can't be taken. `field` is the place of the fault, as a dotted path."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}" if field else reason)
        self.field = field
        self.reason = reason


class BodyMismatchError(EventError):
    """A body is missing, or is not the one whose digest the event holds."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"bodies.{name}", f"the body {reason}")


class StoreError(RunVisError):
    """A store can't do what was asked."""


class StoreAddressError(StoreError):
    """No store or transport answers to this address."""


class UnreachableError(StoreError):
    """The store or server can't be reached, or stayed busy: trying again later may help."""


class SchemaVersionError(StoreError):
    """The store's schema is newer, older, or not RunVis's; the message says what to do."""


class RowRefusedError(StoreError):
    """The database refused a row."""


class LogRuleError(RowRefusedError):
    """The database refused a change that would bend the record."""


class NotFoundError(RunVisError):
    """There is no such thing in the store. `near` are the ids or names of what was perhaps meant, `labels` what a
    person calls each."""

    def __init__(self, message: str, *, near: Iterable[str] = (), labels: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.near = list(near)
        self.labels = list(labels) or self.near


class AmbiguousError(NotFoundError):
    """There are several of that name, and no one that is meant. `near` are all of them, or the first ones."""


class PastError(RunVisError):
    """The past that was asked about can't be told of: it lies in the future, or a filter has no past."""

    def __init__(self, parameter: str, reason: str) -> None:
        """Name the parameter that stands in the way, and say why."""
        super().__init__(f"{parameter}: {reason}")
        self.parameter = parameter


class CursorError(RunVisError):
    """A cursor was not made by this list, or was changed on the way."""


class LedgerError(RunVisError):
    """The ledger can't be extended, signed or proved."""


class NoteError(LedgerError):
    """A signed note, checkpoint or key is not well formed, or its signature does not hold."""


class ProofError(LedgerError):
    """A proof does not hold: what it is to prove may be false, and is not shown to be true."""


class WideQuestionError(RunVisError):
    """An answer would need more than a server reads at once; the message says how to narrow the question."""


class DeliveryError(RunVisError):
    """Events could not be handed over now. They stay where they are and are tried again."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class RefusedError(RunVisError):
    """Events were refused for good: trying again would change nothing."""
