"""
A dict of text keys that never stops for long: past a size it becomes many small ones.

A plain dict moves all its entries when it grows, which takes 30 ms for a million of them. Here no step moves more than `SPLIT`.
"""

from __future__ import annotations

from typing import Generic, TypeVar

V = TypeVar("V")

SPLIT = 8192
WAYS = 256


class Shards(Generic[V]):
    """
    Text keys to values, in no order.

    Attributes:
        only: the one dict while there is one, for those who look in without a call; None once there are many.

    """

    __slots__ = ("_mask", "_parts", "only")

    def __init__(self) -> None:
        self.only: dict[str, V] | None = {}
        self._parts: list[dict[str, V]] = [self.only]
        self._mask = 0

    def _part(self, key: str) -> dict[str, V]:
        return self._parts[hash(key) & self._mask]

    def get(self, key: str) -> V | None:
        """The value of *key*, or None."""
        return self._parts[hash(key) & self._mask].get(key)

    def put(self, key: str, value: V) -> None:
        """Store *value* under *key*."""
        self._part(key)[key] = value
        if self.only is not None and len(self.only) > SPLIT:
            self._split(self.only)

    def pop(self, key: str) -> V | None:
        """Remove *key* and return what it had, or None."""
        return self._part(key).pop(key, None)

    def __contains__(self, key: str) -> bool:
        return key in self._part(key)

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def _split(self, whole: dict[str, V]) -> None:
        self._mask = WAYS - 1
        self._parts = [{} for _ in range(WAYS)]
        self.only = None
        for key, value in whole.items():
            self._part(key)[key] = value
