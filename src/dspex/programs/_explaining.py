"""What a worker tells of a program that failed there, in the words of the one who registered or called it."""

from __future__ import annotations

import re

from dspex._exceptions import InvalidValue, ProgramFailed

IMPORTING = (
    "A worker of this interpreter has the sys.path and the working directory of this process; "
    "more of it is Pool(path=[...], cwd=...). Check the name, or install what is missing there."
)
_NO_RESULT = f"{InvalidValue.__module__}.{InvalidValue.__qualname__}"
_FRAMES = re.compile(r'^  File "(.*?)", line', re.MULTILINE)
_OURS = re.compile(r"[/\\]dspex[/\\]worker[/\\]child[/\\]|<frozen importlib|[/\\]importlib[/\\]__init__\.py$")
_LEAVING = "its result can't leave the worker: "


def explained_import(failed: ProgramFailed) -> ProgramFailed:
    """*failed*, with what to do where a module couldn't be imported, and without a traceback that only tells of us."""
    frames = _FRAMES.findall(failed.traceback)
    traceback = failed.traceback if not frames or any(not _OURS.search(frame) for frame in frames) else ""
    if not failed.is_a("builtins.ImportError"):
        return failed if traceback else _told(failed, message=failed.message)

    name = failed.type.removeprefix("builtins.")
    did = f"could not be imported in a worker: {name}"
    return _told(failed, did=did, message=failed.message, traceback=traceback, hint=IMPORTING)


def explained_result(failed: ProgramFailed) -> ProgramFailed:
    """*failed*, as what it is where the program returned and only its result could not travel: that has no traceback."""
    if failed.traceback or failed.type != _NO_RESULT:
        return failed

    return _told(failed, did="returned a value that can't leave the worker", message=failed.message.removeprefix(_LEAVING))


def _told(failed: ProgramFailed, *, message: str, did: str = "", traceback: str = "", hint: str = "") -> ProgramFailed:
    told = ProgramFailed(failed.program, type=failed.type, message=message, traceback=traceback, types=failed.types, did=did, hint=hint)
    told.applied = failed.applied
    return told
