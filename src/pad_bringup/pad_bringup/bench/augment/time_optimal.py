"""The shortest time in which joints can follow a path from rest to rest (Bobrow; reachable sets as in TOPP-RA)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

FloatArray = NDArray[np.float64]
_GRID = 300
_FAST = 1e4
_HALVINGS = 40


def shortest_duration(joints: FloatArray, velocity: FloatArray, acceleration: FloatArray) -> float:
    """Seconds along the path through joints (K, n) rad within limits (n,) rad/s and rad/s^2.

    With s the length along the path and x = (ds/dt)^2, both limits are linear in x and u = d2s/dt2. Backwards from the
    end the largest x is found from which the end can be reached, forwards the largest u is taken that stays below.
    """
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(joints, axis=0), axis=1))]
    keep = np.r_[True, np.diff(length) > 1e-9]
    spline = CubicSpline(length[keep], joints[keep], axis=0)
    s = np.linspace(0.0, length[-1], _GRID)
    first, second, step = spline(s, 1), spline(s, 2), float(s[1])
    with np.errstate(divide="ignore"):
        fastest = np.minimum((velocity / np.maximum(np.abs(first), 1e-12)).min(axis=1) ** 2, _FAST)

    def pushes(at: int, x: float) -> tuple[float, float]:
        """The least and the largest u at a place, for x."""
        bend = second[at] * x
        with np.errstate(divide="ignore", invalid="ignore"):
            one, other = (-acceleration - bend) / first[at], (acceleration - bend) / first[at]
        still = np.abs(first[at]) < 1e-9
        if (still & (np.abs(bend) > acceleration)).any():
            return 1.0, 0.0
        low = np.where(still, -np.inf, np.minimum(one, other))
        high = np.where(still, np.inf, np.maximum(one, other))
        return float(low.max()), float(high.min())

    reach = np.zeros(_GRID)
    for at in range(_GRID - 2, -1, -1):
        low, high = 0.0, float(fastest[at])
        if _reaches(pushes, at, high, reach[at + 1], step):
            low = high
        for _ in range(_HALVINGS if low < high else 0):
            middle = (low + high) / 2
            if _reaches(pushes, at, middle, reach[at + 1], step):
                low = middle
            else:
                high = middle
        reach[at] = low
    x = np.zeros(_GRID)
    for at in range(_GRID - 1):
        largest = pushes(at, x[at])[1]
        x[at + 1] = min(reach[at + 1], x[at] + 2 * step * largest)
    speed = np.sqrt(np.maximum(x, 0.0))
    return float((2 * step / np.maximum(speed[:-1] + speed[1:], 1e-9)).sum())


def _reaches(pushes: Callable[[int, float], tuple[float, float]], at: int, x: float, after: float, step: float) -> bool:
    """Whether from x at a place some push leads to a next x in [0, after]."""
    low, high = pushes(at, x)
    return max(low, -x / (2 * step)) <= min(high, (after - x) / (2 * step))
