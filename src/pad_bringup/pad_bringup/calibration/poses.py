"""Poses as people write them, and when an arm stands still."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from pad_bringup.errors import CalibrationError
from pad_parse import geometry

FloatArray = NDArray[np.float64]
NEW_DISTANCE, NEW_ANGLE = 0.03, np.radians(8.0)
"""m, rad: a hand that has moved less than both since an earlier view shows nothing new."""

_STILL = 0.003  # rad between the extremes of every joint


def pose_from_words(numbers: Sequence[float], what: str) -> FloatArray:
    """(4, 4) from x, y, z in m and roll, pitch, yaw in degrees (about the fixed x, then y, then z axis).

    Raises:
        CalibrationError: not six finite numbers.
    """
    if len(numbers) != 6 or not np.all(np.isfinite(numbers)):
        raise CalibrationError(
            f"{what} is {list(numbers)}; it must be six numbers: x, y, z in metres, roll, pitch, yaw in degrees"
        )
    rotation = Rotation.from_euler("xyz", numbers[3:], degrees=True).as_matrix()
    return geometry.make_pose(rotation, np.asarray(numbers[:3], np.float64))


def parse_pose(text: str, what: str) -> FloatArray:
    """The same from text, e.g. "0.1, -0.2, 0, 0, 0, 90".

    Raises:
        CalibrationError: not six numbers.
    """
    try:
        numbers = [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise CalibrationError(
            f"{what} is {text!r}; it must be six numbers: x, y, z in metres, roll, pitch, yaw in degrees"
        ) from None
    return pose_from_words(numbers, what)


def still_joints(stamps: ArrayLike, positions: ArrayLike, begin: float, end: float) -> FloatArray | None:
    """The joints (n,) rad of an arm that stands still from `begin` to `end` (s); None where it moves, or is not seen.

    stamps: (T,) s, rising; positions: (T, n) rad.
    """
    times, joints = np.asarray(stamps, np.float64), np.asarray(positions, np.float64)
    inside = (times >= begin) & (times <= end)
    if np.count_nonzero(inside) < 2 or np.ptp(joints[inside], axis=0).max() > _STILL:
        return None
    return np.median(joints[inside], axis=0)


def is_new(pose: FloatArray, earlier: Sequence[FloatArray]) -> bool:
    """Whether a hand (4, 4) is somewhere else, or turned otherwise, than in every earlier view."""
    return all(
        np.linalg.norm(pose[:3, 3] - other[:3, 3]) > NEW_DISTANCE or geometry.rotation_angle(pose, other) > NEW_ANGLE
        for other in earlier
    )
