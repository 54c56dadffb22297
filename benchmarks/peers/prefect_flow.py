"""A real Prefect flow of 50 trivial tasks against a real server. Answers with the milliseconds of one flow run.

Arguments: `plain` leaves Prefect as it is, `captured` installs RunVis's capture first, as a flow's own script does.
"""

import logging
import sys
import time

from answering import serve

TASKS = 50


def main():
    if sys.argv[1] == "captured":
        import runvis_prefect

        runvis_prefect.install()
    from prefect import flow, task

    # Each hook logs two lines; what a flow logs is not what is measured.
    logging.getLogger("prefect").setLevel(logging.WARNING)

    @task
    def trivial(number):
        return number

    @flow
    def bench():
        return sum(trivial(number) for number in range(TASKS))

    def measure():
        began = time.perf_counter()
        assert bench() == sum(range(TASKS))
        return {"figures": [(time.perf_counter() - began) * 1000]}

    serve(measure, "prefect")


if __name__ == "__main__":
    main()
