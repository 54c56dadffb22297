"""How much the fault tests do, and what they found.

`RUNVIS_FAULTS_ROUNDS` is by how much a large form is larger than the small one that every test run has (1).
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, Final

ROUNDS: Final = int(os.environ.get("RUNVIS_FAULTS_ROUNDS", "1"))
IS_LARGE: Final = ROUNDS > 1

FINDINGS: Final[list[Finding]] = []
"""What this session's tests counted, in their order."""


@dataclass
class Finding:
    """A promise, and the counts that hold it or break it."""

    area: str
    promise: str
    counts: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        return json.dumps({"case": self.area, "promise": self.promise, **self.counts}, ensure_ascii=False)


def found(area: str, promise: str, **counts: Any) -> None:
    """Keep what a test counted, for the table at the end. Whether it is as promised the test itself asserts."""
    FINDINGS.append(Finding(area, promise, counts))
