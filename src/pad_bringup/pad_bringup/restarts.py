"""How often a node may be started again: the same for the supervisor and under `launch`."""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_RESTARTS = 3
RESTART_WINDOW = 60.0
"""s in which MAX_RESTARTS counts."""


class Restarts:
    """The restarts of one node. Those longer ago than `RESTART_WINDOW` are forgiven."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: gives s."""
        self._clock = clock
        self._recent: list[float] = []

    def allow(self) -> bool:
        """Whether the node may be started again now; if so, that is counted."""
        now = self._clock()
        self._recent = [t for t in self._recent if now - t < RESTART_WINDOW]
        if len(self._recent) >= MAX_RESTARTS:
            return False
        self._recent.append(now)
        return True
