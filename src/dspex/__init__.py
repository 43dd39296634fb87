"""
A Context owns named, typed variables and the programs that use them.

It starts inside this process and moves its whole state to worker processes when the first program joins that needs one.
"""

# The map. Floors from the ground up; imports only go down, and tests/test_architecture.py holds it.
#
#   _exceptions.py   every public error, each owning its sentence
#   telemetry/       what happened, as frozen records; who listens; what lives now; the OpenTelemetry sink
#   wire/            the protocol that host and worker speak: messages, a state table, framing, limits. No I/O
#   variables/       what a variable is: Var, types, constraints, records, copying. No I/O
#   abc/             contracts: StateBackend, SyncStateBackend, SessionStore, Capabilities
#   state/           LocalState, BridgedState; stores/: where a session's records live
#   supervision/     Supervisor, DynamicSupervisor and the tables behind them; names; how a task is hosted apart from its caller
#   worker/          child/: what runs in a worker process, standard library only; host/: pools of them, and the door they knock at
#   bridge.py        Bridge: a session store, a door and worker pools as one thing to open
#   programs/        what a program is, what makes it need the bridge, and Bound, the one you call
#   context/         the handle, its owner and mailbox, the switch as a state table
#   modules/         DSPy programs declared without DSPy: Predict, ChainOfThought, ReAct, Module, LM
#   testing/         conformance kits for the contracts
#   monitor/         what a person looks at: reports, traces of operations, slow and stuck ones, the socket that `dspex top` attaches to
#   _top/            `dspex top`, a terminal view of a running service
#   __main__.py      python -m dspex; _demo/ is what it shows, _repl/ the prompt it opens
#
# An operation goes: ctx.variables -> (direct, or mailbox -> owner) -> backend.
# A worker's goes: ProgramContext -> wire -> door -> the same entry as everyone else's.

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._exceptions import (
    BackendInitError as BackendInitError,
    BackendSwitchError as BackendSwitchError,
    BatchError as BatchError,
    BridgeClosed as BridgeClosed,
    CallCancelled as CallCancelled,
    CallCycle as CallCycle,
    CallTimeout as CallTimeout,
    ChildExists as ChildExists,
    ChildNotFound as ChildNotFound,
    ChildRunning as ChildRunning,
    ContextClosed as ContextClosed,
    ContextCrashed as ContextCrashed,
    ContextExpired as ContextExpired,
    DefinitionMismatch as DefinitionMismatch,
    DspexError as DspexError,
    FenceLost as FenceLost,
    InvalidBackend as InvalidBackend,
    InvalidDefinition as InvalidDefinition,
    InvalidInputs as InvalidInputs,
    InvalidProgram as InvalidProgram,
    InvalidSnapshot as InvalidSnapshot,
    InvalidValue as InvalidValue,
    LocalProtocolError as LocalProtocolError,
    MissingExtra as MissingExtra,
    MonitorUnreachable as MonitorUnreachable,
    NameNotFound as NameNotFound,
    NameTaken as NameTaken,
    NotBridgeable as NotBridgeable,
    Overloaded as Overloaded,
    PoolNotFound as PoolNotFound,
    ProgramExists as ProgramExists,
    ProgramFailed as ProgramFailed,
    ProgramNotFound as ProgramNotFound,
    ProtocolError as ProtocolError,
    RemoteProtocolError as RemoteProtocolError,
    RestartLimitReached as RestartLimitReached,
    SaveFailed as SaveFailed,
    SessionNotFound as SessionNotFound,
    SessionTaken as SessionTaken,
    StartFailed as StartFailed,
    SupervisorClosed as SupervisorClosed,
    VariableExists as VariableExists,
    VariableNotFound as VariableNotFound,
    VersionConflict as VersionConflict,
    WorkerDied as WorkerDied,
    WrongThread as WrongThread,
)
from ._version import __version__ as __version__

