"""What a DSPy program answers, in this process: plain data that reads like a `dspy.Prediction`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast


class Prediction(Mapping[str, Any]):
    """
    The output fields of a DSPy program, as a mapping and as attributes: ``prediction.answer`` is ``prediction["answer"]``.

    A field whose name is also one of the attributes below, or a method of mappings, is read with ``[]``.

    Attributes:
        usage: what each language model counted during the call, by model: ``{"openai/gpt-4o-mini": {"prompt_tokens": 12, ...}}``.
        settings: the settings of the language model in this call, bound variables included. No secrets.
        trajectory: what a `ReAct` program thought, called and saw, step by step; None for other programs.

    """

    __slots__ = ("_fields", "settings", "trajectory", "usage")

    usage: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any]
    trajectory: Mapping[str, Any] | None

    def __init__(
        self,
        fields: Mapping[str, Any],
        *,
        usage: Mapping[str, Mapping[str, Any]] | None = None,
        settings: Mapping[str, Any] | None = None,
        trajectory: Mapping[str, Any] | None = None,
    ) -> None:
        self._fields = dict(fields)
        self.usage = MappingProxyType(dict(usage or {}))
        self.settings = MappingProxyType(dict(settings or {}))
        self.trajectory = None if trajectory is None else MappingProxyType(dict(trajectory))

    def __getitem__(self, field: str) -> Any:
        return self._fields[field]

    def __getattr__(self, name: str) -> Any:
        # __slots__ that aren't set yet come here too, while pickle or copy builds an instance.
        fields = cast("dict[str, Any]", object.__getattribute__(self, "_fields"))
        if name in fields:
            return fields[name]

        raise AttributeError(f"This prediction has no field {name!r}. Its fields: {', '.join(fields) or 'none'}.", name=name, obj=self)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._fields})

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __eq__(self, other: object) -> bool:
        return self._fields == other._fields if isinstance(other, Prediction) else super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # a mapping with values of any kind

    def __reduce__(self) -> tuple[Any, ...]:
        trajectory = None if self.trajectory is None else dict(self.trajectory)
        return _rebuilt, (self._fields, dict(self.usage), dict(self.settings), trajectory)

    def __repr__(self) -> str:
        return f"Prediction({', '.join(f'{name}={value!r}' for name, value in self._fields.items())})"


def answered(answer: Mapping[str, Any]) -> Any:
    """What a caller gets for a worker's answer, which is plain data: a `Prediction`, or what a module returned that made none."""
    if "value" in answer:
        return answer["value"]

    return Prediction(answer["fields"], usage=answer["usage"], settings=answer["settings"], trajectory=answer["trajectory"])


def _rebuilt(fields: dict[str, Any], usage: dict[str, Any], settings: dict[str, Any], trajectory: dict[str, Any] | None) -> Prediction:
    return Prediction(fields, usage=usage, settings=settings, trajectory=trajectory)
