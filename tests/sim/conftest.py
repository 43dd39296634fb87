"""How much is explored: little in a plain test run, any amount by ``--explore N`` or DSPEX_EXPLORE=N."""

from __future__ import annotations

import os
import random

import pytest

SEEDS = 120


def pytest_addoption(parser: pytest.Parser) -> None:
    # pytest asks this file only when it is told to run this folder; elsewhere the environment says it.
    parser.addoption("--explore", metavar="N", type=int, default=None, help=f"explore N schedules of each scenario (default {SEEDS})")


def _wanted(config: pytest.Config) -> int:
    return config.getoption("--explore", default=None) or int(os.environ.get("DSPEX_EXPLORE") or SEEDS)


FIRST = int(os.environ.get("DSPEX_SEED") or random.SystemRandom().randrange(10**6))


@pytest.fixture(scope="session")
def explored(request: pytest.FixtureRequest) -> int:
    """How many schedules of each scenario."""
    return _wanted(request.config)


@pytest.fixture(scope="session")
def seeds(explored: int) -> range:
    """Fresh ones in every run; a finding tells its own, and DSPEX_SEED sets the first."""
    return range(FIRST, FIRST + explored)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long explorations have time."""
    if _wanted(config) > SEEDS:
        for item in items:
            item.add_marker(pytest.mark.timeout(60 + _wanted(config) // 10))
