"""What clients talk to: a `dspex.Context`, under the model's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dspex import Context
from dspex.variables import Variable

Cells = dict[str, tuple[int, Any]]


def cells(variables: Any) -> Cells:
    """Version and value by name."""
    return {variable.name: (variable.version, variable.value) for variable in variables}


def identity(variable: Variable) -> tuple[Any, ...]:
    """What a switch may never change, and what only a write may."""
    return variable.id, variable.name, variable.type, variable.constraints, variable.description, variable.created_at


class ContextSubject:
    """A context, as one of the model's clients sees it."""

    def __init__(self, context: Context) -> None:
        self._variables = context.variables
        self._context = context

    def facts(self) -> dict[str, Any]:
        """Who serves, as told."""
        backend = self._context.backend
        return {"kind": backend.kind, "switches": backend.switches}

    async def get(self, key: str) -> Any:
        return await self._variables.get(key)

    async def info(self, key: str) -> Any:
        found = await self._variables.info(key)
        return found.version, found.value

    async def set(self, key: str, value: Any, expected: int | None = None) -> int:
        return await self._variables.set(key, value, expected_version=expected)

    async def add(self, key: str, n: int) -> Any:
        return await self._variables.add(key, n)

    async def update(self, key: str, n: int) -> Any:
        return await self._variables.update(key, lambda value: value + n)

    async def set_many(self, values: Mapping[str, Any]) -> dict[str, int]:
        return await self._variables.set_many(values)

    async def get_many(self, keys: tuple[str, ...]) -> dict[str, Any]:
        return await self._variables.get_many(keys)

    async def snapshot(self) -> Cells:
        return cells((await self._context.export_state()).variables)

    async def list(self) -> Cells:
        return cells(await self._variables.list())
