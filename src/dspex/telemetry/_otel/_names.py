"""
Every span, event, metric and attribute that is told to OpenTelemetry. docs/telemetry.md has the same tables, and a test compares them.

Units are UCUM's. The attributes of a metric have few values each: none is the id of a context, and ids that users choose are told apart up to
`MOST_VALUES`. OpenTelemetry's own conventions name `error.type`, `exception.*`, `gen_ai.*` and `process.pid`; the rest begins with ``dspex.``.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from ..._exceptions import ProgramFailed

SCOPE: Final = "dspex"
"""What asks OpenTelemetry for a tracer and a meter."""

MOST_VALUES: Final = 100
"""Different program ids, pool names and types of errors in the attributes of metrics. What comes after them is `OTHER`."""

MAX_TYPE: Final = 256
"""Characters of a type of errors: a program may call its classes what it likes."""

OTHER: Final = "_OTHER"
"""One of those that came too late. OpenTelemetry's conventions have this word for `error.type`."""


class Attribute(NamedTuple):
    """One attribute of spans, events or metrics."""

    name: str
    type: Literal["string", "int", "double", "boolean"]
    description: str


class Metric(NamedTuple):
    """One instrument."""

    name: str
    kind: Literal["counter", "up-down counter", "histogram"]
    unit: str
    attributes: tuple[str, ...]
    description: str
    boundaries: tuple[float, ...] = ()
    """Of a histogram's buckets, unless a view says otherwise."""


class Event(NamedTuple):
    """Something on a span, at one moment."""

    name: str
    attributes: tuple[str, ...]
    description: str


class Span(NamedTuple):
    """One kind of span."""

    name: str
    kind: Literal["internal", "client", "server"]
    attributes: tuple[str, ...]
    events: tuple[str, ...]
    description: str


# --- attributes --------------------------------------------------------------------------------------------------------------------

BACKEND: Final = "dspex.backend"
CHILD_LIVES: Final = "dspex.child.lives"
CHILD_PATH: Final = "dspex.child.path"
CHILD_STATE: Final = "dspex.child.state"
CONTEXT: Final = "dspex.context.id"
ERROR_TYPE: Final = "error.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_TYPE: Final = "exception.type"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
MODEL: Final = "gen_ai.request.model"
OPERATION: Final = "dspex.operation.name"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
POOL: Final = "dspex.pool.name"
PROCESS: Final = "process.pid"
PROGRAM: Final = "dspex.program.id"
PROGRAM_OUTCOME: Final = "dspex.program.outcome"
PROGRAM_QUEUED: Final = "dspex.program.queued"
PROGRAM_WHERE: Final = "dspex.program.where"
RESTART_OF: Final = "dspex.restart.of"
ROUTE: Final = "dspex.route"
SPANS_LOST: Final = "dspex.spans.lost"
STEP_DURATION: Final = "dspex.switch.step.duration"
STEP_OK: Final = "dspex.switch.step.ok"
SWITCH_OUTCOME: Final = "dspex.switch.outcome"
UNRECORDED: Final = "dspex.operations.unrecorded"
VARIABLE: Final = "dspex.variable.name"
WORKER: Final = "dspex.worker.pid"
WORKER_ENDING: Final = "dspex.worker.ending"
WORKER_STATE: Final = "dspex.worker.state"

