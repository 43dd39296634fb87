"""
The names that the document this library began with uses, each one line onto `Variables`, with no await of its own.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..variables import Var, Variable
    from ._variables import Variables

_REQUIRED: Any = object()


class SeedNames:
    """Operations on variables by their first names."""

    __slots__ = ()
    variables: Variables

    def register_variable(
        self,
        name: Var[Any] | str,
        type: Any = None,  # noqa: A002 - the seed's word
        initial: Any = _REQUIRED,
        **options: Any,
    ) -> Coroutine[Any, Any, str]:
        """`Variables.define`."""
        return self.variables.define(name, type, **(options if initial is _REQUIRED else {"initial": initial, **options}))

    def get_variable(self, variable: Var[Any] | str, default: Any = _REQUIRED) -> Coroutine[Any, Any, Any]:
        """`Variables.get`."""
        return self.variables.get(variable) if default is _REQUIRED else self.variables.get(variable, default)

    def set_variable(self, variable: Var[Any] | str, value: Any, metadata: Mapping[str, Any] | None = None) -> Coroutine[Any, Any, int]:
        """`Variables.set`."""
        return self.variables.set(variable, value, metadata=metadata)

    def list_variables(self) -> Coroutine[Any, Any, list[Variable]]:
        """`Variables.list`."""
        return self.variables.list()

    def get_variables(self, variables: Iterable[Var[Any] | str]) -> Coroutine[Any, Any, dict[str, Any]]:
        """`Variables.get_many`."""
        return self.variables.get_many(variables)

    def update_variables(
        self, updates: Mapping[Any, Any], metadata: Mapping[str, Any] | None = None
    ) -> Coroutine[Any, Any, dict[str, int]]:
        """`Variables.set_many`."""
        return self.variables.set_many(updates, metadata=metadata)

    def delete_variable(self, variable: Var[Any] | str) -> Coroutine[Any, Any, None]:
        """`Variables.delete`."""
        return self.variables.delete(variable)
