"""Closed-form kinematics of the Universal Robots family, for many poses at once.

All frames are those of the maker's Denavit-Hartenberg table: the base frame is `base` (`base_link` turned by pi about
z), the end frame is the flange. Six revolute joints, of which 2, 3 and 4 are parallel, give up to eight solutions:
shoulder left / right, wrist up / down, elbow up / down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

# A pose that a joint can only just reach lies beyond the arc cosine's range by round-off.
_ROUND_OFF = 1e-9
# Below this |sin q5| the axes of joints 4 and 6 coincide: q6 is free and set to 0.
_WRIST_SINGULAR = 1e-9


@dataclass(frozen=True)
class UrGeometry:
    """Denavit-Hartenberg lengths of one model, metres; its twists are those of the whole family."""

    d1: float
    a2: float
    a3: float
    d4: float
    d5: float
    d6: float


UR5E = UrGeometry(d1=0.1625, a2=-0.425, a3=-0.3922, d4=0.1333, d5=0.0997, d6=0.0996)


def forward(model: UrGeometry, q: ArrayLike) -> FloatArray:
    """Flange pose (..., 4, 4) in the base frame for joint positions (..., 6) rad."""
    angles = np.asarray(q, dtype=np.float64)
    g = model
    pose = _link(angles[..., 0], g.d1, 0.0, 1)
    pose = pose @ _link(angles[..., 1], 0.0, g.a2, 0) @ _link(angles[..., 2], 0.0, g.a3, 0)
    pose = pose @ _link(angles[..., 3], g.d4, 0.0, 1) @ _link(angles[..., 4], g.d5, 0.0, -1)
    return np.asarray(pose @ _link(angles[..., 5], g.d6, 0.0, 0))


def inverse(model: UrGeometry, poses: ArrayLike) -> FloatArray:
    """All joint positions (..., 8, 6) rad in (-pi, pi] that bring the flange to poses (..., 4, 4) in the base frame.

    A row is nan where that branch does not reach the pose. The order of the branches is the same for every pose, so
    neighbouring poses can be followed within one row.
    """
    g = model
    target = np.asarray(poses, dtype=np.float64)
    rotation = target[..., :3, :3]
    x, y, z = target[..., 0, 3, None], target[..., 1, 3, None], target[..., 2, 3, None]
    # The wrist centre lies d6 behind the flange; seen from above, it keeps the distance d4 from the arm's plane.
    wrist_x, wrist_y = x - g.d6 * rotation[..., 0, 2, None], y - g.d6 * rotation[..., 1, 2, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        lean = _arc_cosine(g.d4 / np.hypot(wrist_x, wrist_y))
    # Axes: (..., shoulder 2); then (..., shoulder 2, wrist 2); then (..., shoulder 2, wrist 2, elbow 2).
    q1 = np.arctan2(wrist_y, wrist_x) + np.pi / 2 + lean * np.array([1.0, -1.0])
    s1, c1 = np.sin(q1), np.cos(q1)
    q5 = _arc_cosine((x * s1 - y * c1 - g.d4) / g.d6)[..., None] * np.array([1.0, -1.0])

    # The rows of the flange's rotation along the normal of the arm's plane, and along the arm in it.
    first, second = rotation[..., None, 0, :], rotation[..., None, 1, :]
    across = first * s1[..., None] - second * c1[..., None]
    along = (first * c1[..., None] + second * s1[..., None])[..., None, :]
    up = rotation[..., None, None, 2, :]
    s5, c5 = np.sin(q5), np.cos(q5)
    sign = np.where(s5 < 0, -1.0, 1.0)
    q6 = np.arctan2(-across[..., None, 1] * sign, across[..., None, 0] * sign)
    q6 = np.where(np.abs(s5) < _WRIST_SINGULAR, 0.0, q6)
    s6, c6 = np.sin(q6), np.cos(q6)

    # What is left is a planar arm of two links: place and direction of the frame after joint 4, in the arm's plane.
    back = (g.d5 * s6, g.d5 * c6, -g.d6)
    axis = (c5 * c6, -c5 * s6, -s5)
    px = (x * c1 + y * s1)[..., None] + _dot(along, back)
    py = (z - g.d1)[..., None] + _dot(up, back)
    bend = _arc_cosine((px**2 + py**2 - g.a2**2 - g.a3**2) / (2 * g.a2 * g.a3))
    q3 = bend[..., None] * np.array([1.0, -1.0])
    q2 = np.arctan2(py, px)[..., None] - np.arctan2(g.a3 * np.sin(q3), g.a2 + g.a3 * np.cos(q3))
    q4 = np.arctan2(_dot(up, axis), _dot(along, axis))[..., None] - q2 - q3

    solutions = np.empty((*target.shape[:-2], 2, 2, 2, 6))
    solutions[..., 0] = _wrapped(q1)[..., None, None]
    solutions[..., 1] = _wrapped(q2)
    solutions[..., 2] = _wrapped(q3)
    solutions[..., 3] = _wrapped(q4)
    solutions[..., 4] = _wrapped(q5)[..., None]
    solutions[..., 5] = _wrapped(q6)[..., None]
    solutions = solutions.reshape(*target.shape[:-2], 8, 6)
    # A branch that fails has failed in joint 4, whose angle needs all the others.
    solutions[np.isnan(solutions[..., 3])] = np.nan
    return solutions


def _dot(rows: FloatArray, vector: tuple[FloatArray, FloatArray, FloatArray | float]) -> FloatArray:
    """Product of rows (..., 3) with a vector whose parts broadcast over (...)."""
    return np.asarray(rows[..., 0] * vector[0] + rows[..., 1] * vector[1] + rows[..., 2] * vector[2])


def _wrapped(angle: FloatArray) -> FloatArray:
    """The angle in (-pi, pi]."""
    return np.asarray(angle - 2 * np.pi * np.ceil((angle - np.pi) / (2 * np.pi)))


def _arc_cosine(value: FloatArray) -> FloatArray:
    """Arc cosine that forgives round-off at the ends of its range and is nan beyond."""
    inside = np.abs(value) <= 1.0 + _ROUND_OFF
    return np.where(inside, np.arccos(np.clip(value, -1.0, 1.0)), np.nan)


def _link(angle: FloatArray, d: float, a: float, twist: int) -> FloatArray:
    """Denavit-Hartenberg transform (..., 4, 4): turn and move by d about z, move by a along x, twist * pi/2 about x."""
    c, s = np.cos(angle), np.sin(angle)
    ct, st = (1.0, 0.0) if twist == 0 else (0.0, float(twist))
    pose = np.zeros((*np.shape(angle), 4, 4))
    pose[..., 0, 0], pose[..., 0, 1], pose[..., 0, 2], pose[..., 0, 3] = c, -s * ct, s * st, a * c
    pose[..., 1, 0], pose[..., 1, 1], pose[..., 1, 2], pose[..., 1, 3] = s, c * ct, -c * st, a * s
    pose[..., 2, 1], pose[..., 2, 2], pose[..., 2, 3] = st, ct, d
    pose[..., 3, 3] = 1.0
    return pose
