"""
What a worker tells of its spans, looked at: a worker runs the code of others, and what it sends may be anything.

A span that isn't one is left out, and counted. Of one that is, attributes and events that aren't any are left out.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias

MAX_TEXT: Final = 1024
MAX_ATTRIBUTES: Final = 40
MAX_ELEMENTS: Final = 32
MAX_EVENTS: Final = 64
_TIMES: Final = 1 << 63
_HEX: Final = frozenset("0123456789abcdef")

Attributes: TypeAlias = dict[str, Any]


class SpanEvent(NamedTuple):
    """Something on a span. *at* is Unix time in nanoseconds, like all times here."""

    name: str
    at: int
    attributes: Attributes


class WorkerSpan(NamedTuple):
    """A span that ended in a worker. *kind* and *status* are OpenTelemetry's numbers."""

    span_id: int
    parent_id: int
    name: str
    kind: int
    start: int
    end: int
    attributes: Attributes
    events: list[SpanEvent]
    status: int
    description: str
    scope: str
    version: str


def ordered(spans: Sequence[WorkerSpan], root_id: int, call_id: int) -> list[tuple[WorkerSpan, int]]:
    """
    The program's *spans*, each after its parent, with the id of that: of the span *root_id* where it has none among them.

    Those that go round in a circle are left out, and so are ids that are taken.
    """
    found: dict[int, WorkerSpan] = {}
    for span in spans:
        if span.span_id not in (root_id, call_id):
            found.setdefault(span.span_id, span)

    below: dict[int, list[WorkerSpan]] = defaultdict(list)
    for span in found.values():
        below[span.parent_id if span.parent_id in found else root_id].append(span)

    inwards: list[tuple[WorkerSpan, int]] = []
    parents = deque([root_id])
    while parents:
        parent = parents.popleft()
        inwards.extend((span, parent) for span in below[parent])
        parents.extend(span.span_id for span in below[parent])

    return inwards


def parse_parent(parent: str, trace_id: int) -> int | None:
    """The id of the span that *parent*, a traceparent, names; None unless it is one of the trace *trace_id*."""
    parts = parent.split("-")
    if len(parts) != 4 or _id(parts[1], 32) != trace_id:
        return None

    return _id(parts[2], 16) or None


def parse_span(row: Any, trace_id: int) -> WorkerSpan | None:
    """The span that *row* tells of; None unless it is one of the trace *trace_id*."""
    if not _is(row, dict) or _id(row.get("trace"), 32) != trace_id:
        return None

    span_id, parent_id = _id(row.get("span"), 16), _id(row.get("parent"), 16)
    start, end = _time(row.get("start")), _time(row.get("end"))
    name, kind = row.get("name"), row.get("kind", 0)
    status, description = _pair(row.get("status"))
    scope, version = _pair(row.get("scope"))
    if not span_id or not _is(name, str) or not 0 < start <= end:
        return None

    return WorkerSpan(
        span_id,
        parent_id,
        name[:MAX_TEXT],
        kind if _is(kind, int) and 0 <= kind <= 4 else 0,
        start,
        end,
        _attributes(row.get("attributes")),
        _events(row.get("events")),
        status if _is(status, int) and 0 <= status <= 2 else 0,
        _text(description),
        _text(scope),
        _text(version),
    )


def _is(value: object, kind: type) -> bool:
    """Whether it is of that very class: a bool is no int here."""
    return type(value) is kind


def _id(text: Any, digits: int) -> int:
    """0, which is no id, unless *text* is so many hexadecimal *digits*."""
    return int(text, 16) if _is(text, str) and len(text) == digits and _HEX.issuperset(text) else 0


def _pair(value: Any) -> tuple[Any, Any]:
    return (value[0], value[1]) if _is(value, list) and len(value) == 2 else (None, None)


def _time(value: Any) -> int:
    """0, which is no time of ours, unless *value* is one."""
    return value if _is(value, int) and 0 < value < _TIMES else 0


def _text(value: Any) -> str:
    return value[:MAX_TEXT] if _is(value, str) else ""


def _events(value: Any) -> list[SpanEvent]:
    told: list[Any] = value[:MAX_EVENTS] if _is(value, list) else []
    shaped = [event for event in told if _is(event, list) and len(event) == 3]
    return [SpanEvent(_text(name), at, _attributes(attributes)) for name, at, attributes in shaped if _is(name, str) and _time(at)]


def _attributes(value: Any) -> Attributes:
    if not _is(value, dict):
        return {}

    told: list[tuple[Any, Any]] = list(value.items())[:MAX_ATTRIBUTES]
    return {_text(key): _value(held) for key, held in told if _is(key, str) and key and _is_value(held)}


def _is_value(value: Any) -> bool:
    if _is(value, list):
        return len(value) <= MAX_ELEMENTS and len(set(map(type, value))) <= 1 and all(map(_is_scalar, value))

    return _is_scalar(value)


def _is_scalar(value: Any) -> bool:
    return type(value) in (str, bool, float) or (_is(value, int) and -_TIMES <= value < _TIMES)


def _value(value: Any) -> Any:
    if _is(value, list):
        return [_value(element) for element in value]

    return value[:MAX_TEXT] if _is(value, str) else value
