"""
What follows when a child ends, and what may be asked of a supervisor about one child.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

import anyio
import anyio.lowlevel

from .._exceptions import ChildRunning, RestartLimitReached, StartFailed, in_short
from ..telemetry._live import RESTARTS
from ._child import Child, Run
from ._facts import ChildInfo, ChildState
from ._lives import Lives
from ._place import way_down_from
from ._policy import ENDS_ITSELF, RESTARTED, AutoShutdown, Ending, Window
from ._spec import Backoff, ChildSpec, check_restarts, check_seconds

# Seconds that a child has to run until its restarts in a row are forgotten, where its backoff doesn't say.
PROVED = 30.0
# How long restarts wait where a backoff of somebody's own fails; and the longest of any, in seconds, since no loop counts to infinity.
_STEADY = Backoff()
_LONGEST = 1e9

_AT_REST = frozenset({ChildState.STOPPED, ChildState.PARKED})

log = logging.getLogger(__name__)


class Children(Lives):
    """What every supervisor has in common. By itself it restarts one for one."""

    def __init__(self, *, max_restarts: int, max_seconds: float, auto_shutdown: AutoShutdown, name: str | None) -> None:
        check_restarts(max_restarts)
        check_seconds(max_seconds)
        super().__init__(name, Window(max_restarts, float(max_seconds)))
        self._auto_shutdown: AutoShutdown = auto_shutdown
        # Not where who made it tells of them, and counts them, in words of its own.
        self.tells_of_crashes: bool = True

    # --- one life ----------------------------------------------------------------------------------------------------------------

    def _listed(self, spec: ChildSpec, child_id: str) -> Child:
        own = spec.has_own_budget
        allowed = self._window.allowed if spec.max_restarts is None else spec.max_restarts
        window = Window(allowed, float(spec.max_seconds or self._window.seconds)) if own else None
        child = self._children[child_id] = Child(spec, child_id, window)
        self._standing.enter(child)
        return child

    def _ended(self, child: Child, run: Run, ending: Ending) -> None:
        """It ended by itself."""
        error = run.error
        if not run.started and not run.revival:
            self._never_came_up(child, run)
            return

        self._note_strikes(child, run)
        ignored = not run.started and ending is Ending.RETURNED
        comes_back = not (self._is_ending or ignored) and (RESTARTED[child.spec.restart, ending] or not run.started)
        if error is not None and self.tells_of_crashes and not self._is_ending:
            self._report(child, error, comes_back=comes_back)

        if comes_back:
            self._failed(child, error)
        else:
            self._finished(child, error, by_itself=not ignored)

    def _report(self, child: Child, error: BaseException, *, comes_back: bool) -> None:
        """As OTP's supervisor does: nobody awaits a child, so nobody else would see that it crashed, and of what."""
        level, follows = (logging.WARNING, "") if comes_back else (logging.ERROR, " and is not started again")
        if log.isEnabledFor(level):
            # A supervisor has told of its own end already, and of what led to it.
            trace = None if child.is_supervisor else error
            path = self._path_of(child)
            facts = {"dspex_child": path, "dspex_lives": child.lives, "dspex_restarted": comes_back}
            log.log(level, "%s crashed%s: %s", path, follows, in_short(error), exc_info=trace, extra=facts)

    def _note_strikes(self, child: Child, run: Run) -> None:
        proved = getattr(child.spec.backoff, "maximum", PROVED)
        if not isinstance(proved, (int, float)):
            proved = PROVED

        if run.started and anyio.current_time() - run.since > proved:
            child.strikes = 0

    def _finished(self, child: Child, error: BaseException | None, *, by_itself: bool) -> None:
        """It isn't started again by itself."""
        child.error = error or child.error
        if self._keeps(child):
            self._tell(child, ChildState.STOPPED, error)
        else:
            self._forget(child, error)

        if by_itself and child.spec.significant and not self._is_ending and ENDS_ITSELF[self._auto_shutdown](self._significant_left()):
            self._end_from_within("auto_shutdown")

    def _keeps(self, child: Child) -> bool:
        """Whether a child that has ended stays listed."""
        return child.spec.restart != "temporary"

    def _significant_left(self) -> int:
        return sum(child.spec.significant and child.state not in _AT_REST for child in self._children.values())

    # --- restarts ----------------------------------------------------------------------------------------------------------------

    def _failed(self, child: Child, error: BaseException | None) -> None:
        """It is to be started again, if its budget allows."""
        if self._allows(child, error):
            self._tell(child, ChildState.RESTARTING, error)
            self._launch(child, revival=True, pause=self._pause_before(child))

    def _allows(self, child: Child, error: BaseException | None) -> bool:
        """Counts a restart of *child*. Past the limit it is parked, or the supervisor gives up."""
        child.error = error
        window = child.window or self._window
        if window.add(anyio.current_time()):
            self._restarts += 1
            RESTARTS.children += self.tells_of_crashes
            return True

        if child.spec.on_limit == "park":
            log.error(
                "%s is parked: it was restarted %d times in %g s. %s",
                self._path_of(child),
                window.allowed,
                window.seconds,
                in_short(error) or "It returned",
                extra={"dspex_child": self._path_of(child), "dspex_lives": child.lives},
            )
            self._tell(child, ChildState.PARKED, error)
        else:
            self._give_up(child, window, error)

        return False

    def _give_up(self, child: Child, window: Window, error: BaseException | None) -> None:
        problem = in_short(error) or "no error"
        failure = RestartLimitReached(self.path, child=child.id, allowed=window.allowed, seconds=window.seconds, problem=problem)
        failure.__cause__ = error
        log.error("%s", failure, extra={"dspex_supervisor": self.path, "dspex_child": self._path_of(child)})
        self._tell(child, ChildState.STOPPED, error)
        self._end_from_within("limit", failure)

    def _pause_before(self, child: Child) -> float:
        """Seconds before its next restart."""
        child.strikes += 1
        backoff = child.spec.backoff
        if backoff is None:
            return 0.0

        try:
            seconds = float(backoff.delay(child.strikes))
            if math.isnan(seconds):
                raise ValueError(f"expected seconds from delay({child.strikes}), got nan")
        except Exception:
            # Somebody's function.
            path = self._path_of(child)
            log.exception("%s: its backoff failed; it waits as long as with %r", path, _STEADY, extra={"dspex_child": path})
            seconds = _STEADY.delay(child.strikes)

        return min(max(0.0, seconds), _LONGEST)

    # --- starting and stopping one -----------------------------------------------------------------------------------------------

    async def _started(self, child: Child, *, failed: str) -> None:
        """
        Starts *child* for somebody who waits for it. One that fails, or whose starter goes, is left in the state *failed*.

        Raises:
            StartFailed: from its own exception.
            SupervisorClosed: the supervisor ended meanwhile.

        """
        run = self._launch(child, failed=failed)
        try:
            await self._settled(child, run)
        except BaseException:
            if not run.over:
                self._ask(child, run, failed)
                with anyio.CancelScope(shield=True):
                    # As long as it has: the cancellation goes on when it is gone, or overdue.
                    await run.wait_passed()

            raise

        if not run.started:
            self._say_why_not(child, run)

    def _say_why_not(self, child: Child, run: Run) -> None:
        path = self._path_of(child)
        if run.asked:
            self._admit()
            raise StartFailed(f"The child {path!r}", problem="it was stopped before it was ready")

        error = run.error
        if isinstance(error, Exception):
            raise StartFailed(f"The child {path!r}", problem=in_short(error)) from error

        if error is not None:
            # For the whole program, and not for us to word.
            raise error

    def _never_came_up(self, child: Child, run: Run) -> None:
        """Its start failed, or there was nothing to do for it."""
        if run.error is None:
            # It returned: there is nothing to do for it.
            self._finished(child, None, by_itself=False)
            return

        child.error = run.error
        if run.failed == "gone":
            self._forget(child, run.error)
        else:
            self._tell(child, ChildState(run.failed), run.error)

    # --- asked from outside ------------------------------------------------------------------------------------------------------

    async def terminate_child(self, child_id: str) -> None:
        """
        Stops a child and returns when it is gone. It stays listed, and stopped, until `restart_child`; a temporary one is forgotten.

        A child may stop itself this way, or what it runs in: it is cancelled where it waits, or asked; in a shield this returns, and so it does
        when it was asked. It never waits for its own end.

        Raises:
            ChildNotFound: there is none of this id.
            SupervisorClosed: the supervisor isn't running.

        """
        self._admit()
        child = self._find(child_id)
        child.recall()
        run = child.run
        leaves = "stopped" if self._keeps(child) else "gone"
        inside = way_down_from(self)
        if run is not None and inside is not None and inside[1] is run:
            self._ask(child, run, leaves)
            await anyio.lowlevel.checkpoint()
            return

        await self._stopped(child, leaves)
        if run is not None:
            await run.wait_gone()

    async def restart_child(self, child_id: str) -> ChildInfo:
        """
        Starts a child again that is stopped or parked, and returns once it is ready. What it had failed before is forgotten.

        Raises:
            ChildNotFound: there is none of this id.
            ChildRunning: it isn't stopped.
            StartFailed: it failed; it stays stopped, and that doesn't count. A dynamic supervisor forgets it.
            SupervisorClosed: the supervisor isn't running.
            CallCycle: called by a child that isn't ready yet, for which the others wait.

        """
        self._admit()
        child = self._find(child_id)
        self._check_at_rest(child)
        child.strikes = 0
        if child.window is not None:
            child.window.clear()

        await self._start_by_hand(child, failed="stopped" if self._keeps(child) else "gone")
        return self._info(child, self._counted_now())

    async def delete_child(self, child_id: str) -> None:
        """
        Forgets a child that is stopped or parked.

        Raises:
            ChildNotFound: there is none of this id.
            ChildRunning: it isn't stopped.
            SupervisorClosed: the supervisor isn't running.

        """
        self._admit()
        child = self._find(child_id)
        self._check_at_rest(child)
        self._forget(child)

    async def _start_by_hand(self, child: Child, *, failed: str) -> None:
        child.down = False
        await self._started(child, failed=failed)

    def _check_at_rest(self, child: Child) -> None:
        if child.state not in _AT_REST:
            raise ChildRunning(child.id, supervisor=self.path, state=child.state.value)


def check_specs(children: Iterable[Any]) -> list[ChildSpec]:
    """All of *children*, each a spec and no id twice."""
    if not isinstance(children, Iterable):
        raise TypeError(f"children: expected an iterable of ChildSpecs, got {children!r}. One child is a list of one.")

    specs: list[ChildSpec] = []
    ids: set[str] = set()
    for spec in children:
        if not isinstance(spec, ChildSpec):
            is_start = callable(spec) and not isinstance(spec, type)
            instead = "Make it one: ChildSpec(id, start)." if is_start else "Context, Bridge and the supervisors have child_spec()."
            raise TypeError(f"children: expected ChildSpecs, got {spec!r}. {instead}")

        if spec.id in ids:
            raise ValueError(f"children: two of them have the id {spec.id!r}. Give each its own.")

        ids.add(spec.id)
        specs.append(spec)

    return specs
