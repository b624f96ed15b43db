"""Joint velocity and acceleration of trajectories, as ratios of the limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.linalg import solve_banded

from pad_augment.kinematics import Robot

FloatArray = NDArray[np.float64]


def joint_spline(joints: FloatArray, rate_hz: float, *, moving: bool = False) -> CubicSpline:
    """The smooth trajectory through joint positions (T, n) rad at `rate_hz`; time in s from 0.

    It is at rest at its end and, unless `moving`, at its start.
    """
    start = "not-a-knot" if moving and len(joints) > 3 else "clamped"
    return CubicSpline(np.arange(len(joints)) / rate_hz, joints, axis=0, bc_type=(start, "clamped"))


def limit_ratios(
    robot: Robot, joints: FloatArray, rate_hz: float, *, moving: bool = False
) -> tuple[FloatArray, FloatArray]:
    """(T,) velocity and (T,) acceleration ratios: the worst joint's share of its limit from each step to the next.

    joints: (T, 2 n) rad. moving: see `joint_spline`.
    """
    return limit_ratios_of_many(robot, joints, [len(joints)], rate_hz, [moving])


def limit_ratios_of_many(
    robot: Robot, joints: FloatArray, lengths: Sequence[int], rate_hz: float, moving: Sequence[bool]
) -> tuple[FloatArray, FloatArray]:
    """`limit_ratios` of B trajectories, one after the other in `joints` (S, 2 n) rad; `lengths` and `moving`: B each.

    The splines are those of `joint_spline`. Within a step velocity is a parabola and acceleration a line, so that their
    largest values are known, not sampled.
    """
    count = len(joints)
    ends = np.cumsum(lengths)
    firsts, lasts = ends - np.asarray(lengths), ends - 1
    # Velocities v at the steps, times the step time: v[i-1] + 4 v[i] + v[i+1] = 3 (q[i+1] - q[i-1]).
    right = np.zeros_like(joints)
    right[1:-1] = 3 * (joints[2:] - joints[:-2])
    bands = np.zeros((3, count))
    bands[0, 1:] = bands[2, :-1] = 1.0
    bands[1] = 4.0
    free = np.array([m and n > 3 for m, n in zip(moving, lengths, strict=True)], dtype=bool)
    for rows in (firsts[~free], lasts):
        bands[1, rows], right[rows] = 1.0, 0.0
        bands[0, rows[rows + 1 < count] + 1] = 0.0
        bands[2, rows[rows > 0] - 1] = 0.0
    begin = firsts[free]
    if len(begin):  # not-a-knot: v[0] + 2 v[1] = (5 (q[1] - q[0]) + (q[2] - q[1])) / 2
        bands[1, begin] = 1.0
        bands[0, begin + 1] = 2.0
        bands[2, begin[begin > 0] - 1] = 0.0
        right[begin] = 2.5 * (joints[begin + 1] - joints[begin]) + 0.5 * (joints[begin + 2] - joints[begin + 1])
    slope = solve_banded((1, 1), bands, right)
    delta = np.diff(joints, axis=0)
    before, after = slope[:-1], slope[1:]
    # On the step: velocity v0 + a0 u + (a1 - a0) u^2 / 2 for u in [0, 1].
    a0 = 6 * delta - 4 * before - 2 * after
    a1 = 2 * before + 4 * after - 6 * delta
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = -a0 / (a1 - a0)
    turn = np.where((turn > 0) & (turn < 1), turn, 0.0)
    middle = before + a0 * turn + (a1 - a0) * turn**2 / 2
    velocity = np.maximum(np.maximum(np.abs(before), np.abs(after)), np.abs(middle)) * rate_hz
    acceleration = np.maximum(np.abs(a0), np.abs(a1)) * rate_hz**2
    out = np.zeros((2, count))
    out[0, :-1] = (velocity / robot.velocity_limits.ravel()).max(-1)
    out[1, :-1] = (acceleration / robot.acceleration_limits.ravel()).max(-1)
    out[:, lasts] = 0.0
    return out[0], out[1]
