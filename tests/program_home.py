"""A home for programs: a local state, no mailbox; and, where asked, the workers of a real bridge."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dspex import ProgramNotFound, Var
from dspex.bridge import Bridge
from dspex.programs import Bound, ProgramSpec
from dspex.state import LocalState

TEMPERATURE = Var("temperature", float, 0.7, min=0.0, max=2.0)
COUNT = Var("count", int, 0)
NOTES = Var("notes", list[str], [])
FACTS = Var("facts", dict[str, int], {})


class LocalHome:
    """What `dspex.programs.Home` asks for, over a `LocalState`. It counts the calls in flight and what was asked."""

    def __init__(self, bridge: Bridge | None = None) -> None:
        self.id = self.context_id = "ctx_1_home"
        self.name: str | None = None
        self.inside = 0
        self.asked: list[str] = []
        self._bridge = bridge
        self.programs: dict[str, Bound] = {}
        self.state = LocalState()
        self.state.open(self.id, ttl=None, existing=None)
        for var in (TEMPERATURE, COUNT, NOTES, FACTS):
            self.state.define(var.definition, var.initial)

    @property
    def port(self) -> LocalHome:
        return self

    async def operate(self, name: str, *args: Any) -> Any:
        return self.operate_nowait(name, args)

    def operate_nowait(self, name: str, args: Any) -> Any:
        self.asked.append(name)
        if name == "list":
            return [variable for page in self.state.scan() for variable in page]

        return getattr(self.state, name)(*args)

    def post(self, name: str, args: Any, answer: Any) -> None:
        answer(self.operate_nowait(name, args), None)

    async def pool(self, name: str) -> Any:
        assert self._bridge is not None, "this home has no bridge"
        return self._bridge.pool(name)

    @asynccontextmanager
    async def enter_call(self, program_id: str) -> AsyncIterator[None]:
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def bind(self, program: Any, program_id: str = "program", **options: Any) -> Bound:
        self.programs[program_id] = bound = await Bound.open(self, ProgramSpec.make(program_id, program, **options))
        return bound

    def program(self, program_id: str) -> Bound:
        if program_id not in self.programs:
            raise ProgramNotFound(program_id, known=self.programs)

        return self.programs[program_id]
