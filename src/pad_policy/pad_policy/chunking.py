"""Joint chunks and how a new one takes over from the motion under way, without a jump.

Stitching is by measured consumption: a chunk says when it was observed (its stamp) and when each point is due. At
the moment it is accepted, points already due are dropped, and a cubic runs from the position and velocity that
are being commanded right now to the first point left. No delay is ever estimated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class JointChunk:
    """Targets of both arms and grippers.

    stamp: s, when the observation was made that the chunk answers. joint_names: 2 n + 2 names, n joints of
    the left arm, n of the right, then the left and the right finger joint.
    times (K,) s after the stamp, increasing. positions (K, 2 n) rad. openings (K, 2) m.
    """

    stamp: float
    joint_names: Sequence[str]
    times: Array
    positions: Array
    openings: Array


class StitchedPath:
    """A cubic through knots; C1 from its start, at rest at and after its end."""

    def __init__(self, times: Array, values: Array, start_velocity: Array) -> None:
        """times (K,) s increasing, values (K, D), start_velocity (D,) per s."""
        self._times = times
        self._values = values
        slopes = np.diff(values, axis=0) / np.diff(times)[:, None]
        tangents = np.zeros_like(values)
        tangents[0] = start_velocity
        # The harmonic mean where both neighbours go the same way, else zero: no overshoot between targets.
        product = slopes[:-1] * slopes[1:]
        total = slopes[:-1] + slopes[1:]
        tangents[1:-1] = np.where(product > 0, 2 * product / np.where(product > 0, total, 1.0), 0.0)
        self._tangents = tangents

    @property
    def end(self) -> float:
        """s, when the last knot is due."""
        return float(self._times[-1])

    def at(self, time: float) -> tuple[Array, Array, Array]:
        """Position, velocity and acceleration (D,) at `time`; held at the ends."""
        t = self._times
        if time >= t[-1]:
            return self._values[-1].copy(), np.zeros(self._values.shape[1]), np.zeros(self._values.shape[1])
        time = max(time, float(t[0]))
        k = int(np.searchsorted(t, time, side="right")) - 1
        width = t[k + 1] - t[k]
        s = (time - t[k]) / width
        a, b = self._values[k], self._values[k + 1]
        da, db = self._tangents[k] * width, self._tangents[k + 1] * width
        change = b - a
        c2, c3 = 3 * change - 2 * da - db, da + db - 2 * change
        position = a + s * (da + s * (c2 + s * c3))
        return position, (da + s * (2 * c2 + 3 * s * c3)) / width, (2 * c2 + 6 * s * c3) / width**2


def stitch(chunk: JointChunk, now: float, position: Array, velocity: Array) -> StitchedPath | None:
    """Path from what is commanded `now` (position (14,), velocity (14,): joints, then openings) along `chunk`.

    Points due sooner than half a point's period from now are dropped: bending to them would only cost speed.
    Returns None when every point is already past.
    """
    due = chunk.stamp + chunk.times
    margin = 0.5 * float(chunk.times[0] if len(due) == 1 else np.min(np.diff(chunk.times)))
    kept = due > now + margin
    if not kept.any():
        kept = due > now + 1e-3
        if not kept.any():
            return None
    targets = np.concatenate([chunk.positions, chunk.openings], axis=1)[kept]
    return StitchedPath(np.concatenate([[now], due[kept]]), np.vstack([position, targets]), velocity)
