"""
No orphans: a worker, and whatever it started, ends with its host, also when the host is killed with SIGKILL.

Three guards, since each has a hole that another one fills:

1. End of file on the control connection (`control`): works everywhere, but needs the interpreter, which a C call may hold for minutes.
2. The lifeline (Linux): a pipe whose writing end only the host has. When that closes, the kernel itself sends SIGKILL to our whole
   process group, grandchildren included, without asking the interpreter. Hole: a process forked off the host without exec keeps it open.
3. PDEATHSIG (Linux): the kernel's signal when the thread that started us ends. With a lifeline it is one we catch, for two reasons:
   SIGKILL would end this process before the group can be told, and the thread may end while the host lives on, which `getppid` tells.
   Without a lifeline it is SIGKILL.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as _signal
    from typing import Optional
else:
    import _signal  # signal itself makes enums of the numbers, which takes 3 ms

PR_SET_PDEATHSIG = 1


def lead_group() -> None:
    """Make sure that killing our process group hits nobody but us and what we started."""
    if os.getpgrp() != os.getpid():
        os.setsid()


def kill_group() -> None:
    """End this process and everything it started, now."""
    os.killpg(os.getpgrp(), _signal.SIGKILL)


def guard(lifeline: Optional[int]) -> None:
    """Set up guards 2 and 3, as far as this system has them."""
    lead_group()
    if not sys.platform.startswith("linux"):
        return

    parent = os.getppid()
    if lifeline is not None and _tie(lifeline):
        _catch_parent_death_signal(parent)
    else:
        _ask_for_parent_death_signal(_signal.SIGKILL)

    _unless_alive(parent)


def _tie(lifeline: int) -> bool:
    """Have the kernel kill our group when *lifeline* hangs up; whether it will. Sandboxed kernels may refuse."""
    import fcntl

    try:
        fcntl.fcntl(lifeline, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, _signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | fcntl.FASYNC)
    except OSError:
        return False

    # Closed before we asked: no hang-up will come any more. The control connection's end of file follows at once.
    return True


def _catch_parent_death_signal(parent: int) -> None:
    def look(number: int, frame: object) -> None:
        _unless_alive(parent)

    _signal.signal(_signal.SIGRTMAX, look)
    _ask_for_parent_death_signal(_signal.SIGRTMAX)


def _ask_for_parent_death_signal(number: int) -> None:
    # ctypes takes 10 ms to import, the extension under it 0.3 ms. An interpreter built without it has the other two guards.
    try:
        import _ctypes
    except ImportError:
        return

    libc = _ctypes.dlopen(None, 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - None is this process
    prctl = _ctypes.dlsym(libc, "prctl")
    _ctypes.call_function(prctl, (PR_SET_PDEATHSIG, int(number), 0, 0, 0))


def _unless_alive(parent: int) -> None:
    if os.getppid() != parent:
        kill_group()
