"""The conformance kit of session stores: `check_session_store`."""

from __future__ import annotations

import math

from dspex.testing._conformance import settled
from dspex.testing._store_case import Advance, MakeStore, StoreCase
from dspex.testing._store_races import under_load
from dspex.testing._store_rules import sequential, timed
from dspex.testing._store_staging import staged


async def check_session_store(make: MakeStore, *, advance: Advance | None = None, lease_seconds: float = math.inf) -> None:
    """
    Check that the stores *make* gives fulfil the contract of `dspex.abc.SessionStore`.

    Works on any event loop.

    Args:
        make: gives a new store without sessions at each call; its result may be awaitable.
        advance: called with a store and seconds, lets that much time pass for it; may be awaitable. Without it the rules about time are
            not checked.
        lease_seconds: how long a lease of these stores lasts.

    Raises:
        ConformanceError: the first rule that is broken, and what happened instead.

    """
    case = StoreCase(make, advance, lease_seconds)
    name = type(await settled(make())).__name__
    for rules in (sequential, staged, under_load):
        await rules.hold(name, case)

    if advance is not None:
        await timed.hold(name, case)
