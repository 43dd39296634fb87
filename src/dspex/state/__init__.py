"""
State backends: variables in this process (`LocalState`), or encoded in a session store (`BridgedState`), and the move between them.
"""

from dspex.state._contract import BackendSpec as BackendSpec
from dspex.state._contract import backend_from as backend_from
from dspex.state._moving import Move as Move
from dspex.state.bridged import AsyncBridgedState as AsyncBridgedState
from dspex.state.bridged import BridgedState as BridgedState
from dspex.state.bridged import bridged_over as bridged_over
from dspex.state.local import LocalState as LocalState
