"""Terminals for the tests, closed after each with whatever still runs in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from terminal import Opening, Terminal  # found by the line above


@pytest.fixture
def open_terminal() -> Iterator[Opening]:
    opened: list[Terminal] = []

    def opening(*arguments: str, **options: str) -> Terminal:
        opened.append(Terminal(*arguments, **options))
        opened[-1].wait_for_prompt()
        return opened[-1]

    yield opening
    for terminal in opened:
        terminal.close()
