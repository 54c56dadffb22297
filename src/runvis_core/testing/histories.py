"""Hypothesis strategies for what engines may say of one run, in any order, truthfully or not."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from runvis_core.model.event import (
    AliasEvent,
    ArtifactEvent,
    ContextEvent,
    DatasetEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    LinkEvent,
    LogEvent,
    MetricEvent,
    NoteEvent,
    PresumptionEvent,
    SnapshotEvent,
    StateEvent,
)
from runvis_core.model.state import TERMINAL_STATES, Relation, State, TriggerKind, Verdict, Witness
from runvis_core.testing.factories import a_run_id, at, make

LIVE_STATES = [State.QUEUED, State.INITIALIZING, State.RUNNING, State.FINALIZING]

_seconds = st.integers(0, 50)
_witnesses = st.sampled_from(list(Witness))
_live = st.sampled_from(LIVE_STATES)
_terminal = st.sampled_from(sorted(TERMINAL_STATES))
_words = st.sampled_from(["alpha", "beta", "gamma"])
_moments = st.none() | _seconds.map(at)


def _event(kind: type[EventBase], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[EventBase]:
    def build(seconds: int, witness: Witness, said: dict[str, Any]) -> EventBase:
        return make(kind, seconds=seconds, witness=witness, **said)

    # A context may leave any of its sections out; the other kinds need what they name.
    said = st.fixed_dictionaries({}, optional=fields) if kind is ContextEvent else st.fixed_dictionaries(fields)
    return st.builds(build, _seconds, _witnesses, said)


def _sections() -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(_words, st.integers(0, 3), max_size=3)


transitions = _event(StateEvent, state=_live, native_state=st.none() | _words)
endings = _event(StateEvent, state=_terminal, native_state=st.none() | _words)
snapshots = _event(SnapshotEvent, queued_at=_moments, started_at=_moments, state=st.none() | _live)
closing_snapshots = _event(SnapshotEvent, started_at=_moments, ended_at=_moments, state=_terminal)
silences = _event(PresumptionEvent, verdict=st.sampled_from([Verdict.SILENT, Verdict.BEATING]), reason=_words)
losses = _event(PresumptionEvent, verdict=st.just(Verdict.LOST), state=_terminal, reason=_words)
identities = _event(
    IdentityEvent,
    definition=_words,
    definition_kind=st.just("task"),
    native_key=_words,
    native_id=_words,
    attempt=st.integers(0, 3),
    trigger=st.none() | st.sampled_from(list(TriggerKind)).map(lambda kind: {"kind": kind}),
    parent_run_id=st.none() | st.just(a_run_id("parent")),
)
contexts = _event(
    ContextEvent,
    code=_sections(),
    environment=_sections(),
    engine_context=_sections(),
    tags=st.lists(_words, max_size=2).map(tuple),
    owner=_words,
    content=st.dictionaries(_words, st.text(max_size=20), max_size=2),
)
details = st.one_of(
    _event(FailureEvent, error_type=_words, content=st.just({"message": "it broke"})),
    _event(LogEvent, counts=st.just({"INFO": 1})),
    _event(MetricEvent, name=_words, value=st.floats(allow_nan=False, allow_infinity=False)),
    _event(ArtifactEvent, name=_words, uri=_words),
    _event(DatasetEvent, direction=st.sampled_from(["read", "write"]), namespace=_words, name=_words),
    _event(AliasEvent, system=_words, native_id=_words),
    _event(LinkEvent, relation=st.sampled_from(list(Relation)), target_run_id=st.just(a_run_id("other"))),
    _event(NoteEvent, content=st.just({"text": "seen"})),
)

unfinished_histories = st.lists(
    st.one_of(transitions, snapshots, silences, losses, identities, contexts, details), min_size=1, max_size=12
)
"""What may be said before anybody says how the run ended."""

histories = st.lists(
    st.one_of(transitions, endings, snapshots, closing_snapshots, silences, losses, identities, contexts, details),
    min_size=1,
    max_size=15,
)
"""Anything that may be said of a run, contradictions included."""
