"""Hooks that write what Prefect hands them, as JSON lines, to the file named by DUMP_FILE.

`python tests/end_to_end/dump_prefect_hooks.py` makes the fixtures of tests/fixtures/prefect from them.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import sys
import traceback
import uuid
from pathlib import Path


def plain(value, depth=0):
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, datetime.timedelta):
        return {"$seconds": value.total_seconds()}
    if isinstance(value, datetime.datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, uuid.UUID):
        return {"$uuid": str(value)}
    if isinstance(value, BaseException):
        text = "".join(traceback.format_exception(value))
        return {"$exception": type(value).__name__, "message": str(value), "traceback": text}
    if isinstance(value, dict):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item, depth + 1) for item in value]
    if hasattr(type(value), "model_fields") and depth < 6:
        return {name: plain(getattr(value, name, None), depth + 1) for name in type(value).model_fields}
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name), depth + 1) for f in dataclasses.fields(value)}
    return {"$repr": repr(value)[:200]}


def described(definition):
    names = ["name", "version", "retries", "retry_delay_seconds", "task_key", "tags", "timeout_seconds", "description"]
    fields = {name: plain(getattr(definition, name)) for name in names if hasattr(definition, name)}
    fields["fn"] = {"module": definition.fn.__module__, "qualname": definition.fn.__qualname__}
    return {"$class": type(definition).__name__, **fields}


def write(hook, definition, run, state):
    error = sys.exc_info()[1]
    line = {
        "hook": hook,
        "definition": described(definition),
        "run": plain(run),
        "state": plain(state),
        "exception_in_flight": plain(error),
    }
    with Path(os.environ["DUMP_FILE"]).open("a") as dump:
        dump.write(json.dumps(line) + "\n")


def hook(name):
    def dump_hook(definition, run, state):
        write(name, definition, run, state)

    dump_hook.__name__ = f"dump_{name}"
    return dump_hook


def retry_condition(task, task_run, state):
    write("retry_condition", task, task_run, state)
    return True


FLOW = {name: [hook(name)] for name in ("on_running", "on_completion", "on_failure", "on_cancellation", "on_crashed")}
TASK = {
    **{name: [hook(name)] for name in ("on_running", "on_completion", "on_failure")},
    "retry_condition_fn": retry_condition,
}