ATTRIBUTES: Final = (
    Attribute(BACKEND, "string", "What serves a context: `local`, `bridged` or `custom`"),
    Attribute(CHILD_LIVES, "int", "How often the child's start was called"),
    Attribute(CHILD_PATH, "string", "The ids from the root supervisor down to the child: `app/ingest/chat`"),
    Attribute(CHILD_STATE, "string", "The state that the restart ended in: `running`, `parked`, `stopped` or `gone`"),
    Attribute(CONTEXT, "string", "The id of the context"),
    Attribute(
        ERROR_TYPE,
        "string",
        "The class of the error, if there was one: `TimeoutError`, `dspex.WorkerDied`; "
        "the word `timeout` for a call whose caller's deadline passed",
    ),
    Attribute(EXCEPTION_MESSAGE, "string", "What the error says, cut to 1,024 characters; sensitive values are masked"),
    Attribute(EXCEPTION_TYPE, "string", "As `error.type`"),
    Attribute(INPUT_TOKENS, "int", "Tokens that the language models read during the call"),
    Attribute(MODEL, "string", "The language model, if the call used one only"),
    Attribute(OPERATION, "string", "The operation of a variable: `get`, `set`, `update`, ..."),
    Attribute(OUTPUT_TOKENS, "int", "Tokens that the language models wrote during the call"),
    Attribute(POOL, "string", "The worker pool, as the bridge calls it"),
    Attribute(PROCESS, "int", "The process id of the worker, on spans made there"),
    Attribute(PROGRAM, "string", "The id that the program is registered under"),
    Attribute(PROGRAM_OUTCOME, "string", "How a call ended: `returned`, `failed`, `died`, `timeout`, `cancelled` or `refused`"),
    Attribute(PROGRAM_QUEUED, "double", "Seconds until the call had a place to run in"),
    Attribute(PROGRAM_WHERE, "string", "Where a program runs: `host` or `worker`"),
    Attribute(RESTART_OF, "string", "What was started again: a `child` of a supervisor, or a `worker` process of a pool"),
    Attribute(ROUTE, "string", "How an operation got to the state: `direct`, or `queued` in the mailbox"),
    Attribute(SPANS_LOST, "int", "Spans of the worker that were too many, too large or malformed; not there if there are none"),
    Attribute(STEP_DURATION, "double", "Seconds that the step took"),
    Attribute(STEP_OK, "boolean", "Whether the step succeeded"),
    Attribute(SWITCH_OUTCOME, "string", "How a switch ended: `switched` or `rolled back`"),
    Attribute(UNRECORDED, "int", "Operations of the call without a span of their own; not there if there are none"),
    Attribute(VARIABLE, "string", "The name or id of the one variable that the operation is about, as the program gave it"),
    Attribute(WORKER, "int", "The process id of the worker that ran the program"),
    Attribute(WORKER_ENDING, "string", "How a worker ended: `drained`, `killed`, `died` or `never started`"),
    Attribute(WORKER_STATE, "string", "Where a worker is in its life: `starting`, `ready`, `retiring` or `leaving`"),
)

# --- spans -------------------------------------------------------------------------------------------------------------------------

EXCEPTION: Final = Event("exception", (EXCEPTION_TYPE, EXCEPTION_MESSAGE), "Why it failed, in words; without a traceback")
STEPS: Final = {
    step: Event(f"dspex.switch.{step.replace(' ', '_')}", (STEP_DURATION, STEP_OK), f"The step {step!r} has ended")
    for step in ("open", "stage", "verify", "commit", "clean up", "roll back")
}
"""The events of a switch, by the name of the step."""

CALL: Final = Span(
    "dspex.call",
    "client",
    (
        CONTEXT,
        PROGRAM,
        PROGRAM_WHERE,
        PROGRAM_OUTCOME,
        PROGRAM_QUEUED,
        POOL,
        WORKER,
        MODEL,
        INPUT_TOKENS,
        OUTPUT_TOKENS,
        UNRECORDED,
        SPANS_LOST,
        ERROR_TYPE,
    ),
    (EXCEPTION.name,),
    "A call of a program, from before it is queued until its caller has its end. Of kind internal where the program runs in this process",
)
RUN: Final = Span(
    "dspex.run",
    "server",
    (CONTEXT, PROGRAM, POOL, PROCESS, ERROR_TYPE),
    (EXCEPTION.name,),
    "The same call in the worker, below `dspex.call`. The program's own spans are below this one",
)
VARIABLE_OPERATION: Final = Span(
    "dspex.operation",
    "internal",
    (CONTEXT, OPERATION, VARIABLE, ERROR_TYPE),
    (),
    "An operation of a variable that a program in a worker asked for, as this process served it, below its `dspex.run`",
)
SWITCH: Final = Span(
    "dspex.switch",
    "internal",
    (CONTEXT, SWITCH_OUTCOME, ERROR_TYPE),
    tuple(step.name for step in STEPS.values()),
    "A switch to another backend, as whoever asked for it waited for it",
)
RESTART: Final = Span(
    "dspex.restart",
    "internal",
    (CHILD_PATH, CHILD_LIVES, CHILD_STATE, ERROR_TYPE),
    (),
    "From the end of a supervisor's child until it runs again, or won't: then its status is an error. `error.type` is what it ended of",
)

