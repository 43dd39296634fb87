"""
Deterministic simulation: one seed is one interleaving, every history is checked.

    recorder    what clients did and saw, stamped by one counter
    model       the sequential variable store that everything is compared with
    wgl         linearizability: a search, and a near-linear path where versions tell the order
    claims      L1 to L6 as functions from a history to a complaint
    choosers    who runs next: first come, random walk, PCT, replay, guided; and the shrinker
    loops       trio and asyncio under a chooser, one task step at a time, in virtual time
    explore     program x seed -> run -> check -> shrink -> report
    atyield     do something at the k-th suspension of a coroutine
    failpoints  fail before, fail after (applied, reply lost), hang, slow, wrong data, by name
    fakes       a toy context with a switch and a catalogue of planted bugs

No threads, sockets or processes in here: they would break "same seed, same trace". They have their own tests.
"""
