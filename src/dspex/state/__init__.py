"""State backends: variables in this process (`LocalState`), or encoded in a session store (`BridgedState`), and the move between them."""

from dspex.state._contract import BackendSpec as BackendSpec, backend_from as backend_from
from dspex.state._moving import Move as Move
from dspex.state.bridged import AsyncBridgedState as AsyncBridgedState, BridgedState as BridgedState, bridged_over as bridged_over
from dspex.state.local import LocalState as LocalState
