"""
Clients: scripts drawn from a seed before the run begins, so that a replay under another schedule plays the same program.

A subject is what they talk to: methods named like the model's operations, all async.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from dspex._exceptions import CallTimeout, ContextClosed, ContextCrashed, VariableNotFound, VersionConflict

from .explore import Stage
from .failpoints import Injected
from .recorder import Client, Recorder

Line = tuple[str, tuple[Any, ...]]
# Others end the run. A variable that is missing is for the model to judge.
EXPECTED_FAILURES = (VersionConflict, VariableNotFound, ContextClosed, ContextCrashed, CallTimeout, Injected)


@dataclass(frozen=True, slots=True)
class Menu:
    """What clients may do, and how often: the weight of each operation's name."""

    weights: Mapping[str, int]

    def line(self, draw: random.Random, recorder: Recorder, keys: Sequence[str]) -> Line:
        """One operation with its arguments."""
        name = draw.choices(list(self.weights), list(self.weights.values()))[0]
        line: Line = _LINES[name](draw, recorder, keys)
        return line


def _key(name: str) -> Any:
    return lambda draw, recorder, keys: (name, (draw.choice(keys),))


def _all(name: str) -> Any:
    return lambda draw, recorder, keys: (name, ())


def _set_many(draw: random.Random, recorder: Recorder, keys: Sequence[str]) -> Line:
    token = recorder.token()
    return "set_many", (dict.fromkeys(keys, token),)


_LINES: dict[str, Any] = {
    "get": _key("get"),
    "info": _key("info"),
    "set": lambda draw, recorder, keys: ("set", (draw.choice(keys), recorder.token())),
    "cas": lambda draw, recorder, keys: ("set", (draw.choice(keys), recorder.token(), draw.randrange(4))),
    "add": lambda draw, recorder, keys: ("add", (draw.choice(keys), recorder.token())),
    "update": lambda draw, recorder, keys: ("update", (draw.choice(keys), recorder.token())),
    "set_many": _set_many,
    "get_many": lambda draw, recorder, keys: ("get_many", (tuple(keys),)),
    "snapshot": _all("snapshot"),
    "list": _all("list"),
}

MIXED = Menu({"get": 4, "info": 3, "set": 4, "cas": 1, "add": 1, "set_many": 2, "get_many": 1, "snapshot": 1, "list": 1})
REGISTER = Menu({"get": 2, "info": 3, "set": 4})
WHOLE = Menu({"set_many": 3, "snapshot": 2, "list": 1})


def script(stage: Stage, keys: Sequence[str], lines: int, menu: Menu = MIXED) -> list[Line]:
    """What one client does."""
    return [menu.line(stage.random, stage.recorder, keys) for _ in range(lines)]


async def perform(stage: Stage, subject: Any, lines: Sequence[Line], client: Client | None = None) -> None:
    """Play *lines* one after the other. A failed operation is recorded, and the next one follows."""
    client = client or Client(stage.recorder)
    for name, args in lines:
        await checkpoint()
        try:
            await client.run(name, args, _bound(subject, name, args))
        except EXPECTED_FAILURES:
            continue


def _bound(subject: Any, name: str, args: tuple[Any, ...]) -> Any:
    return lambda: getattr(subject, name)(*args)


async def perform_impatiently(stage: Stage, subject: Any, lines: Sequence[Line], patience: Sequence[int], client: Client) -> None:
    """Play *lines*, giving up on each after as many steps as *patience* says: the client is cancelled, and goes on."""
    for line, steps in zip(lines, patience, strict=True):
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_after, steps, group.cancel_scope, name="impatience")
            await perform(stage, subject, [line], client)
            group.cancel_scope.cancel()


async def _cancel_after(steps: int, scope: anyio.CancelScope) -> None:
    await passing(steps)
    scope.cancel()


async def passing(steps: int) -> None:
    """Let others run that many times."""
    for _ in range(steps):
        await checkpoint()
