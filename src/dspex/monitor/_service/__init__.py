"""
The socket through which a running service is looked at from outside, and its other end.

Nothing that comes through it changes anything, and what is looked at is built in slices, once for all who watch.
"""

# serving.py      serve: who comes, and how many may; socket_file.py: the file; answering.py: one client; watching.py: one that watches
# snapshots.py    the tree and the totals, for all clients; details.py: all of one thing; events.py: what happened lately; timing.py: how long operations take
# spots.py        what is below what, and by which path; finding.py: what a name means; turns.py: which contexts are stuck; slices.py: work in slices
# client.py       connect: the other end; lines.py: what both speak; commands.py, sheet.py: `dspex tree` and `dspex inspect`
