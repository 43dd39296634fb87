"""
Snapshots through cattrs: which fields there are and of which types is read off `Snapshot` and `Variable` themselves.

Two things are ours: values, which have a form of their own (`_json`), and errors, which become one `InvalidSnapshot` with a path.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from dspex._exceptions import DspexError, InvalidSnapshot, InvalidValue
from dspex.variables._json import Unreadable, from_plain, to_plain
from dspex.variables._misfit import class_of
from dspex.variables._records import Variable
from dspex.variables._snapshot import Snapshot
from dspex.wire.codec import Unencodable

_CONVERTER: Final = cattrs.Converter(forbid_extra_keys=True, prefer_attrib_converters=False)


def unstructured(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON's own types."""
    data: dict[str, Any] = _CONVERTER.unstructure(snapshot)
    return data


def structured(data: Mapping[str, Any]) -> Snapshot:
    """The snapshot that `unstructured` gave *data* for. Raises `InvalidSnapshot`."""
    try:
        _complete(data, _OF_A_SNAPSHOT)
        return _CONVERTER.structure(data, Snapshot)
    except Unreadable as error:
        problem, path = error.problem, error.path
    except cattrs.BaseValidationError as errors:
        problem, path = _first(errors)
    except DspexError as error:
        problem, path = str(error), ""

    raise InvalidSnapshot(problem=problem, path=f"${path}")


def _first(error: BaseException) -> tuple[str, str]:
    """The first of cattrs' errors, in our words, and where it is."""
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        return f"unknown: {', '.join(map(repr, sorted(error.extra_fields)))}", ""

    if isinstance(error, cattrs.BaseValidationError):
        inner = error.exceptions[0]
        problem, path = _first(inner)
        return problem, f"{_step(inner)}{path}"

    if isinstance(error, Unreadable):
        return error.problem, error.path

    if isinstance(error, KeyError) and not isinstance(error, DspexError):
        return f"{error} is missing", ""

    return str(error).rstrip("."), ""


def _step(error: BaseException) -> str:
    """Where in its container an error was, from the note that cattrs leaves on it."""
    for note in getattr(error, "__notes__", ()):
        name = getattr(note, "name", None)
        if name is not None:
            return f".{_FIELDS.get(name, name)}"

        index = getattr(note, "index", None)
        if index is not None:
            return f"[{index!r}]"

    return ""


_FIELDS: Final = {"format": "version"}
_OF_A_SNAPSHOT: Final = [str(_FIELDS.get(field.name, field.name)) for field in attrs.fields(Snapshot)]
_OF_A_VARIABLE: Final = [field.name for field in attrs.fields(Variable) if field.init and not field.name.startswith("_")]


# --- the fields ------------------------------------------------------------------------------------------------------------------


_TUPLE: type[Any] = tuple
_JSON_NAMES: Final[Mapping[type, str]] = {str: "str", bool: "bool", list: "list", dict: "JSON object"}


def _strict(expected: type) -> Any:
    def structure(data: Any, _: Any) -> Any:
        if class_of(data) is not expected:
            msg = f"a {_JSON_NAMES[expected]} was expected, not {data!r:.80}"
            raise Unreadable(msg)

        return data

    return structure


def _version(data: Any, _: Any) -> int:
    if type(data) is not int or data < 0:
        msg = f"an int from 0 up was expected, not {data!r:.80}"
        raise Unreadable(msg)

    return data


def _optional_text(data: Any, _: Any) -> str | None:
    return None if data is None else str(_strict(str)(data, str))


def _moment(data: Any, _: Any) -> dt.datetime:
    try:
        when = dt.datetime.fromisoformat(data)
    except (TypeError, ValueError):
        when = None

    if when is None or when.tzinfo is None:
        msg = f"a time such as 2026-05-01T12:00:00+00:00 was expected, not {data!r:.80}"
        raise Unreadable(msg)

    return when.astimezone(dt.UTC)


def _mapping(data: Any, _: Any) -> dict[str, Any]:
    made: dict[str, Any] = _strict(dict)(from_plain(_strict(dict)(data, dict)), dict)
    return made


