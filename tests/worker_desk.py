"""What the tests of workers share: a context's place at the door, played by hand, and calls of the programs in `worker_programs`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio

from dspex import _exceptions
from dspex.worker.host import GateClosed, WorkerCall
from dspex.worker.host.port import Answer

PROGRAMS = str(Path(__file__).parent)
STORE: Any = object()


class Desk:
    """A port over a dict. What is asked of a key in `held` is kept until the test answers it."""

    context_id = "ctx_test"

    def __init__(self, **values: Any) -> None:
        self.values = values
        self.held: set[str] = set()
        self.posted: list[tuple[str, tuple[Any, ...], Answer]] = []
        self.served: list[tuple[str, tuple[Any, ...]]] = []
        self._asked: defaultdict[str, anyio.Event] = defaultdict(anyio.Event)

    def operate_nowait(self, name: str, args: Sequence[Any]) -> Any:
        if args[0] in self.held or self.posted:
            raise GateClosed

        return self._serve(name, args)

    def _serve(self, name: str, args: Sequence[Any]) -> Any:
        self.served.append((name, tuple(args)))
        if name == "set":
            self.values[args[0]] = args[1]
            self._asked[args[0]].set()
            return len(self.served)

        if args[0] not in self.values:
            raise _exceptions.VariableNotFound(args[0])

        return self.values[args[0]]

    def post(self, name: str, args: Sequence[Any], answer: Answer) -> None:
        self.posted.append((name, tuple(args), answer))
        self._asked[args[0]].set()

    async def asked(self, key: str, *, unless: Sequence[Any] = ()) -> None:
        """Waits until something was asked of *key*, which is held, or *key* was set. *unless* gets what there is instead, when it comes to an end."""
        with anyio.move_on_after(20):
            await self._asked[key].wait()
            return

        raise AssertionError(f"nobody asked for {key!r} within 20 s; there is {[*unless]!r}")

    def answer(self, result: Any = None, error: BaseException | None = None) -> None:
        """Answers the first that waits."""
        self.posted.pop(0)[2](result, error)


def call(program: str, *, port: Any = None, **options: Any) -> WorkerCall:
    """A call of a program of `worker_programs`. What isn't an option of a call is an input."""
    names = {"kind", "timeout", "chain", "wait", "meta", "key", "definition", "call_other"}
    inputs = {name: value for name, value in options.items() if name not in names}
    given = {name: value for name, value in options.items() if name in names}
    if program.endswith("_async") or program == "read_many_at_once":
        given.setdefault("kind", "async")

    given.setdefault("key", program)
    given.setdefault("definition", {"path": f"worker_programs:{program}"})
    return WorkerCall(program_id=program, inputs=inputs, port=port, **given)


def gone(pid: int) -> bool:
    """Whether no process has this id, other than as a zombie of somebody else's."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


async def idle(pool: Any) -> None:
    """Waits until no program runs in *pool*, also none whose caller has left."""
    with anyio.fail_after(20):
        while pool.statistics().running:
            await anyio.lowlevel.checkpoint()
