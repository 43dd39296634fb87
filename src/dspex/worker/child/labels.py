"""
The classes that labels name. The host is trusted, so a label in a value from it is imported; the other way round never.

A class of the host's ``__main__`` can't be imported here. One that came by value, with a program that uses it, is found again.
"""

from __future__ import annotations

import enum
import importlib
import sys
from functools import lru_cache
from operator import attrgetter
from typing import Optional

MAIN = "__main__:"


def resolve(label: str, kind: str) -> Optional[type]:
    """
    The class that *label* (``"module:qualname"``) names, None when there is no such class here: the value then stays a `Tagged`.

    *kind* is ``"enum"`` or ``"record"``.
    """
    return _by_value(label[len(MAIN) :]) if label.startswith(MAIN) else _imported(label, kind)


def _by_value(qualname: str) -> Optional[type]:
    """The class that cloudpickle made here and keeps track of; of several, in a REPL that defined it again, the last."""
    tracked = getattr(sys.modules.get("cloudpickle.cloudpickle"), "_DYNAMIC_CLASS_TRACKER_BY_ID", {})
    found = [cls for cls in list(tracked.values()) if cls.__module__ == "__main__" and cls.__qualname__ == qualname]
    return found[-1] if found else None


@lru_cache(maxsize=1024)
def _imported(label: str, kind: str) -> Optional[type]:
    module, _, qualname = label.partition(":")
    # The border to the user's code: importing a module may raise anything.
    try:
        found = attrgetter(qualname)(importlib.import_module(module))
    except Exception:
        return None

    return found if isinstance(found, type) and (kind != "enum" or issubclass(found, enum.Enum)) else None
