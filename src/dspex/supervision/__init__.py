"""
What keeps things alive and finds them again. Knows nothing of contexts.

`HostTask` is what stands behind every ``start()`` of ours: one task that enters and leaves every scope, so that ``start`` and
``stop`` may be called from any task. `Names` is who is called what in one event loop run.
"""

from ._hosting import HostTask
from ._names import Names

__all__ = ["HostTask", "Names"]
