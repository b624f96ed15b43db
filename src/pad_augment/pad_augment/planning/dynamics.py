"""Joint velocity and acceleration of a trajectory, as ratios of the limits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from pad_augment.kinematics import Robot

FloatArray = NDArray[np.float64]


def joint_spline(joints: FloatArray, rate_hz: float, *, moving: bool = False) -> CubicSpline:
    """The smooth trajectory through joint positions (T, n) rad at `rate_hz`; time in s from 0.

    It is at rest at its end and, unless `moving`, at its start.
    """
    start = "not-a-knot" if moving and len(joints) > 3 else "clamped"
    return CubicSpline(np.arange(len(joints)) / rate_hz, joints, axis=0, bc_type=(start, "clamped"))


def limit_ratios(
    robot: Robot, joints: FloatArray, rate_hz: float, *, moving: bool = False, per_step: int = 3
) -> tuple[FloatArray, FloatArray]:
    """(T,) velocity and (T,) acceleration ratios: the worst joint's share of its limit from each step to the next.

    joints: (T, 12) rad. moving: see `joint_spline`. per_step: instants looked at between two steps.
    """
    count = len(joints)
    if count < 2:
        return np.zeros(count), np.zeros(count)
    spline = joint_spline(joints, rate_hz, moving=moving)
    times = (np.arange((count - 1) * per_step + 1) / per_step) / rate_hz
    velocity = np.abs(spline(times, 1)) / robot.velocity_limits.ravel()
    acceleration = np.abs(spline(times, 2)) / robot.acceleration_limits.ravel()
    starts = np.arange(0, len(times), per_step)
    return (
        np.maximum.reduceat(velocity.max(axis=1), starts),
        np.maximum.reduceat(acceleration.max(axis=1), starts),
    )
