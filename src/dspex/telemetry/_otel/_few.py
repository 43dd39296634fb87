"""Attributes of metrics have few values, however many there are."""

from __future__ import annotations

from ._names import MOST_VALUES, OTHER


class Few:
    """The first values of an attribute, told apart; those that come later are one."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: set[str] = set()

    def name(self, value: str) -> str:
        """*value*, or what stands for those that came too late."""
        if value in self._known:
            return value

        if len(self._known) >= MOST_VALUES:
            return OTHER

        self._known.add(value)
        return value
