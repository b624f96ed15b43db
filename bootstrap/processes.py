"""Child processes of the bootstrap: logged, watched, and gone when the bootstrap is gone."""

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bootstrap.errors import SetupError

PR_SET_PDEATHSIG = 1


class Children:
    """Starts children in process groups of their own, so that all they started can be stopped with them."""

    def __init__(self, lock: int) -> None:
        """`lock`: descriptor that every child inherits and thereby keeps locked while it lives."""
        self._lock = lock
        self._guard = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._stopped = False
        # Loaded here: between fork and exec nothing may be imported.
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl

    def run(
        self,
        command: Sequence[object],
        *,
        log: Path,
        environment: Mapping[str, str],
        folder: Path,
        on_line: Callable[[str], None] | None = None,
    ) -> int:
        """Run the command with stdout and stderr going to `log`, and each line to `on_line`; the exit status."""
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [str(word) for word in command]
        with log.open("a", buffering=1) as sink:
            sink.write(f"$ {' '.join(words)}\n")
            with self._guard:
                if self._stopped:
                    raise SetupError("interrupted")
                try:
                    child = subprocess.Popen(
                        words,
                        cwd=folder,
                        env=dict(environment),
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        text=True,
                        errors="replace",
                        start_new_session=True,
                        pass_fds=[self._lock],
                        preexec_fn=self._die_with_parent,
                    )
                except OSError as error:
                    raise SetupError(f"cannot run {words[0]}: {error.strerror}") from None
                self._running.add(child)
            assert child.stdout is not None
            try:
                for line in child.stdout:
                    sink.write(line)
                    if on_line is not None:
                        on_line(line.rstrip())
                return child.wait()
            finally:
                child.stdout.close()
                with self._guard:
                    self._running.discard(child)

    def stop(self) -> None:
        """End all running children and whatever they started; no new ones can be started afterwards."""
        with self._guard:
            self._stopped = True
            running = list(self._running)
        for sign, patience in ((signal.SIGINT, 3.0), (signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
            for child in running:
                if child.poll() is None or sign == signal.SIGKILL:
                    try:
                        os.killpg(child.pid, sign)
                    except ProcessLookupError:
                        pass
            for child in running:
                try:
                    child.wait(patience)
                except subprocess.TimeoutExpired:
                    pass

    def _die_with_parent(self) -> None:
        self._prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
