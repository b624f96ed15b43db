"""Motions along a joint path in nearly the shortest time within velocity and acceleration limits.

Pham and Pham, "A New Approach to Time-Optimal Path Parameterization Based on Reachability Analysis" (2018), section IV,
from rest to rest. With s the length along the path, x = (ds/dt)^2 and u = d2s/dt2, both limits are linear:
|q'' x + q' u| <= a and x <= (v / |q'|)^2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from pad_augment.kinematics import Robot
from pad_augment.planning.dynamics import limit_ratios

FloatArray = NDArray[np.float64]

_GRID = 200
_KNOTS_APART = 0.01
"""rad along the path between two knots at least: steps at the ends of smooth motions hide the curvature."""
_LEAST = 1e-9
_ROUNDING_STEPS = (0.25, 0.5, 1.0, 2.0)
"""Steps in which the acceleration changes, the best of which is taken: it jumps otherwise, and a trajectory sampled at
the rate overshoots.
"""
_ROUNDING_SAMPLES = 16
_STILL_STEPS = 3
"""Steps of stillness about a motion when its limits are looked at, for it lies between others."""
_ROOM = 0.98
"""Share of the limits that is used: the neighbours' motions add a little."""
_TRIES = 12


def shortest_motion(robot: Robot, path: FloatArray, rate_hz: float, slower: float = 1.0) -> FloatArray | None:
    """(K, 2 n) rad from rest to rest along path (n, 2 n) rad, one row per step at `rate_hz`, both ends included.

    The limits are kept by the spline of `limit_ratios`, between the steps too, with stillness before and after.
    slower: factor >= 1 on the duration.
    None where the path has no length, or no time was found that keeps the limits.
    """
    spline = _by_length(path)
    if spline is None:
        return None
    s, x = _fastest(spline, robot.velocity_limits.ravel(), robot.acceleration_limits.ravel())
    speed = np.sqrt(x)
    stamps = np.r_[0.0, np.cumsum(2 * np.diff(s) / np.maximum(speed[:-1] + speed[1:], _LEAST))]
    found = (
        _sampled(robot, path, spline, (s, speed, stamps), rate_hz, slower, rounding / rate_hz)
        for rounding in _ROUNDING_STEPS
    )
    return min((out for out in found if out is not None), key=len, default=None)


def _sampled(
    robot: Robot,
    path: FloatArray,
    spline: CubicSpline,
    law: tuple[FloatArray, FloatArray, FloatArray],
    rate_hz: float,
    slower: float,
    rounding: float,
) -> FloatArray | None:
    """See `shortest_motion`; law: places, speeds and stamps (N,). rounding: s in which the acceleration changes."""
    s, speed, stamps = law
    # A mean over a window keeps the limits, and ends at rest without a jump.
    offsets = rounding * (np.arange(_ROUNDING_SAMPLES) + 0.5) / _ROUNDING_SAMPLES
    seconds = stamps[-1] + rounding
    for _ in range(_TRIES):
        steps = int(np.ceil(seconds * rate_hz - 1e-9))
        times = np.linspace(0.0, stamps[-1] + rounding, steps + 1)
        along = _place(s, speed, stamps, times[:, None] - offsets).mean(axis=1)
        along[0], along[-1] = 0.0, s[-1]
        out = spline(along)
        out[0], out[-1] = path[0], path[-1]
        still = np.pad(out, ((_STILL_STEPS, _STILL_STEPS), (0, 0)), mode="edge")
        velocity, acceleration = limit_ratios(robot, still, rate_hz)
        excess = max(float(velocity.max()), float(np.sqrt(acceleration.max()))) / _ROOM
        if excess <= 1.0 and slower == 1.0:
            return np.asarray(out)
        if excess <= 1.0:
            seconds, slower = steps / rate_hz * slower, 1.0
            continue
        seconds = max((steps + 1) / rate_hz, steps / rate_hz * (1 + 0.5 * (excess - 1)))
    return None


def _by_length(path: FloatArray) -> CubicSpline | None:
    """The path by its length; None if it has none."""
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))]
    if length[-1] < _KNOTS_APART:
        return None
    keep = [0]
    for at in range(1, len(path) - 1):
        if length[at] - length[keep[-1]] >= _KNOTS_APART and length[-1] - length[at] >= _KNOTS_APART:
            keep.append(at)
    keep.append(len(path) - 1)
    return CubicSpline(length[keep], path[keep], axis=0)


def _fastest(spline: CubicSpline, velocity: FloatArray, acceleration: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Places s (N,) along the path, and (N,) the largest x there from rest to rest."""
    s = np.linspace(0.0, spline.x[-1], _GRID)
    first, second, twice = spline(s, 1), spline(s, 2), 2 * float(s[1])
    first = np.where(np.abs(first) < _LEAST, np.copysign(_LEAST, first), first)
    # Each joint allows -push - bend x <= u <= push - bend x.
    push, bend = acceleration / np.abs(first), second / first
    ceiling = ((velocity / np.abs(first)) ** 2).min(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Some u is left for every two joints, and where even the hardest braking would not pass below x = 0.
        pairs = (push[:, :, None] + push[:, None]) / (bend[:, None] - bend[:, :, None])
        stops = push / (bend - 1 / twice)
    for bound in (pairs.reshape(len(s), -1), stops):
        ceiling = np.minimum(ceiling, np.where(bound > 0, bound, np.inf).min(axis=1))
    # Backwards: from what x the next place is still reached at an x from which the end is reached.
    reach = np.zeros(len(s))
    slope, gain = 1 - twice * bend, twice * push
    for at in range(len(s) - 2, -1, -1):
        braking = slope[at] > 0
        low = ((reach[at + 1] + gain[at, braking]) / slope[at, braking]).min(initial=np.inf)
        reach[at] = min(ceiling[at], low)
    x = np.zeros(len(s))
    for at in range(len(s) - 1):
        x[at + 1] = max(0.0, min(reach[at + 1], x[at] + twice * (push[at] - bend[at] * x[at]).min()))
    return s, x


def _place(s: FloatArray, speed: FloatArray, stamps: FloatArray, times: FloatArray) -> FloatArray:
    """Places at `times`, constantly accelerated between the places `s` that are passed at `speed` at `stamps`."""
    times = np.clip(times, 0.0, stamps[-1])
    at = np.clip(np.searchsorted(stamps, times, side="right") - 1, 0, len(s) - 2)
    since, whole = times - stamps[at], np.diff(stamps)[at]
    return np.asarray(s[at] + since * (speed[at] + 0.5 * (speed[at + 1] - speed[at]) * since / whole))
