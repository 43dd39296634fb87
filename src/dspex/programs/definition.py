"""
How code travels to a worker: by name, by value, or as the arguments of a factory that the worker has.

A definition is plain data: ``{"path": "module:qualname"}``, ``{"pickle": bytes, "python": [3, 11]}`` or
``{"factory": "modules.dspy_runner:build", "args": ...}``. Its *key* is a digest: a worker keeps one program for each key.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from dspex._exceptions import InvalidProgram
from dspex.wire.codec import encode

Definition: TypeAlias = Mapping[str, Any]

_PATH: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_MOVE: Final = "Move it to a module that the worker can import, and give it by name."


def by_path(program_id: str, path: str) -> Definition:
    """The definition of what ``"module:qualname"`` names. Only its form is checked here: the worker imports it."""
    if not _PATH.fullmatch(path):
        raise InvalidProgram(
            program_id,
            problem=f"expected an import path such as 'package.module:function', got {path!r}",
            hint="The colon parts module and name.",
        )

    return {"path": path}


def by_factory(factory: str, args: Any) -> Definition:
    """The definition of a program that *factory*, of the worker's own modules, makes from *args*, which are plain data."""
    return {"factory": factory, "args": args}


def of(program_id: str, program: Any) -> Definition:
    """By name what can be imported by name, by value everything else. Raises `InvalidProgram` for what can travel neither way."""
    path = importable_path(program)
    return {"path": path} if path is not None else by_value(program_id, program)


def importable_path(program: Any) -> str | None:
    """``"module:qualname"`` when importing that gives this same object; None for `__main__`, the REPL, lambdas, closures and instances."""
    module, qualname = getattr(program, "__module__", None), getattr(program, "__qualname__", None)
    if not (inspect.isroutine(program) or inspect.isclass(program)) or not module or not qualname or module == "__main__":
        return None

    path = f"{module}:{qualname}"
    return path if _PATH.fullmatch(path) and _imported(module, qualname) is program else None


def _imported(module: str, qualname: str) -> Any:
    found: Any = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)

    return found


def by_value(program_id: str, program: Any) -> Definition:
    """The definition that carries *program* itself, pickled with cloudpickle. It works in workers of the same Python minor version only."""
    import cloudpickle  # 15 ms that most programs don't need

    try:
        pickled: bytes = cloudpickle.dumps(program)  # pyright: ignore[reportUnknownMemberType]
    except Exception as error:  # whatever the __reduce__ of something it holds raises
        problem = f"it can't be imported by name, and can't be pickled either ({type(error).__name__}: {error})"
        raise InvalidProgram(program_id, problem=problem, hint=_MOVE) from error

    return {"pickle": pickled, "python": list(sys.version_info[:2])}


def key_of(definition: Definition) -> str:
    """The digest of *definition*: equal definitions have equal keys."""
    return hashlib.blake2b(encode(dict(definition)), digest_size=16).hexdigest()
