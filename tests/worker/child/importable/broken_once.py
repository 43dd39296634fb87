"""A module that can be imported the second time only."""

import os

marker = os.environ.get("BROKEN_ONCE", "")
if marker and not os.path.exists(marker):
    open(marker, "w").close()
    raise RuntimeError("not yet")


def works():
    return "works"
