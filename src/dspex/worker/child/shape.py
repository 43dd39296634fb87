"""How a program is called: which of four kinds it is, and what it takes. Told to the host after importing it."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, Dict, List, NamedTuple

CONTEXT = "ctx"
"""The parameter of this name gets the `ProgramContext`."""

PARAMETER_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "positional",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "any",
    inspect.Parameter.VAR_POSITIONAL: "arguments",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
    inspect.Parameter.VAR_KEYWORD: "keywords",
}


class Program(NamedTuple):
    """A program, ready to be called: its *kind* is ``"sync"``, ``"async"``, ``"generator"`` or ``"async generator"``."""

    function: Callable[..., Any]
    kind: str
    takes_context: bool


def program_of(function: Callable[..., Any]) -> Program:
    """Look at *function* once, so that calls needn't."""
    return Program(function, kind_of(function), any(parameter["name"] == CONTEXT for parameter in _parameters(function)))


def kind_of(function: Callable[..., Any]) -> str:
    """The kind of a function, of a partial of one, or of an instance with ``__call__``."""
    code = _innermost(function)
    if inspect.isasyncgenfunction(code):
        return "async generator"

    if inspect.isgeneratorfunction(code):
        return "generator"

    return "async" if inspect.iscoroutinefunction(code) else "sync"


def describe(program: Program) -> Dict[str, Any]:
    """
    What the answer to a Prepare holds: kind, signature, parameters, doc.

    The signature is as a caller sees it, without ``ctx``; the parameters are all. It is empty for a function that hides its own.
    """
    return {
        "kind": program.kind,
        "signature": _signature_text(program.function),
        "parameters": _parameters(program.function),
        "doc": inspect.getdoc(program.function),
    }


def _innermost(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func

    return function if inspect.isroutine(function) else type(function).__call__


def _parameters(function: Callable[..., Any]) -> List[Dict[str, Any]]:
    return [
        {
            "name": parameter.name,
            "kind": PARAMETER_KINDS[parameter.kind],
            "required": parameter.default is parameter.empty and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD),
        }
        for parameter in _signature(function).parameters.values()
    ]


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        # Some functions written in C tell nothing: then everything is taken.
        return inspect.Signature([inspect.Parameter("inputs", inspect.Parameter.VAR_KEYWORD)])


def _signature_text(function: Callable[..., Any]) -> str:
    signature = _signature(function)
    shown = [parameter for parameter in signature.parameters.values() if parameter.name != CONTEXT]
    return str(signature.replace(parameters=shown))
