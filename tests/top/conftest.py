"""textual runs on asyncio alone, so these tests do. The clock on the wall is that of Greenwich."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from top.views import Looking


@pytest.fixture(scope="session", params=[pytest.param(("asyncio", {}), id="asyncio")])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def looking() -> Looking:
    return Looking
