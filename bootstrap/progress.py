"""What the person sees while the environment is being made. Everything goes to stderr; stdout is the command's."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

REPORT_EVERY = 20.0  # seconds between signs of life where the output is not a terminal


class Progress:
    """Lines with elapsed seconds for steps that may run at the same time."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._guard = threading.Lock()
        self._running: dict[str, tuple[float, str]] = {}
        self._began = time.monotonic()
        self._drawn = False
        self._reported = time.monotonic()
        self._stop = threading.Event()
        self._drawer: threading.Thread | None = None

    def say(self, text: str) -> None:
        """One line that stays."""
        with self._guard:
            self._erase()
            print(f"pad: {text}", file=sys.stderr, flush=True)

    def note(self, step: str, detail: str) -> None:
        """What a running step is doing just now."""
        with self._guard:
            if step in self._running:
                self._running[step] = (self._running[step][0], detail)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show the step as running, and the seconds that it took."""
        with self._guard:
            self._running[name] = (time.monotonic(), "")
            if self._drawer is None:
                self._drawer = threading.Thread(target=self._draw, daemon=True)
                self._drawer.start()
        if not self._terminal:
            self.say(f"{name} ...")
        began = time.monotonic()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        except KeyboardInterrupt:
            outcome = "interrupted"
            raise
        finally:
            with self._guard:
                self._running.pop(name, None)
            self.say(f"{name}: {outcome} ({time.monotonic() - began:.0f} s)")

    def close(self) -> None:
        self._stop.set()
        with self._guard:
            self._erase()

    def _erase(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\033[K")
            self._drawn = False

    def _draw(self) -> None:
        while not self._stop.wait(0.25):
            with self._guard:
                if not self._running:
                    continue
                now = time.monotonic()
                parts = [
                    f"{name} {now - began:.0f} s{' (' + detail + ')' if detail else ''}"
                    for name, (began, detail) in self._running.items()
                ]
                if self._terminal:
                    self._erase()
                    sys.stderr.write(f"pad: {' | '.join(parts)}"[:110])
                    sys.stderr.flush()
                    self._drawn = True
                elif now - self._reported > REPORT_EVERY:
                    self._reported = now
                    print(f"pad: [{now - self._began:.0f} s] {' | '.join(parts)}", file=sys.stderr, flush=True)
