"""
The context: its handle, the entry with gate and mailbox, the owner's life, and the switch.

An operation goes from `Variables` straight to the backend while the gate is open, else through the mailbox to the owner. `Context` is what
a user holds; `Life` is one run of the owner; `Switch` is the table by which the state moves.

Under a supervisor one handle has many lives: `Seat` is its place there, `ChildLife` one of them. What is between two, the mailbox's ledger, the
backend, the programs and the watches, is the handle's.
"""

from ._handle import Context as Context, whereis as whereis
from ._status import (
    BackendInfo as BackendInfo,
    CloseReason as CloseReason,
    ContextStatistics as ContextStatistics,
    Status as Status,
    SwitchReport as SwitchReport,
)
from ._variables import Variables as Variables
from ._watch import Watch as Watch
