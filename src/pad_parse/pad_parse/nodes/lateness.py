"""Which images come later than images usually do, so that a tracker that was held up can catch up."""

from __future__ import annotations

from collections import deque

_BACKLOG = 5
"""Late images in a row that a subscription may have kept; more are no backlog: a clock was set anew."""
_REMEMBERED = 300


class Lateness:
    """Compares each image's delay with the least of the last ones: cameras may have a clock of their own."""

    def __init__(self, allowed: float) -> None:
        """allowed: s by which an image may be later than usual."""
        self._allowed = allowed
        self.forget()

    def forget(self) -> None:
        """Begin anew: the next image is on time."""
        self._delays: deque[float] = deque(maxlen=_REMEMBERED)
        self._in_a_row = 0

    def is_late(self, delay: float) -> bool:
        """Take in the delay (s, now less the stamp) of the next image."""
        self._delays.append(delay)
        if delay <= min(self._delays) + self._allowed:
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        if self._in_a_row <= _BACKLOG:
            return True
        self.forget()
        self._delays.append(delay)
        return False
