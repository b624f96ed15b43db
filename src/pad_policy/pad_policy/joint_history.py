"""Joint states of the last moments, and whether the arms are where they can have gone since."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pad_policy.environment import JointMeasurement

#: rad by which a joint state may differ from the last beyond what the arms can have moved meanwhile
LARGEST_LEAP = 0.3

_KEPT = 1.0  # s
_OLDEST = 0.3  # s between an observation and joint states beyond which they do not belong together


def leap(
    before: JointMeasurement,
    after: JointMeasurement,
    velocity: NDArray[np.floating[Any]],
    largest: float,
    longest: float = np.inf,
) -> int | None:
    """The joint that is farthest from where it can have gone between two measurements, or None.

    velocity: (2 n,) rad/s, limits of the joints. largest: rad beyond those that are no leap. longest: s for which the
    arms can have moved, however much later the second measurement is.
    """
    passed = min(after.stamp - before.stamp, longest)
    if passed <= 0:
        return None
    beyond = np.abs(after.positions - before.positions) - velocity * passed - largest
    worst = int(beyond.argmax())
    return worst if beyond[worst] > 0 else None


class JointHistory:
    """Finds the arms' joints at an image's instant, within one world: a reset begins another."""

    def __init__(self, velocity: NDArray[np.floating[Any]]) -> None:
        """velocity: (2 n,) rad/s, limits of the joints."""
        self._velocity = np.asarray(velocity, np.float64)
        self._measured: deque[JointMeasurement] = deque()
        self.since = -np.inf
        """s; observations with an older stamp are of a world that is no more."""

    @property
    def newest(self) -> JointMeasurement | None:
        """The last measurement."""
        return self._measured[-1] if self._measured else None

    def add(self, measured: JointMeasurement) -> bool:
        """Take in a measurement. Returns whether another world begins: the arms have leapt, or the clock went back."""
        last = self.newest
        anew = last is not None and (
            measured.stamp < last.stamp or leap(last, measured, self._velocity, LARGEST_LEAP) is not None
        )
        if anew:
            self._measured.clear()
            self.since = measured.stamp
        if last is None or anew or measured.stamp > last.stamp:
            self._measured.append(measured)
        while measured.stamp - self._measured[0].stamp > _KEPT:
            self._measured.popleft()
        return anew

    def at(self, stamp: float) -> JointMeasurement | None:
        """The measurement nearest to a stamp (s), None if none is near."""
        nearest = min(self._measured, key=lambda joints: abs(joints.stamp - stamp), default=None)
        return None if nearest is None or abs(nearest.stamp - stamp) > _OLDEST else nearest
