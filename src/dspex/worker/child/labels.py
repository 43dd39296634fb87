"""The classes that labels name. The host is trusted, so a label in a value from it is imported; the other way round never."""

from __future__ import annotations

import enum
import importlib
from functools import lru_cache
from operator import attrgetter
from typing import Optional


@lru_cache(maxsize=1024)
def resolve(label: str, kind: str) -> Optional[type]:
    """
    The class that *label* (``"module:qualname"``) names, None when there is no such class here: the value then stays a `Tagged`.

    *kind* is ``"enum"`` or ``"record"``.
    """
    module, _, qualname = label.partition(":")
    # The border to the user's code: importing a module may raise anything.
    try:
        found = attrgetter(qualname)(importlib.import_module(module))
    except Exception:
        return None

    return found if isinstance(found, type) and (kind != "enum" or issubclass(found, enum.Enum)) else None