EVENTS: Final = (EXCEPTION, *STEPS.values())
SPANS: Final = (CALL, RUN, VARIABLE_OPERATION, SWITCH, RESTART)

# --- metrics -----------------------------------------------------------------------------------------------------------------------

MICROSECONDS: Final = (1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4)
MILLISECONDS: Final = (1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)
SECONDS: Final = (1.0, 2.5, 5.0, 10.0)
MINUTES: Final = (30.0, 60.0, 120.0, 300.0)

OPERATIONS: Final = Metric("dspex.operations", "counter", "{operation}", (ROUTE,), "Operations of variables")
OPERATION_DURATION: Final = Metric(
    "dspex.operation.duration",
    "histogram",
    "s",
    (OPERATION, ROUTE, BACKEND, ERROR_TYPE),
    "How long backends took for operations, of a sample",
    (*MICROSECONDS, *MILLISECONDS, *SECONDS),
)
MAILBOX_WAIT: Final = Metric(
    "dspex.mailbox.wait",
    "histogram",
    "s",
    (OPERATION, BACKEND),
    "How long queued operations waited before, of the same sample",
    (*MICROSECONDS, *MILLISECONDS, *SECONDS),
)
MAILBOX_DEPTH: Final = Metric("dspex.mailbox.depth", "up-down counter", "{request}", (), "Requests in the mailboxes, of all contexts")
CONTEXTS: Final = Metric("dspex.contexts", "up-down counter", "{context}", (BACKEND,), "Contexts that live")
SWITCHES: Final = Metric("dspex.switches", "counter", "{switch}", (SWITCH_OUTCOME, ERROR_TYPE), "Switches from one backend to another")
SWITCH_DURATION: Final = Metric(
    "dspex.switch.duration",
    "histogram",
    "s",
    (SWITCH_OUTCOME, ERROR_TYPE),
    "How long a context's other requests waited for its switch",
    (1e-4, 2.5e-4, 5e-4, *MILLISECONDS, *SECONDS),
)
PROGRAM_DURATION: Final = Metric(
    "dspex.program.duration",
    "histogram",
    "s",
    (PROGRAM, PROGRAM_WHERE, PROGRAM_OUTCOME, ERROR_TYPE),
    "How long calls ran, the way to the worker and back included",
    (1e-4, 2.5e-4, 5e-4, *MILLISECONDS, *SECONDS, *MINUTES),
)
PROGRAM_QUEUE_DURATION: Final = Metric(
    "dspex.program.queue.duration",
    "histogram",
    "s",
    (PROGRAM, PROGRAM_WHERE, PROGRAM_OUTCOME, ERROR_TYPE),
    "How long calls waited for a place to run in",
    (1e-5, 1e-4, *MILLISECONDS, *SECONDS, *MINUTES),
)
WORKERS: Final = Metric("dspex.workers", "up-down counter", "{worker}", (WORKER_STATE, POOL), "Worker processes")
WORKER_ENDINGS: Final = Metric("dspex.worker.endings", "counter", "{worker}", (WORKER_ENDING, POOL), "Worker processes that have ended")
RESTARTS: Final = Metric("dspex.restarts", "counter", "{restart}", (RESTART_OF,), "What was started again after it ended")

METRICS: Final = (
    OPERATIONS,
    OPERATION_DURATION,
    MAILBOX_WAIT,
    MAILBOX_DEPTH,
    CONTEXTS,
    SWITCHES,
    SWITCH_DURATION,
    PROGRAM_DURATION,
    PROGRAM_QUEUE_DURATION,
    WORKERS,
    WORKER_ENDINGS,
    RESTARTS,
)


def error_type(error: BaseException) -> str:
    """What `error.type` says of *error*: its class, or that of what a program raised. Ours are named as they are imported."""
    kind = type(error)
    qualified = error.type if isinstance(error, ProgramFailed) else f"{kind.__module__}.{kind.__qualname__}"
    return qualified.removeprefix("builtins.").replace(f"{ProgramFailed.__module__}.", "dspex.", 1)[:MAX_TYPE]


def error_message(error: BaseException) -> str:
    """What *error* says. A program's own words, and not the traceback that comes with them."""
    return error.message if isinstance(error, ProgramFailed) else str(error)
