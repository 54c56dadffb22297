"""What every store must hold. A store's own tests are `class TestMyStore(EventLogSuite)` with a fixture `store`."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, ClassVar
from uuid import UUID

import orjson
import pytest
from sqlalchemy import Connection, Table, func, select, text
from sqlalchemy.exc import DBAPIError

from runvis_core.errors import LogRuleError, StoreError
from runvis_core.model.decision import ERASURE, HOLD_PLACED, HOLD_RELEASED, Erased, ErasedBody
from runvis_core.model.encoding import Body, SealedEvent, leaf_hash, seal
from runvis_core.model.entry import Entry
from runvis_core.model.event import (
    AliasEvent,
    ArtifactEvent,
    ContextEvent,
    DatasetDeclaredEvent,
    DatasetEvent,
    DecisionEvent,
    DefinitionErrorEvent,
    DefinitionEvent,
    EventBase,
    FailureEvent,
    IdentityEvent,
    LinkEvent,
    MetricEvent,
    PresumptionEvent,
    ProducerClosedEvent,
    ProducerOpenedEvent,
    StateEvent,
    parse_event,
)
from runvis_core.model.fold import fold_entries
from runvis_core.model.run import Record
from runvis_core.model.state import Relation, State, Verdict, Witness
from runvis_core.store import tables as t
from runvis_core.store.check import check_store
from runvis_core.store.database import Store, open_store
from runvis_core.store.log import Appended
from runvis_core.store.outcome import Outcome
from runvis_core.store.rebuild import rebuild_store
from runvis_core.testing.factories import ENGINE, a_run_id, at, make

WRITERS = 8
APPENDS = 25


def seal_all(events: Iterable[EventBase]) -> list[SealedEvent]:
    """Return events as a spool delivers them: sealed, read again."""
    sealed: list[SealedEvent] = []
    for event in events:
        item = seal(event)
        sealed.append(item._replace(event=parse_event(orjson.loads(item.data))))
    return sealed


def append(store: Store, *events: EventBase, principal: str = "tester") -> Appended:
    """Append events in one batch."""
    return store.log.append(seal_all(events), principal=principal)


def statuses(outcomes: Sequence[Outcome]) -> list[str]:
    """Return what became of each event."""
    return [outcome.status for outcome in outcomes]


def projections(store: Store) -> dict[str, list[Any]]:
    """Return all rows of all tables that are derived from the log."""
    with store.engine.connect() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in t.PROJECTIONS
        }


def run_row(store: Store, run_id: UUID | None = None) -> Any:
    """Return the row of a run."""
    with store.engine.connect() as connection:
        return connection.execute(select(t.runs).where(t.runs.c.run_id == (run_id or a_run_id()))).one()


def entries_of(store: Store) -> list[Entry]:
    """Return the whole log, parsed."""
    return [entry.parse() for entry in store.log.read()]


def a_life(name: str = "run") -> list[EventBase]:
    """Return what a worker says of a run that goes well."""
    run_id = a_run_id(name)
    return [
        make(
            IdentityEvent,
            run_id=run_id,
            definition="daily",
            definition_kind="task",
            native_key=name,
            native_id=f"{name}-1",
        ),
        make(StateEvent, run_id=run_id, state=State.RUNNING, seconds=1),
        make(ContextEvent, run_id=run_id, seconds=2, tags=("blue",), content={"parameters": {"day": 1}}),
        make(ArtifactEvent, run_id=run_id, seconds=3, name="report", uri="file:///report"),
        make(StateEvent, run_id=run_id, state=State.SUCCEEDED, seconds=4),
    ]


def everything() -> list[EventBase]:
    """Return a life and what it takes to have a row in every insert-only table."""
    return [
        *a_life(),
        make(StateEvent, state=State.FAILED, seconds=5, witness=Witness.SCHEDULER),
        make(ContextEvent, seconds=6, owner="Ann"),
        make(DatasetEvent, direction="write", namespace="s3://lake", name="orders"),
        make(MetricEvent, name="rows", value=1),
        make(LinkEvent, relation="caused", target_native_key="other"),
        make(AliasEvent, system="tracker", native_id="T-1"),
        make(DefinitionEvent, definition="daily", definition_kind="dag", version="1"),
        make(DefinitionErrorEvent, source="daily.py", fingerprint="1"),
        make(DatasetDeclaredEvent, namespace="s3://lake", name="orders"),
    ]


def decide(store: Store, decision: str, subject: str, details: dict[str, Any], **fields: Any) -> Appended:
    """Append a decision about the store itself."""
    event = make(DecisionEvent, witness=Witness.OPERATOR, decision=decision, subject=subject, details=details, **fields)
    return append(store, event)


def erase_bodies(store: Store, run_id: UUID | None = None) -> list[ErasedBody]:
    """Erase all bodies of a run by one decision; return what was erased."""
    with store.engine.connect() as connection:
        query = select(t.bodies.c.position, t.bodies.c.digest).join(
            t.entries, t.entries.c.position == t.bodies.c.position
        )
        rows = connection.execute(query.where(t.entries.c.run_id == (run_id or a_run_id()))).all()
    bodies = [ErasedBody(position=row.position, name="body", digest=bytes(row.digest).hex()) for row in rows]
    details = Erased(bodies=tuple(bodies)).model_dump(mode="json")
    decide(store, ERASURE, "run", details, run_id=run_id or a_run_id())
    return bodies


def fill(store: Store) -> None:
    """Put a row into every table whose rows never change."""
    append(store, *everything())
    append(store, *(event.model_copy(update={"team": "etl"}) for event in a_life("other")))
    erase_bodies(store, a_run_id("other"))
    decide(store, HOLD_PLACED, "h1", {"definition": "daily"})
    decide(store, HOLD_RELEASED, "h1", {})


def _write(url: str, number: int, appends: int) -> None:
    store = open_store(url)
    for turn in range(appends):
        append(store, make(StateEvent, run_id=a_run_id(f"{number}"), state=State.RUNNING, seconds=turn))
    store.close()


class EventLogSuite:
    """The promises of a log and of what is derived from it."""

    # Positions

    def test_positions_have_no_gaps_under_concurrent_writers(self, store: Store) -> None:
        url = store.engine.url.render_as_string(hide_password=False)
        spawn = multiprocessing.get_context("spawn")
        writers = [spawn.Process(target=_write, args=(url, number, APPENDS)) for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert [writer.exitcode for writer in writers] == [0] * WRITERS
        positions = [entry.position for entry in store.log.read()]
        assert positions == list(range(1, WRITERS * APPENDS + 1))
        assert store.log.head().position == WRITERS * APPENDS
        assert check_store(store) == []

    def test_an_entry_is_the_bytes_that_were_hashed(self, store: Store) -> None:
        life = seal_all(a_life())
        store.log.append(life, principal='Zoë "Z"')
        for sealed, stored in zip(life, store.log.read(), strict=True):
            assert stored.leaf_hash == leaf_hash(stored.entry)
            assert sealed.data in stored.entry
            entry = stored.parse()
            assert (entry.event, entry.principal) == (sealed.event, 'Zoë "Z"')
            assert (stored.event_id, stored.kind) == (sealed.event.event_id, sealed.event.kind)

    def test_reading_goes_on_after_a_position(self, store: Store) -> None:
        append(store, *a_life())
        assert [entry.position for entry in store.log.read(after=2)] == [3, 4, 5]
        assert [entry.position for entry in store.log.read(after=1, limit=2)] == [2, 3]
        assert list(store.log.read(after=5)) == []

    def test_an_empty_batch_appends_nothing(self, store: Store) -> None:
        assert append(store) == Appended([], [], [])
        assert store.log.head() == (0, None)

    def test_recorded_at_never_decreases(self, store: Store) -> None:
        times = iter([at(100), at(50), at(200)])
        log = type(store.log)(store.engine, clock=lambda: next(times))  # pyright: ignore[reportCallIssue]
        for second in range(3):
            log.append(seal_all([make(StateEvent, state=State.RUNNING, seconds=second)]), principal="tester")
        assert [entry.recorded_at for entry in entries_of(store)] == [at(100), at(100), at(200)]

    # Told again

    def test_a_batch_delivered_twice_is_known(self, store: Store) -> None:
        life = seal_all(a_life())
        first = store.log.append(life, principal="tester").outcomes
        before = projections(store)
        again = store.log.append(life, principal="tester")
        assert statuses(again.outcomes) == ["known"] * len(life)
        assert [outcome.position for outcome in again.outcomes] == [outcome.position for outcome in first]
        assert again.entries == []
        assert store.log.head().position == len(life)
        assert projections(store) == before

    def test_an_event_twice_in_one_batch_is_known(self, store: Store) -> None:
        event = make(StateEvent, state=State.RUNNING)
        outcomes = append(store, event, event).outcomes
        assert [(outcome.status, outcome.position) for outcome in outcomes] == [("stored", 1), ("known", 1)]

    def test_the_same_fact_sealed_with_another_salt_is_known(self, store: Store) -> None:
        context = make(ContextEvent, content={"parameters": {"day": 1}})
        append(store, context)
        assert statuses(append(store, context).outcomes) == ["known"]

    def test_a_fact_without_a_time_told_later_is_known(self, store: Store) -> None:
        append(store, make(ContextEvent, code={"commit": "abc"}, seconds=1))
        assert statuses(append(store, make(ContextEvent, code={"commit": "abc"}, seconds=90)).outcomes) == ["known"]

    def test_another_witness_of_the_same_fact_attests_it_once(self, store: Store) -> None:
        native = a_run_id("the engine's own id of the transition")
        append(store, make(StateEvent, event_id=native, state=State.RUNNING))
        other = make(StateEvent, event_id=native, state=State.RUNNING, witness=Witness.FOLLOWER)
        assert statuses(append(store, other, other).outcomes) == ["attested", "known"]
        assert statuses(append(store, other).outcomes) == ["known"]
        attestation = entries_of(store)[-1]
        assert store.log.head().position == attestation.position == 2
        assert getattr(attestation.event, "attested_event_id", None) == native
        assert getattr(attestation.event, "attested_by", None) is Witness.FOLLOWER

    def test_another_principal_with_the_same_fact_attests_it(self, store: Store) -> None:
        event = make(StateEvent, state=State.RUNNING)
        append(store, event, principal="one")
        assert statuses(append(store, event, principal="two").outcomes) == ["attested"]
        assert statuses(append(store, event, principal="two").outcomes) == ["known"]

    def test_another_meaning_under_the_same_id_is_a_conflict_that_keeps_both(self, store: Store) -> None:
        native = a_run_id("the engine's own id of the transition")
        append(store, make(StateEvent, event_id=native, state=State.RUNNING))
        other = make(StateEvent, event_id=native, state=State.QUEUED)
        assert statuses(append(store, other).outcomes) == ["conflict"]
        assert statuses(append(store, other).outcomes) == ["conflict"]
        assert store.log.head().position == 2
        conflict: Any = entries_of(store)[-1].event
        assert conflict.conflicting_event_id == native
        assert conflict.report["state"] == "Queued"
        assert run_row(store).state == State.RUNNING

    def test_an_id_that_an_event_of_another_run_has_is_a_conflict_of_that_run(self, store: Store) -> None:
        taken, other = make(StateEvent, state=State.RUNNING, seconds=2), a_run_id("other")
        append(store, *a_life(), taken)
        reports = [
            make(StateEvent, run_id=other, event_id=taken.event_id, state=State.RUNNING, seconds=3),
            make(StateEvent, run_id=other, state=State.SUCCEEDED, seconds=4),
        ]
        assert statuses(append(store, *reports).outcomes) == ["conflict", "stored"]
        assert statuses(append(store, *reports).outcomes) == ["conflict", "known"]
        assert run_row(store, other).state == State.SUCCEEDED
        assert check_store(store) == []

    def test_a_conflict_keeps_the_bodies_of_the_other_report(self, store: Store) -> None:
        append(store, make(FailureEvent, error_type="E", content={"message": "one"}))
        other = append(store, make(FailureEvent, error_type="E", content={"message": "another"}))
        assert statuses(other.outcomes) == ["conflict"]
        with store.engine.connect() as connection:
            bodies = connection.execute(select(t.bodies.c.content).where(t.bodies.c.position == 2)).scalars().all()
        assert [bytes(body) for body in bodies] == [b'"another"']

    def test_a_conflicting_report_as_large_as_an_entry_is_kept(self, store: Store) -> None:
        native = a_run_id("large")
        append(store, make(PresumptionEvent, event_id=native, verdict=Verdict.SILENT, reason="x"))
        other = make(PresumptionEvent, event_id=native, verdict=Verdict.SILENT, reason="y" * 60_000)
        assert statuses(append(store, other).outcomes) == ["conflict"]
        assert check_store(store) == []

    # What follows from the log

    def test_an_ended_run_is_frozen_and_a_late_fact_fills_what_was_empty(self, store: Store) -> None:
        append(store, *a_life())
        append(store, make(ContextEvent, seconds=9, owner="Ann", code={"commit": "abc"}, tags=("late",)))
        row = run_row(store)
        assert (row.state, row.frozen_position, row.owner) == (State.SUCCEEDED, 5, "Ann")
        with store.engine.connect() as connection:
            late = connection.execute(select(t.run_late.c.facts)).scalars().all()
            tags = connection.execute(select(t.run_tags.c.tag)).scalars().all()
        assert [orjson.loads(facts) for facts in late] == [{"owner": "Ann", "code.commit": "abc", "tags.late": True}]
        assert sorted(tags) == ["blue", "late"]

    def test_a_late_fact_changes_nothing_that_is_set(self, store: Store) -> None:
        append(store, *a_life())
        before = run_row(store)
        append(store, make(StateEvent, state=State.RUNNING, seconds=0, witness=Witness.SCHEDULER))
        append(store, make(PresumptionEvent, verdict=Verdict.LOST, state=State.FAILED, reason="late", seconds=99))
        assert run_row(store) == before

    def test_a_testimony_that_disagrees_is_a_correction_on_a_frozen_run(self, store: Store) -> None:
        append(store, *a_life())
        append(store, make(StateEvent, state=State.FAILED, seconds=8, witness=Witness.SCHEDULER))
        append(store, make(StateEvent, state=State.FAILED, seconds=9, witness=Witness.FOLLOWER))
        row = run_row(store)
        assert (row.state, row.effective_state) == (State.SUCCEEDED, State.FAILED)
        with store.engine.connect() as connection:
            corrections = connection.execute(select(t.corrections.c.run_id, t.corrections.c.witness)).all()
            words = connection.execute(select(func.count()).select_from(t.testimonies)).scalar_one()
        assert [tuple(row) for row in corrections] == [(a_run_id(), "scheduler")]
        assert words == 3

    def test_the_run_that_a_batch_ended_is_told(self, store: Store) -> None:
        assert [run.run_id for run in append(store, *a_life()).ended] == [a_run_id()]
        assert append(store, make(StateEvent, state=State.FAILED, seconds=8)).ended == []

    def test_a_definition_is_known_by_its_versions_and_by_its_runs(self, store: Store) -> None:
        version: dict[str, Any] = {"definition": "weekly", "definition_kind": "dag", "version": "v1"}
        append(store, make(DefinitionEvent, **version), make(DefinitionEvent, **version, witness=Witness.SCHEDULER))
        append(store, *a_life())
        with store.engine.connect() as connection:
            names = connection.execute(select(t.definitions.c.definition, t.definitions.c.first_position)).all()
            versions = connection.execute(select(t.definition_versions.c.position)).scalars().all()
        assert sorted(tuple(row) for row in names) == [("daily", 3), ("weekly", 1)]
        assert versions == [1]

    def test_an_unknown_kind_is_kept_raw(self, store: Store) -> None:
        raw = {
            "kind": "aura",
            "event_id": str(a_run_id("aura")),
            "run_id": str(a_run_id()),
            "engine": "airflow",
            "deployment": "test",
            "occurred_at": "2026-11-24T08:00:00.000000Z",
            "witness": "worker",
            "colour": ["green"],
        }
        data = orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)
        store.log.append([SealedEvent(parse_event(raw), data, ())], principal="tester")
        stored = next(iter(store.log.read()))
        assert (stored.kind, orjson.loads(stored.entry)["event"]) == ("aura", raw)
        assert run_row(store).state is None

    def test_a_character_that_a_database_cannot_hold_is_kept_in_the_entry(self, store: Store) -> None:
        append(store, make(ArtifactEvent, name="a\0b"), make(StateEvent, state=State.RUNNING, native_state="x\0"))
        assert getattr(entries_of(store)[0].event, "name", None) == "a\0b"
        assert run_row(store).native_state == "x\ufffd"
        assert check_store(store) == []

    def test_a_producers_numbers_are_accounted_for_once(self, store: Store) -> None:
        producer = a_run_id("producer")
        opened = make(ProducerOpenedEvent, producer=producer, sequence=0, component="task", host="h")
        states = [
            make(StateEvent, producer=producer, sequence=number, state=State.RUNNING, seconds=number)
            for number in (1, 2, 4)
        ]
        append(store, opened, *states)
        append(store, states[1])
        append(store, make(ProducerClosedEvent, producer=producer, sequence=6, refused=1))
        with store.engine.connect() as connection:
            row = connection.execute(select(t.producers)).one()
        assert orjson.loads(row.received) == [[0, 2], [4, 4], [6, 6]]
        assert (row.component, row.closed_sequence, row.refused) == ("task", 6, 1)

    def test_a_number_of_a_report_that_was_known_survives_a_rebuild(self, store: Store) -> None:
        first, second = a_run_id("first"), a_run_id("second")
        append(store, make(StateEvent, producer=first, sequence=0, state=State.RUNNING))
        append(store, make(StateEvent, producer=second, sequence=7, state=State.RUNNING))
        before = projections(store)
        assert len(before["producers"]) == 2
        rebuild_store(store)
        assert projections(store) == before

    def test_an_append_that_fails_leaves_nothing(self, store: Store) -> None:
        append(store, *a_life("kept"))
        before = (projections(store), store.log.head(), list(store.log.read()))
        broken = seal_all([make(StateEvent, state=State.RUNNING, seconds=9)])
        twice = Body(b"\1" * 32, b"\2" * 16, None)  # pyright: ignore[reportArgumentType]
        with pytest.raises(StoreError):
            store.log.append([broken[0]._replace(bodies=(twice,))], principal="tester")
        assert (projections(store), store.log.head(), list(store.log.read())) == before
        assert statuses(append(store, *a_life()).outcomes) == ["stored"] * 5

    def test_a_rebuild_gives_the_same_tables_and_the_guards_stand_again(self, store: Store) -> None:
        append(store, *a_life("one"))
        append(store, *a_life()[:3], make(LinkEvent, relation=Relation.CAUSED, target_native_key="k"))
        append(store, make(StateEvent, run_id=a_run_id("one"), state=State.FAILED, seconds=50))
        before = projections(store)
        seen: list[tuple[int, int]] = []
        rebuild_store(store, progress=lambda done, total: seen.append((done, total)))
        assert projections(store) == before
        assert seen[-1] == (store.log.head().position,) * 2
        assert check_store(store) == []
        append(store, *a_life("after"))

    # Any history

    def check_history(self, store: Store, batches: Sequence[Sequence[EventBase]]) -> None:
        """Check that appending batch by batch means what folding the whole log at once means."""
        for batch in batches:
            append(store, *batch)
        by_run: dict[UUID, list[Entry]] = {}
        for entry in entries_of(store):
            if (run_id := getattr(entry.event, "run_id", None)) is not None:
                by_run.setdefault(run_id, []).append(entry)
        for run_id, entries in by_run.items():
            self._check_run(store, run_id, fold_entries(None, entries))
        assert check_store(store) == []
        before = projections(store)
        rebuild_store(store)
        assert projections(store) == before

    def _check_run(self, store: Store, run_id: UUID, record: Record) -> None:
        row = run_row(store, run_id)._mapping
        for name in t.RUN_WRITE_ONCE:
            if name not in ("record", "fold_version"):
                assert row[name] == getattr(record.run, name), name
        assert row["effective_state"] == record.run.effective_state
        assert row["presumed"] == record.run.presumed
        with store.engine.connect() as connection:
            context = _context(connection, run_id, row["record"])
            words = connection.execute(
                select(t.testimonies.c.event_id)
                .where(t.testimonies.c.run_id == run_id)
                .order_by(t.testimonies.c.position)
            ).scalars()
            assert list(words) == [word.event_id for word in record.testimonies]
            states = connection.execute(
                select(t.corrections.c.correction_id).where(t.corrections.c.run_id == run_id)
            ).scalars()
            assert set(states) == {correction.correction_id for correction in record.corrections}
        assert context == {section: keys for section, keys in record.context.items() if keys}

    # The rules of the record, held by the database

    forbidden: ClassVar[list[str]] = [
        "UPDATE entries SET kind = 'other'",
        "DELETE FROM entries",
        "DELETE FROM entries WHERE position = 5",
        "UPDATE event_ids SET position = 99",
        "DELETE FROM event_ids",
        "UPDATE head SET position = 1",
        "DELETE FROM head",
        "INSERT INTO head (id, position) VALUES (2, 0)",
        "INSERT INTO entries (position, event_id, kind, witness, leaf_hash, entry)"
        " SELECT position + 100, event_id, kind, witness, leaf_hash, entry FROM entries WHERE position = 1",
        "INSERT INTO entries (position, event_id, kind, witness, leaf_hash, entry)"
        " SELECT position + 5, event_id, kind, witness, leaf_hash, entry FROM entries WHERE position = 1",
        "INSERT INTO event_ids (event_id, position) SELECT run_id, 1 FROM runs",
        "DELETE FROM runs",
        "UPDATE runs SET state = 'Failed'",
        "UPDATE runs SET native_id = 'other'",
        "UPDATE runs SET definition = NULL",
        "UPDATE runs SET frozen_position = NULL",
        "UPDATE runs SET record = '{}'",
        "UPDATE runs SET engine = 'other'",
        "UPDATE runs SET effective_state = 'Failed'",
        "UPDATE runs SET effective_state = NULL",
        "UPDATE runs SET presumed = 'lost'",
        *(f"DELETE FROM {name}" for name in ("bodies", "testimonies", "run_tags", "artifacts", "definitions")),
        "UPDATE bodies SET content = salt",
        "UPDATE testimonies SET state = 'Failed'",
        "UPDATE run_tags SET tag = 'other'",
        "UPDATE artifacts SET name = 'other'",
        "UPDATE definitions SET first_position = 2",
    ]
    """Statements that bend the record of one run that went well."""

    def test_the_database_refuses_to_bend_the_record(self, store: Store) -> None:
        append(store, *a_life())
        before = (projections(store), list(store.log.read()), store.log.head())
        went_through = [statement for statement in self.forbidden if not is_refused(store, statement)]
        assert went_through == []
        assert (projections(store), list(store.log.read()), store.log.head()) == before

    @pytest.mark.parametrize("table", t.INSERT_ONLY, ids=lambda table: table.name)
    def test_what_is_only_inserted_never_changes_and_never_leaves(self, store: Store, table: Table) -> None:
        fill(store)
        with store.engine.connect() as connection:
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() > 0
        column = f'"{next(iter(table.c)).name}"'
        assert is_refused(store, f"UPDATE {table.name} SET {column} = {column}")
        assert is_refused(store, f"DELETE FROM {table.name}")

    def test_a_run_that_goes_on_keeps_its_name(self, store: Store) -> None:
        append(store, *a_life()[:2])
        assert is_refused(store, "UPDATE runs SET deployment = 'other'")
        assert is_refused(store, "DELETE FROM runs")
        assert is_refused(store, "UPDATE runs SET frozen_position = 9, state = 'Failed', effective_state = 'Succeeded'")

    def test_an_empty_field_of_an_ended_run_may_be_filled_once(self, store: Store) -> None:
        append(store, *a_life())
        assert not is_refused(store, "UPDATE runs SET owner = 'Ann'")
        assert is_refused(store, "UPDATE runs SET owner = 'Bea'")

    def test_a_correction_is_what_supports_another_end(self, store: Store) -> None:
        append(store, *a_life())
        append(store, make(StateEvent, state=State.FAILED, seconds=3))
        assert run_row(store).effective_state == State.SUCCEEDED
        assert not is_refused(store, "UPDATE runs SET effective_state = 'Failed'")
        assert is_refused(store, "UPDATE runs SET effective_state = 'Cancelled'")

    def test_a_body_leaves_only_by_its_erasure(self, store: Store) -> None:
        append(store, *a_life())
        append(store, *a_life("other"))
        before = {entry.position: entry.leaf_hash for entry in store.log.read()}
        assert is_refused(store, "DELETE FROM bodies")
        assert is_refused(
            store, "INSERT INTO erasures (position, digest, decided_position) SELECT position, digest, 1 FROM bodies"
        )
        erased = erase_bodies(store)
        with store.engine.connect() as connection:
            left = connection.execute(select(t.bodies.c.position)).scalars().all()
        assert [body.position for body in erased] == [3]
        assert list(left) == [8]
        assert is_refused(store, "DELETE FROM bodies")
        # One decision covers what it names, and nothing else.
        assert is_refused(
            store, "INSERT INTO erasures (position, digest, decided_position) SELECT position, digest, 11 FROM bodies"
        )
        after = {entry.position: entry.leaf_hash for entry in store.log.read()}
        assert {position: after[position] for position in before} == before
        assert check_store(store) == []

    def test_a_legal_hold_wins_until_it_is_released(self, store: Store) -> None:
        append(store, *a_life())
        for number, held in enumerate(({"run_id": str(a_run_id())}, {"definition": "daily"}, {"engine": ENGINE})):
            hold_id = f"hold-{number}"
            decide(store, HOLD_PLACED, hold_id, held)
            with pytest.raises(LogRuleError, match="legal hold"):
                erase_bodies(store)
            decide(store, HOLD_RELEASED, hold_id, {})
        decide(store, HOLD_PLACED, "elsewhere", {"definition": "daily", "deployment": "other"})
        assert len(erase_bodies(store)) == 1
        assert check_store(store) == []

    def test_a_rebuild_keeps_what_was_decided(self, store: Store) -> None:
        fill(store)
        # A hold that came after an erasure undoes nothing of it.
        decide(store, HOLD_PLACED, "h2", {"run_id": str(a_run_id("other"))})
        before = projections(store)
        rebuild_store(store)
        assert projections(store) == before
        assert check_store(store) == []
        assert is_refused(store, "DELETE FROM bodies")

    forged: ClassVar[list[str]] = [
        "INSERT INTO decisions (position, kind, name, subject, principal, occurred_at, details)"
        " SELECT 1, 'decision', 'token issued', 'x', 'me', sort_at, '{}' FROM runs",
        "INSERT INTO holds (hold_id, position) VALUES ('h', 1)",
        "INSERT INTO hold_releases (hold_id, position) VALUES ('h', 6)",
        "INSERT INTO erasures (position, digest, decided_position) SELECT position, digest, 6 FROM bodies",
        "INSERT INTO erasures (position, digest, decided_position) SELECT position, digest, 99 FROM bodies",
    ]
    """Rows that no decision supports, in a log of a life and a hold."""

    def test_what_no_decision_supports_is_refused(self, store: Store) -> None:
        append(store, *a_life())
        decide(store, HOLD_PLACED, "h", {"definition": "daily"})
        assert [statement for statement in self.forged if not is_refused(store, statement)] == []

    def test_a_body_that_is_missing_without_a_decision_is_found(self, store: Store) -> None:
        append(store, *a_life())
        self.lift_guards(store)
        with store.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM bodies")
        assert "entry 3: the body 'parameters' is missing, and no decision erased it" in check_store(store)

    def test_a_change_behind_the_guards_is_found(self, store: Store) -> None:
        append(store, *a_life())
        self.lift_guards(store)
        assert any("guard" in problem for problem in check_store(store))
        with store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE runs SET native_id = 'other'")
        assert any(problem.startswith("runs: a row of run") for problem in check_store(store))
        with store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE entries SET entry = leaf_hash WHERE position = 2")
        assert any("entry 2" in problem for problem in check_store(store))

    def lift_guards(self, store: Store) -> None:
        """Take the guards of `runs`, `entries` and `bodies` away, as whoever owns the database could."""
        raise NotImplementedError


def is_refused(store: Store, statement: str) -> bool:
    """Return whether the database refuses a statement."""
    with store.engine.connect() as connection, suppress(DBAPIError):
        with connection.begin():
            connection.execute(text(statement))
        return False
    return True


def _context(connection: Connection, run_id: UUID, record: str) -> dict[str, dict[str, Any]]:
    context: dict[str, dict[str, Any]] = orjson.loads(record)["context"]
    query = select(t.run_late.c.facts).where(t.run_late.c.run_id == run_id).order_by(t.run_late.c.position)
    for facts in connection.execute(query).scalars():
        for name, value in orjson.loads(facts).items():
            section, dot, key = name.partition(".")
            if dot:
                context.setdefault(section, {})[key] = value
            elif name not in t.runs.c:
                context[name] = value
    return context
