"""
The script a worker process is started with: ``python -I -S boot.py CONTROL [LIFELINE]``, two inherited file descriptors.

It makes the folder of dspex a package of another name, without running dspex's own ``__init__``, and hands over to `control`.
"""

import os
import sys

PACKAGE = "_dspex_child"


def adopt() -> None:
    """Make this copy of dspex importable as `PACKAGE`."""
    package = type(sys)(PACKAGE)
    package.__path__ = [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))]
    sys.modules[PACKAGE] = package


def main() -> None:
    """Serve the host on the file descriptors named in the arguments, until it closes or is gone."""
    if sys.version_info < (3, 9):  # noqa: UP036 - whoever sets python= may choose any
        sys.exit("{} is Python {}.{}, and workers need 3.9 or newer.".format(sys.executable, *sys.version_info))

    control, *rest = map(int, sys.argv[1:])
    del sys.argv[1:]
    adopt()
    module = __import__(f"{PACKAGE}.worker.child.control", fromlist=["run"])
    module.run(control, rest[0] if rest else None)


# Programs that use multiprocessing run this file again, under the name __mp_main__: it must do nothing then.
if __name__ == "__main__":
    main()
