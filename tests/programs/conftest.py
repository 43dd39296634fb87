"""Homes for programs, without workers and with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from program_home import LocalHome

from dspex.bridge import Bridge


@pytest.fixture
def home() -> LocalHome:
    return LocalHome()


@pytest.fixture
async def bridged_home(anyio_backend: Any) -> AsyncIterator[LocalHome]:
    async with Bridge() as bridge:
        yield LocalHome(bridge)
