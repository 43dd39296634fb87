"""Frames made and taken apart, and two ends brought to talk."""

from __future__ import annotations

import random
from typing import Any

from dspex.wire import Call, Connection, Limits
from dspex.wire.framing import FrameBuffer, pack_header

SMALL = Limits(frame=64, window=256, message=4096)


def frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    buffer = FrameBuffer(1 << 30)
    buffer.feed(data)
    found = []
    while frame := buffer.next_frame():
        found.append(frame)

    assert len(buffer) == 0
    return found


def raw(number: int, payload: bytes, *, stream: int = 1, flags: int = 0) -> bytes:
    return pack_header(len(payload), number, flags, stream) + payload


def called(host: Connection, worker: Connection, streams: int = 1) -> None:
    for stream in range(1, streams + 1):
        host.send(stream, Call(["key", None], {}))
        worker.receive(host.data_to_send())
        assert worker.next_event() is not None


def events(end: Connection) -> list[Any]:
    found = []
    while (event := end.next_event()) is not None:
        found.append(event)

    return found


def pump(ends: dict[str, Connection], chance: random.Random) -> dict[str, list[Any]]:
    """Carries bytes both ways, in random pieces and turns, until nothing moves any more. Gives what came out at each end."""
    came: dict[str, list[Any]] = {"host": [], "worker": []}
    on_the_way = {"host": bytearray(), "worker": bytearray()}
    still = 0
    while still < 2:
        sender, receiver = chance.sample(["host", "worker"], 2)
        for role, end in ends.items():
            on_the_way[role] += end.data_to_send()

        piece = bytes(on_the_way[sender][: chance.randint(1, 300)])
        del on_the_way[sender][: len(piece)]
        if piece:
            ends[receiver].receive(piece)
            came[receiver] += events(ends[receiver])

        still = 0 if any(on_the_way.values()) or piece else still + 1

    return came
