"""Long work that a page starts, watches and may stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from pad_parse.errors import PadParseError

Progress = Callable[[str, float], None]


class _Stopped(Exception):
    """Ends the work from inside its progress call."""


class Job:
    """One piece of work at a time, in a thread of its own.

    errors: kinds of exception whose text is shown to the person; any other is shown as a fault of ours.
    """

    def __init__(self, errors: tuple[type[Exception], ...] = (PadParseError,)) -> None:
        self._errors = errors
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._status: dict[str, Any] = {"running": False, "stage": "", "fraction": 0.0, "error": "", "result": None}

    def start(self, work: Callable[[Progress], Any]) -> None:
        """Run `work`, which is given a progress callback and returns something that JSON can say; work that still
        runs is stopped first.
        """
        self.stop()
        self._stop = threading.Event()
        with self._lock:
            self._status = {"running": True, "stage": "", "fraction": 0.0, "error": "", "result": None}
        self._thread = threading.Thread(target=self._run, args=(work, self._stop), daemon=True, name="annotator-job")
        self._thread.start()

    def stop(self) -> None:
        """End the work at its next progress call, and wait for that."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def status(self) -> dict[str, Any]:
        """`running`, `stage`, `fraction` in [0, 1], `error` (empty: none), `result` (None until it is there)."""
        with self._lock:
            return dict(self._status)

    def _run(self, work: Callable[[Progress], Any], stop: threading.Event) -> None:
        def progress(stage: str, fraction: float) -> None:
            if stop.is_set():
                raise _Stopped
            self._say(stage=stage, fraction=float(fraction))

        try:
            result = work(progress)
        except _Stopped:
            self._say(running=False, error="stopped")
        except self._errors as error:
            self._say(running=False, error=str(error))
        except Exception as error:
            self._say(running=False, error=f"internal error: {type(error).__name__}: {error}")
        else:
            self._say(running=False, fraction=1.0, result=result)

    def _say(self, **values: Any) -> None:
        with self._lock:
            self._status.update(values)
