"""The link on every task in Airflow's UI that opens the task's try in RunVis. No DAG changes for it."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote, urlencode

from runvis_airflow import compat
from runvis_airflow.identity import ENGINE, DagRunKey, TaskKey
from runvis_core.errors import SettingsError
from runvis_core.worker_settings import LOCAL_DEPLOYMENT, load_worker_settings

_log = logging.getLogger(__name__)


class OpenInRunVis:
    """A global operator extra link.

    It has what Airflow asks of one, and no base class of Airflow's, whose import every task's process would pay for.
    """

    name = "Open in RunVis"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:  # noqa: ARG002 - Airflow's interface
        """Return where RunVis shows a try; empty, and so without a link, where nobody said where RunVis is."""
        try:
            settings = load_worker_settings(**compat.settings_overrides())
        except SettingsError as error:
            # Airflow makes all links of a task at once: an error here would cost the others, too.
            _log.warning("RunVis has no link for Airflow's UI: %s", error)
            return ""
        public_url = settings.find_public_url()
        # Who records nowhere and names none may be read by a follower, under whichever name.
        deployment = settings.deployment or (LOCAL_DEPLOYMENT if settings.is_local_file else None)
        return try_url(public_url, deployment, ti_key) if public_url else ""


def try_url(public_url: str, deployment: str | None, ti_key: Any) -> str:
    """Return the address of a try, by Airflow's own name for it: RunVis's id has the DAG run's start in it.

    Another Airflow may call a try alike, so the address says whose it is.
    """
    dag_run = DagRunKey(ti_key.dag_id, ti_key.run_id, None)
    native_id = TaskKey(dag_run, ti_key.task_id, ti_key.map_index, ti_key.try_number).native_id
    within = {"engine": ENGINE} | ({"deployment": deployment} if deployment else {})
    return f"{public_url}/runs/{quote(native_id, safe='/')}?{urlencode(within)}"
