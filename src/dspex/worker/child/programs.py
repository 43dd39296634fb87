"""The programs of a worker: each is built once, by its key, whichever channel asks first."""

from __future__ import annotations

import threading
from typing import Any, Dict, Optional

from ..._exceptions import InvalidInputs, InvalidProgram, ProgramNotFound
from .failures import Refused, theirs
from .loading import load
from .shape import CONTEXT, Program, program_of

ELSEWHERE = {
    "sync": "it is a plain function and runs on a thread's channel",
    "async": "it is a coroutine function and runs on the loop's channel",
}
STREAMS = "streaming programs need bound.stream"


class Programs:
    """What was built so far. A build that failed isn't kept: the next call tries again."""

    def __init__(self) -> None:
        self._built: Dict[str, Program] = {}
        self._building: Dict[str, threading.Lock] = {}

    def find(self, key: str) -> Optional[Program]:
        """The program *key*, if it is built."""
        return self._built.get(key)

    def get(self, name: str, key: str, definition: Optional[Dict[str, Any]]) -> Program:
        """The program *key*, built from *definition* if it must be; other channels that want it too wait. Raises `Refused`."""
        found = self._built.get(key)
        if found is None:
            with self._building.setdefault(key, threading.Lock()):
                found = self._built.get(key) or self._build(name, key, definition)

        return found

    def _build(self, name: str, key: str, definition: Optional[Dict[str, Any]]) -> Program:
        if definition is None:
            raise Refused(ProgramNotFound(name))

        self._built[key] = built = program_of(load(name, definition))
        return built


def arguments(name: str, program: Program, kind: str, inputs: Dict[str, Any]) -> Dict[str, Any]:
    """
    *inputs* as keyword arguments, once it is clear that *program* may run on a channel of *kind*. Raises `Refused`.
    """
    if program.kind not in ELSEWHERE:
        article = "an" if program.kind.startswith("a") else "a"
        raise Refused(InvalidProgram(name, problem=f"it is {article} {program.kind} function", hint=f"{STREAMS[0].upper()}{STREAMS[1:]}."))

    if program.kind != kind:
        raise Refused(InvalidProgram(name, problem=ELSEWHERE[program.kind]))

    if CONTEXT in inputs:
        raise Refused(InvalidInputs(name, problem=f"{CONTEXT!r} is the program's context, which a caller doesn't give"))

    return dict(inputs)


def invoke(name: str, program: Program, given: Dict[str, Any]) -> Any:
    """Call it. Python's own complaint that the inputs don't fit becomes `InvalidInputs`: the program never began. Raises `Refused` then."""
    try:
        return program.function(**given)
    except TypeError as error:
        if theirs(error.__traceback__) is None:
            raise Refused(InvalidInputs(name, problem=str(error))) from None

        raise
