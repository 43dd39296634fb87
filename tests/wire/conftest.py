"""The two codecs, each in use for a test, and connections in pairs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dspex.wire import Connection, codec


def _use_pure() -> None:
    codec._use("pure", codec._pack_plainly, (), codec._plain_reader)


@pytest.fixture(params=["pure", "msgspec"])
def in_use(request: pytest.FixtureRequest) -> Iterator[str]:
    before = codec.name()
    _use_pure() if request.param == "pure" else codec.upgrade()
    yield request.param
    _use_pure() if before == "pure" else codec.upgrade()


@pytest.fixture
def loop_pair() -> tuple[Connection, Connection]:
    return Connection("host", "loop"), Connection("worker", "loop")


@pytest.fixture
def thread_pair() -> tuple[Connection, Connection]:
    return Connection("host", "thread"), Connection("worker", "thread")
