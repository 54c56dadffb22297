"""How a peer's process talks to the benchmark that started it: JSON lines on what were its standard streams."""

import importlib.metadata
import json
import os
import platform
import sys


def serve(answer, *packages):
    """Say the versions, then answer each question (a mapping) with `answer(**question)` until there are no more."""
    # Libraries that print must not get between the lines.
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    versions = {"python": platform.python_version()}
    versions.update((name, importlib.metadata.version(name)) for name in packages)
    channel.write(json.dumps({"versions": versions}) + "\n")
    for line in sys.stdin:
        channel.write(json.dumps(answer(**json.loads(line))) + "\n")
