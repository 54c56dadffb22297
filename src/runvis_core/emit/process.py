"""The recorder of this process: one per engine, component and witness, made when first asked for."""

from __future__ import annotations

import atexit
from collections.abc import Mapping

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
    settings: WorkerSettings | None = None,
) -> Recorder:
    """Return this process's recorder; it closes when the process exits, and survives a fork.

    `settings` are those of the environment unless given. Where they can't be recorded with, that is said, and the
    recorder is dormant. `versions`, `adopts` and `settings` count the first time.
    """
    key = (engine, component, witness)
    recorder = _recorders.get(key)
    if recorder is None:
        # Without a lock, which a signal's handler or a forked child could wait for in vain: of two that are made at
        # once one is let go of, and a recorder that recorded nothing leaves no trace.
        made = _make(engine, component, witness, versions, adopts, settings)
        recorder = _recorders.setdefault(key, made)
        if recorder is made:
            atexit.register(recorder.close)
    return recorder


def prepare_for_forks(settings: WorkerSettings) -> None:
    """Do once, in a process that forks others which record, what each of them would do for itself."""
    if settings.disabled or settings.url is None:
        return
    build_kinds()
    own_version()
    if settings.url.startswith(("http://", "https://")):
        import runvis_core.emit.http  # noqa: F401  # pyright: ignore[reportUnusedImport]


def _make(
    engine: str,
    component: str,
    witness: Witness,
    versions: Mapping[str, str] | None,
    adopts: bool,
    settings: WorkerSettings | None,
) -> Recorder:
    try:
        return Recorder(
            settings or load_worker_settings(),
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
