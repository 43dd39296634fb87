"""What DSPy programs return, as data that crosses to the host: no class of dspy's, or of the user's, goes along."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from typing import Any

PLAIN = (type(None), bool, int, float, complex, str, bytes, dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID)


def plain(value: Any) -> Any:
    """*value* with models and records as dicts, enum members as their values, and anything else that isn't data as its text."""
    if isinstance(value, enum.Enum):
        return plain(value.value)

    container: Any = value

    if isinstance(value, PLAIN):
        return str(value) if isinstance(value, str) else value

    if isinstance(value, dict):
        return {key if type(key) is str else plain(key): plain(held) for key, held in container.items()}

    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(held) for held in container]

    return _opened(value)


def _opened(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return plain(value.model_dump())

    if hasattr(value, "toDict"):
        return plain(value.toDict())

    cls: Any = value.__class__
    if dataclasses.is_dataclass(cls):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(cls)}

    if cls.__module__ == "numpy":
        return value

    return str(value)
