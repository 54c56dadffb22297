"""The recorder of this process: one per engine, component and witness, made when first asked for."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Mapping

from runvis_core.emit.notice import warn
from runvis_core.emit.recorder import Recorder, own_version
from runvis_core.errors import SettingsError
from runvis_core.model.event import build_kinds
from runvis_core.model.state import Witness
from runvis_core.worker_settings import WorkerSettings, load_worker_settings

_recorders: dict[tuple[str, str, Witness], Recorder] = {}


def process_recorder(
    *,
    engine: str,
    component: str,
    witness: Witness,
    versions: Mapping[str, str] | None = None,
    adopts: bool = False,
    load_settings: Callable[[], WorkerSettings] = load_worker_settings,
) -> Recorder:
    """Return this process's recorder; it closes when the process exits, and survives a fork.

    `load_settings` gives those to record with, or raises `SettingsError`: then that is said, and the recorder is
    dormant. `versions`, `adopts` and `load_settings` count the first time, also for a forked child.
    """
    key = (engine, component, witness)
    recorder = _recorders.get(key)
    if recorder is None:
        # Without a lock, which a signal's handler or a forked child could wait for in vain: of two that are made at
        # once one is let go of, and a recorder that recorded nothing leaves no trace.
        made = _make(engine, component, witness, versions, adopts, load_settings)
        recorder = _recorders.setdefault(key, made)
        if recorder is made:
            atexit.register(recorder.close)
    return recorder


def prepare_for_forks(recorder: Recorder) -> None:
    """Do once, in a process that forks others which record, what each of them would do for itself.

    `recorder` is the one that they will record with: nothing is recorded with it here.
    """
    if recorder.is_dormant:
        return
    build_kinds()
    own_version()
    if recorder.is_remote:
        import runvis_core.emit.http  # noqa: F401  # pyright: ignore[reportUnusedImport]


def _make(
    engine: str,
    component: str,
    witness: Witness,
    versions: Mapping[str, str] | None,
    adopts: bool,
    load_settings: Callable[[], WorkerSettings],
) -> Recorder:
    try:
        return Recorder(
            load_settings(),
            component=component,
            engine=engine,
            witness=witness,
            versions=versions,
            adopts=adopts,
        )
    except SettingsError as error:
        warn(f"RunVis records nothing: {error}")
        return Recorder(_dormant_settings(), component=component, engine=engine, witness=witness)


def _dormant_settings() -> WorkerSettings:
    return WorkerSettings.model_construct(disabled=True)
