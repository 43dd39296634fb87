"""A host to be killed: starts a worker, has it do what the test asks, tells the process ids, and waits for its end."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

from worker.child.blocking_host import Store, Worker


def main() -> None:
    options = json.loads(sys.argv[1])
    if options.get("threads"):
        for _ in range(8):
            threading.Thread(target=signal.sigwait, args=[[signal.SIGUSR1]], daemon=True).start()

    worker = Worker(options["python"], lifeline=options.get("lifeline", True))
    pids = [worker.process.pid]
    if options.get("program"):
        pids += _ask(worker, options["program"])

    if options.get("leak") and os.fork() == 0:
        signal.pause()

    print(json.dumps(pids), flush=True)
    signal.pause()


def _ask(worker: Worker, program: str) -> list[int]:
    """Begin *program*. Its result is a process id or several; one that doesn't return tells it by setting x."""
    thread, variables = worker.open(), Store(x=None)
    stream = thread.begin(f"child_programs:{program}")
    message = thread.next()[1]
    if hasattr(message, "value"):
        return message.value if isinstance(message.value, list) else [message.value]

    from worker.child.blocking_host import answer

    from dspex.wire import OpReply

    thread.send(stream, OpReply([answer(op, variables) for op in message.ops]))
    return [variables.values["x"][0]]


if __name__ == "__main__":
    main()
