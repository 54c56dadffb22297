"""What Airflow loads by the entry point `airflow.plugins`: no DAG changes, and nothing to configure in Airflow."""

from __future__ import annotations

import logging
from typing import Any

from airflow.plugins_manager import AirflowPlugin


def _parts() -> tuple[list[Any], list[Any]]:
    """Return the listener and the link; when RunVis can't be imported, none and one line in the log.

    Airflow goes on without RunVis then.
    """
    try:
        from runvis_airflow.capture import Capture
        from runvis_airflow.links import OpenInRunVis
        from runvis_airflow.listener import RunVisListener
    except Exception as error:  # noqa: BLE001 - whatever is wrong with an installation of ours is no fault of Airflow's
        logging.getLogger(__name__).warning(
            "RunVis records nothing in this process: it can't be imported (%s: %s). Reinstall it with "
            "`pip install runvis`, or uninstall it.",
            type(error).__name__,
            error,
        )
        return [], []
    return [RunVisListener(Capture())], [OpenInRunVis()]


class RunVisPlugin(AirflowPlugin):
    """RunVis in Airflow."""

    name = "runvis"
    listeners, global_operator_extra_links = _parts()
