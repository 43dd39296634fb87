"""From a program's definition to the object: by import path, by pickle, or by a factory of ours. Each failure says what to do about it."""

from __future__ import annotations

import difflib
import importlib
import pickle
import sys
from typing import Any, Callable, Dict

from ..._exceptions import DspexError, InvalidProgram
from .failures import Refused, program_failed

Definition = Dict[str, Any]


def load(program: str, definition: Definition) -> Any:
    """
    The callable that *definition* describes. A class is constructed, once and without arguments.

    Raises `Refused` with an `InvalidProgram` (it can't be brought here) or a `ProgramFailed` (its own code raised while being imported).
    """
    way = next((way for way in LOADERS if way in definition), None)
    if way is None:
        raise _refused(program, f"its definition has none of {', '.join(LOADERS)}: {sorted(definition)}", "Register it again.")

    found = LOADERS[way](program, definition)
    if isinstance(found, type):
        found = _theirs(program, found)

    if not callable(found):
        raise _refused(
            program, f"{definition.get('path', 'it')} is {type(found).__name__!r}, which can't be called", "Name a function or a class."
        )

    return found


def _by_path(program: str, definition: Definition) -> Any:
    module_name, _, qualname = definition["path"].partition(":")
    if not module_name or not qualname:
        raise _refused(program, f"{definition['path']!r} is no import path", 'Write it as "package.module:function".')

    if module_name == "__main__":
        raise _refused(program, "__main__ isn't run again in a worker", "Move it to a module of its own.")

    found = _theirs(program, lambda: importlib.import_module(module_name))
    for name in qualname.split("."):
        found = _attribute(program, found, name)

    return found


def _attribute(program: str, owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        close = difflib.get_close_matches(name, dir(owner), 1)
        hint = f"Did you mean {close[0]!r}?" if close else "Check the path."
        whose = getattr(owner, "__name__", type(owner).__name__)
        where = f" ({owner.__file__})" if getattr(owner, "__file__", None) else ""
        raise _refused(program, f"{whose!r}{where} has no attribute {name!r}", hint) from None


def _by_pickle(program: str, definition: Definition) -> Any:
    theirs, ours = tuple(definition.get("python") or ()), tuple(sys.version_info[:2])
    if theirs and theirs != ours:
        told = f"it travels by value from Python {_dotted(theirs)}, and this worker runs {_dotted(ours)}"
        raise _refused(program, told, "Move it to a module that the worker can import, and register it by its path.")

    return _theirs(program, lambda: _unpickled(program, definition["pickle"]))


def _unpickled(program: str, blob: bytes) -> Any:
    try:
        return pickle.loads(blob)
    except AttributeError as error:
        # What cloudpickle takes for importable, such as what functools.lru_cache makes of a function.
        if "__main__" not in str(error):
            raise

        hint = "Move it to a module that the worker can import, and register it by its path."
        raise _refused(program, f"it needs something of __main__, which isn't run again in a worker ({error})", hint) from None
    except ModuleNotFoundError as error:
        if error.name != "cloudpickle":
            raise

        told = f"it travels by value, and {sys.executable} has no cloudpickle to load it with"
        hint = f"Run {sys.executable} -m pip install cloudpickle, or move it to a module and register it by its path."
        raise _refused(program, told, hint) from None


def _by_factory(program: str, definition: Definition) -> Any:
    module_name, _, name = definition["factory"].partition(":")
    build = getattr(importlib.import_module(f".{module_name}", __package__), name)
    return _theirs(program, lambda: build(definition.get("args")))


LOADERS: Dict[str, Callable[[str, Definition], Any]] = {"path": _by_path, "pickle": _by_pickle, "factory": _by_factory}


def _theirs(program: str, run: Callable[[], Any]) -> Any:
    # The border to the user's code: importing, unpickling or constructing may raise anything.
    try:
        return run()
    except Refused:
        raise
    except DspexError as error:  # our copy's, so a factory of ours raised it
        raise Refused(error) from error
    except (Exception, SystemExit) as error:
        raise Refused(program_failed(program, error)) from error


def _refused(program: str, problem: str, hint: str) -> Refused:
    return Refused(InvalidProgram(program, problem=problem, hint=hint))


def _dotted(version: Any) -> str:
    return ".".join(map(str, version))
