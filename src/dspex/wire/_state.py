"""
Who may say what, when.

A control connection has one state, and only stream 0. It begins with a hello each way, the host's first.

A channel carries calls, one a stream. Stream ids rise, so an id that was used is told from one that was not, and nothing need be kept
of a call that ended. What the host says of a call may cross the worker's reply to it: such a message is late, no fault, and neither
sent nor handed over. On a thread channel an idle stream is busy while another is called: one call at a time.

Stream 0 of a channel speaks of the channel itself.

Closing is allowed from everywhere but closed. A connection on which something came that may not be is broken: all that is left is to
say so and close. Credit isn't here: it may come at any time for any stream, late ones included.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    Rule = tuple[str, str, str]  # state, sender, message

LATE = "late"  # not a state: the message is dropped, the state stays

CONTROL: dict[Rule, str] = {
    ("new", "host", "Hello"): "greeted",
    ("greeted", "worker", "Hello"): "open",
    ("greeted", "worker", "Log"): "greeted",
    ("greeted", "host", "Close"): "closed",
    ("greeted", "worker", "Close"): "closed",
    ("open", "host", "Channel"): "open",
    ("open", "host", "Cancel"): "open",
    ("open", "worker", "Log"): "open",
    ("open", "host", "Drain"): "draining",
    ("open", "worker", "Drain"): "draining",
    ("open", "host", "Close"): "closed",
    ("open", "worker", "Close"): "closed",
    # Both may drain at once, and the host may open a channel or cancel a call before it has read the worker's drain.
    ("draining", "host", "Drain"): "draining",
    ("draining", "worker", "Drain"): "draining",
    ("draining", "host", "Channel"): "draining",
    ("draining", "host", "Cancel"): "draining",
    ("draining", "worker", "Log"): "draining",
    ("draining", "host", "Close"): "closed",
    ("draining", "worker", "Close"): "closed",
    ("new", "host", "Close"): "closed",
    ("new", "worker", "Close"): "closed",
    ("broken", "host", "Close"): "closed",
    ("broken", "worker", "Close"): "closed",
}

CHANNEL: dict[Rule, str] = {
    ("open", "worker", "Log"): "open",
    ("open", "host", "Close"): "closed",
    ("open", "worker", "Close"): "closed",
    ("broken", "host", "Close"): "closed",
    ("broken", "worker", "Close"): "closed",
}

LOOP_STREAM: dict[Rule, str] = {
    ("idle", "host", "Call"): "called",
    ("called", "worker", "Op"): "called",
    ("called", "worker", "Log"): "called",
    ("called", "host", "OpReply"): "called",
    ("called", "host", "Changed"): "called",
    ("called", "host", "Cancel"): "called",
    ("called", "worker", "Reply"): "replied",
    ("called", "worker", "Error"): "replied",
    ("replied", "host", "OpReply"): LATE,
    ("replied", "host", "Changed"): LATE,
    ("replied", "host", "Cancel"): LATE,
}

THREAD_STREAM: dict[Rule, str] = {rule: after for rule, after in LOOP_STREAM.items() if rule[2] != "Cancel"}

# Each kind of connection: the state it begins in, the rules of stream 0, the rules of the others.
KINDS: dict[str, tuple[str, dict[Rule, str], dict[Rule, str]]] = {
    "control": ("new", CONTROL, {}),
    "thread": ("open", CHANNEL, THREAD_STREAM),
    "loop": ("open", CHANNEL, LOOP_STREAM),
}
