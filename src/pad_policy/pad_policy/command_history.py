"""The joints that were commanded in the last moments, and how far the arms are from all of them."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_policy.environment import JointMeasurement

Array = NDArray[np.floating[Any]]

#: s that a sound controller may take to get where it was told: whatever was commanded meanwhile is no lag
RESPONSE = 0.2


class CommandHistory:
    """Commands with the time they were given at, oldest first; never empty."""

    def __init__(self, time: float, joints: Array, kept: float) -> None:
        """time: s, when joints (2 n,) rad are commanded. kept: s for which commands are kept, beyond `RESPONSE`."""
        self._given = deque([(time, joints)])
        self._kept = kept + RESPONSE

    def add(self, time: float, joints: Array) -> None:
        """Take in a command (2 n,) rad, given at a time (s)."""
        self._given.append((time, joints))
        while len(self._given) > 1 and self._given[1][0] < time - self._kept:
            self._given.popleft()

    def shift(self, seconds: float) -> None:
        """Put the past on another clock: one that went back, or on for a pause in which nothing moved."""
        self._given = deque((time + seconds, joints) for time, joints in self._given)

    def lag(self, measured: JointMeasurement, allowed: float) -> tuple[int, float] | None:
        """The joint that is farthest from everywhere it may be on its way to, and by how much (rad).

        None if no joint is farther than `allowed`, rad.
        """
        newest = self._given[-1][1]
        if np.abs(measured.positions - newest).max() <= allowed:
            return None  # nearly always: spares a look at the rest
        since = measured.stamp - RESPONSE
        first = max((k for k, (time, _) in enumerate(self._given) if time <= since), default=0)
        rows = np.array([joints for _, joints in self._given])[first:]
        lags = np.maximum(measured.positions - rows.max(axis=0), rows.min(axis=0) - measured.positions)
        worst = int(lags.argmax())
        return (worst, float(lags[worst])) if lags[worst] > allowed else None