if TYPE_CHECKING:
    from .bridge import Bridge as Bridge
    from .context import (
        BackendInfo as BackendInfo,
        CloseReason as CloseReason,
        Context as Context,
        ContextStatistics as ContextStatistics,
        Status as Status,
        SwitchReport as SwitchReport,
        Variables as Variables,
        whereis as whereis,
    )
    from .context._family import Contexts as Contexts, FamilyStatistics as FamilyStatistics
    from .modules import LM as LM, ChainOfThought as ChainOfThought, Module as Module, Predict as Predict, ReAct as ReAct
    from .programs import (
        Bound as Bound,
        Prediction as Prediction,
        ProgramContext as ProgramContext,
        ProgramInfo as ProgramInfo,
        SyncProgramContext as SyncProgramContext,
        isolated as isolated,
    )
    from .state import BridgedState as BridgedState, LocalState as LocalState
    from .supervision import (
        Backoff as Backoff,
        ChildCounts as ChildCounts,
        ChildInfo as ChildInfo,
        ChildSpec as ChildSpec,
        ChildState as ChildState,
        DynamicSupervisor as DynamicSupervisor,
        Supervisor as Supervisor,
        SupervisorStatistics as SupervisorStatistics,
        SupervisorStatus as SupervisorStatus,
        Tree as Tree,
        serve as serve,
    )
    from .variables import Change as Change, Snapshot as Snapshot, Var as Var, Variable as Variable
    from .worker.host.options import Pool as Pool

# What each room gives, fetched at first use: `import dspex` costs next to nothing, and a name costs the rooms it stands on.
_ROOMS = {
    "bridge": ("Bridge",),
    "context": ("BackendInfo", "CloseReason", "Context", "ContextStatistics", "Status", "SwitchReport", "Variables", "whereis"),
    "context._family": ("Contexts", "FamilyStatistics"),
    "modules": ("LM", "ChainOfThought", "Module", "Predict", "ReAct"),
    "programs": ("Bound", "Prediction", "ProgramContext", "ProgramInfo", "SyncProgramContext", "isolated"),
    "state": ("BridgedState", "LocalState"),
    "supervision": (
        "Backoff",
        "ChildCounts",
        "ChildInfo",
        "ChildSpec",
        "ChildState",
        "DynamicSupervisor",
        "Supervisor",
        "SupervisorStatistics",
        "SupervisorStatus",
        "Tree",
        "serve",
    ),
    "variables": ("Change", "Snapshot", "Var", "Variable"),
    "worker.host.options": ("Pool",),
}

__all__ = [
    "LM",
    "BackendInfo",
    "BackendInitError",
    "BackendSwitchError",
    "Backoff",
    "BatchError",
    "Bound",
    "Bridge",
    "BridgeClosed",
    "BridgedState",
    "CallCancelled",
    "CallCycle",
    "CallTimeout",
    "ChainOfThought",
    "Change",
    "ChildCounts",
    "ChildExists",
    "ChildInfo",
    "ChildNotFound",
    "ChildRunning",
    "ChildSpec",
    "ChildState",
    "CloseReason",
    "Context",
    "ContextClosed",
    "ContextCrashed",
    "ContextExpired",
    "ContextStatistics",
    "Contexts",
    "DefinitionMismatch",
    "DspexError",
    "DynamicSupervisor",
    "FamilyStatistics",
    "FenceLost",
    "InvalidBackend",
    "InvalidDefinition",
    "InvalidInputs",
    "InvalidProgram",
    "InvalidSnapshot",
    "InvalidValue",
    "LocalProtocolError",
    "LocalState",
    "MissingExtra",
    "Module",
    "MonitorUnreachable",
    "NameNotFound",
    "NameTaken",
    "NotBridgeable",
    "Overloaded",
    "Pool",
    "Predict",
    "Prediction",
    "ProgramContext",
    "ProgramExists",
    "ProgramFailed",
    "ProgramInfo",
    "ProgramNotFound",
    "ProtocolError",
    "ReAct",
    "RemoteProtocolError",
    "RestartLimitReached",
    "SaveFailed",
    "SessionNotFound",
    "SessionTaken",
    "Snapshot",
    "StartFailed",
    "Status",
    "Supervisor",
    "SupervisorClosed",
    "SupervisorStatistics",
    "SupervisorStatus",
    "SwitchReport",
    "SyncProgramContext",
    "Tree",
    "Var",
    "Variable",
    "VariableExists",
    "VariableNotFound",
    "Variables",
    "VersionConflict",
    "WorkerDied",
    "WrongThread",
    "__version__",
    "isolated",
    "serve",
    "whereis",
]


# Rooms with a front door of their own, which need no import statement: dspex.monitor.attach().
_OPEN_ROOMS = ("monitor", "telemetry", "testing")


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for room, names in _ROOMS.items():
        if name in names:
            value = globals()[name] = getattr(import_module(f".{room}", __name__), name)
            return value

    if name in _OPEN_ROOMS:
        return import_module(f".{name}", __name__)

    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_OPEN_ROOMS])
