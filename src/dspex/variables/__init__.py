"""
What a variable is: its declaration, its type and constraints, its records, and how its values are copied.

Pure: no I/O and no event loop. Inside, imports go down this list::

    _var                the declaration a user writes
    _snapshot           a whole session's variables, to and from JSON
    _cells              a variable in a table, as the hot path sees it
    _records            Variable, Change
    _definition         kind + constraints + words about it
    _constraints        the table of constraints
    _types, _labels     from a Python type, or the text of one, to its kind
    _choices, _classes, _containers, _arrays, _scalars     the kinds
    _revival            from the codec's tagged records to instances
    _sameness, _copying, _misfit
"""

from dspex.variables._cells import Cell, now_ns
from dspex.variables._copying import MAX_DEPTH, copy_value
from dspex.variables._definition import Definition, plain_metadata
from dspex.variables._misfit import MASK, Misfit, UnknownType
from dspex.variables._records import Change, ChangeKind, Variable, moment, nanoseconds
from dspex.variables._sameness import same
from dspex.variables._scalars import Kind
from dspex.variables._snapshot import Snapshot
from dspex.variables._types import resolve
from dspex.variables._var import Constraints, Quantity, Var

__all__ = [
    "MASK",
    "MAX_DEPTH",
    "Cell",
    "Change",
    "ChangeKind",
    "Constraints",
    "Definition",
    "Kind",
    "Misfit",
    "Quantity",
    "Snapshot",
    "UnknownType",
    "Var",
    "Variable",
    "copy_value",
    "moment",
    "nanoseconds",
    "now_ns",
    "plain_metadata",
    "resolve",
    "same",
]
