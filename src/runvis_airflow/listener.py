"""Airflow's hooks, each handed on as it comes. They take no more arguments than every supported Airflow passes."""

from __future__ import annotations

from typing import Any

from airflow.listeners import hookimpl

from runvis_airflow.capture import Capture


class RunVisListener:
    """The hooks that an Airflow process calls; which ones depends on the process."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture

    @hookimpl
    def on_starting(self, component: Any) -> None:
        """A component or a task's process has started."""
        self._capture.starting(component)

    @hookimpl
    def before_stopping(self, component: Any) -> None:
        """A component or a task's process is about to end."""
        self._capture.stopping(component)

    @hookimpl
    def on_task_instance_running(self, task_instance: Any) -> None:
        """A task is about to run."""
        self._capture.task_running(task_instance)

    @hookimpl
    def on_task_instance_success(self, task_instance: Any) -> None:
        """A task ended well, or was marked so."""
        self._capture.task_succeeded(task_instance)

    @hookimpl
    def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
        """A task failed, its worker was lost, or it was marked so."""
        self._capture.task_failed(previous_state, task_instance, error)

    @hookimpl
    def on_task_instance_skipped(self, task_instance: Any) -> None:
        """A task skipped itself, or was marked so; Airflow has this hook since 3.2, and earlier ones pass it over."""
        self._capture.task_skipped(task_instance)

    @hookimpl
    def on_dag_run_running(self, dag_run: Any) -> None:
        """A DAG run started."""
        self._capture.dag_run_running(dag_run)

    @hookimpl
    def on_dag_run_success(self, dag_run: Any, msg: str) -> None:
        """A DAG run ended well, or was marked so."""
        self._capture.dag_run_ended(dag_run, msg)

    @hookimpl
    def on_dag_run_failed(self, dag_run: Any, msg: str) -> None:
        """A DAG run failed, timed out, or was marked so."""
        self._capture.dag_run_ended(dag_run, msg)

    @hookimpl
    def on_asset_created(self, asset: Any) -> None:
        """A DAG file declares an asset for the first time."""
        self._capture.asset_declared(asset)

    @hookimpl
    def on_asset_changed(self, asset: Any) -> None:
        """An asset was written, by a task, a person or another system; a task tells the rest itself."""
        self._capture.asset_declared(asset)

    @hookimpl
    def on_new_dag_import_error(self, filename: str, stacktrace: str) -> None:
        """A DAG file can't be imported."""
        self._capture.import_error(filename, stacktrace)

    @hookimpl
    def on_existing_dag_import_error(self, filename: str, stacktrace: str) -> None:
        """A DAG file still can't be imported; called at every parse."""
        self._capture.import_error(filename, stacktrace)
