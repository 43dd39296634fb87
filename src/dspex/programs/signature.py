"""What a program takes: read off a callable in this process, or told by the worker that imported it. Inputs are checked against it first."""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias, TypeGuard, cast

from attrs import frozen

from dspex._exceptions import InvalidInputs, InvalidProgram

Kind: TypeAlias = Literal["sync", "async"]

CONTEXT: Final = "ctx"
"""The parameter of this name gets the `ProgramContext`; it is no input."""

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_GENERATORS = frozenset({"generator", "async generator"})


@frozen
class Input:
    """One input: its *name*, and whether a call must give it."""

    name: str
    required: bool


@frozen
class Shape:
    """
    How a program is called.

    Attributes:
        kind: ``"sync"`` or ``"async"``.
        inputs: the inputs it names, in order.
        open: whether it takes inputs it doesn't name (``**kwargs``).
        takes_context: whether it has a parameter named ``ctx``.
        text: the signature as text, ``ctx`` left out, such as ``"(text: str, limit: int = 10) -> str"``.
        doc: its docstring.

    """

    kind: Kind
    inputs: tuple[Input, ...]
    open: bool
    takes_context: bool
    text: str
    doc: str | None = None

    def check(self, program_id: str, inputs: Mapping[str, Any]) -> None:
        """Raise `InvalidInputs` unless *inputs* fit, naming everything that is missing or unknown."""
        problems = [*_missing(self.inputs, inputs), *_unknown(self, inputs)]
        if problems:
            raise InvalidInputs(program_id, problem="; ".join(problems), signature=self.text)


def _missing(known: Iterable[Input], inputs: Mapping[str, Any]) -> list[str]:
    missing = [repr(known_input.name) for known_input in known if known_input.required and known_input.name not in inputs]
    return [f"missing {', '.join(missing)}"] if missing else []


def _unknown(shape: Shape, inputs: Mapping[str, Any]) -> Iterable[str]:
    names = [known.name for known in shape.inputs]
    for name in inputs:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            yield f"an input's name must be a str, got {name!r}"
        elif name == CONTEXT and shape.takes_context:
            yield "'ctx' is given by the context, not by the caller"
        elif name not in names and not shape.open:
            close = difflib.get_close_matches(name, names, n=1)
            yield f"unexpected {name!r}" + (f" (did you mean {close[0]!r}?)" if close else "")


def shape_of(program_id: str, program: Callable[..., Any]) -> Shape:
    """Read the shape off *program*. Raises `InvalidProgram` for what can't be called with keyword arguments, and for generators."""
    refuse_generator(program_id, _flavour(program))
    try:
        signature = inspect.signature(program)
    except (TypeError, ValueError) as error:
        raise InvalidProgram(program_id, problem=f"its signature can't be read ({error})", hint="Wrap it in a function.") from error

    parameters = [parameter for parameter in signature.parameters.values() if parameter.name != CONTEXT]
    for parameter in parameters:
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
            raise _by_position_only(program_id, parameter.name)

    return Shape(
        kind=cast("Kind", _flavour(program)),
        inputs=tuple(Input(p.name, p.default is p.empty) for p in parameters if p.kind in _BY_NAME),
        open=any(p.kind is p.VAR_KEYWORD for p in parameters),
        takes_context=CONTEXT in signature.parameters,
        text=unquoted(str(signature.replace(parameters=parameters))),
        doc=inspect.getdoc(program),
    )


def shape_told(program_id: str, *, kind: str, signature: str, parameters: Iterable[Mapping[str, Any]], doc: str | None) -> Shape:
    """The shape a worker told after importing the program."""
    refuse_generator(program_id, kind)
    told = list(parameters)
    for p in told:
        if p["kind"] == "positional" and p["required"]:
            raise _by_position_only(program_id, p["name"])

    return Shape(
        kind=cast("Kind", kind),
        inputs=tuple(Input(p["name"], bool(p["required"])) for p in told if p["kind"] in ("any", "keyword") and p["name"] != CONTEXT),
        open=any(p["kind"] == "keywords" for p in told),
        takes_context=any(p["name"] == CONTEXT for p in told),
        text=unquoted(signature),
        doc=doc,
    )


def unquoted(text: str) -> str:
    """A signature's *text* with its annotations as they were written: ``from __future__ import annotations`` makes them strings."""
    try:
        function = cast("ast.FunctionDef", ast.parse(f"def f{text}: ...").body[0])
    except SyntaxError:  # a default whose repr() is no expression
        return text

    taken = function.args
    arguments = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs, *filter(None, (taken.vararg, taken.kwarg))]
    written = [*(argument.annotation for argument in arguments), function.returns]
    line = f"def f{text}: ...".encode()
    for quoted in sorted(filter(_is_text, written), key=lambda node: node.col_offset, reverse=True):
        line = line[: quoted.col_offset] + str(quoted.value).encode() + line[quoted.end_col_offset :]

    return line.decode()[len("def f") : -len(": ...")]


def _is_text(node: ast.expr | None) -> TypeGuard[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.lineno == 1


def _by_position_only(program_id: str, name: str) -> InvalidProgram:
    hint = "Inputs are keyword arguments: remove the '/' or wrap it in a function."
    return InvalidProgram(program_id, problem=f"its parameter {name!r} can be given by position only", hint=hint)


def refuse_generator(program_id: str, kind: str) -> None:
    """Raise `InvalidProgram` for a generator's *kind*."""
    if kind in _GENERATORS:
        article = "an" if kind.startswith("a") else "a"
        hint = "Return a list, or write the parts to a variable."
        raise InvalidProgram(program_id, problem=f"it is {article} {kind} function, and a program is a function that returns", hint=hint)


def _flavour(program: Any) -> str:
    function = _innermost(program)
    if inspect.isasyncgenfunction(function):
        return "async generator"

    if inspect.isgeneratorfunction(function):
        return "generator"

    return "async" if inspect.iscoroutinefunction(function) else "sync"


def _innermost(program: Any) -> Any:
    """The function that will run: under partials, and `__call__` of an instance."""
    while isinstance(program, functools.partial):
        program = program.func

    if inspect.isroutine(program) or inspect.isclass(program):
        return program

    return type(program).__call__
