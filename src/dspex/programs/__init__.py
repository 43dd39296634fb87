"""
Programs: what runs on a context, in this process or in a worker.

What is fetched at first use isn't loaded for a worker's sake: all that it wants of this room is the mark on a function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .isolating import isolated

if TYPE_CHECKING:
    from .bound import Bound, ProgramInfo
    from .chain import current_chain
    from .context import ProgramContext, SyncProgramContext
    from .home import Home
    from .inspector import reasons
    from .prediction import Prediction
    from .spec import Declaration, Declared, ProgramSpec

__all__ = [
    "Bound",
    "Declaration",
    "Declared",
    "Home",
    "Prediction",
    "ProgramContext",
    "ProgramInfo",
    "ProgramSpec",
    "SyncProgramContext",
    "current_chain",
    "isolated",
    "reasons",
]

_MODULES: Final = {
    "Bound": "bound",
    "Declaration": "spec",
    "Declared": "spec",
    "Home": "home",
    "Prediction": "prediction",
    "ProgramContext": "context",
    "ProgramInfo": "bound",
    "ProgramSpec": "spec",
    "SyncProgramContext": "context",
    "current_chain": "chain",
    "reasons": "inspector",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    from importlib import import_module

    value = globals()[name] = getattr(import_module(f".{module}", __name__), name)
    return value
