"""OpenLineage's Python client: build a START event and serialise it. Answers with microseconds per event."""

import time
import uuid

from answering import serve
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    environment_variables_run,
    job_type_job,
    nominal_time_run,
    ownership_job,
    parent_run,
    source_code_location_job,
)
from openlineage.client.serde import Serde

PRODUCER = "https://example.com/producer"


def start(run_id, context):
    """Return the START event of a task with the facets that say what RunVis's context says."""
    parent = parent_run.ParentRunFacet(run=parent_run.Run(run_id), job=parent_run.Job("airflow", "shop"))
    nominal = nominal_time_run.NominalTimeRunFacet("2026-11-24T07:00:00Z")
    variables = environment_variables_run.EnvironmentVariablesRunFacet(
        [environment_variables_run.EnvironmentVariable(*pair) for pair in context["parameters"].items()]
    )
    location = source_code_location_job.SourceCodeLocationJobFacet(
        type="git", url="https://git.example.com/shop", version=context["commit"]
    )
    kind = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="AIRFLOW", jobType="TASK")
    owner = ownership_job.OwnershipJobFacet([ownership_job.Owner(context["owner"])])
    return RunEvent(
        eventType=RunState.START,
        eventTime="2026-11-24T07:00:00.000000+00:00",
        run=Run(run_id, {"nominalTime": nominal, "parent": parent, "environmentVariables": variables}),
        job=Job("airflow", "shop.load", {"sourceCodeLocation": location, "jobType": kind, "ownership": owner}),
        inputs=[InputDataset(named["namespace"], named["name"]) for named in context["inputs"]],
        outputs=[OutputDataset(named["namespace"], named["name"]) for named in context["outputs"]],
        producer=PRODUCER,
    )


def measure(contexts):
    """Time each event by itself, from nothing to its JSON text."""
    figures = []
    for context in contexts:
        run_id = str(uuid.uuid4())
        began = time.perf_counter_ns()
        Serde.to_json(start(run_id, context))
        figures.append((time.perf_counter_ns() - began) / 1000)
    return {"figures": figures}


if __name__ == "__main__":
    serve(measure, "openlineage-python")
