"""The demo's service, as a process beside the view: started before it, ended after it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

STOPPING = 10.0
"""Seconds that the service has to stop in order. Then it is killed."""


class DemoFailed(Exception):
    """The demo's service did not come up; says what it said."""


@contextmanager
def demo_service() -> Generator[Path]:
    """
    Runs the service as long as the block does. Gives the path of its socket, in a folder that only this user may enter.

    When this process is killed, the service finds that its stdin is closed, stops, and removes the folder.

    Raises:
        DemoFailed: it didn't come up.

    """
    folder = Path(tempfile.mkdtemp(prefix="dspex-top-"))
    try:
        with _started(folder) as process:
            try:
                _wait_ready(process, folder)
                yield folder / "monitor.sock"
            finally:
                _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _started(folder: Path) -> subprocess.Popen[str]:
    # It finds this very package, wherever that was imported from.
    found = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", f"{__package__}._demo_service", str(folder / "monitor.sock")]
    with Path(folder, "log").open("w") as log:
        # A session of its own: the terminal's Ctrl-C and hang-up are for the view, which then ends it in order.
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": found},
        )


def _wait_ready(process: subprocess.Popen[str], folder: Path) -> None:
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        said = Path(folder, "log").read_text(errors="replace").strip().splitlines()[-5:]
        raise DemoFailed("\n".join(["The demo's service did not come up. It said:", *said]))


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOPPING)
    except subprocess.TimeoutExpired:
        process.kill()
