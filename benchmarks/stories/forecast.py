"""A Prefect flow whose task fails, recorded by RunVis: what the pages of a failed flow run are about."""

from __future__ import annotations

from prefect import flow, task

import runvis_prefect

runvis_prefect.install()


@task
def fit(rows: int) -> None:
    """Fail as a model does that has too little to learn from."""
    raise ValueError(f"{rows} rows are too few")


@flow
def forecast() -> None:
    """Fit once."""
    fit(3)


if __name__ == "__main__":
    forecast()
