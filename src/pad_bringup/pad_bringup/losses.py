"""How long keypoints are lost, in an episode that is evaluated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pad_parse.demonstration import KeypointState


class Losses:
    """How long keypoints are lost without a break."""

    def __init__(self) -> None:
        self._since: NDArray[np.float64] | None = None
        self.longest = 0.0

    def see(self, stamp: float, states: NDArray[np.uint8]) -> None:
        """Take in the states (N,) of the keypoints, values of `KeypointState`, at a stamp in s."""
        if self._since is None:
            self._since = np.full(len(states), stamp)
        self._since[states != KeypointState.LOST] = stamp
        self.longest = max(self.longest, float((stamp - self._since).max(initial=0.0)))
