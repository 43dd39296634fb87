"""
For tests of what is built on dspex, or for it: conformance kits, the model they compare with, and failures made on purpose.

Names are imported when they are first used: workers load `dspex.testing.scripted_lm` where the rest of the library need not be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dspex.testing._chaos import Chaos as Chaos, crash as crash, kill as kill
    from dspex.testing._conformance import ConformanceError as ConformanceError
    from dspex.testing._model import Model as Model
    from dspex.testing._state_kit import check_state_backend as check_state_backend
    from dspex.testing._store_kit import check_session_store as check_session_store

_ROOMS = {
    "Chaos": "_chaos",
    "ConformanceError": "_conformance",
    "Model": "_model",
    "check_session_store": "_store_kit",
    "check_state_backend": "_state_kit",
    "crash": "_chaos",
    "kill": "_chaos",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
