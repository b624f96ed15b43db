"""One supervised process: its own process group, its own log file, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pad_bringup.errors import SupervisorError

# Runs in a bare interpreter (no site packages: about 10 ms), asks the kernel to kill this process when its parent dies,
# and becomes the real command. A fork hook in a process with threads could dead-lock instead.
_LAUNCHER = """\
import ctypes, os, signal, sys
parent = int(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
if os.getppid() != parent:
    sys.exit("the supervisor has gone")
os.execvp(sys.argv[2], sys.argv[2:])
"""


class ManagedProcess:
    """A command that runs in its own process group and dies with this process, even if that is killed.

    The kernel ties it to the *thread* that starts it: start it from a thread that lives as long as it should.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        """Start `command`; stdout and stderr are appended to `log`.

        Raises:
            SupervisorError: the log cannot be written or the interpreter cannot be started.
        """
        self.name = name
        self.log = log
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with open(log, "ab") as stream:
                self._popen = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env=dict(environment),
                    process_group=0,
                )
        except OSError as error:
            raise SupervisorError(f"{name} cannot be started: {error}") from error

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its process group."""
        return self._popen.pid

    def returncode(self) -> int | None:
        """Exit status (negative: the signal that ended it), or None while it runs."""
        return self._popen.poll()

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group; nothing happens if it is gone."""
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def group_alive(self) -> bool:
        """Whether any process of the group is left (children of a node included)."""
        self._popen.poll()  # reaps, so that a zombie does not count
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def last_lines(self, count: int = 3) -> list[str]:
        """The last non-empty lines of the log."""
        try:
            with open(self.log, "rb") as stream:
                stream.seek(0, os.SEEK_END)
                stream.seek(max(0, stream.tell() - 8192))
                text = stream.read().decode(errors="replace")
        except OSError:
            return []
        return [line.strip() for line in text.splitlines() if line.strip()][-count:]


_HEAD_START = 0.8  # s in which the first may end before the rest are told
_PATIENCE = 5.0  # s between SIGINT and SIGTERM, and from there to SIGKILL


def stop_all(processes: Sequence[ManagedProcess], first: Sequence[ManagedProcess] = ()) -> None:
    """End process groups together: SIGINT, then SIGTERM, then SIGKILL; returns when all are gone.

    first: those that get SIGINT before the others, which follow as soon as they are gone, or a moment later.

    Raises:
        SupervisorError: a process is still there (stuck in the kernel).
    """
    for process in first:
        process.signal(signal.SIGINT)
    _wait_gone(first, _HEAD_START)
    steps = ((signal.SIGINT, _PATIENCE), (signal.SIGTERM, _PATIENCE), (signal.SIGKILL, 10.0))
    for number, wait in steps:
        alive = [process for process in processes if process.group_alive()]
        if not alive:
            return
        for process in alive:
            if number != signal.SIGINT or process not in first:
                process.signal(number)
        _wait_gone(alive, wait)
    left = [f"{process.name} ({process.pid})" for process in processes if process.group_alive()]
    if left:
        raise SupervisorError(f"processes that even SIGKILL did not end: {', '.join(left)}")


def _wait_gone(processes: Sequence[ManagedProcess], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(process.group_alive() for process in processes):
        time.sleep(0.02)
