"""Session stores: where the encoded form of sessions is kept."""

from dspex.state.stores.memory import MemoryStore as MemoryStore
