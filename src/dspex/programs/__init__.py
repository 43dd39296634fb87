"""Programs: what runs on a context, in this process or in a worker."""

from __future__ import annotations

from .bound import Bound, ProgramInfo
from .chain import current_chain
from .context import ProgramContext, SyncProgramContext
from .home import Home
from .inspector import reasons
from .isolating import isolated
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
