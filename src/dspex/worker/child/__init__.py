"""
What runs in a worker process: standard library only, Python 3.9 and up, ready within some 20 ms.

It is loaded under the private package name ``_dspex_child`` (see `boot`), so that the user's own ``import dspex`` in a worker is the real
one and a separate thing. What is loaded before the worker is ready (`boot`, `control`, `link`, `orphans` and the wire) imports neither
typing nor enum nor socket: each of them costs milliseconds.
"""
