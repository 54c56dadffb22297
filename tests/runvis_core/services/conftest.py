from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.runvis_core.services.notices import Clock, Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()
