"""A DAG with one task that does nothing: what is measured is all around it."""

from airflow.sdk import dag, task


@dag(dag_id="bench", schedule=None)
def bench():
    @task
    def nothing() -> None:
        pass

    nothing()


bench()
