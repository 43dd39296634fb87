"""
What a context's variables are, in the fewest words: one pure model that every backend is compared with.

It knows names, values, versions and metadata; no ids, no types beyond a predicate, no copying beyond a deep one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

from dspex._exceptions import BatchError, DspexError, InvalidValue, VariableExists, VariableNotFound, VersionConflict


class Modelled(NamedTuple):
    """One variable of the model."""

    value: Any
    version: int
    metadata: Mapping[str, Any]
    fits: Callable[[Any], bool]


class Model:
    """
    A sequential model: each method does in one step what the operation of that name must seem to do.

    Attributes:
        variables: by name, in order of definition.

    """

    def __init__(self, variables: Mapping[str, Modelled] | None = None) -> None:
        self.variables: dict[str, Modelled] = dict(variables or {})

    def copy(self) -> Model:
        return Model(self.variables)

    def seen(self) -> list[tuple[str, Any, int, dict[str, Any]]]:
        """What can be observed: name, value, version and metadata, in order of definition."""
        return [(name, deepcopy(one.value), one.version, dict(one.metadata)) for name, one in self.variables.items()]

    def apply(self, operation: str, *args: Any) -> tuple[str, Any]:
        """``("done", answer)``, or ``("refused", class of the error)`` with nothing changed but what a best-effort batch could do."""
        try:
            return "done", getattr(self, operation)(*args)
        except DspexError as error:
            return "refused", type(error)

    def define(self, name: str, value: Any, fits: Callable[[Any], bool] = lambda _: True) -> None:
        if name in self.variables:
            raise VariableExists(name)

        self.variables[name] = Modelled(self._fitting(name, value, fits), 0, {}, fits)

    def get(self, name: str) -> Any:
        return deepcopy(self._one(name).value)

    def read(self, name: str) -> tuple[Any, int]:
        return self.get(name), self._one(name).version

    def exists(self, name: str) -> bool:
        return name in self.variables

    def get_many(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: self.get(name) for name in names if name in self.variables}

    def set(self, name: str, value: Any, metadata: Mapping[str, Any] | None = None, expected_version: int | None = None) -> int:
        one = self._one(name)
        stored = self._fitting(name, value, one.fits)
        if expected_version is not None and expected_version != one.version:
            raise VersionConflict(name, expected=expected_version, actual=one.version)

        self.variables[name] = one._replace(value=stored, version=one.version + 1, metadata={**one.metadata, **(metadata or {})})
        return one.version + 1

    def set_many(self, updates: Mapping[str, Any], metadata: Mapping[str, Any] | None = None, atomic: bool = True) -> dict[str, int]:
        after, versions, errors = self.copy(), dict[str, int](), dict[str, DspexError]()
        for name, value in updates.items():
            try:
                versions[name] = after.set(name, value, metadata)
            except DspexError as error:
                if atomic:
                    raise

                errors[name] = error

        self.variables = after.variables
        if errors:
            raise BatchError(versions=versions, errors=errors)

        return versions

    def delete(self, name: str) -> None:
        self._one(name)
        del self.variables[name]

    def update(self, name: str, function: Callable[[Any], Any], metadata: Mapping[str, Any] | None = None) -> Any:
        self.set(name, function(self.get(name)), metadata)
        return self.get(name)

    def add(self, name: str, n: Any) -> Any:
        return self.update(name, lambda value: value + n)

    def append(self, name: str, item: Any) -> int:
        return self.set(name, [*self.get(name), item])

    def merge(self, name: str, mapping: Mapping[Any, Any]) -> int:
        return self.set(name, {**self.get(name), **mapping})

    def _one(self, name: str) -> Modelled:
        if name not in self.variables:
            raise VariableNotFound(name)

        return self.variables[name]

    @staticmethod
    def _fitting(name: str, value: Any, fits: Callable[[Any], bool]) -> Any:
        if not fits(value):
            raise InvalidValue(name, expected="a value that fits", got=type(value).__name__)

        return deepcopy(value)
