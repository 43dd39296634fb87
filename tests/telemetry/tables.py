"""The tables of docs/telemetry.md, as the code declares them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from dspex.telemetry import SwitchStep, _records
from dspex.telemetry._hooks import CHANNELS
from dspex.telemetry._otel._names import ATTRIBUTES, EVENTS, METRICS, SPANS
from dspex.telemetry._records import OfContext, Record

DOCUMENT = Path(__file__).parents[2] / "docs" / "telemetry.md"
TREE = ast.parse(inspect.getsource(_records))

KINDS: list[type[Record]] = [getattr(_records, name) for name in CHANNELS]
"""Every kind of record."""


def told_of_fields(kind: type) -> dict[str, str]:
    """The docstring of each field that *kind* itself declares."""
    (body,) = (node.body for node in TREE.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    found: dict[str, str] = {}
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            told = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            found[node.target.id] = str(following.value.value) if told else ""  # type: ignore[union-attr]

    return found


def type_of(kind: type, name: str) -> str:
    """What a field is, with its unit. All floats are seconds."""
    declared = str(attrs.fields_dict(kind)[name].type)
    if declared == "float":
        return "float, s"

    if name == "bytes":
        return "int, By"

    return "str" if declared.startswith(("Literal[", "Backend")) else declared.replace(" | ", " or ")


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def field_rows(kind: type, shown: str) -> Iterator[str]:
    for name, told in told_of_fields(kind).items():
        yield row(shown, f"`{name}`", type_of(kind, name), told.replace("``", "`"))


def records() -> list[str]:
    rows = [*field_rows(Record, "all"), *field_rows(OfContext, "those of a context")]
    for kind in KINDS:
        rows += field_rows(kind, f"`{kind.__name__}`")

    return [*rows, *field_rows(SwitchStep, "`SwitchStep`")]


def kinds() -> list[str]:
    return [row(f"`{kind.__name__}`", "yes" if issubclass(kind, OfContext) else "", _first_words(kind)) for kind in KINDS]


def _first_words(kind: type) -> str:
    (told,) = (ast.get_docstring(node) for node in TREE.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    assert told
    return told.replace("``", "`")


def spans() -> list[str]:
    return [row(f"`{span.name}`", span.kind, code(span.attributes), code(span.events), span.description) for span in SPANS]


def events() -> list[str]:
    return [row(f"`{event.name}`", code(event.attributes), event.description) for event in EVENTS]


def metrics() -> list[str]:
    return [row(f"`{metric.name}`", metric.kind, f"`{metric.unit}`", code(metric.attributes), metric.description) for metric in METRICS]


def attributes() -> list[str]:
    return [row(f"`{attribute.name}`", attribute.type, attribute.description) for attribute in sorted(ATTRIBUTES)]


TABLES: dict[str, Any] = {
    "| record | of a context | told when |": kinds,
    "| record | field | type, unit | what it is |": records,
    "| span | kind | attributes | events | what it is |": spans,
    "| event | attributes | when |": events,
    "| metric | kind | unit | attributes | what it is |": metrics,
    "| attribute | type | what it says |": attributes,
}
"""What makes the rows of each table, by its head."""


def documented(head: str) -> list[str]:
    """The rows below *head* in the document."""
    lines = iter(DOCUMENT.read_text().splitlines())
    assert head in lines, f"docs/telemetry.md has no table {head}"
    assert set(next(lines)) <= set("|- ")
    found = []
    for line in lines:
        if not line.startswith("|"):
            break

        found.append(line)

    return found


def rewrite() -> None:
    """Puts the declared rows into the document."""
    text = DOCUMENT.read_text()
    for head, rows in TABLES.items():
        before, _, after = text.partition(head + "\n")
        rule, *lines = after.split("\n")
        while lines and lines[0].startswith("|"):
            lines.pop(0)

        text = "\n".join([before + head, rule, *rows(), *lines])

    DOCUMENT.write_text(text)


if __name__ == "__main__":
    rewrite()