def _constraints(data: Mapping[str, Any]) -> Any:
    # Kept as tuples, written as lists: what reads them takes either.
    return _metadata({name: list(value) if isinstance(value, _TUPLE) else value for name, value in data.items()})


def _metadata(data: Mapping[str, Any]) -> Any:
    return to_plain(dict(data), tagged=True)


def _text_of(when: dt.datetime) -> str:
    return when.isoformat()


_write_variable = make_dict_unstructure_fn(
    Variable,
    _CONVERTER,
    _definition=override(omit=True),
    value=override(unstruct_hook=lambda value: value),
    constraints=override(unstruct_hook=_constraints),
    metadata=override(unstruct_hook=_metadata),
    created_at=override(unstruct_hook=_text_of),
    updated_at=override(unstruct_hook=_text_of),
)

_read_variable = make_dict_structure_fn(
    Variable,
    _CONVERTER,
    _cattrs_forbid_extra_keys=True,
    _definition=override(omit=True),
    id=override(struct_hook=_strict(str)),
    name=override(struct_hook=_strict(str)),
    type=override(struct_hook=_strict(str)),
    value=override(struct_hook=lambda data, _: data),
    version=override(struct_hook=_version),
    constraints=override(struct_hook=_mapping),
    description=override(struct_hook=_optional_text),
    metadata=override(struct_hook=_mapping),
    sensitive=override(struct_hook=_strict(bool)),
    created_at=override(struct_hook=_moment),
    updated_at=override(struct_hook=_moment),
)


def _unstructure_variable(variable: Variable) -> dict[str, Any]:
    data: dict[str, Any] = _write_variable(variable)
    try:
        data["value"] = to_plain(variable.value, tagged=bool(variable.definition.kind.classes))
    except Unencodable as error:
        expected = "a value that has a form outside this process"
        raise InvalidValue(variable.name, expected=expected, got=str(error)) from None

    return data


def _complete(data: Mapping[str, Any], names: Iterable[str]) -> None:
    """Whether *data* has all that is written. What has a default in Python has none in a text: a cut one would pass for another."""
    for name in names:
        if name not in data:
            msg = f"{name!r} is missing"
            raise Unreadable(msg).at(f".{name}")


def _structure_variable(data: Any, _: Any) -> Variable:
    _complete(_strict(dict)(data, dict), _OF_A_VARIABLE)
    read = _read_variable(data, Variable)
    known = read.definition
    value = known.restore(_value(read))
    return attrs.evolve(read, value=value, constraints=known.constraints, definition=known)


def _value(read: Variable) -> Any:
    try:
        return from_plain(read.value)
    except Unreadable as error:
        failed = Unreadable("it stands for no value") if read.sensitive else error

    raise failed.at(".value")


def _variables(data: Any, _: Any) -> list[Variable]:
    read = _CONVERTER.structure(_strict(list)(data, list), list[Variable])
    taken: set[str] = set()
    for index, variable in enumerate(read):
        for field in ("name", "id"):
            if getattr(variable, field) in taken:
                msg = f"{getattr(variable, field)!r} is the name or the id of a variable before it"
                raise Unreadable(msg).at(f"[{index}].{field}")

        taken |= {variable.name, variable.id}

    return read


_CONVERTER.register_unstructure_hook(Variable, _unstructure_variable)
_CONVERTER.register_structure_hook(Variable, _structure_variable)
_CONVERTER.register_unstructure_hook(
    Snapshot,
    make_dict_unstructure_fn(
        Snapshot,
        _CONVERTER,
        format=override(rename="version"),
        variables=override(unstruct_hook=lambda held: [_unstructure_variable(variable) for variable in held]),
        metadata=override(unstruct_hook=_metadata),
        created_at=override(unstruct_hook=_text_of),
    ),
)
_CONVERTER.register_structure_hook(
    Snapshot,
    make_dict_structure_fn(
        Snapshot,
        _CONVERTER,
        _cattrs_forbid_extra_keys=True,
        session_id=override(struct_hook=_strict(str)),
        variables=override(struct_hook=_variables),
        created_at=override(struct_hook=_moment),
        metadata=override(struct_hook=_mapping),
        format=override(rename="version", struct_hook=_version),
    ),
)
