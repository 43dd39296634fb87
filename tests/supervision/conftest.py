"""A cast for each test, and the log of what went wrong on purpose kept out of the way."""

from __future__ import annotations

import pytest
from supervision.cast import Cast


@pytest.fixture
def cast() -> Cast:
    return Cast()
