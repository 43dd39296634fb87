"""What is told of a switch: to those who listen a record, to a tracer its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..telemetry._hooks import BACKEND_SWITCHED, SWITCH_FAILED
from ._switch import Revoked, Step, Switch

if TYPE_CHECKING:
    from ..telemetry import SwitchStep
    from ..telemetry._tracing import SwitchTrace
    from ._bridging import Bridging


def steps_of(switch: Switch) -> tuple[SwitchStep, ...]:
    """The steps that it has made."""
    from ..telemetry import SwitchStep

    return tuple(SwitchStep(name, at, seconds, ok) for name, at, seconds, ok in switch.done)


def tell_switch(context: Bridging, switch: Switch) -> None:
    """Tells those who listen how *switch* went, when the owner's turn is over."""
    if switch.step is Step.SWITCHED and BACKEND_SWITCHED.heard:
        _tell_success(context, switch)
    elif switch.step is not Step.SWITCHED and SWITCH_FAILED.heard:
        _tell_failure(context, switch)


def _tell_success(context: Bridging, switch: Switch) -> None:
    from ..telemetry import BackendSwitched

    report = context.last_switch
    assert report is not None
    told = BackendSwitched(
        context_id=context.id,
        context_name=context.name,
        source=type(switch.old).__name__,
        target=type(context.variables.backend).__name__,
        seconds=report.seconds,
        variables=report.variables,
        bytes=report.bytes,
        steps=steps_of(switch),
    )
    context.variables.tell_after_turn(BACKEND_SWITCHED, told)


def _tell_failure(context: Bridging, switch: Switch) -> None:
    from ..telemetry import SwitchFailed

    told = SwitchFailed(
        context_id=context.id,
        context_name=context.name,
        source=type(switch.old).__name__,
        step=switch.failed_at.value,
        error=_cause(switch),
        seconds=sum(seconds for _, _, seconds, _ in switch.done),
        steps=steps_of(switch),
    )
    context.variables.tell_after_turn(SWITCH_FAILED, told)


def _cause(switch: Switch) -> BaseException | None:
    return None if isinstance(switch.error, Revoked) else switch.error


def end_trace(trace: SwitchTrace, switch: Switch | None, error: BaseException | None) -> None:
    """Whoever asked for a switch has its end: with *error*, or because of one that failed it. That somebody goes is no error."""
    failure = error if isinstance(error, Exception) else None
    if switch is None:
        trace.ended((), failure, switched=False)
        return

    trace.ended(steps_of(switch), failure or _cause(switch), switched=switch.step is Step.SWITCHED)
