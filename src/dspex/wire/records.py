"""
Enum members and records (dataclass, attrs and pydantic instances) as data, and back.

Neither attrs nor pydantic is imported: an instance of theirs can only exist where they already are. What comes back is built without
running validators or ``__init__``: it is the value that was there, not a new one.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

_MISSING = object()


class Tagged:
    """
    A value of a class that this end doesn't have, or that nobody told it: what it is made of, and what it is called.

    Attributes:
        kind: ``"enum"`` or ``"record"``; ``"ndarray"`` or ``"scalar"`` where numpy is missing; ``"datetime"`` or ``"time"`` where the
            time zone is unknown.
        label: ``"module:qualname"`` of the class; of an array or scalar its dtype, of a time its zone.
        data: the member's name; the fields by name; for the others the parts of their encoded form.

    """

    __slots__ = ("data", "kind", "label")

    def __init__(self, kind: str, label: str, data: Any) -> None:
        self.kind: str = kind
        self.label: str = label
        self.data: Any = data

    def __eq__(self, other: object) -> bool:
        if type(other) is not Tagged:
            return NotImplemented

        return (self.kind, self.label, self.data) == (other.kind, other.label, other.data)

    def __hash__(self) -> int:
        # The data of a record is a dict: its text is the hash, so that many in one set don't all collide.
        return hash((self.kind, self.label, self.data if type(self.data) is str else repr(self.data)))

    def __repr__(self) -> str:
        return f"Tagged({self.kind!r}, {self.label!r}, {self.data!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Tagged, (self.kind, self.label, self.data)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__") or name in Tagged.__slots__:
                raise AttributeError(name)

            raise AttributeError(
                f"No attribute {name!r}: this is what a {self.label} is made of, and its class isn't known here. "
                "In a worker that class must be importable; what a worker answers becomes what the program's return annotation says."
            )


def label(cls: type) -> str:
    """What *cls* is called on the wire and in stores: ``"module:qualname"``."""
    return f"{cls.__module__}:{cls.__qualname__}"


def is_enum(cls: type) -> bool:
    """Whether *cls* is an enum class."""
    enum = sys.modules.get("enum")
    return enum is not None and isinstance(cls, enum.EnumMeta)


def is_record(cls: type) -> bool:
    """Whether *cls* is a dataclass, an attrs class or a pydantic model."""
    return field_names(cls) is not None


def field_names(cls: type) -> Optional[list[str]]:
    """The names of the fields of a record class, in their order; None for any other class."""
    if "__attrs_attrs__" in cls.__dict__:
        return [field.name for field in cls.__attrs_attrs__]  # type: ignore[attr-defined]

    if "__dataclass_fields__" in cls.__dict__:
        return [field.name for field in sys.modules["dataclasses"].fields(cls)]

    if is_model(cls):
        return list(cls.model_fields)  # type: ignore[attr-defined]

    return None


def is_model(cls: type) -> bool:
    """Whether *cls* is a pydantic model."""
    pydantic = sys.modules.get("pydantic.main")
    return pydantic is not None and issubclass(cls, pydantic.BaseModel)


def parts(value: object) -> Optional[Tagged]:
    """*value* as a `Tagged` whose data holds its own parts, None when it is neither enum member nor record."""
    cls = type(value)
    if is_enum(cls):
        name: str = getattr(value, "name", "")
        return Tagged("enum", label(cls), name) if name in getattr(cls, "__members__", ()) else None

    names = field_names(cls)
    if names is None:
        return None

    data = {name: getattr(value, name, _MISSING) for name in names}
    if is_model(cls):
        data.update(getattr(value, "__pydantic_extra__", None) or {})

    return Tagged("record", label(cls), {name: part for name, part in data.items() if part is not _MISSING})


def build(tagged: Tagged, cls: Any) -> Any:
    """
    The instance of *cls* that *tagged* is made of.

    Raises:
        ValueError: *cls* has no such member or fields, or is no class of this kind.

    """
    if tagged.kind == "enum" and is_enum(cls):
        if tagged.data not in cls.__members__:
            raise ValueError(f"{label(cls)} has no member {tagged.data!r}. It has: {', '.join(cls.__members__)}.")

        return cls.__members__[tagged.data]

    names = field_names(cls)
    if tagged.kind != "record" or names is None:
        raise ValueError(f"Expected a class of the kind {tagged.kind} for {tagged.label}, got {label(cls)}.")

    unknown = [name for name in tagged.data if name not in names and not is_model(cls)]
    if unknown:
        raise ValueError(f"{label(cls)} has no field {unknown[0]!r}. It has: {', '.join(names)}.")

    try:
        return _model(tagged.data, cls) if is_model(cls) else _instance(tagged.data, cls)
    except Exception as error:  # what a class's own hooks raise is as foreign as the class
        raise ValueError(f"{label(cls)} could not be built: {error}") from error


def _instance(data: dict[str, Any], cls: Any) -> Any:
    instance: Any = cls.__new__(cls)
    for name, part in data.items():
        object.__setattr__(instance, name, part)

    return instance


def _model(data: dict[str, Any], cls: Any) -> Any:
    return cls.model_construct(_fields_set=set(data), **data)
